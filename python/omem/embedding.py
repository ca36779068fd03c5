"""Embedders: what turns texts into vectors."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from omem import _omem
from omem.arguments import strings, whole


@runtime_checkable
class Embedder(Protocol):
    """Anything with these two methods, such as a LangChain `Embeddings` object."""

    def embed_documents(self, texts: list[str]) -> Any:
        """A vector for each text: a list of lists of floats, or an array of shape (n, dim)."""

    def embed_query(self, text: str) -> Any:
        """The vector of a query."""


class HashingEmbedder:
    """A built-in embedder that works offline, at once, and always the same.

    It matches words, not meanings: a text's vector counts its words and their fragments of three
    to five characters, each hashed to a place and a sign (the hashing trick, Weinberger et al.
    2009, https://arxiv.org/abs/0902.2206), and is scaled to length 1. Misspelt and inflected words
    still share fragments; "car" and "automobile" share nothing. For search by meaning bring a
    real embedder.

    Args:
        dim: The dimension of the vectors.

    Examples:
        >>> from omem import HashingEmbedder
        >>> embedder = HashingEmbedder(dim=256)
        >>> embedder.embed_documents(["Frankfurt am Main", "London Heathrow"]).shape
        (2, 256)
    """

    def __init__(self, dim: int = 512) -> None:
        if whole("dim", dim, least=1) > 65_536:
            raise ValueError(f"dim must be at most 65,536, not {dim}")
        self.dim = dim
        self.model = f"hashing-v1-{dim}"

    def embed_documents(self, texts: list[str]) -> Any:
        """Vectors of texts.

        Args:
            texts: The texts.

        Returns:
            A float32 array of shape (len(texts), dim); every row that has words has length 1.

        Raises:
            TypeError: `texts` is a single str, or holds what is none.

        Examples:
            >>> from omem import HashingEmbedder
            >>> HashingEmbedder(64).embed_documents(["red", "blue"]).shape
            (2, 64)
        """
        import numpy as np

        texts = strings("texts", texts)
        vectors = np.frombuffer(_omem.hash_texts(texts, self.dim), dtype=np.float32)
        return vectors.reshape(len(texts), self.dim)

    def embed_query(self, text: str) -> Any:
        """The vector of a query.

        Args:
            text: The query.

        Returns:
            A float32 array of shape (dim,).

        Examples:
            >>> from omem import HashingEmbedder
            >>> HashingEmbedder(64).embed_query("red").shape
            (64,)
        """
        return self.embed_documents([text])[0]

    def __repr__(self) -> str:
        return f"HashingEmbedder(dim={self.dim})"


def signature(embedder: object) -> str | None:
    """What tells one embedder from another: `module.Class:model`.

    Args:
        embedder: The embedder, or None.

    Returns:
        The signature, or None without an embedder.

    Examples:
        >>> signature(HashingEmbedder(dim=64))
        'omem.embedding.HashingEmbedder:hashing-v1-64'
    """
    if embedder is None:
        return None
    model = getattr(embedder, "model", None) or getattr(embedder, "model_name", None) or ""
    return f"{type(embedder).__module__}.{type(embedder).__name__}:{model}"
