"""How long does merging take, by strategy and by rules of single fields?

Five observations of each entity come in one batch: other list elements each time, an affiliation
that is not always known. With rules, `h_index` keeps its maximum, `score` is summed, the longest
`bio` stays. The answer is compared with the same merge written as a Python loop. ontomem can only
replace lists, and has no rules for fields.
"""

from __future__ import annotations

from typing import Any

from benches.data import Data, Row
from benches.peers.dicts import Json
from benches.questions import case
from benches.trial import Trial

WHY = {
    "json": "it keeps the dicts that it is given: nothing is encoded, checked or copied",
    "orjson": "it keeps the dicts that it is given: nothing is encoded, checked or copied",
}
ROUNDS = 5


def merged(
    peer: Any,
    trial: Trial,
    strategy: str,
    first: list[Row],
    second: list[Row],
    *,
    lists: str = "replace",
    rules: bool = False,
) -> float:
    """Seconds that merging the second rows onto the first takes."""
    peer.start(strategy, lists, rules)
    make = peer.make_ruled if rules else peer.make
    peer.merge(make(first))
    observations = make(second)
    seconds = trial.clock(lambda: peer.merge(observations))
    reference = Json(Data(trial.data.kind, 0))
    reference.start(strategy, lists, rules)
    reference.merge([*first, *second])
    got = peer.items()
    expected = reference.items()
    trial.expect(len(got) == len(expected), "the number of merged entities is wrong")
    plain = got if not got or isinstance(got[0], dict) else [item.model_dump() for item in got]
    trial.expect(plain == expected, "the merged entities are wrong")
    return seconds


def observations(trial: Trial) -> list[Row]:
    change = trial.data.observation
    rows = trial.rows[: max(1, len(trial.rows) // ROUNDS)]
    return [change(row, number) for number in range(ROUNDS) for row in rows]


@case("MERGE_FIELD, lists united", "merge", "start", "unites")
def united(peer: Any, trial: Trial) -> float:
    return merged(peer, trial, "merge_field", [], observations(trial), lists="union")


@case("MERGE_FIELD, lists replaced", "merge", "start")
def replaced(peer: Any, trial: Trial) -> float:
    return merged(peer, trial, "merge_field", [], observations(trial))


@case("KEEP_INCOMING", "merge", "start")
def keep_incoming(peer: Any, trial: Trial) -> float:
    return merged(peer, trial, "keep_incoming", [], observations(trial))


@case("KEEP_EXISTING", "merge", "start")
def keep_existing(peer: Any, trial: Trial) -> float:
    return merged(peer, trial, "keep_existing", [], observations(trial))


@case("rules of fields", "merge", "start", "make_ruled")
def rules(peer: Any, trial: Trial) -> float:
    return merged(peer, trial, "merge_field", [], observations(trial), lists="union", rules=True)
