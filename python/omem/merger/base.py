"""The interface of a merger and the tournament that runs it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel

from omem import _omem
from omem.errors import KeyExtractionError, MergeError, ReentryError
from omem.keys import KeyExtractor, key_function
from omem.merger import tournament

T = TypeVar("T", bound=BaseModel)


class BaseMerger(ABC, Generic[T]):
    """Merges observations of one entity; subclass it to bring your own way.

    Override `pair_merge`, and `batch_merge` where many pairs at once are cheaper than one by
    one. Pairs of all keys are merged together in tournament rounds: neighbours first, so that
    the order of observations is kept, then the results with each other.

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import BaseMerger
        >>> class Note(BaseModel):
        ...     topic: str
        ...     text: str
        >>> class Join(BaseMerger[Note]):
        ...     def pair_merge(self, existing, incoming):
        ...         return Note(topic=existing.topic, text=existing.text + " " + incoming.text)
        >>> merger = Join(lambda note: note.topic)
        >>> notes = [Note(topic="a", text=word) for word in ("one", "two", "three")]
        >>> [note.text for note in merger.merge(notes)]
        ['one two three']
    """

    engine: ClassVar[str | None] = None
    """The name of the strategy that the class stands for in the Rust engine, if it does."""

    def __init__(
        self,
        key_extractor: KeyExtractor[T],
        *,
        logger_instance: logging.Logger | None = None,
    ) -> None:
        self.key_extractor = key_function(key_extractor)
        self.logger = logger_instance or logging.getLogger("omem.merger")
        self.max_batch_pairs = 40
        """At most so many pairs go into one `batch_merge`."""
        self.llm_calls = 0
        """Calls made to a model so far."""

    @property
    def name(self) -> str:
        """What the merger is called in `repr` and in the metadata.

        Examples:
            >>> from omem import FieldMerger
            >>> FieldMerger("id").name
            'merge_field'
        """
        return self.engine or type(self).__name__

    @abstractmethod
    def pair_merge(self, existing: T, incoming: T) -> T:
        """Merge two observations of one entity.

        Args:
            existing: What is known.
            incoming: What comes in.

        Returns:
            The merged entity, with the key of both.

        Raises:
            Exception: They cannot be merged.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import BaseMerger
            >>> class Note(BaseModel):
            ...     topic: str
            ...     text: str
            >>> class Join(BaseMerger[Note]):
            ...     def pair_merge(self, existing, incoming):
            ...         return existing.model_copy(update={"text": existing.text + incoming.text})
            >>> Join("topic").pair_merge(Note(topic="a", text="1"), Note(topic="a", text="2"))
            Note(topic='a', text='12')
        """

    def batch_merge(self, pairs: list[tuple[T, T]]) -> Sequence[T | MergeError]:
        """Merge many pairs; by default one after the other.

        Args:
            pairs: Existing and incoming, one pair for each merge.

        Returns:
            The merged entities, in the order of the pairs. A MergeError in the place of an entity
            says that this pair cannot be merged: a memory keeps its existing side and sets the
            incoming one aside in its quarantine.

        Raises:
            Exception: What `pair_merge` raises, with a note that names the key.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import BaseMerger
            >>> class Note(BaseModel):
            ...     topic: str
            ...     text: str
            >>> class Join(BaseMerger[Note]):
            ...     def pair_merge(self, existing, incoming):
            ...         return existing.model_copy(update={"text": existing.text + incoming.text})
            >>> Join("topic").batch_merge([(Note(topic="a", text="1"), Note(topic="a", text="2"))])
            [Note(topic='a', text='12')]
        """
        merged: list[T] = []
        for existing, incoming in pairs:
            try:
                merged.append(self.pair_merge(existing, incoming))
            except Exception as error:
                error.add_note(
                    f"while merging the observations of {self.key_extractor(existing)!r}"
                )
                raise
        return merged

    def merge(self, items: Iterable[T]) -> list[T]:
        """Merge items that share a key, on their own, without a memory.

        Args:
            items: Observations, in the order in which they were made.

        Returns:
            One entity for each key, in order of first appearance.

        Raises:
            TypeError: What is given are no Pydantic models.
            KeyExtractionError: An item has no usable key.
            MergeError: A pair cannot be merged.
            Exception: What `pair_merge` or `batch_merge` raises.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import FieldMerger
            >>> class Tag(BaseModel):
            ...     name: str
            ...     uses: list[str] = []
            >>> FieldMerger("name").merge([Tag(name="a", uses=["x"]), Tag(name="a", uses=["y"])])
            [Tag(name='a', uses=['x', 'y'])]
        """
        groups: dict[bytes, list[T]] = {}
        for number, item in enumerate(models(items)):
            groups.setdefault(self._key_of(item, number), []).append(item)
        played = tournament.play(self, list(groups.values()))
        for _, _, error in played.failed:
            raise error
        return [
            group[0] if merged is None else merged
            for group, merged in zip(groups.values(), played.merged, strict=True)
        ]

    def _key_of(self, item: T, number: int) -> bytes:
        try:
            return _omem.key_text(self.key_extractor(item))
        except Exception as error:
            raise KeyExtractionError(
                f"item {number}: {error} ({str(item)[:120]}); check key_extractor"
            ) from error

    def merge_pairs(
        self, pairs: list[tuple[T, T]], *, keep_going: bool = False
    ) -> Sequence[T | Exception]:
        """One `batch_merge`, its result checked for length.

        Args:
            pairs: Existing and incoming, one pair for each merge.
            keep_going: What is raised is returned in the place of the pairs that it befell.

        Returns:
            An entity or an error for each pair.

        Raises:
            ValueError: The number of results is wrong.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import KeepExistingMerger
            >>> class Tag(BaseModel):
            ...     name: str
            ...     uses: int
            >>> pair = (Tag(name="a", uses=1), Tag(name="a", uses=2))
            >>> KeepExistingMerger("name").merge_pairs([pair])
            [Tag(name='a', uses=1)]
        """
        if not keep_going:
            return self._batch(pairs)
        alone = type(self).batch_merge is cast(Any, BaseMerger).batch_merge
        results: list[T | Exception] = []
        for part in [[pair] for pair in pairs] if alone else [pairs]:
            try:
                results += self._batch(part)
            except ReentryError:
                raise
            except Exception as error:
                results += [error] * len(part)
        return results

    def _batch(self, pairs: list[tuple[T, T]]) -> Sequence[T | MergeError]:
        results = self.batch_merge(pairs)
        if len(results) != len(pairs):
            raise ValueError(
                f"{type(self).__name__}.batch_merge returned {len(results)} entities "
                f"for {len(pairs)} pairs"
            )
        return results


def models(items: Iterable[T]) -> list[T]:
    """The items that a merger is to merge.

    Args:
        items: The items.

    Returns:
        The same, in a list.

    Raises:
        TypeError: It is a single model, or holds something else.
    """
    if isinstance(items, BaseModel):
        raise TypeError("items must be several entities, as [item], not one")
    found = list(items)
    for number, item in enumerate(found):
        if not isinstance(cast(object, item), BaseModel):
            raise TypeError(f"item {number} is a {type(item).__name__}, not a Pydantic model")
    return found
