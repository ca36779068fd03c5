"""The deterministic mergers; they run in Rust, on records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, TypeVar, cast, get_args

from pydantic import BaseModel

from omem import _omem
from omem.keys import key_spec
from omem.merger.base import BaseMerger
from omem.schema import compile_schema

T = TypeVar("T", bound=BaseModel)
Lists = Literal["union", "append", "replace"]


class ClassicMerger(BaseMerger[T]):
    """A merger of the Rust engine, also usable on its own."""

    lists: Lists = "union"

    def pair_merge(self, existing: T, incoming: T) -> T:
        """Merge two observations; see `BaseMerger.pair_merge`."""
        return self._run([existing, incoming], lambda item: 0)[0]

    def merge(self, items: Sequence[T]) -> list[T]:
        """Merge items that share a key; see `BaseMerger.merge`."""
        return self._run(items, self.key_extractor) if items else []

    def _run(self, items: Sequence[T], key: Callable[[T], Any]) -> list[T]:
        model = type(items[0])
        store = _omem.Store(compile_schema(model), key_spec(model, key), "error")
        store.apply(store.fold(store.encode(items), self.engine or "", self.lists))
        return cast(list[T], store.snapshot().decode())


class FieldMerger(ClassicMerger[T]):
    """Merges field by field (`MergeStrategy.MERGE_FIELD`).

    A value that is None or was never set changes nothing; lists and sets unite; dicts and nested
    models merge key by key; anything else is overwritten. A field may carry a rule of its own
    (`Annotated[int, Merge.MAX]`).

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        lists: "union" (in order of first appearance), "append" or "replace".
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import FieldMerger
        >>> class Profile(BaseModel):
        ...     name: str
        ...     age: int | None = None
        ...     skills: list[str] = []
        >>> merger = FieldMerger(lambda profile: profile.name)
        >>> merger.merge([Profile(name="Ada", skills=["math"]), Profile(name="Ada", age=36)])
        [Profile(name='Ada', age=36, skills=['math'])]
    """

    engine: ClassVar[str | None] = "merge_field"

    def __init__(
        self,
        key_extractor: Callable[[T], Any],
        *,
        lists: Lists = "union",
        logger_instance: logging.Logger | None = None,
    ) -> None:
        super().__init__(key_extractor, logger_instance=logger_instance)
        if lists not in get_args(Lists):
            raise ValueError(f"lists must be 'union', 'append' or 'replace', not {lists!r}")
        self.lists = lists


class KeepIncomingMerger(ClassicMerger[T]):
    """The incoming entity replaces the existing one whole (`MergeStrategy.KEEP_INCOMING`)."""

    engine: ClassVar[str | None] = "keep_incoming"


class KeepExistingMerger(ClassicMerger[T]):
    """The existing entity stays (`MergeStrategy.KEEP_EXISTING`)."""

    engine: ClassVar[str | None] = "keep_existing"
