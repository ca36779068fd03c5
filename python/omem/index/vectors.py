"""One vector for each entity, found by key, known by the hash of the text that it embeds."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from omem import _omem
from omem.errors import EmbedderError
from omem.index.flat import Flat, Found
from omem.index.graph import Graph
from omem.index.kinds import Kind
from omem.index.metric import Metric, Numbers, Vectors

_faiss = cast(Any, faiss)
_indexes: weakref.WeakSet[VectorIndex] = weakref.WeakSet()

SPARE_ROWS = 0.3
"""A graph is built again, from the vectors it has, when so large a part of it is masked."""
SMALL_SCOPE = 0.1
"""Up to this part of all rows, the vectors of a scope are gathered and compared one by one.

Wider scopes are scanned under a mask. A scope is never looked for in a graph: the sources of an
entity go with what it means, and where the nearest rows are all out of scope, a walk through the
graph ends before it leaves them (300 rows, the 40 farthest in scope: none of the nearest 7 found).
"""

Neighbours = list[tuple[bytes, float]]
"""Key texts, and what FAISS found: the squared distance or the product; nearest first."""


class VectorIndex:
    """Vectors by key: those of one embedder, of one dimension, for one choice of fields.

    `rows` says which row belongs to which entity, the store has the vectors. Who changes them is
    alone (the memory sees to that); a lock, held for moments, keeps searches from seeing half of a
    change.

    Args:
        kind: Structure and metric.
        embedder: The embedder's signature, None where it is not known.
        fields: The fields that are embedded; none for the whole record.
        rows: The rows, where they are there already.
        store: The vectors of these rows.

    Attributes:
        store: The vectors, None as long as there was none.
    """

    def __init__(
        self,
        kind: Kind,
        embedder: str | None,
        fields: Sequence[str],
        rows: _omem.Rows | None = None,
        store: Flat | Graph | None = None,
    ) -> None:
        self.kind = kind
        self.embedder = embedder
        self.fields = list(fields)
        self.rows = _omem.Rows(kind.links == 0) if rows is None else rows
        self.lock = threading.Lock()
        self.store = store
        self._mask: NDArray[np.uint8] | None = None
        _indexes.add(self)

    def __len__(self) -> int:
        """The number of entities that have a vector."""
        return self.rows.live

    @property
    def spare(self) -> int:
        """The number of vectors that belong to no entity."""
        return len(self.rows) - self.rows.live

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors, None as long as there was none."""
        return None if self.store is None else self.store.dimension

    @property
    def metric(self) -> Metric:
        """How vectors are compared."""
        return self.kind.metric

    def check(self, vectors: Vectors) -> None:
        """Refuse vectors of another dimension.

        Args:
            vectors: An array of shape (n, dimension).

        Raises:
            EmbedderError: Their dimension is not that of the index.
        """
        if self.dimension not in (None, vectors.shape[1]):
            raise EmbedderError(
                f"the embedder gives vectors of dimension {vectors.shape[1]}, the index has "
                f"{self.dimension}; build_index(force=True) embeds everything again"
            )

    def take_over(self, stale: _omem.Stale) -> None:
        """Drop the vectors of entities that are gone, and give known vectors to whom they fit.

        Args:
            stale: What there is to catch up with.
        """
        known, gone = _numbers(stale.known), stale.gone
        with self.lock:
            store = self._own()
            if store is None:
                return
            vectors = store.vectors[known]
            self.drop(gone)
            if len(known):
                store.put(_numbers(self.rows.put_known(stale)), vectors)
        self._tidy()

    def put(self, stale: _omem.Stale, start: int, vectors: Vectors) -> None:
        """Take the vectors of some of the missing texts.

        Args:
            stale: What there is to catch up with.
            start: The place of the first of these texts.
            vectors: An array of shape (n, dimension).

        Raises:
            EmbedderError: Their dimension is not that of the index.
        """
        self.check(vectors)
        with self.lock:
            store = self._own()
            if store is None:
                self.store = store = self.kind.make(vectors.shape[1])
            rows, places = self.rows.put(stale, start, len(vectors))
            store.put(_numbers(rows), self.metric.prepare(vectors)[_numbers(places)])
            self._mask = None
        self._tidy()

    def search(
        self, queries: Vectors, count: int, within: set[bytes] | None = None
    ) -> list[Neighbours]:
        """The nearest entities to each query.

        Args:
            queries: An array of shape (n, dimension).
            count: At most so many for each query.
            within: The key texts to search among; all by default.

        Returns:
            For each query its neighbours, the nearest first; fewer than `count` where there are
            no more.
        """
        queries = np.ascontiguousarray(self.metric.prepare(queries))
        with self.lock:
            scope = None if within is None else _numbers(self.rows.select(within))
            count = min(count, len(self) if scope is None else len(scope))
            if self.store is None or count <= 0:
                return [[] for _ in queries]
            found, rows = self._nearest(self.store, queries, count, scope)
            keys = self.rows.keys(np.maximum(rows, 0).ravel().tolist())
        width = rows.shape[1]
        return [
            [
                (keys[query * width + place], float(found[query, place]))
                for place in range(width)
                if rows[query, place] >= 0
            ]
            for query in range(len(queries))
        ]

    def pin(self) -> Pinned:
        """The index as it is now, which nothing changes until the context is left."""
        with self.lock:
            if self.store is not None:
                self.store.pins += 1
            part = VectorIndex(self.kind, self.embedder, self.fields, self.rows.copy(), self.store)
        return Pinned(part, self)

    def _nearest(
        self, store: Flat | Graph, queries: Vectors, count: int, within: Numbers | None
    ) -> Found:
        total = len(self.rows)
        if within is None:
            return store.search(queries, count, self._live())
        if len(within) > SMALL_SCOPE * total:
            mask = np.zeros(total, dtype=np.bool_)
            mask[within] = True
            return store.scan(queries, count, np.packbits(mask, bitorder="little"))
        metric = store.metric.faiss
        found, places = _faiss.knn(queries, store.vectors[within], count, metric=metric)
        return found, np.where(places < 0, -1, within[places])

    def _live(self) -> NDArray[np.uint8] | None:
        """The mask of rows that belong to an entity, None where all do."""
        if self.spare == 0:
            return None
        if self._mask is None:
            self._mask = np.frombuffer(self.rows.mask(), dtype=np.uint8)
        return self._mask

    def _own(self) -> Flat | Graph | None:
        """The store, to be changed: a copy of it while somebody reads it for a dump."""
        self._mask = None
        if self.store is not None and self.store.pins:
            self.store = self.store.clone()
        return self.store

    def drop(self, keys: list[bytes]) -> None:
        """Drop the vectors of entities; the caller is alone with the store.

        Args:
            keys: Their key texts; those without a vector are passed over.
        """
        to, origin = map(_numbers, self.rows.remove(keys))
        store = self.store
        if isinstance(store, Flat):
            if len(to):
                store.vectors[to] = store.vectors[origin]
            store.resize(len(self.rows))

    def _tidy(self) -> None:
        """Drop spare rows, once they are many; searches go on meanwhile."""
        store = self.store
        most = 0 if self.kind.links == 0 else max(256, SPARE_ROWS * len(self.rows))
        # As long as no entity has come, what was loaded waits for them.
        if store is None or len(self) == 0 or self.spare <= most:
            return
        rows, places = self.rows.without_spare()
        fresh = self.kind.make(store.dimension)
        fresh.put(np.arange(len(rows)), store.vectors[_numbers(places)])
        with self.lock:
            self.rows, self.store, self._mask = rows, fresh, None


