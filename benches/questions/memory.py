"""How much memory does it take to hold all entities, to load them, to dump them?

In multiples of the file's size, so that 1 is the size of the file that the peer itself writes;
resident memory, in a process that has done nothing else. Held: after a load, the first `get`
included. Peak: during that load. Dump: beyond what is held before it.
"""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path
from typing import Any

import psutil

from benches.questions import case
from benches.trial import Trial

WHY = {
    "sqlite": "it holds nothing: each get reads from the file",
}


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def forget_peak() -> None:
    """Linux forgets the highest resident size on request; elsewhere it is of the whole life."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def load(peer: Any, trial: Trial) -> tuple[int, int, int]:
    """Resident sizes before and after a load, and the highest one during it."""
    before = resident()
    forget_peak()
    peer.load(trial.path)
    found = peer.get(trial.middle_key)
    highest = peak()
    trial.expect(found is not None, "the entity was not found")
    del found
    return before, resident(), highest


@case("held after a load", "load", "get", "fill", unit="× file", fresh=True, alone=True)
def held(peer: Any, trial: Trial) -> float:
    before, after, _ = load(peer, trial)
    return (after - before) / trial.path.stat().st_size


@case("peak during a load", "load", "get", "fill", unit="× file", fresh=True, alone=True)
def load_peak(peer: Any, trial: Trial) -> float:
    before, _, highest = load(peer, trial)
    return (highest - before) / trial.path.stat().st_size


@case("extra during a dump", "load", "get", "dump", "fill", unit="MB", fresh=True, alone=True)
def dump_peak(peer: Any, trial: Trial) -> float:
    _, before, _ = load(peer, trial)
    forget_peak()
    peer.dump(trial.path)
    return max(0, peak() - before) / 1e6
