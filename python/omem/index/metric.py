"""How far two vectors are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

_faiss = cast(Any, faiss)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, its own distance, and what a score is.

    Attributes:
        name: "l2", "cosine" or "ip".
        faiss: FAISS's number of the metric that its searches use.
        normalized: Whether vectors are scaled to length 1.

    Examples:
        >>> METRICS["cosine"].distance(0.25), METRICS["cosine"].score(0.25)
        (0.75, 0.25)
    """

    name: str
    faiss: int
    normalized: bool = False

    def prepare(self, vectors: Vectors) -> Vectors:
        """Vectors as they are stored and searched; those of length 0 stay so.

        Args:
            vectors: An array of shape (n, dimension).

        Returns:
            An array of the same shape.
        """
        if not self.normalized:
            return vectors
        # In float64: the squares of large components overflow in float32.
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        lengths[lengths == 0] = 1
        return cast(Vectors, (vectors / lengths[:, None]).astype(np.float32))

    def distance(self, found: float) -> float:
        """The metric's own distance, of what FAISS found.

        Args:
            found: The squared Euclidean distance for "l2", the inner product for the others.

        Returns:
            The squared Euclidean distance, 1 - cosine, or the negative inner product.
        """
        if self.name == "l2":
            return found
        return 1 - found if self.normalized else -found

    def score(self, found: float) -> float:
        """The score, larger for what is nearer, of what FAISS found.

        Args:
            found: As in `distance`.

        Returns:
            The negative squared distance for "l2", else the cosine or the inner product.
        """
        return 0.0 - found if self.name == "l2" else found


METRICS = {
    metric.name: metric
    for metric in (
        Metric("l2", _faiss.METRIC_L2),
        Metric("cosine", _faiss.METRIC_INNER_PRODUCT, normalized=True),
        Metric("ip", _faiss.METRIC_INNER_PRODUCT),
    )
}
