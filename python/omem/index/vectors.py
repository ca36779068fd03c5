"""One vector for each entity, found by key, known by the hash of the text that it embeds."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from omem.embedding import Embedder
from omem.errors import EmbedderError
from omem.retry import is_transient, wait_before

Vectors = NDArray[np.float32]
MAX_RETRIES = 2

# A search in the child of a fork hangs where OpenMP's threads, which stayed behind in the parent,
# were in use (5 of 5 tries); with one thread it does not need them.
os.register_at_fork(after_in_child=lambda: cast(Any, faiss).omp_set_num_threads(1))


def content_hash(text: str) -> bytes:
    """What tells one text from another: 16 bytes of BLAKE2b.

    Args:
        text: The text.

    Returns:
        The hash.
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class VectorIndex:
    """Vectors by key, searched exactly.

    Rows are kept in one array: a change overwrites its row, a removal moves the last row into the
    gap, so one change costs the same at any size. Equal texts are embedded once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._vectors: Vectors = np.empty((0, 0), dtype=np.float32)
        self._keys: list[bytes] = []
        self._hashes: list[bytes] = []
        self._rows: dict[bytes, int] = {}
        self._by_hash: dict[bytes, int] = {}

    def __len__(self) -> int:
        """The number of vectors."""
        return len(self._keys)

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors, None while there is none."""
        return self._vectors.shape[1] if self._keys else None

    def parts(self) -> tuple[list[bytes], list[bytes], Vectors]:
        """A consistent copy: keys, content hashes, and vectors of shape (n, dimension)."""
        with self._lock:
            return list(self._keys), list(self._hashes), self._vectors[: len(self._keys)].copy()

    def restore(self, keys: Sequence[bytes], hashes: Sequence[bytes], vectors: Vectors) -> None:
        """Take vectors that were saved, in the place of what is there.

        Args:
            keys: The key text of each row.
            hashes: The content hash of each row.
            vectors: An array of shape (n, dimension).
        """
        with self._lock:
            self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)
            self._keys, self._hashes = list(keys), list(hashes)
            self._rows = {key: row for row, key in enumerate(self._keys)}
            self._by_hash = {known: row for row, known in enumerate(self._hashes)}

    def stale(self, wanted: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Which of these entities have no vector of their text yet.

        Args:
            wanted: Key text and content hash of entities.

        Returns:
            Those that `put` must be given.
        """
        with self._lock:
            return [
                (key, known)
                for key, known in wanted
                if (row := self._rows.get(key)) is None or self._hashes[row] != known
            ]

    def vector_of(self, known: bytes) -> Vectors | None:
        """A copy of the vector of a text, by its hash."""
        with self._lock:
            row = self._by_hash.get(known)
            return None if row is None else self._vectors[row].copy()

    def put(self, rows: Sequence[tuple[bytes, bytes]], vectors: Vectors) -> None:
        """Set the vectors of entities.

        Args:
            rows: Key text and content hash of each.
            vectors: An array of shape (len(rows), dimension).
        """
        with self._lock:
            self._grow(len(self._keys) + len(rows), vectors.shape[1])
            for (key, known), vector in zip(rows, vectors, strict=True):
                row = self._rows.get(key)
                if row is None:
                    row = len(self._keys)
                    self._rows[key] = row
                    self._keys.append(key)
                    self._hashes.append(known)
                else:
                    self._forget(row)
                    self._hashes[row] = known
                self._vectors[row] = vector
                self._by_hash[known] = row

    def remove(self, keys: Iterable[bytes]) -> None:
        """Drop the vectors of these entities.

        Args:
            keys: Their key texts; those that have none are passed over.
        """
        with self._lock:
            for key in keys:
                row = self._rows.pop(key, None)
                if row is None:
                    continue
                self._forget(row)
                last = len(self._keys) - 1
                if row != last:
                    moved, known = self._keys[last], self._hashes[last]
                    self._vectors[row] = self._vectors[last]
                    self._keys[row], self._hashes[row] = moved, known
                    self._rows[moved] = row
                    self._by_hash[known] = row
                del self._keys[last], self._hashes[last]

    def keep_only(self, keys: Iterable[bytes]) -> None:
        """Drop the vectors of all other entities.

        Args:
            keys: The key texts of all entities there are.
        """
        wanted = set(keys)
        self.remove([key for key in self._rows if key not in wanted])

    def search(
        self, queries: Vectors, top_k: int, within: Iterable[bytes] | None = None
    ) -> list[list[tuple[bytes, float]]]:
        """The nearest entities to each query, by Euclidean distance.

        Args:
            queries: An array of shape (n, dimension).
            top_k: At most so many for each query.
            within: The key texts to search among; all by default.

        Returns:
            For each query, key texts and squared distances, the nearest first.
        """
        with self._lock:
            keys, vectors = self._keys, self._vectors[: len(self._keys)]
            if within is not None:
                rows = sorted({self._rows[key] for key in within if key in self._rows})
                keys, vectors = [keys[row] for row in rows], vectors[rows]
            count = min(top_k, len(keys))
            if count <= 0:
                return [[] for _ in queries]
            distances, places = cast(Any, faiss).knn(queries, np.ascontiguousarray(vectors), count)
            return [
                [(keys[place], float(distance)) for place, distance in zip(near, far, strict=True)]
                for near, far in zip(places, distances, strict=True)
            ]

    def _grow(self, rows: int, dimension: int) -> None:
        if self._keys and dimension != self._vectors.shape[1]:
            raise EmbedderError(
                f"the embedder gives vectors of dimension {dimension}, the index has "
                f"{self._vectors.shape[1]}; build_index(force=True) embeds everything again"
            )
        capacity = self._vectors.shape[0] if dimension == self._vectors.shape[1] else 0
        if rows > capacity:
            grown = np.empty((max(rows, capacity + capacity // 2), dimension), dtype=np.float32)
            if self._keys:
                grown[: len(self._keys)] = self._vectors[: len(self._keys)]
            self._vectors = grown

    def _forget(self, row: int) -> None:
        """Note that this row no longer has the vector of its hash."""
        if self._by_hash.get(self._hashes[row]) == row:
            del self._by_hash[self._hashes[row]]


def embed(
    embedder: Embedder,
    texts: Sequence[str],
    *,
    batch_size: int,
    keep: Callable[[int, Vectors], None],
) -> None:
    """Embed texts in batches; what is embedded is handed over at once and survives a failure.

    Args:
        embedder: What embeds.
        texts: The texts.
        batch_size: At most so many go into one call.
        keep: Called with the place of the first text of a batch and its vectors.

    Raises:
        EmbedderError: The embedder failed for good, or gave what are no vectors.
    """
    for start in range(0, len(texts), batch_size):
        batch = list(texts[start : start + batch_size])
        keep(
            start,
            as_vectors(
                _call(embedder, batch, start),
                len(batch),
                f"texts {start} to {start + len(batch) - 1}",
            ),
        )


def _call(embedder: Embedder, batch: list[str], start: int) -> Any:
    for attempt in range(MAX_RETRIES + 1):
        if attempt:
            wait_before(attempt)
        try:
            return embedder.embed_documents(batch)
        except Exception as error:
            if attempt == MAX_RETRIES or not is_transient(error):
                raise EmbedderError(
                    f"the embedder failed on texts {start} to {start + len(batch) - 1}: "
                    f"{type(error).__name__}: {error}"
                ) from error
    raise AssertionError("unreachable")


def as_vectors(result: Any, count: int, what: str) -> Vectors:
    """What an embedder returned, as an array of shape (count, dimension).

    Args:
        result: What it returned.
        count: How many vectors were asked for.
        what: What they are of, for the error message.

    Returns:
        The vectors.

    Raises:
        EmbedderError: They are too few or too many, of no or different dimension, or not finite.
    """
    try:
        vectors = np.ascontiguousarray(result, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise EmbedderError(f"the embedder gave no vectors for {what}: {error}") from error
    if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
        raise EmbedderError(
            f"the embedder gave an array of shape {vectors.shape} for {what}; "
            f"{count} vectors of one dimension were expected"
        )
    if not np.isfinite(vectors).all():
        raise EmbedderError(f"the embedder gave NaN or infinite values for {what}")
    return vectors
