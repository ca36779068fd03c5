"""Embedders for tests: they count what they are asked, and fail when they are told to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

import numpy as np
from langchain_core.embeddings import Embeddings


class Counting(Embeddings):
    """A vector for each text, drawn from the text's hash: equal texts have equal vectors."""

    def __init__(self, dim: int = 16, model: str = "counting") -> None:
        self.dim = dim
        self.model = model
        self.texts: list[str] = []
        self.batches: list[int] = []
        self.queries: list[str] = []
        self.before: Callable[[list[str]], object] | None = None
        self._lock = threading.Lock()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.before is not None:
            self.before(texts)
        with self._lock:
            self.texts += texts
            self.batches.append(len(texts))
        return [self.vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        return self.vector(text)

    def vector(self, text: str) -> list[float]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        return np.random.default_rng(seed).normal(size=self.dim).tolist()

    def count(self) -> int:
        """How many texts were embedded since the last time."""
        with self._lock:
            count = len(self.texts)
            self.texts.clear()
            self.batches.clear()
            return count


class Status(Exception):
    """What an HTTP client raises."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code
