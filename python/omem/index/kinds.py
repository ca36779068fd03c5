"""The kinds of index that there are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omem.index.flat import Flat
from omem.index.graph import Graph
from omem.index.metric import METRICS, Metric


@dataclass(frozen=True, slots=True)
class Kind:
    """What an index is: its structure and its metric.

    Attributes:
        name: "Flat" or "HNSW" and the number of links, such as "HNSW32".
        metric: How vectors are compared.
        links: The number of links of a graph; 0 for a flat index.

    Examples:
        >>> Kind.of("HNSW32", "cosine").links
        32
    """

    name: str
    metric: Metric
    links: int

    @staticmethod
    def of(name: str, metric: str) -> Kind:
        """The kind of these names.

        Args:
            name: "Flat" or "HNSW" and the number of links, from 2 to 256.
            metric: "l2", "cosine" or "ip".

        Returns:
            The kind.

        Raises:
            ValueError: There is none of this name.
        """
        if metric not in METRICS:
            raise ValueError(
                f"metric must be one of {', '.join(map(repr, METRICS))}, not {metric!r}"
            )
        match = re.fullmatch(r"Flat|HNSW([1-9][0-9]{0,2})", str(name))
        links = int(match[1] or 0) if match else -1
        if not (links == 0 or 2 <= links <= 256):
            raise ValueError(
                f"index must be 'Flat', or 'HNSW' and the number of links (2 to 256), as 'HNSW32', "
                f"not {name!r}"
            )
        return Kind(name, METRICS[metric], links)

    def make(self, dimension: int) -> Flat | Graph:
        """An empty store of vectors.

        Args:
            dimension: Their dimension.

        Returns:
            The store.
        """
        if self.links:
            return Graph(dimension, self.metric, self.links)
        return Flat(dimension, self.metric)
