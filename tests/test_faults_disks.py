"""Disks that are full or read-only, and power cuts on real file systems, mounted for the test."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import BaseModel

from omem import HashingEmbedder, OMem, inspect, verify


class Counter(BaseModel):
    key: str
    generation: int
    text: str = ""


def memory_of(generation: int, count: int = 50, length: int = 9) -> OMem[Counter]:
    memory = OMem(Counter, "key", embedder=HashingEmbedder(16))
    memory.add(Counter(key=f"k{n}", generation=generation, text="x" * length) for n in range(count))
    memory.build_index()
    return memory


def generation_of(folder: Path) -> int:
    memory = OMem(Counter, "key", embedder=HashingEmbedder(16))
    report = memory.load(folder)
    assert (memory.size, report.index, report.warnings) == (50, "loaded", [])
    assert memory.sync_index()
    [generation] = {entity.generation for entity in memory}
    return generation


def why_not_mount() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root can mount"
    place = Path("/tmp") / f"omem-mount-{os.getpid()}"
    place.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", place], check=True)
            return None
        return "nothing can be mounted here"
    finally:
        place.rmdir()


no_mount = why_not_mount()
mounts = pytest.mark.skipif(no_mount is not None, reason=str(no_mount))


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", *arguments, place], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def outcome(attempt: Callable[[], object]) -> int:
    """The errno that an attempt fails with, 0 where it does not."""
    try:
        attempt()
    except OSError as error:
        return error.errno or -1
    return 0


@mounts
@pytest.mark.parametrize("spare_kb", [4, 8, 12, 16, 24, 64, 512])
def test_a_full_disk_is_an_error_and_nothing_is_lost(tmp_path: Path, spare_kb: int) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "none") as disk:
        memory_of(1).dump(disk / "m")
        before = names(disk)
        (disk / "filler").write_bytes(b"")
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "filler").write_bytes(bytes(free - (spare_kb << 10)))
        for attempt in (
            lambda: memory_of(2, length=20_000).dump(disk / "m"),
            lambda: memory_of(2, length=20_000).dump(disk / "new" / "folder"),
            lambda: memory_of(2, length=20_000).dump_data(disk / "new" / "x.json"),
        ):
            with pytest.raises(OSError, match="No space left") as caught:
                attempt()
            assert caught.value.errno == errno.ENOSPC
            assert names(disk) == sorted([*before, "filler"])
            assert generation_of(disk / "m") == 1
        (disk / "filler").unlink()
        memory_of(3).dump(disk / "m")
        assert generation_of(disk / "m") == 3


@mounts
def test_a_disk_without_inodes_is_an_error_and_can_be_read(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "nr_inodes=40", "none") as disk:
        memory_of(1).dump(disk / "m")
        before = names(disk / "m")
        fillers: list[Path] = []
        for spare in range(9):
            while True:
                try:
                    fillers.append(disk / f"filler{len(fillers)}")
                    fillers[-1].touch()
                except OSError:
                    fillers.pop()
                    break
            for _ in range(spare):
                fillers.pop().unlink()
            failed = outcome(lambda: memory_of(2).dump(disk / "m"))
            if failed == 0:
                break
            assert failed == errno.ENOSPC
            assert names(disk / "m") == before
            assert generation_of(disk / "m") == 1
        assert 3 < spare < 9
        assert generation_of(disk / "m") == 2


@mounts
def test_a_read_only_mount_is_read_and_not_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "none") as disk:
        memory_of(1).dump(disk / "m")
        before = names(disk)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for attempt in (
            lambda: memory_of(2).dump(disk / "m"),
            lambda: memory_of(2).dump(disk / "new"),
            lambda: memory_of(2).dump_data(disk / "x.json"),
            lambda: memory_of(2).dump_index(disk / "index"),
            lambda: memory_of(2).dump_metadata(disk / "metadata.json"),
        ):
            with pytest.raises(OSError, match=r"[Rr]ead-only") as caught:
                attempt()
            assert caught.value.errno == errno.EROFS
        assert generation_of(disk / "m") == 1
        assert verify(disk / "m") == []
        assert inspect(disk / "m").entities == 50
        assert names(disk) == before


@mounts
def test_a_committed_dump_is_read_where_nothing_can_be_finished(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "none") as disk:
        folder = disk / "m"
        memory_of(1).dump(folder)
        memory_of(2).dump(disk / "new")
        for name in ("memory.json", "faiss_index/index.faiss", "faiss_index/docstore.pkl"):
            source = disk / "new" / name
            shutil.copy(source, (folder / name).with_name(f".{source.name}.omem-new"))
        shutil.copy(disk / "new" / "metadata.json", folder / ".metadata.json.omem-commit")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert generation_of(folder) == 2
        assert verify(folder) == []
        assert inspect(folder).entities == 50
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert generation_of(folder) == 2
        assert names(folder) == names(disk / "new")


SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN: from now on nothing reaches the disk any more."""

