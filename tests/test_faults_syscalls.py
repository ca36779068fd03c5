"""A dump that is killed, or fails, at each of its system calls: the old memory or the new one."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

import straced
from omem import HashingEmbedder, Merge, OMem, verify

reason = straced.why_not()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


class Counter(BaseModel):
    key: str
    generation: int
    text: str = ""
    tons: Annotated[int, Merge.SUM, Field(le=40)] = 1


SETUP = """
from typing import Annotated
from pydantic import BaseModel, Field
from omem import HashingEmbedder, Merge, OMem

class Counter(BaseModel):
    key: str
    generation: int
    text: str = ""
    tons: Annotated[int, Merge.SUM, Field(le=40)] = 1

memory = OMem(
    Counter,
    "key",
    embedder=HashingEmbedder(16),
    track_sources=True,
    on_conflict="quarantine",
)
items = [Counter(key=f"k{n}", generation=2, text="new" * 50) for n in range(60)]
memory.add(items, source_id="source 2")
memory.add(Counter(key="k1", generation=2, tons=40), source_id="source 2")
memory.build_index()
"""


def fresh() -> OMem[Counter]:
    return OMem(
        Counter,
        "key",
        embedder=HashingEmbedder(16),
        track_sources=True,
        on_conflict="quarantine",
    )


class Case:
    """A folder with an old dump, and a process that dumps a new one into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "m"
        self.old = fresh()
        items = [Counter(key=f"k{n}", generation=1, text="old") for n in range(50)]
        self.old.add(items, source_id="source 1")
        self.old.add(Counter(key="k2", generation=1, tons=40), source_id="source 1")
        self.old.build_index()
        self.old.dump(root / "old")
        self.restore()

    def restore(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.root / "old", self.folder)

    def names(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*"))

    def generation(self) -> int:
        """The generation of all that is in the folder: index, ledger and quarantine included."""
        memory = fresh()
        report = memory.load(self.folder)
        [generation] = {entity.generation for entity in memory}
        assert memory.size == (50 if generation == 1 else 60)
        assert report.index == "loaded", report.index
        assert memory.sync_index()
        assert report.warnings == []
        assert list(memory.sources()) == [f"source {generation}"]
        [aside] = [entry for entries in memory.quarantine.values() for entry in entries]
        assert aside.item.generation == generation
        return generation

    def dump_again(self) -> None:
        self.old.dump(self.folder)
        assert self.generation() == 1
        assert verify(self.folder) == []
        assert self.names() == sorted(
            str(p.relative_to(self.root / "old")) for p in (self.root / "old").rglob("*")
        )


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.fixture
def dumper(case: Case) -> Iterator[straced.Straced]:
    with straced.Straced(SETUP, "memory.dump(sys.argv[1])", case.folder) as straced_:
        yield straced_


def killed(case: Case, dumper: straced.Straced, stride: int) -> dict[int, int]:
    """Kills at every so many file calls; how often the old and the new memory were found."""
    calls = dumper.calls()
    assert {"openat", "write", "fsync", "flock"} <= set(calls)
    seen = {1: 0, 2: 0}
    points = [(call, n) for call, count in calls.items() for n in range(1, count + 1)]
    for call, number in points[::stride]:
        case.restore()
        code = dumper.kill_at(call, number)
        generation = case.generation()
        assert code == straced.KILLED or generation == 2, (call, number, code)
        seen[generation] += 1
        case.dump_again()
    return seen


def test_a_dump_killed_at_some_file_calls(case: Case, dumper: straced.Straced) -> None:
    assert min(killed(case, dumper, stride=9).values()) > 0


@pytest.mark.faults
def test_a_dump_killed_at_every_file_call(case: Case, dumper: straced.Straced) -> None:
    assert min(killed(case, dumper, stride=1).values()) > 5


ERRORS = [
    "ENOSPC",
    pytest.param("EIO", marks=pytest.mark.faults),
    pytest.param("EDQUOT", marks=pytest.mark.faults),
]


@pytest.mark.parametrize("error", ERRORS)
def test_a_dump_that_fails_at_every_write_sync_and_rename(
    case: Case, dumper: straced.Straced, error: str
) -> None:
    before = case.names()
    calls = dumper.calls()
    wanted = [call for call in calls if call in ("write", "fsync") or call.startswith("rename")]
    assert len(wanted) == 3
    codes: set[int] = set()
    for call in [*wanted, "openat"]:
        for number in range(1, calls[call] + 1):
            for when in (str(number), f"{number}+"):
                case.restore()
                code = dumper.fail_at(call, when, error)
                codes.add(code)
                assert code in (0, getattr(errno, error)), (call, when, code)
                if code == 0:
                    # What is committed stays; a lock that cannot be signed does not matter.
                    assert case.generation() == 2
                else:
                    # Where even the undoing of the commit cannot be synced, files stay.
                    assert case.names() == before or (call, when[-1]) == ("fsync", "+")
                    assert case.generation() == 1
                case.dump_again()
    assert getattr(errno, error) in codes


@pytest.mark.parametrize("call", ["write", "fsync", "openat", "flock"])
def test_an_interrupted_call_is_made_again(case: Case, dumper: straced.Straced, call: str) -> None:
    for number in (1, 2, 5):
        case.restore()
        assert dumper.fail_at(call, number, "EINTR") == 0
        assert case.generation() == 2


@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_file_system_without_locks_is_dumped_to(
    case: Case, dumper: straced.Straced, error: str
) -> None:
    assert dumper.fail_at("flock", "1+", error) == 0
    assert case.generation() == 2


def test_an_error_of_close_after_the_sync_does_not_matter(
    case: Case, dumper: straced.Straced
) -> None:
    assert dumper.fail_at("close", "1+", "EIO") == 0
    assert case.generation() == 2


def test_a_file_that_fails_at_every_call_is_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "x.json"
    target.parent.mkdir()
    with straced.Straced(SETUP, "memory.dump_data(sys.argv[1])", target) as dumper:
        target.write_text("[]\n")
        calls = dumper.calls()
        new = target.read_text()
        wanted = [
            call for call in calls if call in ("write", "fsync", "openat") or "rename" in call
        ]
        for call in wanted:
            for number in range(1, calls[call] + 1):
                for old in ("[]\n", None):
                    target.unlink(missing_ok=True)
                    if old is not None:
                        target.write_text(old)
                    code = dumper.fail_at(call, number, "EIO")
                    now = target.read_text() if target.exists() else None
                    assert now == (new if code == 0 else old), (call, number)
                    assert len(list(target.parent.iterdir())) == (now is not None)
        for call, count in calls.items():
            for number in range(1, count + 1)[::3]:
                target.write_text("[]\n")
                code = dumper.kill_at(call, number)
                assert target.read_text() in (new, "[]\n"), (call, number)
                assert code == straced.KILLED or target.read_text() == new
        assert dumper.run("-e", "trace=none")[0] == 0
        assert list(target.parent.iterdir()) == [target]


SHORT_WRITES = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Writes a few bytes of what it is given, and is interrupted every third time. */
ssize_t write(int file, const void *bytes, size_t count) {
    static int calls;
    if (++calls % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_write, file, bytes, count > 997 ? 997 : count);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_short_writes_lose_nothing(case: Case, tmp_path: Path) -> None:
    (tmp_path / "short.c").write_text(SHORT_WRITES)
    library = tmp_path / "short.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "short.c"], check=True)
    work = "memory.dump(sys.argv[1])"
    with straced.Straced(SETUP, work, case.folder, LD_PRELOAD=str(library)) as dumper:
        code, log = dumper.run("-e", "trace=write")
    assert code == 0
    assert " = 997\n" in log
    assert case.generation() == 2
    assert verify(case.folder) == []
