"""Pydantic models in a dict, written and read as one list: by Pydantic, and by pickle."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benches.data import Data, Row
from benches.peers.base import Keyed, write_synced


class Models(Keyed):
    modules = ("pydantic",)
    packages = ("pydantic", "pydantic-core")

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.held = {}
        self.adapter = TypeAdapter(list[data.model])  # type: ignore[name-defined]

    def make(self, rows: Iterable[Row]) -> list[Any]:
        model = self.data.model
        return [model(**row) for row in rows]


class Pydantic(Models):
    writes_json = True

    def add(self, items: Iterable[Any]) -> None:
        """Keeps each as what a dump and a load give back: a copy that is sure to survive."""
        read = self.data.model.__pydantic_validator__.validate_json
        write = self.data.model.__pydantic_serializer__.to_json
        self.hold(read(write(item)) for item in items)

    def dump(self, path: Path) -> None:
        write_synced(path, self.adapter.dump_json(self.items()))

    def load(self, path: Path) -> None:
        self.hold(self.adapter.validate_json(path.read_bytes()))


class Pickle(Models):
    modules = ("pickle",)

    def dump(self, path: Path) -> None:
        write_synced(path, pickle.dumps(self.items(), protocol=5))

    def load(self, path: Path) -> None:
        self.hold(pickle.loads(path.read_bytes()))


PEERS = {"pydantic": Pydantic, "pickle": Pickle}
