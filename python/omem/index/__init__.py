"""The vector index: FAISS over the texts of entities, each text embedded once."""

from omem.index.kinds import Kind
from omem.index.metric import METRICS, Metric
from omem.index.vectors import VectorIndex

__all__ = ["METRICS", "Kind", "Metric", "VectorIndex"]
