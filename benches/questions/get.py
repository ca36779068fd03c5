"""How long does finding one entity by its key take?

A thousand keys at random, each known. omem and SQLite decode a record into a model of the caller's
own at each call; the others return a reference to what they hold.
"""

from __future__ import annotations

import random
from typing import Any

from benches.questions import case
from benches.trial import Trial

_HELD = "it returns the object that it holds, which a caller can change by mistake"
WHY = dict.fromkeys(("ontomem", "pydantic", "pickle", "msgspec", "orjson", "json"), _HELD)
COUNT = 1_000


@case("one entity", "load", "get", "fill", unit="µs")
def one(peer: Any, trial: Trial) -> float:
    trial.loaded()
    dice = random.Random(3)
    places = [dice.randrange(len(trial.rows)) for _ in range(COUNT)]
    keys = [trial.rows[at][trial.data.key] for at in places]
    get = peer.get
    seconds = trial.clock(lambda: [get(key) for key in keys])
    items = trial.items
    trial.expect(trial.answer == [items[at] for at in places], "other entities were found")
    return seconds / COUNT * 1e6
