"""omem itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benches.data import Data, Row
from benches.peers.base import Peer
from benches.peers.vectors import Embedder, Vectors
from benches.shapes import ruled_profile
from omem import OMem, _omem

if _omem.DEBUG_BUILD:
    raise SystemExit("this is a debug build of omem; build a release to measure")


class Omem(Peer):
    modules = ("omem",)
    packages = ("omem-rs", "pydantic", "pydantic-core", "orjson", "faiss-cpu", "numpy")
    writes_json = True

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.embedder = Embedder()
        self.ruled = ruled_profile()
        self.memory = self.new()

    def new(self, **options: Any) -> OMem[Any]:
        return OMem(self.data.model, self.data.key, embedder=self.embedder, **options)

    def make(self, rows: Iterable[Row]) -> list[Any]:
        model = self.data.model
        return [model(**row) for row in rows]

    def stream(self, rows: Iterable[Row]) -> Iterable[Any]:
        model = self.data.model
        return (model(**row) for row in rows)

    def fill(self, items: Iterable[Any]) -> None:
        self.memory = self.new()
        self.memory.add(items)

    def add(self, items: Iterable[Any]) -> None:
        self.memory.add(items)

    def unites(self) -> None:
        """Its lists can be united."""

    def start(self, strategy: str, lists: str = "replace", rules: bool = False) -> None:
        model = self.ruled if rules else self.data.model
        options = {"lists": lists} if strategy == "merge_field" else {}
        self.memory = OMem(model, self.data.key, strategy_or_merger=strategy, **options)

    merge = add

    def make_ruled(self, rows: Iterable[Row]) -> list[Any]:
        return [self.ruled(**row) for row in rows]

    def count(self) -> int:
        return self.memory.size

    def touch(self, items: Iterable[Any]) -> None:
        self.memory.upsert(items)

    def dump(self, path: Path) -> None:
        self.memory.dump_data(path)

    def load(self, path: Path) -> None:
        self.memory = self.new()
        self.memory.load_data(path)

    def get(self, key: Any) -> Any:
        return self.memory.get(key)

    def items(self) -> list[Any]:
        return self.memory.items

    def create_lookup(self, field: str) -> None:
        if "by_field" in self.memory.list_lookups():
            self.memory.drop_lookup("by_field")
        self.memory.create_lookup("by_field", field)

    def lookup(self, value: Any) -> list[Any]:
        return self.memory.get_by_lookup("by_field", value)

    def index(self, items: list[Any], vectors: Vectors) -> float:
        self.fill(items)
        return self.embedder.lend(vectors, self.memory.build_index)

    def index_hnsw(self, items: list[Any], vectors: Vectors) -> None:
        self.memory = self.new(index="HNSW32")
        self.memory.add(items)
        self.embedder.lend(vectors, self.memory.build_index)

    def index_scoped(self, items: list[Any], vectors: Vectors, scope: range) -> None:
        self.memory = self.new(track_sources=True)
        self.memory.add(items[scope.start : scope.stop], source_id="asked")
        self.memory.add(items[scope.stop :], source_id="other")
        self.embedder.lend(vectors, self.memory.build_index)

    def search_scoped(self, vector: Vectors, k: int) -> list[Any]:
        self.embedder.query = vector
        return self.memory.search("query", top_k=k, source_ids=["asked"])

    def search(self, vector: Vectors, k: int) -> list[Any]:
        self.embedder.query = vector
        return self.memory.search("query", top_k=k)


PEERS = {"omem": Omem}
