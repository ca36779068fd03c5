"""How does the time per entity grow up to ten million entities?

Entities come from a generator, so that only the memory itself holds them; the time of the generator
is measured alone and taken off. Microseconds for each entity.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from benches.questions import case
from benches.trial import Trial

WHY = {"disk": "the limit: the bytes are there already, in one piece"}


def per_entity(trial: Trial, seconds: float) -> float:
    return seconds / trial.data.size * 1e6


@case("add from a generator", "stream", "count", unit="µs/entity")
def add(peer: Any, trial: Trial) -> float:
    trial.once("generator", lambda: setattr(trial, "alone", generator(peer, trial)))
    peer.fill([])
    seconds = trial.clock(lambda: peer.add(peer.stream(trial.data.stream())))
    trial.expect(peer.count() == trial.data.size, "the number of entities is wrong")
    return per_entity(trial, max(0.0, seconds - trial.alone))


def generator(peer: Any, trial: Trial) -> float:
    return trial.clock(lambda: deque(peer.stream(trial.data.stream()), maxlen=0))


def streamed(peer: Any, trial: Trial) -> None:
    """Hold all entities and save them once."""
    if peer.count() != trial.data.size:
        peer.fill([])
        peer.add(peer.stream(trial.data.stream()))


@case("dump", "stream", "count", "dump", unit="µs/entity")
def dump(peer: Any, trial: Trial) -> float:
    streamed(peer, trial)
    seconds = trial.clock(lambda: peer.dump(trial.path))
    with trial.path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 22), b""))
    trial.expect(lines == trial.data.size + 2, "the file has another number of records")
    return per_entity(trial, seconds)


@case("load", "stream", "count", "load", unit="µs/entity")
def load(peer: Any, trial: Trial) -> float:
    if not trial.path.exists():
        streamed(peer, trial)
        peer.dump(trial.path)
    seconds = trial.clock(lambda: peer.load(trial.path))
    trial.expect(peer.count() == trial.data.size, "the number of entities is wrong")
    return per_entity(trial, seconds)
