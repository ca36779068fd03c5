"""How long does adding entities take, new ones and known ones?

A batch of models is added to an empty memory, or, for duplicates, to one that knows none, half or
all of their keys. With duplicates, fields are merged: None changes nothing, other values are
overwritten, lists are replaced (the default of omem unites them; ontomem cannot). The hand-written
dict of dicts does that with a loop and copies nothing; SQLite inserts into a database in memory;
Pydantic keeps a serialized and validated copy.
"""

from __future__ import annotations

from typing import Any

from benches.questions import case
from benches.questions.merge import merged
from benches.trial import Trial

WHY = {
    "pydantic": "where a validator of the user's decides, omem has Pydantic write and read every "
    "model, just as this peer does (47 of 50 ms of CPU for 5,263), and compares the two besides",
    "ontomem": "it keeps references to the models that it is given: nothing is encoded or checked "
    "until a dump, and a caller can change them by mistake",
    "json": "it keeps the dicts that it is given: nothing is encoded, checked or copied",
    "orjson": "it keeps the dicts that it is given: nothing is encoded, checked or copied",
}


@case("new entities", "add", "items")
def new(peer: Any, trial: Trial) -> float:
    peer.fill([])
    items = trial.items
    seconds = trial.clock(lambda: peer.add(items))
    trial.expect(peer.items() == items, "the entities are not those that were added")
    return seconds


def duplicates(peer: Any, trial: Trial, percent: int) -> float:
    """Adds as many observations as there are entities, so many of them with known keys."""
    rows, change = trial.rows, trial.data.observation
    known = len(rows) * percent // 100
    first = [*rows[:known]]
    second = [change(row, 1) for row in rows]
    return merged(peer, trial, "merge_field", first, second)


@case("0 % duplicates", "merge", "start")
def duplicates_0(peer: Any, trial: Trial) -> float:
    return duplicates(peer, trial, 0)


@case("50 % duplicates", "merge", "start")
def duplicates_50(peer: Any, trial: Trial) -> float:
    return duplicates(peer, trial, 50)


@case("100 % duplicates", "merge", "start")
def duplicates_100(peer: Any, trial: Trial) -> float:
    return duplicates(peer, trial, 100)
