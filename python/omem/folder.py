"""Looking at a saved memory without loading it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omem import _omem, metadata
from omem.base import StrPath
from omem.errors import FolderNotFoundError, IndexDamagedError, LoadError
from omem.index import files as index_files
from omem.metadata import DATA, DOCSTORE, FILES, INDEX_FOLDER, METADATA, RECORDS, VECTORS
from omem.view import view

MOST_FAULTS = 100
"""At most so many broken records of one file are listed by `verify`."""


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
        index: "none", "present" or "damaged: …"; only `verify` reads it all.
        vectors: How many vectors the index has.

    Examples:
        >>> import tempfile
        >>> from pydantic import BaseModel
        >>> from omem import OMem, inspect
        >>> class Tag(BaseModel):
        ...     name: str
        >>> folder = tempfile.mkdtemp()
        >>> OMem(Tag, "name").dump(folder)
        >>> info = inspect(folder)
        >>> info.schema_name, info.key_fields, info.sizes["memory.json"], info.index
        ('Tag', ['name'], 3, 'none')
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
    path = existing_folder(folder_path)
    return view(path, lambda folder: _look(folder, path))


def _look(folder: _omem.FolderReader, path: Path) -> FolderInfo:
    file = folder.path(METADATA)
    found = {} if file is None else metadata.read(file)
    sizes = {
        name: place.stat().st_size for name in FILES if (place := folder.path(name)) is not None
    }
    if not sizes:
        raise FolderNotFoundError(f"{path} holds no saved memory")
    index, vectors = _index_at_a_glance(folder, path, found)
    checksums = {
        name: facts[1] for name in sizes if (facts := metadata.facts_of(found, name)) is not None
    }
    return FolderInfo(
        path=path,
        sizes=sizes,
        checksums=checksums,
        index=index,
        vectors=vectors,
        entities=found.get("size"),
        schema_name=found.get("schema_name"),
        schema_fingerprint=found.get("schema_fingerprint"),
        created=found.get("created"),
        library_version=found.get("library_version"),
        strategy=found.get("strategy"),
        key_fields=found.get("key_fields"),
        embedder=found.get("embedder"),
    )


def verify(folder_path: StrPath) -> list[str]:
    """Check everything in a saved memory that can be checked without its model.

    Sizes and checksums of all files, that data and ledger are JSON arrays of objects, of as many
    as the metadata say, and that the index's files belong together. Files are read in pieces, so
    that a folder of any size can be verified.

    Args:
        folder_path: The folder.

    Returns:
        What is wrong, one sentence each; empty where all is well.

    Raises:
        FileNotFoundError: There is no such folder.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from pydantic import BaseModel
        >>> from omem import OMem, verify
        >>> class Tag(BaseModel):
        ...     name: str
        >>> memory = OMem(Tag, "name")
        >>> _ = memory.add(Tag(name="a"))
        >>> folder = Path(tempfile.mkdtemp())
        >>> memory.dump(folder)
        >>> verify(folder)
        []
        >>> _ = (folder / "memory.json").write_text("[]")
        >>> len(verify(folder))
        2
    """
    path = existing_folder(folder_path)
    return view(path, lambda folder: _faults(folder, path))


def _faults(folder: _omem.FolderReader, path: Path) -> list[str]:
    wrong: list[str] = []
    found = _metadata(folder, wrong)
    listed: dict[str, Any] = found.get("files", {})
    unknown = [name for name in listed if name not in FILES]
    wrong += [f"{METADATA} lists {name}, which is no file of a memory" for name in unknown]
    for name in FILES:
        if name == METADATA:
            continue
        try:
            place = folder.path(name)
            if place is not None:
                _check(name, place, found, wrong)
            elif name in listed or name == DATA:
                wrong.append(f"{name} is missing")
        except OSError as error:
            wrong.append(f"{name} cannot be read: {error}")
    try:
        index_files.read(path / INDEX_FOLDER, folder.path(VECTORS), folder.path(DOCSTORE))
    except IndexDamagedError as error:
        wrong.append(f"the index is damaged: {error}")
    except OSError:
        pass  # told above
    return wrong


def existing_folder(folder_path: StrPath) -> Path:
    """The path of a folder that is there.

    Args:
        folder_path: The folder.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    path = Path(folder_path)
    if path.is_dir():
        return path
    if path.exists():
        raise FolderNotFoundError(f"{path} is a file, not a folder; load_data() reads single files")
    raise FolderNotFoundError(f"there is no folder {path}; dump() writes one")


def _metadata(folder: _omem.FolderReader, wrong: list[str]) -> dict[str, Any]:
    """The metadata, or {} where they cannot be read."""
    try:
        file = folder.path(METADATA)
        if file is not None:
            return metadata.read(file)
        wrong.append(f"{METADATA} is missing, so checksums cannot be compared")
    except LoadError as error:
        wrong.append(str(error))
    except OSError as error:
        wrong.append(f"{METADATA} cannot be read: {error}")
    return {}


def _check(name: str, place: Path, found: dict[str, Any], wrong: list[str]) -> None:
    """Compare a file with the metadata, and look into it where it holds records."""
    facts = metadata.facts_of(found, name)
    records = name in RECORDS
    seen = _check_records(name, place, found, wrong) if records else _omem.file_facts(place)
    if facts is None and found.get("files"):
        wrong.append(f"{name} is not listed in {METADATA}, so it is of another dump")
    elif facts not in (None, seen):
        wrong.append(f"{name} is not the file that {METADATA} describes")


def _check_records(
    name: str, place: Path, found: dict[str, Any], wrong: list[str]
) -> tuple[int, str]:
    """List what is wrong in a file of records; its size and checksum."""
    try:
        survey = _omem.survey(place)
    except LoadError as error:
        wrong.append(str(error))
        return _omem.file_facts(place)
    faults = survey.skipped
    wrong += [
        f"{name}: record {record}, line {line}, byte {at}: {reason} ({where})"
        for record, line, at, where, reason in faults[:MOST_FAULTS]
    ]
    if len(faults) > MOST_FAULTS:
        wrong.append(f"{name}: {len(faults) - MOST_FAULTS} more records are broken")
    size = found.get("size")
    if name == DATA and size not in (None, survey.records):
        wrong.append(f"{DATA} has {survey.records} records, {METADATA} says {size}")
    return survey.size, survey.checksum


def _index_at_a_glance(
    folder: _omem.FolderReader, path: Path, found: dict[str, Any]
) -> tuple[str, int]:
    """The state of the index as far as sizes and headers tell, and its number of vectors."""
    vectors, docstore = folder.path(VECTORS), folder.path(DOCSTORE)
    if vectors is None and docstore is None:
        return "none", 0
    if vectors is None:
        return f"damaged: {VECTORS} is missing", 0
    if docstore is None and not (path / INDEX_FOLDER / "index.pkl").exists():
        return f"damaged: {DOCSTORE} is missing", 0
    for name, place in ((VECTORS, vectors), (DOCSTORE, docstore)):
        facts = metadata.facts_of(found, name)
        if place is not None and facts is not None and place.stat().st_size != facts[0]:
            return f"damaged: {name} is not the file that {METADATA} describes", 0
    count = index_files.count(vectors)
    if count is None:
        return f"damaged: {VECTORS} is no FAISS index", 0
    return "present", count
