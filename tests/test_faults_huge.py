"""Records and files of over 4 GiB: spans have 32 bits, files have not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, field_validator

import omem
from omem import LoadError, LossyError, MergeError, OMem

MB = 1 << 20
PIECE = 300 * MB

pytestmark = pytest.mark.faults


class Note(BaseModel):
    key: int
    parts: list[str] = []


class Judged(Note):
    """One that only Pydantic can judge."""

    @field_validator("parts")
    @classmethod
    def few(cls, parts: list[str]) -> list[str]:
        return parts


def needs(tmp_path: Path, memory: int, disk: int = 0) -> None:
    """Skip where this machine has not so many GB."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        free = int(meminfo.read_text().split("MemAvailable:")[1].split()[0]) << 10
    if free < memory << 30:
        pytest.skip(f"needs {memory} GB of memory, {free >> 30} are free")
    if shutil.disk_usage(tmp_path).free < disk << 30:
        pytest.skip(f"needs {disk} GB of disk")


def test_a_record_of_over_4_gib_is_refused_by_add(tmp_path: Path) -> None:
    needs(tmp_path, 12)
    piece = "x" * PIECE
    memory = OMem(Note, "key", lists="append")
    memory.add(Note(key=0))
    with pytest.raises(LossyError, match="item 1, key 1: a record of over 4 GiB; split it"):
        memory.add([Note(key=3), Note(key=1, parts=[piece] * 15)])
    assert memory.keys == [0]
    memory.add(Note(key=1, parts=[piece] * 8))
    with pytest.raises(MergeError, match="over 4 GiB"):
        memory.add(Note(key=1, parts=[piece] * 8))
    memory.add(Note(key=2))
    assert memory.keys == [0, 1, 2]
    memory.dump_data(tmp_path / "x.json")
    assert 2400 * MB < (tmp_path / "x.json").stat().st_size < 2401 * MB
    (tmp_path / "x.json").unlink()


@pytest.mark.parametrize("layout", ["ours", "another"])
def test_a_record_of_over_4_gib_in_a_file_is_told_and_skipped(tmp_path: Path, layout: str) -> None:
    needs(tmp_path, 12, 6)
    path = tmp_path / "x.json"
    part = b'"' + b"x" * PIECE + b'"'
    with path.open("wb") as file:
        file.write(b"[\n" if layout == "ours" else b"[ \n")
        file.write(b'{"key":0,"parts":[]},\n{"key":1,"parts":[')
        for number in range(15):
            file.write((b"," if number else b"") + part)
        file.write(b']},\n{"key":2,"parts":["y"]}\n]\n')
    memory = OMem(Note, "key")
    memory.add(Note(key=9))
    with pytest.raises(LoadError, match=r"record 1, line 3, .*a record of over 4 GiB; split it"):
        memory.load_data(path)
    assert memory.keys == [9]
    report = memory.load_data(path, on_error="skip")
    assert memory.keys == [0, 2]
    assert [(bad.record, bad.line) for bad in report.skipped] == [(1, 3)]
    path.unlink()


@pytest.mark.parametrize("model", [Note, Judged])
def test_a_file_of_over_4_gib_is_saved_and_restored(tmp_path: Path, model: type[Note]) -> None:
    judged = model is Judged
    needs(tmp_path, 16 if judged else 8, 6)
    piece = "x" * PIECE
    memory: OMem[Note] = OMem(model, "key")
    memory.add(model(key=number, parts=[str(number) + piece]) for number in range(15))
    memory.add(model(key=15, parts=["the last"]))
    memory.dump(tmp_path / "m")
    assert (tmp_path / "m" / "memory.json").stat().st_size > 4 << 30
    del memory
    fresh: OMem[Note] = OMem(model, "key")
    assert fresh.load(tmp_path / "m").entities == 16
    size: Callable[[Note], int] = lambda note: len(note.parts[0])  # noqa: E731
    assert [size(note) for note in fresh.iter_items()] == [PIECE + 1] * 10 + [PIECE + 2] * 5 + [8]
    assert omem.verify(tmp_path / "m") == []
    shutil.rmtree(tmp_path / "m")