class Pinned:
    """An index as it was at one moment; a context manager.

    Attributes:
        index: The index, to be read only.
    """

    def __init__(self, index: VectorIndex, owner: VectorIndex) -> None:
        self.index = index
        self._owner = owner

    def __enter__(self) -> Pinned:
        return self

    def __exit__(self, *details: object) -> None:
        with self._owner.lock:
            if self.index.store is not None:
                self.index.store.pins -= 1

    def without(self, gone: list[bytes]) -> VectorIndex:
        """The index without some entities.

        Args:
            gone: Their key texts.

        Returns:
            The index itself, where there are none.
        """
        index = self.index
        if not gone:
            return index
        store = None if index.store is None else index.store.clone()
        part = VectorIndex(index.kind, index.embedder, index.fields, index.rows.copy(), store)
        part.drop(gone)
        return part


def _numbers(raw: bytes) -> Numbers:
    return np.frombuffer(raw, dtype=np.int64)


_held: list[VectorIndex] = []


def _acquire() -> None:
    # In the order of their addresses, so that two forks at once cannot wait for each other.
    held = sorted(_indexes, key=id)
    for index in held:
        index.lock.acquire()
    _held[:] = held


def _release() -> None:
    while _held:
        _held.pop().lock.release()


def _in_child() -> None:
    # A search in the child of a fork hangs where OpenMP's threads, which stayed behind in the
    # parent, were in use (5 of 5 tries); with one thread it does not need them.
    _faiss.omp_set_num_threads(1)
    _release()


# A child must not find an index in the middle of a change, or locked by a thread that it has not.
os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_in_child)
