"""How long does a full garbage collection pause a process that holds all entities?

`gc.collect()` in a process that has loaded a file, less the same before the load.
"""

from __future__ import annotations

from typing import Any

from benches.fresh import fresh_load
from benches.questions import case
from benches.trial import Trial

WHY = {
    "sqlite": "it holds nothing: each get reads from the file",
}


@case("pause added", "load", "get", "fill", unit="ms", fresh=True, alone=True)
def added(peer: Any, trial: Trial) -> float:
    load = fresh_load(peer, trial)
    return max(0.0, load.pause_held - load.pause_before)
