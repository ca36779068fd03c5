"""Long work tells how far it is and ends at Ctrl-C, leaving everything as it was."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from pydantic import BaseModel

from omem import OMem

COUNT = 20_000


class Airport(BaseModel):
    icao: str
    name: str | None = None
    aliases: list[str] = []


def memory_of(*items: Airport) -> OMem[Airport]:
    memory = OMem(Airport, "icao")
    memory.add(items)
    return memory


def airports(count=COUNT):
    return [Airport(icao=f"{n:07}", name="Flughafen " * 9, aliases=["x"] * 9) for n in range(count)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same records, a line each, indented, and with one that is not compact at the end."""
    folder = tmp_path_factory.mktemp("files")
    memory_of(*airports()).dump_data(folder / "lines.json")
    records = json.loads((folder / "lines.json").read_bytes())
    (folder / "indented.json").write_text(json.dumps(records, indent=2))
    loose = (folder / "lines.json").read_text().removesuffix("}\n]\n") + " }\n]\n"
    (folder / "loose.json").write_text(loose)
    return folder


def told(work):
    steps = []
    work(lambda done, records: steps.append((done, records)))
    assert steps == sorted(steps)
    assert [records for _, records in steps] == sorted(records for _, records in steps)
    return steps


def test_add_and_dump_tell_all_bytes_and_records_at_the_end(tmp_path):
    memory = memory_of()
    steps = told(lambda progress: memory.add(airports(), progress=progress))
    assert len(steps) > 4
    assert steps[-1][1] == COUNT
    path = tmp_path / "x.json"
    assert told(lambda progress: memory.dump_data(path, progress=progress))[-1] == (
        path.stat().st_size,
        COUNT,
    )
    steps = told(lambda progress: memory.dump(tmp_path / "folder", progress=progress))
    assert steps[-1] == (path.stat().st_size, COUNT)


@pytest.mark.parametrize("name", ["lines", "indented", "loose"])
def test_load_tells_all_bytes_and_records_at_the_end(files, name):
    path = files / f"{name}.json"
    memory = memory_of()
    steps = told(lambda progress: memory.load_data(path, progress=progress))
    assert steps[-1] == (path.stat().st_size, COUNT)
    assert len(memory.keys) == COUNT


@pytest.mark.parametrize("call", [1, 2])
def test_what_a_callback_raises_ends_the_work_and_leaves_all_as_it_was(files, tmp_path, call):
    path = tmp_path / "x.json"
    memory = memory_of(Airport(icao="A"))
    memory.dump_data(path)
    before = path.read_bytes()
    big = memory_of(*airports())
    works = [
        lambda progress: memory.add(iter(airports()), progress=progress),
        lambda progress: memory.load_data(files / "lines.json", progress=progress),
        lambda progress: memory.load_data(files / "loose.json", progress=progress),
        lambda progress: memory.load_data(files / "lines.json", mode="merge", progress=progress),
        lambda progress: big.dump_data(path, progress=progress),
    ]
    for work in works:
        calls = 0

        def stop(done, records):
            nonlocal calls
            calls += 1
            if calls == call:
                raise ZeroDivisionError("enough")

        with pytest.raises(ZeroDivisionError, match="enough"):
            work(stop)
        assert calls == call
        assert memory.items == [Airport(icao="A")]
        assert path.read_bytes() == before
        assert sorted(file.name for file in tmp_path.iterdir()) == ["x.json"]


CTRL_C = """
    import os, signal, subprocess, sys, time
    from pathlib import Path
    from test_progress import COUNT, Airport, airports, memory_of

    folder = Path(sys.argv[1])
    items = airports()
    big, small = memory_of(*items), memory_of(Airport(icao="A"))
    big.dump_data(folder / "big.json")
    big.dump(folder / "big")
    small.dump_data(folder / "x.json")
    files = sorted(folder.rglob("*"))
    old, new = (folder / "x.json").read_bytes(), (folder / "big.json").read_bytes()

    def lazily():
        yield from items

    works = {
        "add": lambda: small.add(items),
        "add a generator": lambda: small.add(lazily()),
        "load": lambda: small.load(folder / "big"),
        "load_data": lambda: small.load_data(folder / "big.json"),
        "load with a function": lambda: small.load_data(folder / "big.json", migrate=dict),
        "dump_data": lambda: big.dump_data(folder / "x.json"),
        "items": lambda: big.items,
        "iter_items": lambda: list(big.iter_items()),
    }
    armed = False
    def handler(number, frame):
        global armed
        if armed:
            armed = False
            raise KeyboardInterrupt
    signal.signal(signal.SIGINT, handler)

    def until_stopped(work):
        # In a function of its own: CPython 3.13 leaves the jump back of a loop out of a `try`.
        global armed
        while armed:
            work()
        armed = False

    def restore():
        small.clear()
        small.add(Airport(icao="A"))
        small.dump_data(folder / "x.json")

    for name, work in works.items():
        start = time.perf_counter()
        work()
        takes = time.perf_counter() - start
        restore()
        stopped = 0
        for attempt in range(60):
            # Whenever the process that sends the signal comes to it, the work is under way.
            after = 0.02 + takes * (attempt % 7) / 7
            send = ["sh", "-c", f"sleep {after:.4f}; kill -INT {os.getpid()}"]
            start = time.perf_counter()
            armed = True
            try:
                sender = subprocess.Popen(send)
                until_stopped(work)
            except KeyboardInterrupt:
                late = time.perf_counter() - start - after
                stopped += 1
                assert late < 3, (name, late)
            sender.wait(10)
            assert small.size in (1, COUNT, COUNT + 1), (name, small.size)
            assert (folder / "x.json").read_bytes() in (old, new), name
            assert sorted(folder.rglob("*")) == files, name
            restore()
            if stopped == 6:
                break
        assert stopped == 6, (name, stopped)
        print(name)
"""


def test_ctrl_c_ends_long_work_soon_and_leaves_the_old_or_the_new(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CTRL_C), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 8
