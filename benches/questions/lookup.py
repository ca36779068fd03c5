"""How long does finding entities by another field take?

A lookup by `email`; a thousand e-mail addresses at random, each of one entity.
"""

from __future__ import annotations

import random
from typing import Any

from benches.questions import case
from benches.trial import Trial

_HELD = "it returns the objects that it holds, which a caller can change by mistake"
WHY = dict.fromkeys(("ontomem", "orjson", "json"), _HELD)
COUNT = 1_000


@case("create the lookup", "create_lookup", "fill")
def create(peer: Any, trial: Trial) -> float:
    trial.loaded()
    seconds = trial.clock(lambda: peer.create_lookup("email"))
    row = next(row for row in trial.rows if row["email"])
    found = peer.lookup(row["email"])
    trial.expect(found == peer.make([row]), "another entity was found")
    return seconds


@case("one value", "create_lookup", "lookup", unit="µs")
def one(peer: Any, trial: Trial) -> float:
    trial.loaded()
    peer.create_lookup("email")
    dice = random.Random(3)
    known = [row for row in trial.rows if row["email"]]
    rows = [known[dice.randrange(len(known))] for _ in range(COUNT)]
    values = [row["email"] for row in rows]
    lookup = peer.lookup
    seconds = trial.clock(lambda: [lookup(value) for value in values])
    expected = [[item] for item in peer.make(rows)]
    trial.expect(trial.answer == expected, "other entities were found")
    return seconds / COUNT * 1e6
