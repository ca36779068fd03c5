"""Processes that are really killed, disks that are really full: the old memory or the new one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from omem import HashingEmbedder, Merge, OMem


class Counter(BaseModel):
    key: str
    generation: int
    text: str = ""


SCRIPT = """
import sys
from pydantic import BaseModel
from omem import HashingEmbedder, OMem

class Counter(BaseModel):
    key: str
    generation: int
    text: str = ""

memory = OMem(Counter, "key", embedder=HashingEmbedder(16))
"""


def run(body: str, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    code = SCRIPT + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        bufsize=0,  # what was told is read to the end, also after the first line
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def fresh() -> OMem[Counter]:
    return OMem(Counter, "key", embedder=HashingEmbedder(16))


class Load(BaseModel):
    key: str
    generation: int
    text: str = ""
    tons: Annotated[int, Merge.SUM, Field(le=40)] = 0


DUMP_LOOP = """
    generation = 0
    while True:
        generation += 1
        memory.upsert(
            Counter(key=f"k{n}", generation=generation, text="x" * (generation % 50))
            for n in range(200)
        )
        memory.build_index()
        memory.dump(sys.argv[1])
        print(generation, flush=True)
"""


DUMP_ALL_LOOP = """
    from typing import Annotated
    from pydantic import Field
    from omem import Merge

    class Load(Counter):
        tons: Annotated[int, Merge.SUM, Field(le=40)] = 0

    memory = OMem(
        Load, "key", embedder=HashingEmbedder(16), track_sources=True, on_conflict="quarantine"
    )
    generation = 0
    while True:
        generation += 1
        said = [
            Load(key=f"k{n}", generation=generation, text="x" * (generation % 50), tons=30)
            for n in range(200)
        ]
        memory.upsert_source("source", said, content_hash=str(generation))
        memory.quarantine.clear()
        memory.add(Load(key="k7", generation=generation, tons=30), source_id="other")
        memory.build_index()
        memory.dump(sys.argv[1])
        print(generation, flush=True)
