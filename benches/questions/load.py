"""How long does restoring take, until the first entity is found, and until all are Python objects?

From a file in the page cache. To the first `get`: an entity from the middle is found by its key. To
all entities: each one is a Python object (omem, ontomem, Pydantic, pickle, SQLite: models; msgspec:
structs; json, orjson, simdjson, Parquet: dicts). The collector is on unless said.
"""

from __future__ import annotations

from typing import Any

from benches.questions import case
from benches.trial import Trial

_SLOW = (
    "where a validator of the user's decides, omem asks Pydantic for every record at the load, "
    "compares what it says with what stands in the file, and asks again for each model that it "
    "makes; of texts of 20 kB more than half of omem's time is page faults: nothing that it does "
    "tells glibc to keep freed memory, which a peer that reads the file as one block does without "
    "meaning to (its own work is 4.5 ms of CPU where Pydantic's is 7.2)"
)
WHY = {
    "disk": "the limit: bytes are read, nothing is looked at",
    "memcpy": "the limit: bytes are copied, nothing is looked at",
    "sqlite": "to the first get it reads one row",
    "msgspec": "it makes structs, not Pydantic models with the set of their set fields, and knows "
    "no validator of the user's",
    "orjson": "it makes dicts: nothing is checked against a model",
    "pysimdjson": "it makes nothing until asked, and checks no record against a model",
    "parquet": "it makes dicts: nothing is checked against a model",
    **dict.fromkeys(("pydantic", "ontomem"), _SLOW),
}


def first(peer: Any, trial: Trial, collector: bool) -> float:
    path = trial.saved()
    if not peer.has("get"):
        return bytes_only(peer, trial, collector)
    at = len(trial.rows) // 2
    key = trial.rows[at][trial.data.key]
    if peer.has("locate"):
        peer.locate(key)

    def work() -> Any:
        peer.load(path)
        return peer.get(key)

    seconds = trial.clock(work, collector)
    trial.expect(trial.answer == trial.items[at], "the entity found is another one")
    trial.was_loaded()
    return seconds


def bytes_only(peer: Any, trial: Trial, collector: bool) -> float:
    """What the limits do instead: no entity is found, but the bytes are there."""
    peer.prepare(trial.path)
    seconds = trial.clock(lambda: peer.load(trial.path), collector)
    trial.expect(peer.content == trial.path.read_bytes(), "other bytes came back")
    return seconds


@case("to the first get", "load")
def first_get(peer: Any, trial: Trial) -> float:
    return first(peer, trial, True)


@case("to the first get, collector off", "load")
def first_get_uncollected(peer: Any, trial: Trial) -> float:
    return first(peer, trial, False)


def everything(peer: Any, trial: Trial, collector: bool) -> float:
    path = trial.saved()

    def work() -> Any:
        peer.load(path)
        return peer.items()

    seconds = trial.clock(work, collector)
    trial.expect(trial.answer == trial.items, "the entities are not those that were saved")
    trial.was_loaded()
    return seconds


@case("to all entities", "load", "items")
def all_items(peer: Any, trial: Trial) -> float:
    return everything(peer, trial, True)


@case("to all entities, collector off", "load", "items")
def all_items_uncollected(peer: Any, trial: Trial) -> float:
    return everything(peer, trial, False)
