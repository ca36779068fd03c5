"""Inspecting and verifying a folder without loading it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import BaseModel

from omem import HashingEmbedder, LoadError, OMem, inspect, verify


class Tag(BaseModel):
    name: str
    notes: list[str] = []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    memory = OMem(Tag, "name", embedder=HashingEmbedder(8))
    memory.add([Tag(name="a", notes=["x"]), Tag(name="b")])
    memory.build_index()
    memory.dump(tmp_path / "m")
    return tmp_path / "m"


def test_inspect(folder: Path) -> None:
    info = inspect(folder)
    assert (info.entities, info.schema_name, info.key_fields) == (2, "Tag", ["name"])
    assert (info.index, info.vectors, info.strategy) == ("present", 2, "merge_field")
    assert info.sizes["memory.json"] == (folder / "memory.json").stat().st_size
    assert set(info.checksums) == {
        "memory.json",
        "faiss_index/index.faiss",
        "faiss_index/docstore.pkl",
    }
    assert info.embedder == "omem.embedding.HashingEmbedder:hashing-v1-8"


def test_a_sound_folder_verifies(folder: Path) -> None:
    assert verify(folder) == []


@pytest.mark.parametrize(
    "name", ["memory.json", "faiss_index/index.faiss", "faiss_index/docstore.pkl"]
)
def test_each_flipped_byte_is_found(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert any(name in fault for fault in verify(folder))
    path.unlink()
    assert any(f"{name} is missing" in fault for fault in verify(folder))


def test_damaged_metadata_are_told(folder: Path) -> None:
    (folder / "metadata.json").write_text("{")
    assert any("metadata.json" in fault for fault in verify(folder))
    (folder / "metadata.json").unlink()
    assert verify(folder) == ["metadata.json is missing, so checksums cannot be compared"]


HOSTILE: list[object] = [None, True, -1, 1e400, 10**30, "x", [], {}, [[]], {"a": {"b": []}}]


@pytest.mark.parametrize(
    "name",
    [
        "schema_name",
        "size",
        "fields_for_index",
        "format_version",
        "library_version",
        "created",
        "schema_fingerprint",
        "key_fields",
        "strategy",
        "embedder",
        "files",
    ],
)
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_any_type_in_the_metadata_is_fitting_or_a_load_error(
    folder: Path, name: str, value: object
) -> None:
    path = folder / "metadata.json"
    content = json.loads(path.read_bytes())
    content[name] = value
    path.write_text(json.dumps(content).replace("Infinity", "1e400"))
    for look in (
        lambda: OMem(Tag, "name").load(folder),
        lambda: OMem(Tag, "name").load_metadata(path),
        lambda: inspect(folder),
    ):
        with contextlib.suppress(LoadError):
            look()
    assert isinstance(verify(folder), list)


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        {"size": "1", "checksum": 2},
        {"size": -1, "checksum": ""},
        {"checksum": "xxh3-64:0000000000000000"},
        {"size": 10**40, "checksum": "xxh3-64:0000000000000000"},
    ],
)
def test_facts_that_are_none_are_not_believed(folder: Path, facts: object) -> None:
    path = folder / "metadata.json"
    content = json.loads(path.read_bytes())
    content["files"]["memory.json"] = facts
    path.write_text(json.dumps(content))
    with pytest.raises(LoadError):
        OMem(Tag, "name").load(folder)
    assert verify(folder) != []


def test_metadata_that_name_files_elsewhere_reach_none_of_them(
    folder: Path, tmp_path: Path
) -> None:
    path = folder / "metadata.json"
    content = json.loads(path.read_bytes())
    content["files"]["../outside"] = content["files"]["memory.json"]
    path.write_text(json.dumps(content))
    assert OMem(Tag, "name").load(folder).entities == 2
    assert verify(folder) == ["metadata.json lists ../outside, which is no file of a memory"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"7",
        b'{"size":',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"size":' + b"9" * 5000 + b"}",
        b" " * (17 << 20),
    ],
    ids=lambda content: repr(content[:9]),
)
def test_metadata_that_are_none_are_a_load_error(folder: Path, content: bytes) -> None:
    (folder / "metadata.json").write_bytes(content)
    memory = OMem(Tag, "name")
    with pytest.raises(LoadError, match=r"metadata\.json"):
        memory.load(folder)
    with pytest.raises(LoadError, match=r"metadata\.json"):
        inspect(folder)
    assert len(verify(folder)) == 1
    assert memory.load_data(folder / "memory.json").entities == 2


def test_every_truncation_of_the_metadata_is_told(folder: Path) -> None:
    content = (folder / "metadata.json").read_bytes().rstrip()
    for end in range(len(content)):
        (folder / "metadata.json").write_bytes(content[:end])
        with pytest.raises(LoadError):
            OMem(Tag, "name").load(folder)


def test_verify_lists_everything_that_is_wrong(folder: Path) -> None:
    path = folder / "memory.json"
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"a').replace(b'{"name":"b"', b'{"name":}'))
    (folder / "faiss_index" / "docstore.pkl").unlink()
    (folder / "sources.json").write_text("[1]")
    wrong = verify(folder)
    for what in (
        "memory.json: record 0, line 2",
        "memory.json: record 1, line 3",
        "memory.json is not the file that",
        "docstore.pkl is missing",
        "sources.json: record 0",
        "sources.json is not listed",
        "the index is damaged",
    ):
        assert any(what in fault for fault in wrong), (what, wrong)


def test_verify_tells_what_is_no_file(folder: Path) -> None:
    (folder / "memory.json").unlink()
    (folder / "memory.json").mkdir()
    (folder / "metadata.json").unlink()
    os.mkfifo(folder / "metadata.json")
    wrong = verify(folder)
    assert len(wrong) == 2
    assert "metadata.json cannot be read" in wrong[0]
    assert "memory.json cannot be read" in wrong[1]


def test_data_of_another_dump_are_not_believed(folder: Path) -> None:
    other = OMem(Tag, "name")
    other.add(Tag(name="c"))
    other.dump(folder.parent / "other")
    (folder / "memory.json").write_bytes((folder.parent / "other" / "memory.json").read_bytes())
    memory = OMem(Tag, "name", embedder=HashingEmbedder(8))
    with pytest.raises(LoadError, match="verify=False"):
        memory.load(folder)
    report = memory.load(folder, verify=False)
    assert memory.keys == ["c"]
    assert "metadata.json says 2 entities, memory.json has 1" in report.warnings


def test_parts_that_were_dumped_one_by_one_load_as_a_folder(tmp_path: Path) -> None:
    memory = OMem(Tag, "name", embedder=HashingEmbedder(8))
    memory.add([Tag(name="a"), Tag(name="b")])
    memory.build_index()
    memory.dump_data(tmp_path / "memory.json")
    memory.dump_metadata(tmp_path / "metadata.json")
    memory.dump_index(tmp_path / "faiss_index")
    assert verify(tmp_path) == []
    fresh = OMem(Tag, "name", embedder=HashingEmbedder(8))
    report = fresh.load(tmp_path)
    assert (report.entities, report.index, report.warnings) == (2, "loaded", [])


def test_an_index_does_not_outlive_its_memory(folder: Path) -> None:
    memory = OMem(Tag, "name", embedder=HashingEmbedder(8))
    memory.add(Tag(name="c"))
    memory.dump(folder)
    assert not (folder / "faiss_index").exists()
    assert verify(folder) == []
    assert inspect(folder).index == "none"
    fresh = OMem(Tag, "name", embedder=HashingEmbedder(8))
    assert fresh.load(folder).index == "none"
    assert not fresh.has_index()


def test_inspect_reads_no_more_than_it_must(folder: Path) -> None:
    # Sparse files of a terabyte: whoever reads them is not done in a day.
    path = folder / "metadata.json"
    content = json.loads(path.read_bytes())
    for name in ("memory.json", "faiss_index/index.faiss"):
        os.truncate(folder / name, 1 << 40)
        content["files"][name]["size"] = 1 << 40
    path.write_text(json.dumps(content))
    start = time.perf_counter()
    info = inspect(folder)
    assert time.perf_counter() - start < 1
    assert info.sizes["memory.json"] == 1 << 40
    assert (info.entities, info.index, info.vectors) == (2, "present", 2)


def test_an_index_that_does_not_fit_is_seen_at_a_glance(folder: Path) -> None:
    path = folder / "faiss_index" / "index.faiss"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert "not the file" in inspect(folder).index
    path.write_bytes(b"\0" * len(content))
    assert "no FAISS index" in inspect(folder).index
    (folder / "faiss_index" / "docstore.pkl").unlink()
    assert "docstore.pkl is missing" in inspect(folder).index


def test_verify_needs_little_memory(folder: Path) -> None:
    memory = OMem(Tag, "name")
    memory.add(Tag(name=f"t{n}", notes=["x" * 1000] * 10) for n in range(6_000))
    memory.dump(folder)
    code = """if True:
        import resource, sys
        from omem import verify
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert verify(sys.argv[1]) == []
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    told = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) * (1 if sys.platform == "linux" else 1 / 1024) < 16_000


def test_what_is_no_memory(tmp_path: Path) -> None:
    for look in (inspect, verify):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            look(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    for look in (inspect, verify, OMem(Tag, "name").load):
        with pytest.raises(FileNotFoundError, match=r"is a file, not a folder; load_data\(\)"):
            look(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="no saved memory"):
        inspect(tmp_path)
