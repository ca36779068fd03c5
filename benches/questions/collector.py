"""How long does a full garbage collection pause a process that holds all entities?

`gc.collect()` in a process that has loaded a file, less the same before the load.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

from benches.questions import case
from benches.trial import Trial

WHY = {
    "sqlite": "it holds nothing: each get reads from the file",
}


def pause() -> float:
    """Milliseconds of one full collection, the median of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        gc.collect()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


@case("pause added", "load", "get", "fill", unit="ms", fresh=True, alone=True)
def added(peer: Any, trial: Trial) -> float:
    before = pause()
    peer.load(trial.path)
    trial.expect(peer.get(trial.middle_key) is not None, "the entity was not found")
    return max(0.0, pause() - before)
