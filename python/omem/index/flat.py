"""Vectors in a flat FAISS index: searched exactly, changed in place."""

from __future__ import annotations

from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from omem.index.metric import Metric, Numbers, Vectors

_faiss = cast(Any, faiss)

Found = tuple[NDArray[np.float32], Numbers]
"""What FAISS found for each query, nearest first: distances or products, and rows; -1 for none."""


class Flat:
    """One row after the other; a row is overwritten in place, the last one is dropped at once.

    Args:
        dimension: The dimension of the vectors.
        metric: How they are compared.

    Attributes:
        pins: How many dumps read the vectors; meanwhile nobody may change them.
    """

    def __init__(self, dimension: int, metric: Metric) -> None:
        self.metric = metric
        self.dimension = dimension
        self.pins = 0
        self._index = _faiss.IndexFlat(dimension, metric.faiss)

    @staticmethod
    def around(index: Any, metric: Metric) -> Flat:
        """A flat FAISS index that somebody else has.

        Args:
            index: A `faiss.IndexFlat`.
            metric: How its vectors are compared.

        Returns:
            What changes that index in place.
        """
        flat = Flat(int(index.d), metric)
        flat._index = index
        return flat

    def __len__(self) -> int:
        """The number of rows."""
        return int(self._index.ntotal)

    @property
    def vectors(self) -> Vectors:
        """All vectors, in place: an array of shape (n, dimension), valid until a row is added."""
        return view(self._index)

    def clone(self) -> Flat:
        """The same vectors, in memory of their own."""
        other = Flat(self.dimension, self.metric)
        other.resize(len(self))
        other.vectors[:] = self.vectors
        return other

    def resize(self, count: int) -> None:
        """Make so many rows; new ones are zero.

        Args:
            count: The number of rows.
        """
        self._index.codes.resize(count * self._index.code_size)
        self._index.ntotal = count

    def put(self, rows: Numbers, vectors: Vectors) -> None:
        """Set rows, new ones at the end among them.

        Args:
            rows: Their numbers.
            vectors: An array of shape (len(rows), dimension).
        """
        if len(rows) and rows.max() >= len(self):
            self.resize(int(rows.max()) + 1)
        self.vectors[rows] = vectors

    def scan(self, queries: Vectors, count: int, mask: NDArray[np.uint8] | None) -> Found:
        """The nearest rows to each query.

        Args:
            queries: An array of shape (n, dimension).
            count: So many for each query.
            mask: One bit for each row, the lowest first: whether it may be found; all by default.

        Returns:
            What FAISS found.
        """
        params = None
        if mask is not None:
            params = _faiss.SearchParameters(sel=_faiss.IDSelectorBitmap(mask))
        return cast(Found, self._index.search(queries, count, params=params))

    search = scan


def view(index: Any) -> Vectors:
    """The vectors of a flat FAISS index, in place.

    Args:
        index: A `faiss.IndexFlat`.

    Returns:
        An array of shape (n, dimension).
    """
    count, dimension = int(index.ntotal), int(index.d)
    if count == 0:
        return np.empty((0, dimension), dtype=np.float32)
    flat = _faiss.rev_swig_ptr(index.get_xb(), count * dimension)
    return cast(Vectors, flat.reshape(count, dimension))
