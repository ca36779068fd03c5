"""PyPI `ontomem`, the library whose names omem follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from ontomem import MergeStrategy, OMem

from benches.data import Data, Row
from benches.peers.base import Peer
from benches.peers.vectors import Embedder, Vectors


class FreeEmbeddings(Embedder, Embeddings):
    """The embedder as LangChain wants it."""


class Ontomem(Peer):
    modules = ("ontomem",)
    packages = ("ontomem", "langchain", "langchain-community", "pydantic", "faiss-cpu")
    writes_json = True

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.embedder = FreeEmbeddings()
        self.memory = self.new()

    def new(self, strategy: str = "merge_field", **options: Any) -> Any:
        key = self.data.key
        extract: Callable[[Any], Any] = lambda item: getattr(item, key)  # noqa: E731
        return OMem(
            self.data.model,
            extract,
            None,
            self.embedder,
            strategy_or_merger=MergeStrategy(strategy),
            **options,
        )

    def make(self, rows: Iterable[Row]) -> list[Any]:
        model = self.data.model
        return [model(**row) for row in rows]

    def fill(self, items: Iterable[Any]) -> None:
        self.memory = self.new()
        self.memory.add(list(items))

    def add(self, items: Iterable[Any]) -> None:
        self.memory.add(items)

    def merge(self, items: Iterable[Any]) -> None:
        self.memory.add(items)

    def start(self, strategy: str, lists: str = "replace", rules: bool = False) -> None:
        self.memory = self.new(strategy)

    def touch(self, items: Iterable[Any]) -> None:
        self.memory.upsert(items)

    def dump(self, path: Path) -> None:
        """It does not sync; its times are without the wait for the disk."""
        self.memory.dump_data(path)

    def load(self, path: Path) -> None:
        self.memory = self.new()
        self.memory.load_data(path)

    def get(self, key: Any) -> Any:
        return self.memory.get(key)

    def items(self) -> list[Any]:
        return self.memory.items

    def create_lookup(self, field: str) -> None:
        self.memory.drop_lookup("by_field")
        self.memory.create_lookup("by_field", lambda item: getattr(item, field))

    def lookup(self, value: Any) -> list[Any]:
        return self.memory.get_by_lookup("by_field", value)

    def index(self, items: list[Any], vectors: Vectors) -> float:
        self.fill(items)
        return self.embedder.lend(vectors, self.memory.build_index)

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


PEERS = {"ontomem": Ontomem}
