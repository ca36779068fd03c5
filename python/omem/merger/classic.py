"""The deterministic mergers; they run in Rust, on records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal, TypeVar, cast, get_args

from pydantic import BaseModel

from omem import _omem
from omem.arguments import one_of
from omem.errors import MergeError
from omem.keys import KeyExtractor, key_spec
from omem.merger.base import BaseMerger, models
from omem.schema import compile_schema

T = TypeVar("T", bound=BaseModel)
Lists = Literal["union", "append", "replace"]


class ClassicMerger(BaseMerger[T]):
    """A merger of the Rust engine, also usable on its own."""

    lists: Lists = "union"
    _schema: tuple[type[T], _omem.Schema] | None = None

    @property
    def runs_in_rust(self) -> bool:
        """Whether no subclass has brought a way of its own to merge.

        Examples:
            >>> from omem import FieldMerger
            >>> FieldMerger("id").runs_in_rust
            True
        """
        own, base = cast(Any, type(self)), cast(Any, ClassicMerger)
        return (own.pair_merge, own.batch_merge) == (base.pair_merge, base.batch_merge)

    def pair_merge(self, existing: T, incoming: T) -> T:
        """Merge two observations; see `BaseMerger.pair_merge`."""
        merged = self._run([existing, incoming], lambda item: 0, pair=True)[0]
        # What was set explicitly on either side is an observation in the next merge too.
        merged.__pydantic_fields_set__ |= existing.model_fields_set | incoming.model_fields_set
        return merged

    def merge(self, items: Iterable[T]) -> list[T]:
        """Merge items that share a key; see `BaseMerger.merge`."""
        if not self.runs_in_rust:
            return super().merge(items)
        items = models(items)
        return self._run(items, self.key_extractor) if items else []

    def _run(
        self, items: Sequence[T], extractor: Callable[[T], Any], *, pair: bool = False
    ) -> list[T]:
        schema = self._schema_of(type(items[0]))
        store = _omem.Store(schema, key_spec(type(items[0]), extractor), "error")
        change = store.fold(store.encode(items), self.engine or "", self.lists)
        for text, known, new, reason in change.refused:
            key = self.key_extractor(items[0]) if pair else _omem.key_from_text(text)
            raise merge_error(schema, key, known, new, reason) from change.cause
        store.apply(change)
        return cast(list[T], store.snapshot().decode())

    def _schema_of(self, model: type[T]) -> _omem.Schema:
        """The compiled schema; kept, since a merger mostly sees one model."""
        if self._schema is None or self._schema[0] is not model:
            self._schema = (model, compile_schema(model))
        return self._schema[1]


def merge_error(
    schema: _omem.Schema, key: Any, existing: bytes, incoming: bytes, reason: str
) -> MergeError:
    """The error that tells of an item which the engine did not merge.

    Args:
        schema: The schema of the records.
        key: The key of both.
        existing: The record that the item met.
        incoming: The item's record.
        reason: Why they were not merged.

    Returns:
        The error, with both sides as models.
    """
    return MergeError(
        f"{key!r} cannot be merged: {reason}; nothing was added. Correct the item, or set what "
        'cannot be merged aside with on_conflict="quarantine"',
        key=key,
        existing=schema.decode(existing),
        incoming=schema.decode(incoming),
        reason=reason,
    )


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
        key_extractor: KeyExtractor[T],
        *,
        lists: Lists = "union",
        logger_instance: logging.Logger | None = None,
    ) -> None:
        super().__init__(key_extractor, logger_instance=logger_instance)
        one_of("lists", lists, get_args(Lists))
        self.lists = lists


class KeepIncomingMerger(ClassicMerger[T]):
    """The incoming entity replaces the existing one whole (`MergeStrategy.KEEP_INCOMING`).

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import KeepIncomingMerger
        >>> class Tag(BaseModel):
        ...     name: str
        ...     uses: int
        >>> KeepIncomingMerger("name").merge([Tag(name="a", uses=1), Tag(name="a", uses=2)])
        [Tag(name='a', uses=2)]
    """

    engine: ClassVar[str | None] = "keep_incoming"


class KeepExistingMerger(ClassicMerger[T]):
    """The existing entity stays (`MergeStrategy.KEEP_EXISTING`).

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import KeepExistingMerger
        >>> class Tag(BaseModel):
        ...     name: str
        ...     uses: int
        >>> KeepExistingMerger("name").merge([Tag(name="a", uses=1), Tag(name="a", uses=2)])
        [Tag(name='a', uses=1)]
    """

    engine: ClassVar[str | None] = "keep_existing"
