"""`metadata.json`: what a folder holds and what wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson

from omem.errors import LoadError
from omem.version import __version__

FORMAT_VERSION = 1

DATA = "memory.json"
METADATA = "metadata.json"
SOURCES = "sources.json"
QUARANTINE = "quarantine.json"
INDEX_FOLDER = "faiss_index"
VECTORS = f"{INDEX_FOLDER}/index.faiss"
DOCSTORE = f"{INDEX_FOLDER}/docstore.pkl"

FILES = (DATA, METADATA, SOURCES, QUARANTINE, VECTORS, DOCSTORE)
"""All files of a folder."""
RECORDS = (DATA, SOURCES, QUARANTINE)
"""Those that are JSON arrays of objects."""

MAX_BYTES = 16 << 20
"""No metadata are longer; what is, is not read into memory."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "schema_name": str,
    "size": int,
    "fields_for_index": (list, type(None)),
    "format_version": int,
    "library_version": str,
    "created": str,
    "schema_fingerprint": str,
    "key_fields": (list, type(None)),
    "strategy": str,
    "embedder": (str, type(None)),
    "files": dict,
}


def describe(
    *,
    schema_name: str,
    fingerprint: str,
    size: int,
    fields_for_index: list[str],
    key_fields: list[str] | None,
    strategy: str,
    embedder: str | None,
    files: Mapping[str, Mapping[str, Any]],
) -> bytes:
    """The content of `metadata.json`.

    Args:
        schema_name: The name of the model class.
        fingerprint: The fingerprint of the model's JSON schema.
        size: How many entities there are.
        fields_for_index: The fields that are embedded; empty for the whole record.
        key_fields: The fields that make the key, or None for a key function.
        strategy: The merger's name.
        embedder: The embedder's signature.
        files: Size in bytes and checksum of every other file.

    Returns:
        UTF-8 JSON.
    """
    metadata = {
        "schema_name": schema_name,
        "size": size,
        "fields_for_index": fields_for_index,
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "schema_fingerprint": fingerprint,
        "key_fields": key_fields,
        "strategy": strategy,
        "embedder": embedder,
        "files": files,
    }
    return orjson.dumps(metadata, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read(path: Path) -> dict[str, Any]:
    """Read a `metadata.json`, ours or one with the peer's three fields.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: There is no such file.
        LoadError: It is no JSON object, or of a format that this version does not know.
    """
    if path.stat().st_size > MAX_BYTES:
        raise LoadError(f"{path} is too long for metadata; {_instead(path)}", file=str(path))
    content = path.read_bytes()
    try:
        metadata = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise LoadError(
            f"{path} is not valid JSON: {error}; {_instead(path)}",
            file=str(path),
            offset=error.pos,
        ) from error
    if not isinstance(metadata, dict):
        raise LoadError(
            f"{path} holds {type(metadata).__name__}, not a JSON object; {_instead(path)}",
            file=str(path),
        )
    metadata = cast("dict[str, Any]", metadata)
    version = metadata.get("format_version", 0)
    if type(version) is int and version > FORMAT_VERSION:
        raise LoadError(
            f"{path} is of format {version!r}; this version of omem reads up to {FORMAT_VERSION}. "
            "Update omem-rs",
            file=str(path),
        )
    fault = _fault_in(metadata)
    if fault is not None:
        name, reason = fault
        raise LoadError(f"{path}: {reason}; {_instead(path)}", file=str(path), path=f"$.{name}")
    return metadata


def _instead(path: Path) -> str:
    return (
        "restore it from a backup, or load the data alone with "
        f"load_data({str(path.with_name(DATA))!r})"
    )


def _fault_in(metadata: dict[str, Any]) -> tuple[str, str] | None:
    """Which entry is not what it should be, and why."""
    for name, kind in _TYPES.items():
        value = metadata.get(name)
        if name in metadata and (not isinstance(value, kind) or isinstance(value, bool)):
            return name, f"{name} cannot be {_shown(value)}"
    for name in ("size", "format_version"):
        if metadata.get(name, 0) < 0:
            return name, f"{name} cannot be {metadata[name]}"
    for name in ("fields_for_index", "key_fields"):
        parts: list[object] = metadata.get(name) or []
        if not all(isinstance(part, str) for part in parts):
            return name, f"{name} cannot be {_shown(metadata[name])}"
    for name in metadata.get("files", {}):
        if facts_of(metadata, name) is None:
            return "files", f"the entry of {name!r} in files has no size and checksum"
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def facts_of(metadata: Mapping[str, Any], name: str) -> tuple[int, str] | None:
    """Size and checksum of a file as the metadata has them.

    Args:
        metadata: The content of `metadata.json`.
        name: The file's name in the folder.

    Returns:
        Size in bytes and checksum, or None where the metadata do not list the file.
    """
    files: object = metadata.get("files")
    if not isinstance(files, dict):
        return None
    facts: object = cast("dict[str, object]", files).get(name)
    if not isinstance(facts, dict):
        return None
    size, checksum = (cast("dict[str, object]", facts).get(key) for key in ("size", "checksum"))
    return (size, checksum) if isinstance(size, int) and isinstance(checksum, str) else None
