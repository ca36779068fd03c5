"""How long does saving all entities take, until they are safe on the disk?

To a file, its fsync included (but ontomem never syncs). Fresh: of entities that were just added.
After a load: of entities that came from a file. After touching: one in a hundred replaced since.
"""

from __future__ import annotations

from typing import Any

from benches.questions import case
from benches.trial import Trial

_IN_PLACE = (
    "it writes in place, where a crash leaves a torn file: no temporary file, rename, lock and "
    "sync of the folder"
)
WHY = {
    "disk": "the limit: the bytes are there already, and are written in place",
    **dict.fromkeys(("msgspec", "orjson", "pydantic"), _IN_PLACE),
}


@case("fresh", "fill", "dump", "load")
def fresh(peer: Any, trial: Trial) -> float:
    trial.hold()
    seconds = trial.clock(lambda: peer.dump(trial.path))
    trial.expect_saved(trial.rows)
    return seconds


@case("after a load", "fill", "dump", "load")
def after_load(peer: Any, trial: Trial) -> float:
    trial.saved()
    trial.loaded()
    seconds = trial.clock(lambda: peer.dump(trial.path))
    trial.expect_saved(trial.rows)
    return seconds


@case("after touching 1 %", "fill", "touch", "dump", "load")
def after_touch(peer: Any, trial: Trial) -> float:
    trial.hold()
    rows = list(trial.rows)
    for at in range(0, len(rows), 100):
        rows[at] = trial.data.change(rows[at])
    peer.touch(peer.make(rows[::100]))
    seconds = trial.clock(lambda: peer.dump(trial.path))
    trial.expect_saved(rows)
    trial.forget_saved()
    return seconds
