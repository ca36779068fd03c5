"""A folder that ontomem 0.6.1 wrote (`data/ontomem-0.6.1`), and what we write for its readers."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from omem import LoadError, OMem, inspect, verify

FOLDER = Path(__file__).parent / "data" / "ontomem-0.6.1"


class Person(BaseModel):
    name: str
    age: int | None = None
    score: float = 0.0
    tags: list[str] = []


class Hashed:
    """The embedder that the folder was made with."""

    model = "test-8"

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


Hashed.__module__ = "__main__"

PEOPLE = [
    Person(name="Zoë", age=3, score=1.5, tags=["a", "ü"]),
    Person(name="Bob"),
    Person(name="NaN", score=math.nan),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "m"))


def memory_of(embedder: Hashed | None = None) -> OMem[Person]:
    return OMem(Person, "name", embedder=embedder, fields_for_index=["name", "tags"])


def same(found: list[Person]) -> bool:
    return [repr(person) for person in found] == [repr(person) for person in PEOPLE]


def test_it_loads_with_its_vectors_and_embeds_nothing(folder: Path) -> None:
    embedder = Hashed()
    memory = memory_of(embedder)
    report = memory.load(folder)
    assert (report.records, report.entities, report.index) == (3, 3, "loaded")
    assert report.warnings == []
    assert same(memory.items)
    [found] = memory.search("name: Zoë\ntags: ['a', 'ü']", top_k=1)
    assert found.name == "Zoë"
    assert embedder.embedded == []


def test_it_is_inspected_and_verified(folder: Path) -> None:
    info = inspect(folder)
    assert (info.entities, info.schema_name, info.index, info.vectors) == (
        3,
        "Person",
        "present",
        3,
    )
    assert verify(folder) == []
    (folder / "memory.json").write_text("[{}]")
    assert verify(folder) == ["memory.json has 1 records, metadata.json says 3"]


def test_it_loads_where_langchain_is_not_installed(folder: Path) -> None:
    code = """if True:
        import sys
        for name in ("langchain", "langchain_core", "langchain_community"):
            sys.modules[name] = None
        from pydantic import BaseModel
        from omem import OMem

        class Person(BaseModel):
            name: str
            age: int | None = None
            score: float = 0.0
            tags: list[str] = []

        fields = ["name", "tags"]
        print(OMem(Person, "name", fields_for_index=fields).load(sys.argv[1]).index)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "loaded", done.stderr


def test_a_cut_file_gives_what_came_before(folder: Path) -> None:
    content = (folder / "memory.json").read_bytes()
    (folder / "memory.json").write_bytes(content[: content.index(b"NaN")])
    memory = memory_of()
    with pytest.raises(LoadError, match="record 2"):
        memory.load(folder)
    report = memory.load(folder, on_error="skip")
    assert memory.keys == ["Zoë", "Bob"]
    assert [bad.record for bad in report.skipped] == [2]


def test_a_dump_over_it_keeps_nothing_stale(folder: Path) -> None:
    memory = memory_of(Hashed())
    memory.load(folder)
    memory.dump(folder)
    assert verify(folder) == []
    assert memory_of(Hashed()).load(folder).index == "loaded"
    OMem(Person, "name").dump(folder)
    fresh = memory_of(Hashed())
    report = fresh.load(folder)
    assert (report.entities, report.index) == (0, "none")


def test_what_we_write_reads_as_the_peer_reads(tmp_path: Path) -> None:
    # Its load_data is json.load and `Model(**row)`.
    memory = memory_of()
    memory.add(PEOPLE)
    memory.dump(tmp_path / "m")
    rows = json.loads((tmp_path / "m" / "memory.json").read_text(encoding="utf-8"))
    assert same([Person(**row) for row in rows])
    metadata = json.loads((tmp_path / "m" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["schema_name"] == "Person"
    assert metadata["size"] == 3
    assert metadata["fields_for_index"] == ["name", "tags"]
