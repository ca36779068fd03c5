"""FAISS without anything around it."""

from __future__ import annotations

from typing import Any

import faiss

from benches.data import Data
from benches.peers.base import Peer
from benches.peers.vectors import DIMENSION, Vectors


class Faiss(Peer):
    modules = ("faiss",)
    packages = ("faiss-cpu", "numpy")

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.flat = faiss.IndexFlatL2(DIMENSION)

    def index(self, items: list[Any], vectors: Vectors) -> None:
        self.flat = faiss.IndexFlatL2(DIMENSION)
        self.flat.add(vectors)

    def search(self, vector: Vectors, k: int) -> list[int]:
        _, positions = self.flat.search(vector[None], k)
        return positions[0].tolist()


PEERS = {"faiss": Faiss}