NO_LOG_FLUSH = 2

WRITER = """
    import sys
    from pydantic import BaseModel
    from omem import HashingEmbedder, OMem

    class Counter(BaseModel):
        key: str
        generation: int
        text: str = ""

    memory = OMem(Counter, "key", embedder=HashingEmbedder(16))
    generation = 0
    while True:
        generation += 1
        memory.upsert(Counter(key=f"k{n}", generation=generation) for n in range(50))
        memory.build_index()
        memory.dump(sys.argv[1])
        print(generation, flush=True)
"""

CONTROL = """
    import os, sys
    generation = 0
    while True:
        generation += 1
        with open(sys.argv[1] + ".tmp", "w") as file:
            file.write("[" + "1234567890," * 20_000 + "0]\\n")
        os.replace(sys.argv[1] + ".tmp", sys.argv[1])
        print(generation, flush=True)
"""

FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "loop,data=writeback,noauto_da_alloc"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "loop"),
}


def cut(disk: Path, script: str, target: Path, after: float) -> int:
    """Cuts the power while a process writes; the last generation that it was told is safe."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(target)],
        bufsize=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(after)
    place = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(place, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    finally:
        os.close(place)
    process.kill()
    told, _ = process.communicate()
    return int((first + told).split()[-1])


def power_cuts(tmp_path: Path, kind: str, cuts: int, look: Callable[[Path], object]) -> int:
    """Cuts the power again and again; how often what was left could not be read."""
    make, options = FILE_SYSTEMS[kind]
    if shutil.which(make[0]) is None:
        pytest.skip(f"{make[0]} is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([*make, image], check=True)
    disk = tmp_path / "disk"
    unreadable = 0
    for number in range(cuts):
        with mounted(disk, "-t", kind, "-o", options, str(image)):
            if look is control:
                cut(disk, CONTROL, disk / "x.json", after=0.01 + number % 7 * 0.01)
            else:
                told = cut(disk, WRITER, disk / "m", after=number % 20 * 0.004)
        with mounted(disk, "-t", kind, "-o", options, str(image)):
            if look is control:
                unreadable += not control(disk / "x.json")
            else:
                assert generation_of(disk / "m") in (told, told + 1)
                assert verify(disk / "m") == []
                # The next one starts with its own generations.
                shutil.rmtree(disk / "m")
    return unreadable


def control(file: Path) -> bool:
    return file.exists() and file.read_bytes().endswith(b"0]\n")


@pytest.mark.faults
@pytest.mark.timeout(1800)
@mounts
@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, kind: str) -> None:
    assert power_cuts(tmp_path, kind, 40, generation_of) == 0


@pytest.mark.faults
@pytest.mark.timeout(1800)
@mounts
@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_the_power_cuts_harm_what_does_not_sync(tmp_path: Path, kind: str) -> None:
    assert power_cuts(tmp_path, kind, 10, control) > 0
