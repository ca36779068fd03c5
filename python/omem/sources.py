"""The records of the source ledger, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Protocol, cast

import orjson
from pydantic import BaseModel
from pydantic_core import to_json as to_json_bytes

from omem import _omem
from omem.arguments import string
from omem.errors import LoadError
from omem.rows import Skipped, read_rows


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


def to_json(ledger: _omem.Ledger) -> bytes:
    """The ledger as `dump_sources` writes it.

    Args:
        ledger: The ledger.

    Returns:
        A JSON array of objects with `source_id`, `content_hash`, `tags`, `raw_items`, one a line.
    """
    lines: list[bytes] = []
    for source_id in ledger.sources():
        content_hash, tags, _ = ledger.about(source_id) or (None, [], 0)
        lines.append(
            b'{"source_id":%b,"content_hash":%b,"tags":%b,"raw_items":[%b]}'
            % (
                orjson.dumps(source_id),
                orjson.dumps(content_hash),
                orjson.dumps(tags),
                b",".join(ledger.items(source_id)),
            )
        )
    return b"[\n" + b",\n".join(lines) + b"\n]\n" if lines else b"[]\n"


def read(
    ledger: _omem.Ledger,
    path: Path,
    entities: _omem.Snapshot,
    store: _omem.Store,
    restore: Callable[[bytes], BaseModel],
    *,
    all_records: bool = False,
    skip: bool = False,
) -> tuple[_omem.PreparedLedger, list[Skipped]]:
    """Read the `sources.json` of a folder, ours or one in the format of `dump_sources`.

    Args:
        ledger: The ledger whose place the new one will take.
        path: The file.
        entities: The entities that it will belong to.
        store: Encodes and keys the items.
        restore: Makes a model of the JSON text of an item.
        all_records: Every item goes through `restore`.
        skip: Leave out what is bad, instead of raising.

    Returns:
        The new ledger, and what was left out.

    Raises:
        LoadError: The file does not hold what it should.
    """
    line = _line_restorer(restore, store)
    try:
        prepared = ledger.read(path, entities, line, all_records, skip)
    except _OtherFormatError:
        found, skipped = records(path, restore, store, skip=skip)
        return prepare(found, entities, store), skipped
    return prepared, prepared.skipped


def records(
    path: Path, restore: Callable[[bytes], BaseModel], store: _omem.Store, *, skip: bool = False
) -> tuple[list[tuple[SourceRecord, list[BaseModel | None]]], list[Skipped]]:
    """Read a file that `dump_sources` wrote, ours or the peer's.

    Args:
        path: The file.
        restore: Makes a model of the JSON text of an item.
        store: Encodes and keys the items.
        skip: Leave out sources and items that are bad, instead of raising.

    Returns:
        Its records, each with its items as models (None for one that says nothing), and what was
        left out.

    Raises:
        FileNotFoundError: There is no such file.
        LoadError: It holds something else; the message names the record.
    """
    found: list[tuple[SourceRecord, list[BaseModel | None]]] = []
    bad: list[list[LoadError]] = []

    def take(raw: bytes) -> None:
        record = SourceRecord.model_validate(json.loads(raw))
        check_source_id(record.source_id)
        items: list[BaseModel | None] = []
        faults: list[LoadError] = []
        for number, item in enumerate(record.raw_items):
            try:
                items.append(restore(to_text(item)) if item else None)
                store.encode([model for model in items[-1:] if model is not None])
            except ValueError as error:
                del items[number - len(faults) :]
                inner = getattr(error, "path", None) or "$"
                path = f"$.raw_items[{number}]{inner[1:]}"
                faults.append(LoadError(f"{record.source_id!r} says: {error}", path=path))
        found.append((record, items))
        if faults:
            bad.append(faults)
            raise faults[0]

    places = read_rows(path, take, skip=skip).skipped
    skipped: list[Skipped] = []
    partial = iter(bad)
    for place in places:
        faults: list[LoadError] = []
        if place[3].startswith("$.raw_items["):
            faults = next(partial, faults)
        skipped += [(*place[:3], fault.path or "$", str(fault)) for fault in faults] or [place]
    return found, skipped


def prepare(
    found: Iterable[tuple[SourceRecord, list[BaseModel | None]]],
    entities: _omem.Snapshot,
    store: _omem.Store,
) -> _omem.PreparedLedger:
    """A ledger of records.

    Args:
        found: The records, each with its items as models. Of two with the same id the last counts.
        entities: The entities that it will belong to.
        store: Encodes and keys the items.

    Returns:
        The ledger.
    """
    ledger = _omem.Ledger(store)
    lines = ledger.lines()
    for record, items in {record.source_id: (record, items) for record, items in found}.values():
        ledger.introduce(lines, record.source_id, record.content_hash, record.tags)
        _note(ledger, lines, store, record.source_id, items)
    return ledger.found(lines, entities)


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

    _note(ledger, lines, store, source_id, models())


def _note(
    ledger: _omem.Ledger,
    lines: _omem.Lines,
    store: _omem.Store,
    source_id: str,
    models: Iterable[BaseModel | None],
) -> None:
    """Add to a change of the ledger what a source says; None stands for what says nothing."""
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


class _OtherFormatError(RuntimeError):
    """A file holds the records of sources, not the lines of a ledger: no fault of the line."""


_FIELDS = ("n", "kind", "source", "key", "batch", "unset", "info")
_RECORD = b',"record":'


def _line_restorer(
    restore: Callable[[bytes], BaseModel], store: _omem.Store
) -> Callable[[bytes], bytes]:
    """What makes canonical those lines of a file that the extension cannot vouch for."""

    def line(raw: bytes) -> bytes:
        parsed: object = json.loads(raw)
        if not isinstance(parsed, dict):
            raise ValueError("a JSON object was expected")
        fields = cast("dict[str, Any]", parsed)
        if "source_id" in fields:
            raise _OtherFormatError
        missing = [name for name in (*_FIELDS, "record") if name not in fields]
        if missing:
            raise ValueError(
                f"a source of dump_sources() or a line of a folder's ledger was expected; this has "
                f"no field {missing[0]!r}"
            )
        record = json.dumps(fields["record"], ensure_ascii=False).encode()
        if fields["record"] is not None and fields["key"] is not None:
            batch = store.encode([restore(record)])
            record = batch.records()[0]
            fields["key"] = batch.keys()[0].decode()
            # What was not set is known by its place in the very record that was written.
            if record != raw[raw.find(_RECORD) + len(_RECORD) : -1]:
                fields["unset"] = store.unset(record)
        if fields["info"] is not None:
            info = cast("dict[str, Any]", fields["info"])
            fields["info"] = {"content_hash": info["content_hash"], "tags": info["tags"]}
        texts = [b'"%b":%b' % (name.encode(), orjson.dumps(fields[name])) for name in _FIELDS]
        return b"{" + b",".join(texts) + _RECORD + record + b"}"

    return line
