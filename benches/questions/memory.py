"""How much memory does it take to hold all entities, to load them, to dump them?

In multiples of the file's size, so that 1 is the size of the file that the peer itself writes;
resident memory, in a process that has done nothing else. Held: after a load, the first `get`
included. Peak: during that load. Dump: beyond what is held before it.
"""

from __future__ import annotations

from typing import Any

from benches.fresh import fresh_load, highest, resident
from benches.questions import case
from benches.trial import Trial

_FEW = (
    "of few entities a process's first allocations weigh more than what it holds; omem's and its "
    "buffers are about 200 kB"
)
WHY = {
    **dict.fromkeys(("ontomem", "pydantic", "pickle", "msgspec", "orjson", "json"), _FEW),
    "sqlite": "it holds nothing: each get reads from the file",
}


@case("held after a load", "load", "get", "fill", unit="× file", fresh=True, alone=True)
def held(peer: Any, trial: Trial) -> float:
    load = fresh_load(peer, trial)
    return (load.held - load.before) / load.file


@case("peak during a load", "load", "get", "fill", unit="× file", fresh=True, alone=True)
def load_peak(peer: Any, trial: Trial) -> float:
    load = fresh_load(peer, trial)
    return (load.peak - load.before) / load.file


@case("extra during a dump", "load", "get", "dump", "fill", unit="MB", fresh=True, alone=True)
def dump_peak(peer: Any, trial: Trial) -> float:
    fresh_load(peer, trial)
    before = resident()
    peak = highest(lambda: peer.dump(trial.path))
    return max(0, peak - before) / 1e6
