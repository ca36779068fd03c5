"""The files of an index: what they are, what they weigh, what a damaged or hostile one can do."""

from __future__ import annotations

import json
import logging
import pickle
import pickletools
import random
import shutil
import sys
import types
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import faiss
import numpy as np
import pytest
from pydantic import BaseModel

from embedders import Counting
from omem import OMem, _omem
from omem.errors import IndexDamagedError
from shapes import Colour


class Note(BaseModel):
    key: str
    text: str = ""


def memory_of(count: int = 60, **options: Any) -> OMem[Note]:
    memory = OMem(Note, "key", embedder=Counting(), **options)
    memory.add([Note(key=f"k{n}", text=f"text {n}") for n in range(count)])
    if count:
        memory.build_index()
    return memory


@pytest.mark.parametrize("count", [1, 60, 1500])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("kind", ["Flat", "HNSW4", "HNSW32"])
def test_faiss_reads_what_is_written(kind: str, metric: str, count: int, tmp_path: Path) -> None:
    memory = memory_of(count, index=kind, metric=metric)
    memory.dump_index(tmp_path)
    index: Any = faiss.read_index(str(tmp_path / "index.faiss"))
    assert (index.ntotal, index.d) == (count, 16)
    assert faiss.serialize_index(index).tobytes() == (tmp_path / "index.faiss").read_bytes()
    assert memory._index is not None
    query = memory._index.metric.prepare(np.float32([Counting().vector("q")]))
    found = memory.search("q", top_k=min(count, 5), with_scores=True)
    values, rows = index.search(query, min(count, 5))
    scores = [-value if metric == "l2" else value for value in values[0]]
    assert [score for _, score in found] == pytest.approx(scores, abs=1e-5)
    assert [note.key for note, _ in found] == [f"k{row}" for row in rows[0]]


