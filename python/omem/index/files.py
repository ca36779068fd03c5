"""The files of a vector index: `index.faiss` and `docstore.pkl`, and those of a LangChain store.

`index.faiss` is what `faiss.write_index` writes and `faiss.read_index` reads, but both are done
here: FAISS believes what a file says of itself. A flat index is a header of 37 bytes (fourcc,
dimension as i32, number of vectors as i64, two unused i64, a flag, the metric as i32), the number
of floats as u64, the floats. An HNSW index is a header, the arrays of its graph, a flat index.
Every size is compared with the file's before anything is allocated, and every link of a graph is
checked before FAISS follows it. `docstore.pkl` is a pickle of builtins that names size and
checksum of its `index.faiss`; the closed reader in Rust reads it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, cast

import faiss
import numpy as np

from omem import _omem
from omem.errors import IndexDamagedError
from omem.index.flat import Flat
from omem.index.graph import Graph
from omem.index.kinds import Kind
from omem.index.metric import METRICS
from omem.index.vectors import VectorIndex

_faiss = cast(Any, faiss)

VECTORS = "index.faiss"
DOCSTORE = "docstore.pkl"
_HEADER = struct.Struct("<4siqqqBi")
_COUNT = struct.Struct("<Q")
_STATE = struct.Struct("<iiiii")
_UNUSED = 1 << 20
_FLAT_CODES = {METRICS["l2"].faiss: b"IxF2", METRICS["ip"].faiss: b"IxFI"}
_MAX_DIMENSION = 1 << 20


class Saved(NamedTuple):
    """An index as it was saved."""

    rows: _omem.Rows
    store: Flat | Graph | None
    kind: Kind
    embedder: str | None
    fields: list[str] | None


def write(folder: _omem.FolderWriter, name: str, index: VectorIndex) -> tuple[int, str]:
    """Stage `index.faiss`, straight from the memory of the vectors.

    Args:
        folder: The folder.
        name: The file's name in it.
        index: The index, which nobody changes meanwhile.

    Returns:
        Size and checksum of the file.
    """
    store = index.kind.make(1) if index.store is None else index.store
    flat = _flat_parts(store)
    return folder.write_parts(name, [*_graph_parts(store), *flat] if index.kind.links else flat)


def docstore(index: VectorIndex, vectors: tuple[int, str]) -> bytes:
    """The content of `docstore.pkl`.

    Args:
        index: The index, which nobody changes meanwhile.
        vectors: Size and checksum of its `index.faiss`.

    Returns:
        A pickle of builtins.
    """
    kind, dimension = index.kind, index.dimension or 1
    about = (kind.name, kind.metric.name, dimension, index.embedder, index.fields)
    return index.rows.docstore(about, vectors)


def _header(code: bytes, store: Flat | Graph) -> bytes:
    metric = store.metric.faiss
    return _HEADER.pack(code, store.dimension, len(store), _UNUSED, _UNUSED, 1, metric)


def _flat_parts(store: Flat | Graph) -> list[Any]:
    header = _header(_FLAT_CODES[store.metric.faiss], store)
    vectors = store.vectors
    body = [vectors.reshape(-1).view(np.uint8)] if len(vectors) else []
    return [header + _COUNT.pack(vectors.size), *body]


def _graph_parts(store: Flat | Graph) -> list[Any]:
    assert isinstance(store, Graph)
    graph = store.index.hnsw
    parts: list[Any] = [_header(b"IHNf", store)]
    for name in _ARRAYS:
        array = _faiss.vector_to_array(getattr(graph, name))
        parts += [_COUNT.pack(len(array)), array.tobytes()]
    state = (graph.entry_point, graph.max_level, graph.efConstruction, graph.efSearch, 1)
    return [*parts, _STATE.pack(*state)]


_ARRAYS: dict[str, np.dtype[Any]] = {
    "assign_probas": np.dtype("<f8"),
    "cum_nneighbor_per_level": np.dtype("<i4"),
    "levels": np.dtype("<i4"),
    "offsets": np.dtype("<u8"),
    "neighbors": np.dtype("<i4"),
}


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
    rows, name, metric, dimension, embedder, fields, facts = _omem.read_docstore(docstore)
    try:
        kind = Kind.of(name, metric)
    except ValueError as error:
        raise IndexDamagedError(f"{docstore} is of an unknown kind: {error}") from error
    size = vectors.stat().st_size
    if size != facts[0] or _omem.file_facts(vectors) != facts:
        raise IndexDamagedError(f"{vectors} is not the file that {docstore.name} was written with")
    with vectors.open("rb") as file:
        reader = _Reader(file, vectors, size)
        if kind.links:
            store: Flat | Graph = reader.graph(kind, len(rows))
        else:
            store = reader.flat(kind, len(rows))
        reader.end()
    if store.dimension != dimension:
        raise IndexDamagedError(f"{vectors} has not the dimension that {docstore.name} has")
    return Saved(rows, store, kind, embedder, fields)


def _read_langchain(folder: Path, vectors: Path) -> Saved:
    """A store that LangChain's FAISS wrapper wrote: documents by id, ids by position.

    Its rows are known by the text of their documents. Keys are not taken from it: whoever has the
    text gets the vector.
    """
    rows = _omem.read_langchain(folder / "index.pkl")
    size = vectors.stat().st_size
    with vectors.open("rb") as file:
        code = file.read(4)
        file.seek(0)
        kind = Kind.of("Flat", "ip" if code == _FLAT_CODES[METRICS["ip"].faiss] else "l2")
        reader = _Reader(file, vectors, size)
        store = reader.flat(kind, len(rows))
        reader.end()
    embedder = None
    try:
        meta: Any = json.loads((folder / "index.meta.json").read_bytes())
        embedder = meta.get("embedder_signature")
    except (OSError, ValueError, AttributeError, RecursionError):
        pass  # written by an older version of the peer: whose vectors they are is not known
    return Saved(rows, store, kind, embedder if isinstance(embedder, str) else None, None)


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


class _Reader:
    """Reads the parts of an `index.faiss`; what does not add up is an IndexDamagedError."""

    def __init__(self, file: BufferedReader, path: Path, size: int) -> None:
        self._file = file
        self._path = path
        self._left = size

    def end(self) -> None:
        """Nothing may follow."""
        self._need(self._left == 0, "it has more bytes than its header says")

    def flat(self, kind: Kind, count: int) -> Flat:
        """A flat index."""
        store = Flat(self._header(_FLAT_CODES[kind.metric.faiss], kind, count), kind.metric)
        self._floats(store, count)
        return store

    def graph(self, kind: Kind, count: int) -> Graph:
        """An HNSW index, its flat index included."""
        dimension = self._header(b"IHNf", kind, count)
        store = Graph(dimension, kind.metric, kind.links)
        graph = store.index.hnsw
        for name in ("assign_probas", "cum_nneighbor_per_level"):
            own = _faiss.vector_to_array(getattr(graph, name))
            same = np.array_equal(self._array(name, len(own)), own)
            self._need(same, f"its {name} are not those of {kind.name}")
        per_level = _faiss.vector_to_array(graph.cum_nneighbor_per_level)
        levels = self._array("levels", count)
        highest = len(per_level) - 1
        self._need(bool(((levels >= 1) & (levels <= highest)).all()), "a level is out of range")
        offsets = np.zeros(count + 1, dtype=np.uint64)
        np.cumsum(per_level[levels], out=offsets[1:])
        same = np.array_equal(self._array("offsets", count + 1), offsets)
        self._need(same, "its offsets do not follow from its levels")
        links = self._array("neighbors", int(offsets[-1]))
        self._check_links(levels, offsets, per_level, links)
        entry, top, *_ = _STATE.unpack(self._bytes(_STATE.size))
        sound = (entry, top) == (-1, -1) if count == 0 else 0 <= entry < count
        self._need(sound and (count == 0 or levels[entry] - 1 == top), "its entry is out of range")
        self._header(_FLAT_CODES[kind.metric.faiss], kind, count, dimension)
        arrays = {"levels": levels, "offsets": offsets, "neighbors": links}
        for name, array in arrays.items():
            _faiss.copy_array_to_vector(array, getattr(graph, name))
        graph.entry_point, graph.max_level = entry, top
        self._floats(Flat.around(store.storage, kind.metric), count)
        store.index.ntotal = count
        return store

    def _check_links(self, levels: Any, offsets: Any, per_level: Any, links: Any) -> None:
        """Every link leads to a row that has the level it is followed on."""
        count = len(levels)
        self._need(bool(((links >= -1) & (links < count)).all()), "a link leads nowhere")
        for level in range(1, len(per_level) - 1):
            rows = np.flatnonzero(levels > level)
            if not len(rows):
                return
            width = np.arange(int(per_level[level]), int(per_level[level + 1]))
            ends = links[offsets[rows].astype(np.int64)[:, None] + width]
            sound = (ends < 0) | (levels[ends] > level)
            self._need(bool(sound.all()), "a link leads to a row that has not its level")

    def _header(self, code: bytes, kind: Kind, count: int, dimension: int | None = None) -> int:
        found, d, total, _, _, trained, metric = _HEADER.unpack(self._bytes(_HEADER.size))
        self._need(
            found == code and metric == kind.metric.faiss and trained == 1 and total == count,
            f"it is no index of the kind {kind.name} with {count} vectors",
        )
        same = dimension in (None, d) and 0 < d <= _MAX_DIMENSION
        self._need(same, "its dimension is out of range")
        return int(d)

    def _floats(self, store: Flat, count: int) -> None:
        (found,) = _COUNT.unpack(self._bytes(_COUNT.size))
        self._need(found == count * store.dimension, "it has not the floats that it should have")
        self._need(4 * found <= self._left, "it ends too early")
        store.resize(count)
        self._fill(store.vectors)
        # NaN goes through both; this takes no memory, unlike isfinite.
        ends: Any = [store.vectors.min(), store.vectors.max()] if found else []
        self._need(bool(np.isfinite(ends).all()), "it has vectors that are not finite")

    def _array(self, name: str, length: int) -> Any:
        (found,) = _COUNT.unpack(self._bytes(_COUNT.size))
        dtype = _ARRAYS[name]
        self._need(found == length, f"its {name} have not the length that they should have")
        self._need(length * dtype.itemsize <= self._left, "it ends too early")
        array = np.empty(length, dtype=dtype)
        self._fill(array)
        return array

    def _bytes(self, count: int) -> bytes:
        self._need(count <= self._left, "it ends too early")
        self._left -= count
        content = self._file.read(count)
        self._need(len(content) == count, "it ends too early")
        return content

    def _fill(self, array: Any) -> None:
        """Read an array in place."""
        if array.size:
            self._left -= array.nbytes
            read = self._file.readinto(array.reshape(-1).view(np.uint8))
            self._need(read == array.nbytes, "it ends too early")

    def _need(self, sound: bool, what: str) -> None:
        if not sound:
            raise IndexDamagedError(f"{self._path} is damaged: {what}")


def usable(saved: Saved, kind: Kind, fields: Sequence[str]) -> VectorIndex:
    """A saved index as one of the kind and the fields that a memory has.

    Args:
        saved: What was saved.
        kind: The memory's kind of index.
        fields: The fields that the memory embeds.

    Returns:
        The index; vectors of another structure are arranged anew, none is embedded again.

    Raises:
        IndexDamagedError: Its vectors were scaled for the cosine and cannot serve another metric.
    """
    rows, store = saved.rows, saved.store
    if saved.kind.metric.normalized and not kind.metric.normalized:
        raise IndexDamagedError(
            f"its vectors are scaled for the metric {saved.kind.metric.name!r}, this memory has "
            f"{kind.metric.name!r}"
        )
    if saved.kind != kind and store is not None:
        fresh = kind.make(store.dimension)
        fresh.put(np.arange(len(rows)), kind.metric.prepare(store.vectors))
        rows, store = rows.arranged(kind.links == 0), fresh
    return VectorIndex(kind, saved.embedder, fields, rows, store)
