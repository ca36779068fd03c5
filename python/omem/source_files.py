"""The files that hold what sources say: `sources.json`, and what `dump_sources` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import orjson
from pydantic import BaseModel

from omem import _omem
from omem.errors import LoadError
from omem.rows import Skipped, read_rows
from omem.sources import SourceRecord, check_source_id, note_models, to_text


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
        note_models(ledger, lines, store, record.source_id, items)
    return ledger.found(lines, entities)


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
