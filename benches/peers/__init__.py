"""Who is measured. A peer has the verbs that it can answer, each at its best documented use."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass

from benches.peers.base import Peer


@dataclass(frozen=True)
class Entry:
    """Where a peer's class is, how tables call it, what must be installed for it."""

    name: str
    title: str
    module: str
    package: str | None = None
    limit: bool = False
    """No library but what the machine can do at best."""

    @property
    def installed(self) -> bool:
        return self.package is None or importlib.util.find_spec(self.package) is not None

    def load(self) -> type[Peer]:
        return importlib.import_module(f"benches.peers.{self.module}").PEERS[self.name]


ENTRIES = [
    Entry("omem", "omem", "omem", "omem"),
    Entry("ontomem", "ontomem", "ontomem", "ontomem"),
    Entry("pydantic", "Pydantic `TypeAdapter`", "models", "pydantic"),
    Entry("pickle", "pickle of models", "models", "pydantic"),
    Entry("msgspec", "msgspec, typed structs", "structs", "msgspec"),
    Entry("orjson", "orjson, dicts", "dicts", "orjson"),
    Entry("json", "json, dicts", "dicts"),
    Entry("pysimdjson", "pysimdjson, DOM", "dom", "simdjson"),
    Entry("sqlite", "SQLite, JSON column", "sqlite"),
    Entry("parquet", "Parquet by pandas and pyarrow", "parquet", "pandas"),
    Entry("faiss", "FAISS alone", "faiss", "faiss", limit=True),
    Entry("disk", "write + fsync; read", "limits", limit=True),
    Entry("memcpy", "memcpy", "limits", limit=True),
    Entry("nothing", "an empty process", "limits", limit=True),
]
NAMED = {entry.name: entry for entry in ENTRIES}
