"""The interface of a merger and the tournament that runs it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel

from omem import _omem
from omem.keys import key_text

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
    """The name of the strategy in the Rust engine, where the merger runs there."""

    def __init__(
        self,
        key_extractor: Callable[[T], Any],
        *,
        logger_instance: logging.Logger | None = None,
    ) -> None:
        self.key_extractor = key_extractor
        self.logger = logger_instance or logging.getLogger("omem.merger")
        self.max_batch_pairs = 40
        """At most so many pairs go into one `batch_merge`."""
        self.llm_calls = 0
        """Calls made to a model so far."""

    @property
    def name(self) -> str:
        """What the merger is called in `repr` and in the metadata."""
        return self.engine or type(self).__name__

    @abstractmethod
    def pair_merge(self, existing: T, incoming: T) -> T:
        """Merge two observations of one entity.

        Args:
            existing: What is known.
            incoming: What comes in.

        Returns:
            The merged entity, with the key of both.
        """

    def batch_merge(self, pairs: list[tuple[T, T]]) -> list[T]:
        """Merge many pairs; by default one after the other.

        Args:
            pairs: Existing and incoming, one pair for each merge.

        Returns:
            The merged entities, in the order of the pairs.
        """
        return [self.pair_merge(existing, incoming) for existing, incoming in pairs]

    def merge(self, items: Sequence[T]) -> list[T]:
        """Merge items that share a key, on their own, without a memory.

        Args:
            items: Observations, in the order in which they were made.

        Returns:
            One entity for each key, in order of first appearance.
        """
        groups: dict[bytes, list[T]] = {}
        for item in items:
            groups.setdefault(key_text(self.key_extractor(item)), []).append(item)
        return self.merge_groups(list(groups.values()))

    def merge_groups(self, groups: list[list[T]]) -> list[T]:
        """Merge each group of observations into one entity.

        Args:
            groups: Observations of one entity each, in order.

        Returns:
            One entity for each group.
        """
        current = [list(group) for group in groups]
        for calls in _omem.rounds([len(group) for group in groups], self.max_batch_pairs):
            for call in calls:
                pairs = [
                    (current[g][existing], current[g][incoming]) for g, existing, incoming in call
                ]
                results = self.batch_merge(pairs)
                if len(results) != len(pairs):
                    raise ValueError(
                        f"{type(self).__name__}.batch_merge returned {len(results)} entities "
                        f"for {len(pairs)} pairs"
                    )
                for (g, existing, _), result in zip(call, results, strict=True):
                    current[g][existing] = result
        return [group[0] for group in current]
