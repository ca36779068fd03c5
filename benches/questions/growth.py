"""How does the time per entity grow up to ten million entities?

Entities come from a generator, so that only the memory itself holds them; the generator clocks
itself, and its time is taken off. Every hundred thousand entities the texts come again under other
keys. A thousand entities are checked, and the number of all. Microseconds for each entity.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson

from benches.data import Data, Row
from benches.questions import case
from benches.trial import Trial

WHY = {"disk": "the limit: the bytes are there already, in one piece"}
DISTINCT = 100_000
CHECKED = 1_000


def row(base: list[Row], key: str, number: int) -> Row:
    again, at = divmod(number, len(base))
    return {**base[at], key: f"{base[at][key]}-{again:03d}"}


def stream(trial: Trial) -> Iterator[Row]:
    base, key = base_rows(trial), trial.data.key
    return (row(base, key, number) for number in range(trial.data.size))


def base_rows(trial: Trial) -> list[Row]:
    data = trial.data
    if data.size <= DISTINCT:
        return data.rows
    if trial.base is None:
        trial.base = Data(data.kind, DISTINCT, data.cache)
    return trial.base.rows


def checked(trial: Trial) -> dict[int, Row]:
    """The rows that are looked at, by their number, the last one too."""
    base, key, size = base_rows(trial), trial.data.key, trial.data.size
    numbers = {*range(0, size, max(1, size // CHECKED)), size - 1}
    return {number: row(base, key, number) for number in sorted(numbers)}


def per_entity(trial: Trial, seconds: float) -> float:
    return seconds / trial.data.size * 1e6


def expect_held(peer: Any, trial: Trial) -> None:
    trial.expect(peer.count() == trial.data.size, "the number of entities is wrong")
    if peer.has("get"):
        rows = list(checked(trial).values())
        found = [peer.get(row[trial.data.key]) for row in rows]
        trial.expect(found == peer.make(rows), "other entities were found")


@case("add from a generator", "stream", "count", unit="µs/entity", bare=True)
def add(peer: Any, trial: Trial) -> float:
    base_rows(trial)
    peer.fill([])
    source = Source(peer.stream(stream(trial)))
    seconds = trial.clock(lambda: peer.add(source))
    expect_held(peer, trial)
    return per_entity(trial, seconds - source.seconds)


class Source:
    """A generator that clocks itself: a thousand entities are made and then handed out."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = iter(items)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        while True:
            start = time.perf_counter()
            made = list(islice(self.items, 1000))
            self.seconds += time.perf_counter() - start
            if not made:
                return
            yield from made


def streamed(peer: Any, trial: Trial) -> None:
    """Hold all entities."""
    if peer.count() != trial.data.size:
        peer.fill([])
        peer.add(peer.stream(stream(trial)))


@case("dump", "stream", "count", "dump", unit="µs/entity", bare=True)
def dump(peer: Any, trial: Trial) -> float:
    streamed(peer, trial)
    seconds = trial.clock(lambda: peer.dump(trial.path))
    wanted, number = checked(trial), -1
    with trial.path.open("rb") as file:
        for number, line in enumerate(file, -1):
            if number in wanted:
                same = orjson.loads(line.rstrip(b",\n")) == wanted[number]
                trial.expect(same, f"record {number} of the file is wrong")
    trial.expect(number == trial.data.size, "the file has another number of records")
    return per_entity(trial, seconds)


@case("load", "stream", "count", "load", unit="µs/entity", bare=True)
def load(peer: Any, trial: Trial) -> float:
    if not trial.path.exists():
        streamed(peer, trial)
        peer.dump(trial.path)
    seconds = trial.clock(lambda: peer.load(trial.path))
    if peer.has("get"):
        expect_held(peer, trial)
    else:
        with trial.path.open("rb") as file, memoryview(peer.content) as view:
            same = len(view) == trial.path.stat().st_size and all(
                view[file.tell() - len(block) : file.tell()] == block
                for block in iter(lambda: file.read(1 << 22), b"")
            )
        trial.expect(same, "other bytes came back")
    return per_entity(trial, seconds)
