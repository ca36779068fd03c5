"""Looking at a saved memory without loading it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from omem import _omem, metadata
from omem.base import StrPath
from omem.errors import FolderNotFoundError, IndexDamagedError, LoadError
from omem.index import files as index_files
from omem.metadata import DATA, DOCSTORE, INDEX_FOLDER, METADATA, QUARANTINE, SOURCES, VECTORS


@dataclass(frozen=True, slots=True)
class FolderInfo:
    """What a folder says of itself.

    Attributes:
        path: The folder.
        entities: How many entities the metadata name.
        schema_name: The model's name.
        schema_fingerprint: The fingerprint of the model's JSON schema.
        created: When it was dumped (ISO 8601, UTC).
        library_version: The version of omem that dumped it.
        strategy: The merger's name.
        key_fields: The fields that make the key, None for a key function.
        embedder: The embedder's signature.
        sizes: The size in bytes of each file there is.
        checksums: The checksum of each file, as the metadata have it.
        index: "none", "present" or "damaged: …".
        vectors: How many vectors the index has.
    """

    path: Path
    entities: int | None
    schema_name: str | None
    schema_fingerprint: str | None
    created: str | None
    library_version: str | None
    strategy: str | None
    key_fields: list[str] | None
    embedder: str | None
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    checksums: dict[str, str] = field(default_factory=dict[str, str])
    index: str = "none"
    vectors: int = 0


def inspect(folder_path: StrPath) -> FolderInfo:
    """Say what a saved memory holds, without loading its entities.

    Args:
        folder_path: The folder.

    Returns:
        What its metadata say, and which files there are.

    Raises:
        FileNotFoundError: There is no such folder, or no saved memory in it.
        LoadError: Its metadata are damaged.

    Examples:
        >>> import tempfile
        >>> from pydantic import BaseModel
        >>> from omem import OMem, inspect
        >>> class Tag(BaseModel):
        ...     name: str
        >>> memory = OMem(Tag, "name")
        >>> _ = memory.add(Tag(name="a"))
        >>> folder = tempfile.mkdtemp()
        >>> memory.dump(folder)
        >>> inspect(folder).entities
        1
    """
    path = _existing(folder_path)
    with _omem.FolderReader(path) as folder:
        file = folder.path(METADATA)
        found = {} if file is None else metadata.read(file)
        sizes = {
            name: place.stat().st_size
            for name in (DATA, METADATA, SOURCES, QUARANTINE, VECTORS, DOCSTORE)
            if (place := folder.path(name)) is not None
        }
        if not sizes:
            raise FolderNotFoundError(f"{path} holds no saved memory")
        index, vectors = _index_state(folder, path)
    checksums = {
        name: facts[1] for name in sizes if (facts := metadata.facts_of(found, name)) is not None
    }
    return FolderInfo(
        path=path,
        entities=found.get("size"),
        schema_name=found.get("schema_name"),
        schema_fingerprint=found.get("schema_fingerprint"),
        created=found.get("created"),
        library_version=found.get("library_version"),
        strategy=found.get("strategy"),
        key_fields=found.get("key_fields"),
        embedder=found.get("embedder"),
        sizes=sizes,
        checksums=checksums,
        index=index,
        vectors=vectors,
    )


def verify(folder_path: StrPath) -> list[str]:
    """Check everything in a saved memory that can be checked without its model.

    Sizes and checksums of all files, that the data are a JSON array of as many objects as the
    metadata say, and that the index's files belong together.

    Args:
        folder_path: The folder.

    Returns:
        What is wrong, one sentence each; empty where all is well.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    path = _existing(folder_path)
    wrong: list[str] = []
    with _omem.FolderReader(path) as folder:
        file = folder.path(METADATA)
        found: dict[str, Any] = {}
        if file is None:
            wrong.append(f"{METADATA} is missing, so checksums cannot be compared")
        else:
            try:
                found = metadata.read(file)
            except LoadError as error:
                wrong.append(str(error))
        listed: object = found.get("files")
        names = cast("dict[str, object]", listed) if isinstance(listed, dict) else {}
        for name in names:
            facts, place = metadata.facts_of(found, name), folder.path(name)
            if place is None:
                wrong.append(f"{name} is missing")
            elif facts is not None and _omem.file_facts(place) != facts:
                wrong.append(f"{name} is not the file that {METADATA} describes")
        data = folder.path(DATA)
        if data is None:
            wrong.append(f"{DATA} is missing")
        else:
            wrong += _data_faults(data, found.get("size"))
        state, _ = _index_state(folder, path)
        if state.startswith("damaged"):
            wrong.append(f"the index is {state}")
    return wrong


def _existing(folder_path: StrPath) -> Path:
    path = Path(folder_path)
    if not path.is_dir():
        raise FolderNotFoundError(f"there is no folder {path}; dump() writes one")
    return path


def _index_state(folder: _omem.FolderReader, path: Path) -> tuple[str, int]:
    try:
        saved = index_files.read(path / INDEX_FOLDER, folder.path(VECTORS), folder.path(DOCSTORE))
    except IndexDamagedError as error:
        return f"damaged: {error}", 0
    return ("none", 0) if saved is None else ("present", len(saved.keys))


def _data_faults(data: Path, size: object) -> list[str]:
    try:
        records: Any = json.loads(data.read_bytes())
    except (ValueError, RecursionError) as error:
        return [f"{DATA} is not valid JSON: {error}"]
    if not isinstance(records, list):
        return [f"{DATA} is no array"]
    rows = cast("list[object]", records)
    if not all(isinstance(row, dict) for row in rows):
        return [f"{DATA} is no array of objects"]
    if isinstance(size, int) and size != len(rows):
        return [f"{DATA} has {len(rows)} entities, {METADATA} says {size}"]
    return []
