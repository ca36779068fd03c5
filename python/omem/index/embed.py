"""Asking an embedder for vectors, and checking what it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from omem.embedding import Embedder
from omem.errors import EmbedderError
from omem.index.metric import Vectors
from omem.retry import is_transient, wait_before

MAX_RETRIES = 3


def embed_texts(embedder: Embedder, texts: list[str], start: int) -> Vectors:
    """Embed one batch of texts; transient errors are tried again, with growing waits.

    Args:
        embedder: What embeds.
        texts: The texts.
        start: The place of the first of them among all, for error messages.

    Returns:
        An array of shape (len(texts), dimension).

    Raises:
        EmbedderError: The embedder failed for good, or gave what are no vectors.
    """
    what = f"the batch of texts {start} to {start + len(texts) - 1}"
    return as_vectors(_call(lambda: embedder.embed_documents(texts), what), len(texts), what)


def embed_query(embedder: Embedder, query: str) -> Vectors:
    """Embed a query; transient errors are tried again, with growing waits.

    Args:
        embedder: What embeds.
        query: The query.

    Returns:
        An array of shape (1, dimension).

    Raises:
        EmbedderError: The embedder failed for good, or gave what is no vector.
    """
    what = f"the query {query!r}"
    return as_vectors([_call(lambda: embedder.embed_query(query), what)], 1, what)


def _call(ask: Callable[[], Any], what: str) -> Any:
    for attempt in range(MAX_RETRIES + 1):
        if attempt:
            wait_before(attempt)
        try:
            return ask()
        except Exception as error:
            if attempt == MAX_RETRIES or not is_transient(error):
                raise EmbedderError(
                    f"the embedder failed on {what}: {type(error).__name__}: {error}"
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
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(result, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise EmbedderError(f"the embedder gave no vectors for {what}: {error}") from error
    if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
        expected = "one vector was" if count == 1 else f"{count} vectors of one dimension were"
        raise EmbedderError(
            f"the embedder gave an array of shape {vectors.shape} for {what}; {expected} expected"
        )
    if not np.isfinite(vectors).all():
        raise EmbedderError(f"the embedder gave NaN or infinite values for {what}")
    return vectors
