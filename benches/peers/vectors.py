"""An embedder that costs nothing, so that what is around it can be measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
DIMENSION = 384


def seeded(count: int, seed: int = 5) -> Vectors:
    """So many normalized vectors in loose clusters, as texts give them, the same for each seed."""
    centres = np.random.default_rng(3).standard_normal((256, DIMENSION), dtype=np.float32)
    dice = np.random.default_rng(seed)
    vectors = centres[dice.integers(256, size=count)]
    vectors += dice.standard_normal((count, DIMENSION), dtype=np.float32) * 0.7
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Embedder:
    """Hands out the vectors that it was lent, in order, and clocks its own time."""

    model = "free"

    def __init__(self) -> None:
        self.query = np.zeros(DIMENSION, dtype=np.float32)
        self.rows: Any = []
        self.at = 0
        self.seconds = 0.0

    def lend(self, vectors: Vectors, work: Callable[[], Any]) -> float:
        """Seconds that `work` takes beyond this embedder's own."""
        self.rows, self.at, self.seconds = vectors, 0, 0.0
        start = time.perf_counter()
        work()
        return time.perf_counter() - start - self.seconds

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        start = time.perf_counter()
        rows = self.rows[self.at : self.at + len(texts)].tolist()
        self.at += len(texts)
        self.seconds += time.perf_counter() - start
        return rows

    def embed_query(self, text: str) -> list[float]:
        return self.query.tolist()