"""


def generation_of(folder: Path) -> int:
    """The one generation of a folder, index included, after it was loaded."""
    memory = fresh()
    report = memory.load(folder)
    generations = {item.generation for item in memory}
    assert len(generations) == 1, "a mixture of two dumps"
    assert memory.size == 200
    assert report.index == "loaded", report.index
    assert memory.sync_index()
    return generations.pop()


def generation_of_all(folder: Path) -> int:
    """The one generation of a folder after it was loaded: entities, index, ledger, quarantine."""
    memory = OMem(
        Load, "key", embedder=HashingEmbedder(16), track_sources=True, on_conflict="quarantine"
    )
    report = memory.load(folder)
    generations = {item.generation for item in memory}
    generations |= {aside.item.generation for aside in memory.quarantine["k7"]}
    generations.add(int(memory.sources()["source"]["content_hash"]))
    assert len(generations) == 1, "a mixture of two dumps"
    assert memory.size == 200
    assert report.index == "loaded", report.index
    assert memory.sync_index()
    assert len(memory.remove_source("source")["removed_keys"]) == 200
    return generations.pop()


def killed_dumps(folder: Path, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(kills):
        process = run(DUMP_ALL_LOOP, folder)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.stderr.read().decode() if process.stderr else ""
        time.sleep(dice.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        told, _ = process.communicate()
        acknowledged = int((first + told).split()[-1])
        assert generation_of_all(folder) in (acknowledged, acknowledged + 1)
    memory = OMem(Load, "key", embedder=HashingEmbedder(16), track_sources=True)
    memory.load(folder)
    memory.dump(folder)
    left = [p.name for p in folder.rglob("*") if "-tmp" in p.name or "-new" in p.name]
    assert left == []


def test_killed_dumps(tmp_path: Path) -> None:
    killed_dumps(tmp_path / "m", kills=6, seed=1)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_killed_dumps_in_earnest(tmp_path: Path) -> None:
    killed_dumps(tmp_path / "m", kills=300, seed=2)


def test_a_file_size_limit_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    memory = fresh()
    memory.add(Counter(key="a", generation=1))
    memory.dump(tmp_path / "m")
    process = run(
        """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        memory.load(sys.argv[1])
        memory.add(Counter(key=f"b{n}", generation=2, text="x" * 1000) for n in range(2000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        try:
            memory.dump(sys.argv[1])
        except OSError as error:
            print(error.errno)
        """,
        tmp_path / "m",
    )
    told, errors = process.communicate()
    assert told.strip() == b"27", errors.decode()
    again = fresh()
    again.load(tmp_path / "m")
    assert again.items == memory.items


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    memory = fresh()
    memory.add(Counter(key="a", generation=1))
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="directory"):
        memory.dump_data(tmp_path / "directory")
    with pytest.raises(OSError, match="file"):
        memory.dump(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        memory.dump_data(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_that_leads_nowhere_yet_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("far/away")
    memory = fresh()
    memory.add(Counter(key="a", generation=1))
    memory.dump(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "away" / "memory.json").is_file()
    assert fresh().load(tmp_path / "link").entities == 1


@pytest.mark.parametrize("name", ["memory.json", "metadata.json", "faiss_index/docstore.pkl"])
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path, name: str) -> None:
    memory = fresh()
    memory.add(Counter(key="a", generation=1))
    memory.build_index()
    memory.dump(tmp_path / "m")
    (tmp_path / "m" / name).unlink()
    os.mkfifo(tmp_path / "m" / name)
    if "index" in name:
        assert fresh().load(tmp_path / "m").index.startswith("rejected")
    else:
        with pytest.raises(OSError, match="not a regular file"):
            fresh().load(tmp_path / "m")
    with pytest.raises(OSError, match="not a regular file"):
        memory.dump(tmp_path / "m")


def test_a_failed_dump_leaves_no_new_folders(tmp_path: Path) -> None:
    memory = fresh()
    memory.add(Counter(key="a", generation=1))

    def stop(done: int, records: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memory.dump(tmp_path / "a" / "b", progress=stop)
    with pytest.raises(KeyboardInterrupt):
        memory.dump_data(tmp_path / "a" / "b" / "x.json", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spare_mb", [8, 32, 64, 128, 256, 512])
def test_a_memory_limit_is_a_memory_error(spare_mb: int, tmp_path: Path) -> None:
    memory = fresh()
    memory.add(Counter(key=f"k{n}", generation=1, text="x" * 2000) for n in range(20_000))
    memory.dump_data(tmp_path / "x.json")
    process = run(
        """
        import resource
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        limit = used + int(sys.argv[2]) * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            memory.load_data(sys.argv[1])
            memory.dump_data(sys.argv[1] + ".again")
            print("done")
        except MemoryError:
            print("MemoryError")
        """,
        tmp_path / "x.json",
        spare_mb,
    )
    told, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert told.strip() in (b"done", b"MemoryError")
    if spare_mb >= 256:
        assert told.strip() == b"done"


READ_LOOP = """
    seen = 0
    while True:
        report = memory.load(sys.argv[1])
        generations = {item.generation for item in memory}
        assert len(generations) == 1 and memory.size == 200, "a mixture of two dumps"
        assert report.index == "loaded", report.index
        seen += 1
        print(seen, flush=True)
"""


def mixed_by_processes(folder: Path, seconds: float) -> None:
    """Two processes dump, two load; each load is of one dump, index included."""
    dumpers = [run(DUMP_LOOP, folder) for _ in range(2)]
    readers: list[subprocess.Popen[bytes]] = []
    drains: list[threading.Thread] = []
    try:
        for dumper in dumpers:
            assert dumper.stdout is not None
            assert dumper.stdout.readline()
        readers = [run(READ_LOOP, folder) for _ in range(2)]
        # They tell every step: what nobody reads would stop them once the pipe is full.
        told: dict[int, bytes] = {}

        def drain(process: subprocess.Popen[bytes]) -> None:
            assert process.stdout is not None
            for line in process.stdout:
                told[process.pid] = line

        drains = [threading.Thread(target=drain, args=(p,)) for p in (*dumpers, *readers)]
        for thread in drains:
            thread.start()
        time.sleep(seconds)
        for reader in readers:
            assert reader.poll() is None, reader.stderr.read().decode() if reader.stderr else ""
        for dumper in dumpers:
            assert dumper.poll() is None
        assert all(int(told.get(reader.pid, b"0")) > 3 for reader in readers), told
    finally:
        for process in (*dumpers, *readers):
            process.kill()
        for thread in drains:
            thread.join()
        for process in (*dumpers, *readers):
            with process:  # closes its pipes
                pass


def mixed_by_threads(folder: Path, seconds: float) -> None:
    """Two threads dump, two load; each load is of one dump, index included."""
    end = time.monotonic() + seconds
    failures: list[BaseException] = []
    loads: list[int] = []
    dumped = threading.Event()

    def dump() -> None:
        memory, generation = fresh(), 0
        while time.monotonic() < end and not failures:
            generation += 1
            memory.upsert(Counter(key=f"k{n}", generation=generation) for n in range(200))
            memory.build_index()
            memory.dump(folder)
            dumped.set()

    def read() -> None:
        assert dumped.wait(60)
        while time.monotonic() < end and not failures:
            loads.append(generation_of(folder))

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(w,)) for w in (dump, dump, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(loads) > 3


@pytest.mark.parametrize("mixed", [mixed_by_processes, mixed_by_threads])
def test_dumpers_and_readers_never_see_a_mixture(
    tmp_path: Path, mixed: Callable[[Path, float], None]
) -> None:
    mixed(tmp_path / "m", 4)


@pytest.mark.faults
@pytest.mark.parametrize("mixed", [mixed_by_processes, mixed_by_threads])
def test_dumpers_and_readers_never_see_a_mixture_in_30_s(
    tmp_path: Path, mixed: Callable[[Path, float], None]
) -> None:
    mixed(tmp_path / "m", 30)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_of_somebody_else_is_read_and_not_written(tmp_path: Path) -> None:
    memory = fresh()
    memory.add(Counter(key="a", generation=1))
    memory.dump(tmp_path / "m")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o77 == 0:
            folder.chmod(0o711)
    process = run(
        """
        import os
        os.seteuid(65534)
        assert memory.load(sys.argv[1] + "/m").entities == 1
        memory.add(Counter(key="b", generation=2))
        for dump, name in ((memory.dump, "m"), (memory.dump, "new"), (memory.dump_data, "x.json")):
            try:
                dump(f"{sys.argv[1]}/{name}")
            except PermissionError as error:
                assert sys.argv[1] in str(error)
            else:
                raise AssertionError(name)
        print("done")
        """,
        tmp_path,
    )
    told, errors = process.communicate(timeout=60)
    assert told.strip() == b"done", errors.decode()
    assert sorted(os.listdir(tmp_path)) == ["m"]
    again = fresh()
    assert again.load(tmp_path / "m").entities == 1


def test_threads_share_one_memory(tmp_path: Path) -> None:
    memory = OMem(Counter, "key", embedder=HashingEmbedder(16))
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(30):
                memory.add(Counter(key=f"{name}{number}", generation=number, text=name))
                assert memory.get(f"{name}{number}") is not None
                memory.search(name, top_k=2)
                memory.dump(tmp_path / "m")
                OMem(Counter, "key").load(tmp_path / "m")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert memory.size == 8 * 30
    assert len(memory.search("a", top_k=500)) == 240


def test_everything_works_after_a_fork() -> None:
    process = run(
        """
        import os, threading, time, warnings
        warnings.simplefilter("ignore")
        memory.add(Counter(key=f"k{n}", generation=1, text=f"text {n}") for n in range(3000))
        memory.search("text 7")
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                memory.upsert(Counter(key="busy", generation=2))
        threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                memory.add(Counter(key="child", generation=3))
                ok = memory.get("child") is not None and len(memory.search("text 7")) == 5
                os._exit(0 if ok else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        print("done")
        """
    )
    told, errors = process.communicate(timeout=120)
    assert told.strip() == b"done", errors.decode()


def test_ctrl_c_ends_a_dump_and_leaves_the_old_one(tmp_path: Path) -> None:
    process = run(
        """
        import os, signal
        # A shell has what it runs in the background ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        memory.add(Counter(key=f"k{n}", generation=1, text="x" * 500) for n in range(50_000))
        memory.dump(sys.argv[1])
        memory.upsert(Counter(key="k1", generation=2))
        def stop(done, records):
            os.kill(os.getpid(), signal.SIGINT)
        try:
            memory.dump(sys.argv[1], progress=stop)
        except KeyboardInterrupt:
            print("interrupted")
        """,
        tmp_path / "m",
    )
    told, errors = process.communicate()
    assert told.strip() == b"interrupted", errors.decode()
    memory = fresh()
    memory.load(tmp_path / "m")
    entity = memory.get("k1")
    assert entity is not None
    assert entity.generation == 1


def test_ctrl_c_at_any_moment_leaves_a_memory_that_works(tmp_path: Path) -> None:
    # Where a lock was taken by Python code, a signal between its taking and its release left it
    # locked for ever.
    process = run(
        """
        import os, random, signal, threading, time

        armed = False
        def handler(number, frame):
            global armed
            if armed:
                armed = False
                raise KeyboardInterrupt

        def pester():
            dice = random.Random(1)
            while True:
                time.sleep(dice.uniform(0, 0.0004))
                if armed:
                    os.kill(os.getpid(), signal.SIGINT)

        folder, data = sys.argv[1] + "/m", sys.argv[1] + "/x.json"
        memory.add(Counter(key="a", generation=0))
        memory.dump(folder)
        memory.dump_data(data)
        works = [
            lambda: memory.add(Counter(key="a", generation=number)),
            lambda: memory.upsert(Counter(key="a", generation=number)),
            lambda: memory.search("a"),
            lambda: memory.build_index(),
            lambda: memory.dump(folder),
            lambda: memory.load(folder),
            lambda: memory.dump_data(data),
            lambda: memory.load_data(data),
            lambda: memory.remove("nothing"),
        ]
        signal.signal(signal.SIGINT, handler)
        threading.Thread(target=pester, daemon=True).start()
        interrupted = done = 0
        begin = time.monotonic()
        # On a busy machine it takes longer until enough has happened.
        while (past := time.monotonic() - begin) < 4 or (
            past < 40 and min(interrupted, done) <= 100
        ):
            number = interrupted + done
            try:
                armed = True
                works[number % len(works)]()
                armed = False
                done += 1
            except KeyboardInterrupt:
                interrupted += 1
            assert memory.size == 1
        armed = False
        assert min(interrupted, done) > 100, (interrupted, done)
        memory.add(Counter(key="b", generation=1))
        memory.dump(folder)
        print(sorted(os.listdir(folder)))
        """,
        tmp_path,
    )
    try:
        told, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert told.strip() == b"['faiss_index', 'memory.json', 'metadata.json']", errors.decode()
    memory = fresh()
    assert memory.load(tmp_path / "m").entities == 2
    assert len(memory.search("b")) == 2
