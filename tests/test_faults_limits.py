"""Little memory, few files, small stacks: a clear error or success, never an abort."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from omem import HashingEmbedder, LoadError, LossyError, OMem


class Counter(BaseModel):
    key: str
    generation: int
    text: str = ""


class Holder(BaseModel):
    key: str
    value: Any = None


class Tree(BaseModel):
    key: str
    child: Tree | None = None


SCRIPT = """
import resource, sys
from pydantic import BaseModel
from omem import HashingEmbedder, OMem

class Counter(BaseModel):
    key: str
    generation: int
    text: str = ""

memory = OMem(Counter, "key", embedder=HashingEmbedder(64))
memory.add(Counter(key="a", generation=0))
memory.search("a")
memory.dump(sys.argv[1] + "/warm")
memory.load(sys.argv[1] + "/warm")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[2]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
done = []
try:
    report = memory.load(sys.argv[1] + "/m")
    assert report.entities == memory.size > 1
    done.append("loaded")
    memory.dump(sys.argv[1] + "/again")
    done.append("dumped")
    # A search is not tried: FAISS itself crashes where it gets no memory for its threads.
except MemoryError:
    done.append("MemoryError")
print(*done)
"""


def limited(folder: Path, spare_mb: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(spare_mb)], capture_output=True, text=True
    )
    assert done.returncode == 0, (spare_mb, done.returncode, done.stderr[-2000:])
    return done.stdout.split()


def prepare(folder: Path, megabytes: int, *, index: bool) -> None:
    memory = OMem(Counter, "key", embedder=HashingEmbedder(64))
    memory.add(
        Counter(key=f"k{n}", generation=1, text=f"{n} " * 300) for n in range(megabytes * 550)
    )
    if index:
        memory.build_index()
    memory.dump(folder / "m")


linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")


@linux
@pytest.mark.parametrize("spare_mb", [1, 16, 40, 64, 96, 400])
def test_little_memory_for_an_index_is_a_memory_error(tmp_path: Path, spare_mb: int) -> None:
    prepare(tmp_path, 20, index=True)
    done = limited(tmp_path, spare_mb)
    assert done[-1] in ("dumped", "MemoryError")
    if spare_mb == 400:
        assert done == ["loaded", "dumped"]


@linux
@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("index", [False, True])
def test_little_memory_for_200_mb_in_twenty_steps(tmp_path: Path, index: bool) -> None:
    prepare(tmp_path, 200, index=index)
    seen = [limited(tmp_path, 64 + 32 * step) for step in range(20)]
    assert seen[0] == ["MemoryError"]
    assert seen[-1][:2] == ["loaded", "dumped"]


def test_few_files_are_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    prepare(tmp_path, 1, index=True)
    code = textwrap.dedent("""
        import os, resource, sys
        from pydantic import BaseModel
        from omem import HashingEmbedder, OMem

        class Counter(BaseModel):
            key: str
            generation: int
            text: str = ""

        memory = OMem(Counter, "key", embedder=HashingEmbedder(64))
        memory.add(Counter(key=f"k{n}", generation=2) for n in range(550))
        memory.build_index()
        files = len(os.listdir("/dev/fd"))
        for spare in range(20):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files + spare, 4096))
            try:
                memory.dump(sys.argv[1])
            except OSError as error:
                resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
                fresh = OMem(Counter, "key", embedder=HashingEmbedder(64))
                fresh.load(sys.argv[1])
                assert {entity.generation for entity in fresh} == {1}
                print(error.errno)
            else:
                print("done", spare)
                break
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True
    )
    *errors, last = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert set(errors) == {str(errno.EMFILE)}
    assert last.startswith("done")
    names = sorted(p.name for p in (tmp_path / "m").iterdir())
    assert names == ["faiss_index", "memory.json", "metadata.json"]


def test_a_file_size_limit_at_any_place(tmp_path: Path) -> None:
    prepare(tmp_path, 1, index=True)
    whole = sum(p.stat().st_size for p in (tmp_path / "m").rglob("*") if p.is_file())
    code = textwrap.dedent("""
        import resource, signal, sys
        from pydantic import BaseModel
        from omem import HashingEmbedder, OMem

        class Counter(BaseModel):
            key: str
            generation: int
            text: str = ""

        memory = OMem(Counter, "key", embedder=HashingEmbedder(64))
        memory.add(Counter(key=f"k{n}", generation=2, text=f"{n} " * 300) for n in range(550))
        memory.build_index()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for step in range(1, 12):
            limit = int(sys.argv[2]) * step // 11
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
            try:
                memory.dump(sys.argv[1])
                outcome = 0
            except OSError as error:
                outcome = error.errno
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
            fresh = OMem(Counter, "key", embedder=HashingEmbedder(64))
            report = fresh.load(sys.argv[1])
            assert report.index == "loaded"
            assert {entity.generation for entity in fresh} == {1 if outcome else 2}
            print(outcome)
            if outcome == 0:
                break
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m"), str(whole)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *errors, last = done.stdout.split()
    assert set(errors) == {str(errno.EFBIG)}
    assert last == "0"


def on_a_small_stack(work: Any) -> Any:
    outcome: list[Any] = []

    def attempt() -> None:
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)

    size = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    [found] = outcome
    return found


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("closed", [False, True])
def test_a_million_levels_are_an_error_within_a_second(
    tmp_path: Path, opening: str, closed: bool
) -> None:
    closing = {"[": "]", '{"a":': "1}", '[{"a":': "}]"}[opening].replace("1", "")
    inner = "1" if closed else ""
    nested = opening * 1_000_000 + inner + (closing * 1_000_000 if closed else "")
    (tmp_path / "x.json").write_text('[{"key":"a","value":' + nested + "}]")
    for skip in ("raise", "skip"):
        memory = OMem(Holder, "key")
        start = time.perf_counter()
        found = on_a_small_stack(lambda: memory.load_data(tmp_path / "x.json", on_error=skip))
        assert time.perf_counter() - start < 1
        if skip == "raise":
            assert isinstance(found, LoadError) and "nested" in str(found)
        else:
            assert (found.entities, len(found.skipped)) == (0, 1)


def nested(kind: str, depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


@pytest.mark.parametrize("kind", ["list", "dict", "model"])
def test_what_add_accepts_loads_at_every_depth(tmp_path: Path, kind: str) -> None:
    accepted: list[int] = []
    for depth in range(1, 301):
        model: type[BaseModel] = Tree if kind == "model" else Holder
        if kind == "model":
            item: BaseModel = Tree(key="a")
            for _ in range(depth - 1):
                item = Tree.model_construct({"key", "child"}, key="a", child=item)
        else:
            item = Holder(key="a", value=nested(kind, depth))
        memory = OMem(model, "key")
        outcome = on_a_small_stack(lambda: memory.add(item))
        if isinstance(outcome, LossyError):
            assert memory.empty()
            continue
        assert not isinstance(outcome, Exception), (depth, outcome)
        accepted.append(depth)
        memory.dump_data(tmp_path / "x.json")
        fresh = OMem(model, "key")
        report = on_a_small_stack(lambda: fresh.load_data(tmp_path / "x.json"))
        assert not isinstance(report, Exception), (depth, report)
        assert fresh.get("a") == memory.get("a")
        json.loads((tmp_path / "x.json").read_bytes())
    assert accepted == list(range(1, len(accepted) + 1))
    assert 150 <= len(accepted) <= 200, len(accepted)
