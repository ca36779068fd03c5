"""The files of a vector index: `index.faiss` and `docstore.pkl`, and those of a LangChain store.

`index.faiss` is a FAISS flat L2 index: a header of 37 bytes (fourcc "IxF2", dimension as i32,
number of vectors as i64, two unused i64, a flag, the metric as i32), the number of floats as u64,
the floats. It is written and read here; FAISS itself reads it too. `docstore.pkl` is a pickle of
builtins; it names size and checksum of its `index.faiss`, and the closed reader reads it.
"""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from omem import _omem
from omem.errors import IndexDamagedError
from omem.index.vectors import Vectors, content_hash
from omem.keys import key_text

FORMAT = 1
VECTORS = "index.faiss"
DOCSTORE = "docstore.pkl"
_HEADER = struct.Struct("<4siqqqBiQ")
_UNUSED = 1 << 20
_METRIC_L2 = 1


class Saved(NamedTuple):
    """An index as it was saved."""

    keys: list[bytes]
    hashes: list[bytes]
    vectors: Vectors
    embedder: str | None
    fields: list[str]


def faiss_bytes(vectors: Vectors) -> bytes:
    """The content of `index.faiss`.

    Args:
        vectors: An array of shape (n, dimension).

    Returns:
        A FAISS flat L2 index.
    """
    count, dimension = vectors.shape
    header = _HEADER.pack(
        b"IxF2", dimension, count, _UNUSED, _UNUSED, 1, _METRIC_L2, count * dimension
    )
    return header + np.ascontiguousarray(vectors, dtype="<f4").tobytes()


def docstore_bytes(
    keys: list[bytes],
    hashes: list[bytes],
    *,
    embedder: str | None,
    fields: list[str],
    vectors: tuple[int, str],
) -> bytes:
    """The content of `docstore.pkl`.

    Args:
        keys: The key text of each vector, in order.
        hashes: The content hash of each vector, in order.
        embedder: The embedder's signature.
        fields: `fields_for_index`.
        vectors: Size and checksum of `index.faiss`.

    Returns:
        A pickle of builtins.
    """
    size, checksum = vectors
    content = {
        "format": FORMAT,
        "keys": keys,
        "hashes": b"".join(hashes),
        "embedder": embedder,
        "fields_for_index": fields,
        "index_size": size,
        "index_checksum": checksum,
    }
    return pickle.dumps(content, protocol=4)


def read(folder: Path, vectors: Path | None, docstore: Path | None) -> Saved | None:
    """Read a saved index.

    Args:
        folder: The folder, for a LangChain store.
        vectors: Where `index.faiss` lies, if there is one.
        docstore: Where `docstore.pkl` lies, if there is one.

    Returns:
        The index, or None where there is none.

    Raises:
        IndexDamagedError: The files are damaged or do not belong together.
    """
    if vectors is None and docstore is None:
        return None
    if vectors is None:
        raise IndexDamagedError(f"{folder} has a {DOCSTORE} but no {VECTORS}")
    if docstore is not None:
        return _read_own(vectors, docstore)
    if (folder / "index.pkl").exists():
        return _read_langchain(folder, vectors)
    raise IndexDamagedError(f"{folder} has an {VECTORS} but no {DOCSTORE}")


def _read_own(vectors: Path, docstore: Path) -> Saved:
    content = _unpickle(docstore)
    if not isinstance(content, dict):
        raise IndexDamagedError(f"{docstore} is no docstore of omem")
    parts = cast("dict[str, Any]", content)
    if parts.get("format") != FORMAT:
        raise IndexDamagedError(f"{docstore} is of the unknown format {parts.get('format')!r}")
    keys, hashes, fields = parts.get("keys"), parts.get("hashes"), parts.get("fields_for_index")
    embedder = parts.get("embedder")
    sound = (
        isinstance(keys, list)
        and all(isinstance(key, bytes) for key in cast("list[Any]", keys))
        and isinstance(hashes, bytes)
        and len(hashes) == 16 * len(cast("list[Any]", keys))
        and isinstance(fields, list)
        and isinstance(embedder, (str, type(None)))
    )
    if not sound:
        raise IndexDamagedError(f"{docstore} is damaged")
    facts = _omem.file_facts(vectors)
    if facts != (parts.get("index_size"), parts.get("index_checksum")):
        raise IndexDamagedError(f"{vectors} is not the file that {docstore.name} was written with")
    assert isinstance(hashes, bytes)
    keys = cast("list[bytes]", keys)
    return Saved(
        keys,
        [hashes[16 * n : 16 * n + 16] for n in range(len(keys))],
        _read_vectors(vectors, len(keys)),
        embedder,
        cast("list[str]", fields),
    )


def _read_vectors(path: Path, count: int) -> Vectors:
    """The vectors of a flat L2 index, after its header was checked against its size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise IndexDamagedError(f"{path} ends too early")
        fourcc, dimension, total, _, _, _, metric, floats = _HEADER.unpack(header)
        fits = (
            fourcc in (b"IxF2", b"IxFl")
            and metric == _METRIC_L2
            and total == count
            and dimension >= 0
            and floats == total * dimension
            and size == _HEADER.size + 4 * floats
        )
        if not fits:
            raise IndexDamagedError(f"{path} is no flat L2 index of {count} vectors")
        vectors = np.fromfile(file, dtype="<f4", count=floats).reshape(total, dimension)
    if not np.isfinite(vectors).all():
        raise IndexDamagedError(f"{path} has vectors that are not finite")
    return vectors.astype(np.float32, copy=False)


def _unpickle(path: Path) -> Any:
    try:
        return _omem.read_pickle(path.read_bytes())
    except ValueError as error:
        raise IndexDamagedError(f"{path} is damaged: {error}") from error


def _read_langchain(folder: Path, vectors: Path) -> Saved:
    """A store that LangChain's FAISS wrapper wrote: documents by id, ids by position."""
    path = folder / "index.pkl"
    content = _unpickle(path)
    try:
        store, ids = content
        documents: dict[str, Any] = store["_dict"]
        keys: list[bytes] = []
        hashes: list[bytes] = []
        for position in range(len(ids)):
            document = documents[ids[position]]
            state = document.get("__dict__", document)
            keys.append(key_text(state["metadata"]["key"]))
            hashes.append(content_hash(state["page_content"]))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise IndexDamagedError(f"{path} is no docstore of LangChain: {error!r}") from error
    embedder = None
    try:
        meta: Any = json.loads((folder / "index.meta.json").read_bytes())
        embedder = meta.get("embedder_signature")
    except (OSError, ValueError, AttributeError):
        pass  # written by an older version of the peer: whose vectors they are is not known
    return Saved(keys, hashes, _read_vectors(vectors, len(keys)), embedder, [])


def count(path: Path) -> int | None:
    """How many vectors a FAISS index says that it has, without reading them.

    Args:
        path: The file.

    Returns:
        The number, or None where that is no FAISS index. Every kind of index begins with a name
        of four letters, the dimension as i32 and the number as i64.
    """
    with path.open("rb") as file:
        header = file.read(16)
    if len(header) < 16 or not (header[:1] == b"I" and header[:4].isalnum()):
        return None
    dimension, total = struct.unpack("<iq", header[4:])
    return total if dimension >= 0 and total >= 0 else None
