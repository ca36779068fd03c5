"""What sources say: records, and the ledger as a mapping of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol, cast

from pydantic import BaseModel
from pydantic_core import to_json as to_json_bytes

from omem import _omem
from omem.arguments import string
from omem.errors import LoadError


class SourceRecord(BaseModel):
    """What one source said.

    Attributes:
        source_id: What the source is called: a path, a URL, any text.
        content_hash: A hash of its content, by which the caller sees whether it changed.
        tags: Its tags, in order.
        raw_items: Its observations before any merge, each as `model_dump()` gives it.

    Examples:
        >>> from omem import SourceRecord
        >>> SourceRecord(source_id="letter", raw_items=[{"name": "Ada"}]).size
        1
    """

    source_id: str
    content_hash: str | None = None
    tags: list[str] = []
    raw_items: list[dict[str, Any]] = []

    @property
    def size(self) -> int:
        """The number of observations.

        Examples:
            >>> from omem import SourceRecord
            >>> SourceRecord(source_id="letter").size
            0
        """
        return len(self.raw_items)


class _Owner(Protocol):
    """What a `SourceLedger` asks of its memory."""

    def _need_ledger(self) -> _omem.Ledger: ...
    def _read_source(self, source_id: str) -> SourceRecord: ...
    def _assign_source(self, source_id: str, record: SourceRecord) -> None: ...
    def _detach_source(self, source_id: str) -> None: ...
    def _empty_ledger(self) -> None: ...


class SourceLedger(MutableMapping[str, SourceRecord]):
    """The sources of a memory by their ids, in order: `memory.ledger`.

    What it gives are the caller's own copies. To assign a record (of another memory, say) replaces
    what that source said; it is not merged into the entities. To delete a source forgets where
    things came from: what it said of entities stays. `memory.remove_source` takes that back too.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import OMem
        >>> class Tag(BaseModel):
        ...     name: str
        >>> memory = OMem(Tag, "name", track_sources=True)
        >>> _ = memory.add(Tag(name="a"), source_id="letter")
        >>> list(memory.ledger), "rumour" in memory.ledger
        (['letter'], False)
        >>> del memory.ledger["letter"]
        >>> memory.keys
        ['a']
    """

    __slots__ = ("_memory",)

    def __init__(self, memory: _Owner) -> None:
        self._memory = memory

    def __getitem__(self, source_id: str) -> SourceRecord:
        """What a source said."""
        return self._memory._read_source(source_id)

    def __setitem__(self, source_id: str, record: SourceRecord | Mapping[str, Any]) -> None:
        """Replace what a source said; entities do not change."""
        self._memory._assign_source(source_id, SourceRecord.model_validate(record))

    def __delitem__(self, source_id: str) -> None:
        """Forget a source; what it said of entities stays."""
        self._memory._detach_source(source_id)

    def __iter__(self) -> Iterator[str]:
        """The ids of the sources, in order."""
        return iter(self._memory._need_ledger().sources())

    def __len__(self) -> int:
        """The number of sources."""
        return len(self._memory._need_ledger())

    def __contains__(self, source_id: object) -> bool:
        """Whether there is a source."""
        return isinstance(source_id, str) and self._memory._need_ledger().contains(source_id)

    def clear(self) -> None:
        """Forget all sources; entities do not change.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", track_sources=True)
            >>> _ = memory.add(Tag(name="a"), source_id="letter")
            >>> memory.ledger.clear()
            >>> len(memory.ledger)
            0
        """
        self._memory._empty_ledger()

    def __repr__(self) -> str:
        return f"<ledger of {len(self):,} sources>"


def check_source_id(source_id: str) -> None:
    """Refuse what cannot name a source.

    Args:
        source_id: The name.

    Raises:
        TypeError: It is no str.
        ValueError: It is empty, or holds half a surrogate pair.
    """
    string("source_id", source_id)
    if not source_id:
        raise ValueError("source_id is empty; leave it out for an observation without a source")
    try:
        source_id.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"source_id {source_id!r} holds half a surrogate pair") from error


def note(
    ledger: _omem.Ledger,
    lines: _omem.Lines,
    store: _omem.Store,
    source_id: str,
    raw_items: Iterable[Mapping[str, Any]],
    restore: Callable[[Mapping[str, Any]], BaseModel],
) -> None:
    """Add to a change of the ledger what a source says without being merged.

    Args:
        ledger: The ledger.
        lines: The change.
        store: Encodes and keys the items.
        source_id: The source.
        raw_items: What it says. An empty dict says nothing, and is kept as it is.
        restore: Makes a model of an item.

    Raises:
        TypeError: An item is no dict.
        ValueError: An item does not fit the model.
    """

    def models() -> Iterator[BaseModel | None]:
        for number, raw in enumerate(raw_items):
            if not isinstance(cast(object, raw), Mapping):
                raise TypeError(
                    f"item {number} of source {source_id!r} is a {type(raw).__name__}, not a dict"
                )
            yield _model(raw, number, source_id, restore) if raw else None

    note_models(ledger, lines, store, source_id, models())


def note_models(
    ledger: _omem.Ledger,
    lines: _omem.Lines,
    store: _omem.Store,
    source_id: str,
    models: Iterable[BaseModel | None],
) -> None:
    """Add to a change of the ledger what a source says without being merged.

    Args:
        ledger: The ledger.
        lines: The change.
        store: Encodes and keys the items.
        source_id: The source.
        models: What it says; None stands for what says nothing.
    """
    waiting: list[BaseModel] = []

    def flush() -> None:
        if waiting:
            ledger.record_more(lines, source_id, store.encode(waiting))
            waiting.clear()

    for model in models:
        if model is not None:
            waiting.append(model)
        else:
            flush()
            ledger.record_raw(lines, source_id, b"{}")
    flush()


def _model(
    raw: Mapping[str, Any],
    number: int,
    source_id: str,
    restore: Callable[[Mapping[str, Any]], BaseModel],
) -> BaseModel:
    try:
        return restore(raw)
    except ValueError as error:
        place = f" ({error.path})" if isinstance(error, LoadError) and error.path else ""
        raise ValueError(
            f"item {number} of source {source_id!r} does not fit the model: {error}{place}"
        ) from error


def to_text(raw: Mapping[str, Any]) -> bytes:
    """An item as JSON text.

    Args:
        raw: The item; dates and the like are written as Pydantic does.

    Returns:
        The text.

    Raises:
        ValueError: It holds what JSON cannot.
    """
    return to_json_bytes(dict(raw))
