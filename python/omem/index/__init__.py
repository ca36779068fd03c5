"""The vector index: FAISS over the texts of entities, each text embedded once."""

from omem.index.vectors import VectorIndex

__all__ = ["VectorIndex"]
