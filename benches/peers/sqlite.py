"""SQLite: a table of key and JSON record, models by Pydantic."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from benches.data import Data, Row
from benches.peers.base import Peer

_TABLE = "CREATE TABLE entities (key PRIMARY KEY, record JSON NOT NULL)"
_INSERT = "INSERT INTO entities VALUES (?, ?)"


class _Base(sqlite3.Connection):
    """One that is closed when it is dropped; from CPython 3.13 on, others warn then."""

    def __del__(self) -> None:
        self.close()


class Sqlite(Peer):
    modules = ("sqlite3",)
    packages = ("pydantic", "pydantic-core")
    base: sqlite3.Connection

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.held: list[Any] | None = []

    def make(self, rows: Iterable[Row]) -> list[Any]:
        model = self.data.model
        return [model(**row) for row in rows]

    def fill(self, items: Iterable[Any]) -> None:
        self.held = list(items)

    def touch(self, items: Iterable[Any]) -> None:
        key = self.data.key
        changed = {getattr(item, key): item for item in items}
        self.held = [changed.get(getattr(item, key), item) for item in self.held or []]

    def _insert(self, base: sqlite3.Connection, items: Iterable[Any]) -> None:
        key, write = self.data.key, self.data.model.__pydantic_serializer__.to_json
        with base:
            base.execute(_TABLE)
            base.executemany(_INSERT, ((getattr(i, key), write(i).decode()) for i in items))

    def add(self, items: Iterable[Any]) -> None:
        self.base = sqlite3.connect(":memory:", factory=_Base)
        self._insert(self.base, items)

    def dump(self, path: Path) -> None:
        """One transaction into a new file; `synchronous=FULL` is SQLite's default.

        What came from a file is copied page by page, by SQLite's own backup.
        """
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with closing(sqlite3.connect(new)) as base:
            if self.held is None:
                self.base.backup(base)
            else:
                self._insert(base, self.held)
        new.replace(path)

    def load(self, path: Path) -> None:
        self.held = None
        self.base = sqlite3.connect(path, factory=_Base)

    def get(self, key: Any) -> Any:
        row = self.base.execute("SELECT record FROM entities WHERE key = ?", (key,)).fetchone()
        return self.data.model.model_validate_json(row[0])

    def items(self) -> list[Any]:
        read = self.data.model.__pydantic_validator__.validate_json
        return [
            read(text)
            for (text,) in self.base.execute("SELECT record FROM entities ORDER BY rowid")
        ]

    def create_lookup(self, field: str) -> None:
        self.base.execute(f"DROP INDEX IF EXISTS by_{field}")
        self.base.execute(f"CREATE INDEX by_{field} ON entities (record ->> '$.{field}')")
        self.field = field

    def lookup(self, value: Any) -> list[Any]:
        read = self.data.model.__pydantic_validator__.validate_json
        query = f"SELECT record FROM entities WHERE record ->> '$.{self.field}' = ?"
        return [read(text) for (text,) in self.base.execute(query, (value,))]


PEERS = {"sqlite": Sqlite}