def test_a_docstore_is_builtins_and_light(tmp_path: Path) -> None:
    memory = memory_of(5000)
    memory.dump_index(tmp_path)
    content = (tmp_path / "docstore.pkl").read_bytes()
    names = {opcode.name for opcode, _, _ in pickletools.genops(content)}
    assert not names & {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ"}
    parts = pickle.loads(content)
    assert parts["keys"].splitlines() == [f'"k{n}"'.encode() for n in range(5000)]
    assert len(parts["hashes"]) == 16 * 5000 and parts["fields_for_index"] == []
    weight = sum(file.stat().st_size for file in tmp_path.iterdir() if file.is_file())
    keys = sum(len(note.key) for note in memory.items)
    assert weight <= 5000 * (4 * 16 + 64) + keys


class _Document:
    """Stands for `langchain_core.documents.Document`, which is pickled as Pydantic does it."""

    def __init__(self, text: str, metadata: dict[str, Any]) -> None:
        self.state = {
            "__dict__": {
                "id": None,
                "metadata": metadata,
                "page_content": text,
                "type": "Document",
            },
            "__pydantic_extra__": None,
            "__pydantic_fields_set__": {"metadata", "page_content"},
            "__pydantic_private__": None,
        }

    def __reduce__(self) -> Any:
        return (_new, (type(self),), self.state)


def _new(cls: Any) -> Any:
    return object.__new__(cls)


def _langchain_folder(folder: Path, memory: OMem[Note], raw: Any, *, meta: bool = True) -> None:
    """What the peer writes: `index.faiss`, `index.pkl`, `index.meta.json`."""
    folder.mkdir(parents=True)
    embedder = Counting()
    documents, vectors = {}, []
    for note in memory.items:
        text = note.model_dump_json(exclude_none=True)
        documents[f"id-{note.key}"] = _Document(text, {"key": note.key, "raw": raw(note)})
        vectors.append(embedder.vector(text))
    index: Any = faiss.IndexFlatL2(16)
    index.add(np.float32(vectors))
    faiss.write_index(index, str(folder / "index.faiss"))
    store = types.SimpleNamespace(_dict=documents)
    content = (store, dict(enumerate(documents)))
    (folder / "index.pkl").write_bytes(pickle.dumps(content))
    if meta:
        signature = f"{Counting.__module__}.Counting:counting"
        found = {"format_version": 1, "embedder_signature": signature, "num_vectors": len(vectors)}
        (folder / "index.meta.json").write_text(json.dumps(found))


def _rich(note: Note) -> dict[str, Any]:
    return {
        **note.model_dump(),
        "at": datetime(2024, 2, 29, tzinfo=UTC),
        "price": Decimal("1.50"),
        "id": UUID(int=7),
        "path": PurePosixPath("/tmp/x"),
        "colour": Colour.BLUE,
        "model": note,
        "set": {1, 2},
        "big": 2**80,
        "floats": [1.5] * 20,
    }


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_folders_of_the_peer_are_taken_over(whole: bool, meta: bool, tmp_path: Path) -> None:
    memory = memory_of()
    _langchain_folder(tmp_path / "m" / "faiss_index", memory, _rich, meta=meta)
    records = [note.model_dump() for note in memory.items]
    (tmp_path / "m" / "memory.json").write_text(json.dumps(records, indent=2))
    fresh = memory_of(0)
    if whole:
        assert fresh.load(tmp_path / "m").index == "loaded"
        fresh.dump(tmp_path / "again")
        fresh = memory_of(0)
        fresh.load(tmp_path / "again")
    else:
        fresh.load_index(tmp_path / "m" / "faiss_index")
        assert fresh.has_index() and fresh.search("q") == []
        fresh.load_data(tmp_path / "m" / "memory.json")
    assert fresh.search("q", top_k=99) == memory.search("q", top_k=99)
    assert isinstance(fresh.embedder, Counting) and fresh.embedder.count() == 0


class _Runs:
    def __reduce__(self) -> Any:
        return (exec, ("import omem; omem.hacked = True",))


def test_nothing_in_a_folder_of_the_peer_runs(tmp_path: Path) -> None:
    import omem

    memory = memory_of(3)
    _langchain_folder(tmp_path / "i", memory, lambda note: [_Runs()])
    fresh = memory_of(0)
    fresh.load_index(tmp_path / "i")
    fresh.add(memory.items)
    assert len(fresh.search("q")) == 3 and fresh.embedder.count() == 0  # type: ignore[union-attr]
    assert not hasattr(omem, "hacked")


_events: set[str] | None = None


def _hook(event: str, _: object) -> None:
    if _events is not None:
        _events.add(event)


sys.addaudithook(_hook)


def _mutated(good: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(good)
    near = len(damaged) if dice.random() < 0.5 else min(len(damaged), 400)
    at = dice.randrange(near)
    match dice.randrange(5):
        case 0:
            damaged[at] ^= 1 << dice.randrange(8)
        case 1:
            for _ in range(dice.randrange(1, 8)):
                damaged[dice.randrange(near)] = dice.choice([0, 1, 127, 128, 255])
        case 2:
            del damaged[dice.randrange(len(damaged)) :]
        case 3:
            damaged[at:at] = dice.randbytes(dice.randrange(1, 40))
        case _:
            del damaged[at : at + dice.randrange(1, 40)]
    return bytes(damaged)


def _attack(tmp_path: Path, name: str, kind: str, count: int) -> None:
    """Whatever a file holds: entities load, nothing runs, the index is right or told."""
    global _events
    memory = memory_of(index=kind)
    folder = tmp_path / "m"
    memory.dump(folder)
    if name == "index.pkl":
        shutil.rmtree(folder / "faiss_index")
        _langchain_folder(folder / "faiss_index", memory, _rich)
        (folder / "metadata.json").unlink()
    path, docstore = folder / "faiss_index" / name, folder / "faiss_index" / "docstore.pkl"
    good, dice = path.read_bytes(), random.Random(5)
    kept = _omem.read_docstore(docstore) if docstore.exists() else None
    allowed: set[str] = set()
    told = 0
    for number in range(count + 1):
        damaged = good if number == 0 else _mutated(good, dice)
        path.write_bytes(damaged)
        if name == "index.faiss" and number and number % 5 and kept is not None:
            # An attacker writes a docstore that fits.
            rows, *about, _ = kept
            docstore.write_bytes(rows.docstore(tuple(about), _omem.file_facts(path)))  # type: ignore[arg-type]
        fresh = memory_of(0, index=kind)
        _events = set()
        try:
            report = fresh.load(folder)
            found = fresh.search("q", top_k=99)
        finally:
            events, _events = _events, None
        if number == 0:
            assert report.index == "loaded"
            allowed = events
        assert events <= allowed, (events - allowed, damaged)
        told += report.index != "loaded"
        assert fresh.items == memory.items
        assert name == "index.faiss" or {note.key for note in found} == set(memory.keys)
    assert told > count / 2


ATTACKS = [
    ("index.faiss", "Flat", 1500),
    ("index.faiss", "HNSW8", 1500),
    ("docstore.pkl", "Flat", 10_000),
    ("index.pkl", "Flat", 10_000),
]


@pytest.mark.parametrize(("name", "kind", "count"), ATTACKS)
def test_a_damaged_index_is_told(
    name: str, kind: str, count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "omem")
    _attack(tmp_path, name, kind, count // 10 if count == 1500 else count // 40)


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("name", "kind", "count"), ATTACKS)
def test_a_damaged_index_is_told_in_earnest_counts(
    name: str, kind: str, count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "omem")
    _attack(tmp_path, name, kind, count)


def test_a_header_that_claims_too_much_allocates_nothing(tmp_path: Path) -> None:
    memory = memory_of()
    memory.dump_index(tmp_path)
    path = tmp_path / "index.faiss"
    good = path.read_bytes()
    rows, *about, _ = _omem.read_docstore(tmp_path / "docstore.pkl")
    claims = {8: (2**30).to_bytes(8, "little"), 4: (2**19).to_bytes(4, "little")}
    for at, claim in claims.items():
        path.write_bytes(good[:at] + claim + good[at + len(claim) :])
        content = rows.docstore(tuple(about), _omem.file_facts(path))  # type: ignore[arg-type]
        (tmp_path / "docstore.pkl").write_bytes(content)
        with pytest.raises(IndexDamagedError, match=r"index\.faiss is damaged"):
            memory_of(0).load_index(tmp_path)
