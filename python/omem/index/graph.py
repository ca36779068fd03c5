"""Vectors in an HNSW graph of FAISS: searched approximately, in little time at any size.

Malkov and Yashunin 2016, https://arxiv.org/abs/1603.09320. Nothing can be taken out of a graph:
rows that are given up are masked in searches, and dropped when the graph is built again.
"""

from __future__ import annotations

from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from omem.index.flat import Flat, Found, view
from omem.index.metric import Metric, Numbers, Vectors

_faiss = cast(Any, faiss)

EF_CONSTRUCTION = 80
EF_SEARCH = 96
"""How many candidates are kept while the graph is built, and searched; docs/index.md measures."""


class Graph:
    """Rows that are only ever added.

    Args:
        dimension: The dimension of the vectors.
        metric: How they are compared.
        links: How many neighbours each row is linked to (M of the paper).

    Attributes:
        pins: How many dumps read the vectors; meanwhile nobody may change them.
    """

    def __init__(self, dimension: int, metric: Metric, links: int) -> None:
        self.metric = metric
        self.dimension = dimension
        self.links = links
        self.pins = 0
        self.index = _faiss.IndexHNSWFlat(dimension, links, metric.faiss)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION
        self.index.hnsw.efSearch = EF_SEARCH

    def __len__(self) -> int:
        """The number of rows."""
        return int(self.index.ntotal)

    @property
    def storage(self) -> Any:
        """The flat FAISS index that holds the vectors."""
        return _faiss.downcast_index(self.index.storage)

    @property
    def vectors(self) -> Vectors:
        """All vectors, in place: an array of shape (n, dimension), valid until a row is added."""
        return view(self.storage)

    def clone(self) -> Graph:
        """The same graph, in memory of its own."""
        other = Graph(self.dimension, self.metric, self.links)
        other.index = _faiss.clone_index(self.index)
        return other

    def put(self, rows: Numbers, vectors: Vectors) -> None:
        """Add rows.

        Args:
            rows: Their numbers: those that follow the last one, in order. A row that is there
                already has its vector.
            vectors: An array of shape (len(rows), dimension).
        """
        fresh = rows >= len(self)
        if fresh.any():
            self.index.add(np.ascontiguousarray(vectors[fresh]))

    def search(self, queries: Vectors, count: int, mask: NDArray[np.uint8] | None) -> Found:
        """The nearest rows to each query; where the graph loses some, all rows are looked at.

        Args:
            queries: An array of shape (n, dimension).
            count: So many for each query.
            mask: One bit for each row, the lowest first: whether it may be found; all by default.

        Returns:
            What FAISS found.
        """
        selector = None if mask is None else _faiss.IDSelectorBitmap(mask)
        params = _faiss.SearchParametersHNSW(efSearch=max(EF_SEARCH, 2 * count), sel=selector)
        found, rows = cast(Found, self.index.search(queries, count, params=params))
        lost = (rows < 0).any(axis=1)
        if lost.any():
            found[lost], rows[lost] = self.scan(queries[lost], count, mask)
        return found, rows

    def scan(self, queries: Vectors, count: int, mask: NDArray[np.uint8] | None) -> Found:
        """The nearest rows to each query, exactly: all rows are looked at.

        Args:
            queries: An array of shape (n, dimension).
            count: So many for each query.
            mask: One bit for each row, as in `search`.

        Returns:
            What FAISS found.
        """
        return Flat.around(self.storage, self.metric).scan(queries, count, mask)
