"""Inspecting and verifying a folder without loading it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from omem import HashingEmbedder, OMem, inspect, verify


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


def test_what_is_no_memory(tmp_path: Path) -> None:
    for look in (inspect, verify):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            look(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no saved memory"):
        inspect(tmp_path)
