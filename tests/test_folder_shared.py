"""Folders shared with forked processes, with who may not lock them, with files of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from pydantic import BaseModel

import omem
from omem import OMem

PROGRAM = """
import os, signal, sys, threading
from pydantic import BaseModel
from omem import OMem

class Note(BaseModel):
    key: int
    text: str = ""

memory = OMem(Note, "key")
memory.add([Note(key=n, text="x" * 500) for n in range(20_000)])
child = 0
inside, forked = threading.Event(), threading.Event()

def slow(*_):
    inside.set()
    forked.wait()

dumper = threading.Thread(target=memory.dump, args=(sys.argv[1],), kwargs={"progress": slow})
dumper.start()
inside.wait()
child = os.fork()
if child == 0:
    sys.stdin.read()  # lives until the test is over
    os._exit(0)
if sys.argv[2] == "dies":
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
forked.set()
dumper.join()
print(child, flush=True)
"""


class Note(BaseModel):
    key: int
    text: str = ""


@pytest.mark.parametrize("fate", ["dies", "goes on"])
def test_a_child_forked_in_a_dump_holds_no_lock(tmp_path: Path, fate: str) -> None:
    folder = tmp_path / "m"
    old = OMem(Note, "key")
    old.add(Note(key=-1))
    old.dump(folder)
    program = [sys.executable, "-c", PROGRAM, str(folder), fate]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        child = int(parent.stdout.readline())
        parent.wait(timeout=30)
        os.kill(child, 0)  # it is still there
        start = time.monotonic()
        fresh = OMem(Note, "key")
        fresh.load(folder)
        fresh.dump(folder)
        assert time.monotonic() - start < 20
        assert fresh.size == (1 if fate == "dies" else 20_000)
        parent.stdin.close()


def test_a_child_that_goes_on_with_its_parents_dump_harms_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    memory = OMem(Note, "key")
    memory.add([Note(key=n, text="x" * 500) for n in range(20_000)])
    children: list[int] = []
    parent = os.getpid()

    def fork(*_: int) -> None:
        if not children and os.getpid() == parent:
            children.append(os.fork())

    try:
        memory.dump(folder, progress=fork)
    finally:
        if os.getpid() != parent:
            os._exit(7)
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)
    assert omem.verify(folder) == []
    fresh = OMem(Note, "key")
    assert fresh.load(folder).entities == 20_000
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


READER = """
import os, sys
from pydantic import BaseModel
from omem import OMem

class Note(BaseModel):
    key: int
    text: str = ""

def saved(text):
    memory = OMem(Note, "key", track_sources=True)
    memory.add([Note(key=n, text=text) for n in range(300)], source_id=text)
    return memory

os.umask(0o022)
folder = sys.argv[1]
old, new = saved("a"), saved("b" * 50)
for verify in (True, False):
    old.dump(folder)
    calls = []

    def dump(*_):
        calls.append(1)
        if len(calls) == 1:
            os.seteuid(0)
            new.dump(folder)
            os.seteuid(65534)

    os.seteuid(65534)
    assert not os.access(folder, os.W_OK, effective_ids=True)
    memory = OMem(Note, "key", track_sources=True)
    report = memory.load(folder, verify=verify, progress=dump)
    os.seteuid(0)
    assert memory.items == new.items and memory.sources() == new.sources(), memory.sources()
    assert report.records == 300 and report.warnings == []
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to read as another user")
def test_a_reader_who_may_not_write_sees_one_dump() -> None:
    # Not in tmp_path: another run of pytest takes others the permission to enter its parent.
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        program = [sys.executable, "-c", READER, str(Path(parent) / "m")]
        reader = subprocess.run(program, capture_output=True, text=True, timeout=60)
        assert reader.returncode == 0, reader.stderr


def test_what_the_metadata_list_and_is_missing_is_told(tmp_path: Path) -> None:
    memory = OMem(Note, "key", track_sources=True)
    memory.add(Note(key=1), source_id="a")
    memory.dump(tmp_path / "m")
    (tmp_path / "m" / "sources.json").unlink()
    report = memory.load(tmp_path / "m", verify=False)
    assert report.warnings == ["sources.json is missing, though metadata.json lists it"]
    assert memory.sources() == {}


def test_a_file_in_the_place_of_the_index_folder_stops_no_load(tmp_path: Path) -> None:
    memory = OMem(Note, "key")
    memory.add(Note(key=1))
    memory.dump(tmp_path / "m")
    (tmp_path / "m" / "faiss_index").write_text("mine")
    assert memory.load(tmp_path / "m").entities == 1
    assert omem.verify(tmp_path / "m") == []
    memory.dump(tmp_path / "m")
    assert (tmp_path / "m" / "faiss_index").read_text() == "mine"


def test_a_path_through_a_folder_that_was_not_there_leads_back(tmp_path: Path) -> None:
    memory = OMem(Note, "key")
    memory.add(Note(key=1))
    winding = tmp_path / "new" / ".." / "m"
    memory.dump(winding)
    assert memory.load(winding).entities == 1
    memory.dump_data(tmp_path / "other" / ".." / "d.json")
    assert memory.load_data(tmp_path / "other" / ".." / "d.json").entities == 1
