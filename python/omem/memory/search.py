"""Finding entities by meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, Literal, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from omem.arguments import strings, whole
from omem.errors import SearchError
from omem.index import VectorIndex
from omem.index.embed import embed_query
from omem.index.metric import Metric, Vectors
from omem.index.vectors import Neighbours
from omem.memory.indexing import Indexing

T = TypeVar("T", bound=BaseModel)
Where = Callable[[T], object]

PATIENCE = 0.25
"""Seconds that a search waits for somebody else's embedder; then it uses what is there."""


class Search(Indexing[T]):
    """What is asked of the index."""

    @overload
    def search(
        self,
        query: str,
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: Literal[False] = False,
        max_distance: float | None = None,
    ) -> list[T]: ...
    @overload
    def search(
        self,
        query: str,
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: Literal[True],
        max_distance: float | None = None,
    ) -> list[tuple[T, float]]: ...
    def search(
        self,
        query: str,
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: bool = False,
        max_distance: float | None = None,
    ) -> list[T] | list[tuple[T, float]]:
        """The entities whose texts are nearest to a query, the nearest first.

        The index is built, or brought up to date, where that is needed. While another thread
        embeds, a search does not wait for it but uses the vectors that are there.

        Args:
            query: The query.
            top_k: So many are returned, whenever there are so many in scope.
            source_ids: Only entities to which one of these sources contributed.
            tags: Only entities to which a source with one of these tags contributed.
            where: Only entities for which this is true.
            with_scores: Return pairs of entity and score; a larger score is nearer: the negative
                squared distance ("l2"), the cosine, or the inner product ("ip").
            max_distance: Only entities at most so far away, in the metric's own distance: squared
                Euclidean, 1 - cosine, or the negative inner product.

        Returns:
            The entities, each the caller's own copy; with scores where they are asked for.

        Raises:
            RuntimeError: There is no embedder; `source_ids` or `tags` without a ledger.
            EmbedderError: The embedder failed, or gives vectors of another dimension than the
                index has.
            TypeError: The query is no str, `top_k` no int, `where` no function, or
                `max_distance` no number.
            ValueError: `top_k` is negative.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class City(BaseModel):
            ...     name: str
            ...     country: str
            >>> memory = OMem(City, "name", embedder=HashingEmbedder(), metric="cosine")
            >>> _ = memory.add([
            ...     City(name="Frankfurt am Main", country="DE"),
            ...     City(name="Frankfort", country="US"),
            ... ])
            >>> [city.name for city in memory.search("frankfurt", top_k=1)]
            ['Frankfurt am Main']
            >>> american = memory.search("frankfurt", where=lambda city: city.country == "US")
            >>> [city.name for city in american]
            ['Frankfort']
        """
        found = self._search_texts([query], top_k, source_ids, tags, where, max_distance)[0]
        return found if with_scores else [entity for entity, _ in found]

    @overload
    def search_many(
        self,
        queries: Sequence[str],
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: Literal[False] = False,
        max_distance: float | None = None,
    ) -> list[list[T]]: ...
    @overload
    def search_many(
        self,
        queries: Sequence[str],
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: Literal[True],
        max_distance: float | None = None,
    ) -> list[list[tuple[T, float]]]: ...
    def search_many(
        self,
        queries: Sequence[str],
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: bool = False,
        max_distance: float | None = None,
    ) -> list[list[T]] | list[list[tuple[T, float]]]:
        """The answers to many queries, found in one go.

        Args:
            queries: The queries.
            top_k: So many are returned for each, whenever there are so many in scope.
            source_ids: Only entities to which one of these sources contributed.
            tags: Only entities to which a source with one of these tags contributed.
            where: Only entities for which this is true.
            with_scores: Return pairs of entity and score.
            max_distance: Only entities at most so far away.

        Returns:
            For each query what `search` returns.

        Raises:
            RuntimeError: There is no embedder; `source_ids` or `tags` without a ledger.
            EmbedderError: The embedder failed, or gives vectors of another dimension.
            TypeError: `queries` is a single str, or holds what is none; or as in `search`.
            ValueError: `top_k` is negative.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class City(BaseModel):
            ...     name: str
            >>> memory = OMem(City, "name", embedder=HashingEmbedder())
            >>> _ = memory.add([City(name="Frankfurt am Main"), City(name="London")])
            >>> memory.search_many(["london", "frankfurt"], top_k=1)
            [[City(name='London')], [City(name='Frankfurt am Main')]]
        """
        if isinstance(queries, str):
            raise TypeError("queries must be a sequence of str; search() takes a single one")
        answers = self._search_texts(list(queries), top_k, source_ids, tags, where, max_distance)
        return answers if with_scores else [[entity for entity, _ in found] for found in answers]

    @overload
    def search_by_vector(
        self,
        vector: Sequence[float] | NDArray[Any],
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: Literal[False] = False,
        max_distance: float | None = None,
    ) -> list[T]: ...
    @overload
    def search_by_vector(
        self,
        vector: Sequence[float] | NDArray[Any],
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: Literal[True],
        max_distance: float | None = None,
    ) -> list[tuple[T, float]]: ...
    def search_by_vector(
        self,
        vector: Sequence[float] | NDArray[Any],
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        where: Where[T] | None = None,
        with_scores: bool = False,
        max_distance: float | None = None,
    ) -> list[T] | list[tuple[T, float]]:
        """The entities whose vectors are nearest to a vector, the nearest first.

        Args:
            vector: A vector of the embedder's dimension.
            top_k: So many are returned, whenever there are so many in scope.
            source_ids: Only entities to which one of these sources contributed.
            tags: Only entities to which a source with one of these tags contributed.
            where: Only entities for which this is true.
            with_scores: Return pairs of entity and score.
            max_distance: Only entities at most so far away.

        Returns:
            What `search` returns.

        Raises:
            RuntimeError: Entities have no vectors and there is no embedder; `source_ids` or `tags`
                without a ledger.
            EmbedderError: The embedder failed.
            TypeError: `top_k` is no int, `where` no function, or `max_distance` no number.
            ValueError: The vector is of another dimension than the index, or not finite; `top_k`
                is negative.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class City(BaseModel):
            ...     name: str
            >>> embedder = HashingEmbedder()
            >>> memory = OMem(City, "name", embedder=embedder)
            >>> _ = memory.add([City(name="Frankfurt am Main"), City(name="London")])
            >>> memory.search_by_vector(embedder.embed_query("frankfurt"), top_k=1)
            [City(name='Frankfurt am Main')]
        """
        count = whole("top_k", top_k)
        try:
            queries = np.ascontiguousarray([vector], dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the vector must be a row of floats: {error}") from error
        if queries.ndim != 2 or not np.isfinite(queries).all():
            raise ValueError(
                "the vector must be one row of finite floats; this one has the shape "
                f"{queries.shape[1:]} or holds NaN or an infinity"
            )
        _check_conditions(where, max_distance)
        within = self._scope(source_ids, tags)
        index = self._ready(None)
        if index is None or count == 0:
            return []
        if index.dimension not in (None, queries.shape[1]):
            raise ValueError(
                f"the vector has dimension {queries.shape[1]}, the index has {index.dimension}"
            )
        found = self._answer(index, queries, count, within, where, max_distance)[0]
        return found if with_scores else [entity for entity, _ in found]

    def _search_texts(
        self,
        queries: list[str],
        top_k: int,
        source_ids: Iterable[str] | None,
        tags: Iterable[str] | None,
        where: Where[T] | None,
        max_distance: float | None,
    ) -> list[list[tuple[T, float]]]:
        for query in queries:
            if not isinstance(cast(object, query), str):
                raise TypeError(f"a query must be a str, not {type(query).__name__}")
        _check_conditions(where, max_distance)
        embedder = self._need_embedder("search")
        count = whole("top_k", top_k)
        within = self._scope(source_ids, tags)
        if count == 0 or not queries or self.empty() or within == set():
            return [[] for _ in queries]
        vectors = np.concatenate([embed_query(embedder, query) for query in queries])
        index = self._ready(vectors)
        if index is None:
            return [[] for _ in queries]
        index.check(vectors)
        return self._answer(index, vectors, count, within, where, max_distance)

    def _ready(self, queries: Vectors | None) -> VectorIndex | None:
        """The index, up to date; as it is where somebody else's embedder takes its time."""
        index = self._index
        if index is not None and queries is not None:
            index.check(queries)
        if index is None or not self._serves(index):
            if self.embedder is None:
                raise SearchError("there is no index, and no embedder to build one")
            self.build_index()
        else:
            with self._alone(PATIENCE) as alone:
                if alone:
                    self._refresh(False)
        return self._index

    def _answer(
        self,
        index: VectorIndex,
        queries: Vectors,
        top_k: int,
        within: set[bytes] | None,
        where: Where[T] | None,
        max_distance: float | None,
    ) -> list[list[tuple[T, float]]]:
        """What a search returns, with scores."""
        answers: list[list[tuple[T, float]]] = [[] for _ in queries]
        refused: set[bytes] = set()
        most = len(index) if within is None else len(within)
        count = top_k if where is None else 4 * top_k
        waiting = list(range(len(queries)))
        while waiting:
            neighbours = index.search(queries[waiting], count, within)
            for query, near in zip(waiting, neighbours, strict=True):
                answers[query], whole = self._pick(
                    index.metric, near, top_k, where, max_distance, refused
                )
                if whole:
                    waiting = [other for other in waiting if other != query]
            if count >= most:
                break
            # Entities that are gone or refused were among these: so many more are asked for.
            count *= 4
        return answers

    def _pick(
        self,
        metric: Metric,
        near: Neighbours,
        top_k: int,
        where: Where[T] | None,
        max_distance: float | None,
        refused: set[bytes],
    ) -> tuple[list[tuple[T, float]], bool]:
        """The neighbours that are to be returned, and whether more of them would change nothing."""
        picked: list[tuple[T, float]] = []
        for key, found in near:
            if max_distance is not None and metric.distance(found) > max_distance:
                return picked, True
            entity = None if key in refused else cast("T | None", self._store.get_text(key))
            if entity is None:
                continue
            if where is not None and not where(entity):
                refused.add(key)
                continue
            picked.append((entity, metric.score(found)))
            if len(picked) == top_k:
                return picked, True
        return picked, False

    def _scope(
        self, source_ids: Iterable[str] | None, tags: Iterable[str] | None
    ) -> set[bytes] | None:
        """The key texts that a search is limited to, or None."""
        if source_ids is None and tags is None:
            return None
        sources, wanted = strings("source_ids", source_ids), strings("tags", tags)
        return set(self._need_ledger().keys_of(sources, wanted))


def _check_conditions(where: object, max_distance: object) -> None:
    if where is not None and not callable(where):
        raise TypeError(
            f"where must be a function of the entity, such as lambda entity: ..., not {where!r}"
        )
    if max_distance is not None and not isinstance(max_distance, Real):
        raise TypeError(f"max_distance must be a number, not {max_distance!r}")
