"""What a load does to a process that has done nothing else: resident memory, collector pauses."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benches.trial import Trial


@dataclass(frozen=True)
class Load:
    """Bytes of resident memory, milliseconds of a full collection, around a load."""

    before: int
    held: int
    peak: int
    pause_before: float
    pause_held: float
    file: int
    """Size of the file that was loaded."""


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def pause() -> float:
    """Milliseconds of one full collection, the median of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        gc.collect()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def highest(work: Callable[[], Any]) -> int:
    """The highest resident size during some work; outside of Linux, of the process's whole life."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest one so far
        work()
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def fresh_load(peer: Any, trial: Trial) -> Load:
    """What the load did, which the first case that asks lets the process do."""
    if trial.load is None:
        key, found = trial.middle_key, []
        pause_before, before = pause(), resident()

        def work() -> None:
            peer.load(trial.path)
            found.append(peer.get(key) is not None)

        peak = highest(work)
        trial.expect(found == [True], "the entity was not found")
        size = trial.path.stat().st_size
        trial.load = Load(before, resident(), peak, pause_before, pause(), size)
    return trial.load
