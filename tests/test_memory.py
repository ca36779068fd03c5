"""The API of OMem: adding, finding, removing, views, refusals."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from models import Profile, profiles
from omem import (
    BaseMem,
    BaseMerger,
    HashingEmbedder,
    KeyExtractionError,
    LossyError,
    MergeError,
    MergeStrategy,
    OMem,
)


class Airport(BaseModel):
    icao: str
    name: str | None = None
    city: str | None = None
    lat: float = 0.0
    aliases: list[str] = []


def memory_of(*airports: Airport, **options: Any) -> OMem[Airport]:
    memory = OMem(Airport, "icao", **options)
    memory.add(airports)
    return memory


def test_observations_of_one_key_become_one_entity() -> None:
    memory = OMem(Airport, key_extractor=lambda a: a.icao)
    report = memory.add(
        [
            Airport(icao="EDDF", name="Frankfurt", aliases=["FRA"]),
            Airport(icao="EGLL", name="Heathrow"),
            Airport(icao="EDDF", city="Frankfurt am Main", aliases=["FRA", "Rhein-Main"]),
        ]
    )
    assert (report.added, report.merged, report.unchanged) == (2, 1, 0)
    assert memory.keys == ["EDDF", "EGLL"]
    assert memory.get("EDDF") == Airport(
        icao="EDDF", name="Frankfurt", city="Frankfurt am Main", aliases=["FRA", "Rhein-Main"]
    )
    again = memory.add(Airport(icao="EGLL", name="London Heathrow"))
    assert (again.added, again.merged, again.unchanged) == (0, 1, 0)
    same = memory.add(Airport(icao="EGLL", name="London Heathrow"))
    assert (same.added, same.merged, same.unchanged) == (0, 0, 1)


def test_a_default_is_no_observation() -> None:
    memory = memory_of(Airport(icao="EDDF", name="Frankfurt", lat=50.03, aliases=["FRA"]))
    memory.add(Airport(icao="EDDF"))
    assert memory.get("EDDF") == Airport(icao="EDDF", name="Frankfurt", lat=50.03, aliases=["FRA"])
    memory.add(Airport(icao="EDDF", lat=0.0))
    entity = memory.get("EDDF")
    assert entity is not None
    assert entity.lat == 0.0, "a value that was set explicitly counts, equal to the default or not"


def test_views_and_container_protocol() -> None:
    memory = memory_of(Airport(icao="EDDF"), Airport(icao="EGLL"))
    assert len(memory) == memory.size == 2
    assert "EDDF" in memory and "LFPG" not in memory
    assert [a.icao for a in memory] == [a.icao for a in memory.items] == ["EDDF", "EGLL"]
    assert isinstance(memory.items, list) and isinstance(memory.keys, list)
    assert memory.keys.__add__(["x"]) == ["EDDF", "EGLL", "x"]
    assert memory.get("LFPG") is None
    assert not memory.empty()
    assert isinstance(memory, BaseMem)
    assert "2 Airport" in repr(memory)
    assert OMem(Airport, "icao").empty()


def test_what_get_returns_is_the_callers_own() -> None:
    memory = memory_of(Airport(icao="EDDF", aliases=["FRA"]))
    mine = memory.get("EDDF")
    assert mine is not None
    mine.aliases.append("changed")
    mine.name = "changed"
    assert memory.get("EDDF") == Airport(icao="EDDF", aliases=["FRA"])


def test_iter_items_shows_the_memory_as_it_was() -> None:
    memory = memory_of(*(Airport(icao=f"A{n:03}") for n in range(100)))
    iterator = memory.iter_items()
    first = next(iterator)
    memory.clear()
    assert [first.icao, *(a.icao for a in iterator)] == [f"A{n:03}" for n in range(100)]
    assert memory.items == []


def test_remove() -> None:
    memory = memory_of(Airport(icao="A"), Airport(icao="B"), Airport(icao="C"))
    assert memory.remove("B") is True
    assert memory.remove("B") is False
    with pytest.raises(TypeError, match=r"keys must be several keys, as \['A'\], not one"):
        memory.remove_many("A")
    assert memory.remove_many(("C", "X", "C")) == (["C"], ["X"])
    assert memory.keys == ["A"]
    memory.add(Airport(icao="B"))
    assert memory.keys == ["A", "B"]


def test_upsert_replaces() -> None:
    memory = memory_of(Airport(icao="A", name="old", aliases=["x"]), Airport(icao="B"))
    memory.upsert([Airport(icao="A", aliases=["y"]), Airport(icao="C")])
    assert memory.items == [Airport(icao="A", aliases=["y"]), Airport(icao="B"), Airport(icao="C")]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (MergeStrategy.KEEP_EXISTING, Airport(icao="A", name="one", aliases=["x"])),
        (MergeStrategy.KEEP_INCOMING, Airport(icao="A", city="two")),
        ("merge_field", Airport(icao="A", name="one", city="two", aliases=["x"])),
    ],
)
def test_strategies(strategy: MergeStrategy | str, expected: Airport) -> None:
    memory = OMem(Airport, "icao", strategy_or_merger=strategy)
    memory.add([Airport(icao="A", name="one", aliases=["x"]), Airport(icao="A", city="two")])
    assert memory.get("A") == expected


def test_a_merger_of_ones_own() -> None:
    class Longer(BaseMerger[Airport]):
        def pair_merge(self, existing: Airport, incoming: Airport) -> Airport:
            return max(existing, incoming, key=lambda a: len(a.name or ""))

    memory = OMem(Airport, "icao", strategy_or_merger=Longer(lambda a: a.icao))
    memory.add([Airport(icao="A", name=name) for name in ("bb", "c", "aaaa", "dd")])
    memory.add([Airport(icao="A", name="eeeee"), Airport(icao="B")])
    assert memory.items == [Airport(icao="A", name="eeeee"), Airport(icao="B")]


def test_a_merger_that_changes_the_key_is_refused() -> None:
    class Rename(BaseMerger[Airport]):
        def pair_merge(self, existing: Airport, incoming: Airport) -> Airport:
            return Airport(icao="other")

    memory = OMem(Airport, "icao", strategy_or_merger=Rename(lambda a: a.icao))
    memory.add(Airport(icao="A", name="x"))
    with pytest.raises(MergeError, match="A"):
        memory.add([Airport(icao="B"), Airport(icao="A")])
    assert memory.items == [Airport(icao="A", name="x")]


def test_an_add_that_fails_changes_nothing() -> None:
    memory = memory_of(Airport(icao="A"))

    class Odd(BaseModel):
        icao: str

    with pytest.raises(TypeError, match="Odd"):
        memory.add([Airport(icao="B"), Odd(icao="C")])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        memory.add("EDDF")  # type: ignore[arg-type]
    with pytest.raises(LossyError, match="name"):
        memory.add([Airport(icao="B"), Airport(icao="C", name="\ud800")])

    def generator() -> Any:
        yield Airport(icao="B")
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        memory.add(generator())
    assert memory.items == [Airport(icao="A")]


def test_keys_that_cannot_be() -> None:
    for extractor in (lambda a: a.city, lambda a: 1 / 0, lambda a: a.aliases):
        memory = OMem(Airport, key_extractor=extractor)
        with pytest.raises(KeyExtractionError):
            memory.add([Airport(icao="A")])
        assert memory.empty()


def test_composite_and_odd_keys() -> None:
    memory = OMem(Airport, key_extractor=lambda a: (a.icao, a.lat))
    memory.add([Airport(icao="A", lat=1.0), Airport(icao="A", lat=1.5), Airport(icao="A", lat=1)])
    assert memory.keys == [("A", 1), ("A", 1.5)]
    assert ("A", 1.0) in memory and ("A", True) in memory
    called = OMem(Airport, key_extractor=lambda a: a.icao.lower())
    called.add(Airport(icao="EDDF"))
    assert called.keys == ["eddf"]


def test_constructor_refusals() -> None:
    with pytest.raises(TypeError, match="strategy"):
        OMem(Airport, "icao", strategy_or_merger="no_such")
    with pytest.raises(TypeError, match=r"no option 'nonsense', and this strategy has only li"):
        OMem(Airport, "icao", nonsense=1)
    with pytest.raises(TypeError, match="Pydantic"):
        OMem(dict, "icao")  # type: ignore[type-var]
    with pytest.raises(ValueError, match="nope"):
        OMem(Airport, "icao", fields_for_index=["nope"])
    with pytest.raises(TypeError, match=r"fields_for_index must be several strings, as \['name'\]"):
        OMem(Airport, "icao", fields_for_index="name")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give it as embedder="):
        OMem(Airport, "icao", HashingEmbedder())
    for embedder in (HashingEmbedder, 3):
        with pytest.raises(TypeError, match="embedder must be an object"):
            OMem(Airport, "icao", embedder=embedder)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nope"):
        OMem(Airport, "nope")
    with pytest.raises(ValueError, match="lists"):
        OMem(Airport, "icao", lists="nope")


def test_search_needs_an_embedder() -> None:
    memory = memory_of(Airport(icao="A"))
    with pytest.raises(RuntimeError, match="embedder"):
        memory.search("x")
    with pytest.raises(RuntimeError, match="embedder"):
        memory.build_index()


def test_no_pickle_no_copy() -> None:
    memory = memory_of(Airport(icao="A"))
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="dump"):
            attempt(memory)


def test_mutating_from_inside_a_callback_is_refused() -> None:
    class Meddler(BaseMerger[Airport]):
        memory: OMem[Airport]

        def pair_merge(self, existing: Airport, incoming: Airport) -> Airport:
            assert self.memory.get("A") == existing
            self.memory.add(Airport(icao="Z"))
            return existing

    merger = Meddler(lambda a: a.icao)
    merger.memory = memory = OMem(Airport, "icao", strategy_or_merger=merger)
    memory.add(Airport(icao="A"))
    with pytest.raises(RuntimeError, match="callback"):
        memory.add(Airport(icao="A", name="x"))
    assert memory.items == [Airport(icao="A")]


def test_readers_do_not_wait_for_a_slow_merger() -> None:
    inside, done = threading.Event(), threading.Event()

    class Slow(BaseMerger[Airport]):
        def pair_merge(self, existing: Airport, incoming: Airport) -> Airport:
            inside.set()
            assert done.wait(20)
            return incoming

    memory = OMem(Airport, "icao", strategy_or_merger=Slow(lambda a: a.icao))
    memory.add(Airport(icao="A", name="old"))
    adding = threading.Thread(target=memory.add, args=(Airport(icao="A", name="new"),))
    adding.start()
    assert inside.wait(20)
    assert memory.get("A") == Airport(icao="A", name="old")
    assert memory.items == [Airport(icao="A", name="old")]
    done.set()
    adding.join(20)
    assert memory.get("A") == Airport(icao="A", name="new")


def test_threads_lose_no_update() -> None:
    memory = OMem(Airport, "icao")

    def work(name: str) -> None:
        for number in range(200):
            memory.add(Airport(icao="A", aliases=[f"{name}{number}"]))
            memory.get("A")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entity = memory.get("A")
    assert entity is not None
    assert sorted(entity.aliases) == sorted(f"{n}{i}" for n in "abcdefgh" for i in range(200))


def test_a_memory_adds_nothing_for_the_collector() -> None:
    gc.collect()
    before = len(gc.get_objects())
    memory = OMem(Profile, "name")
    memory.add(iter(profiles(5_000)))
    gc.collect()
    assert len(gc.get_objects()) - before < 1_000
    assert memory.size == 5_000


def test_many_models_are_old_to_the_collector_at_once_and_nothing_is_thawed() -> None:
    memory = OMem(Profile, "name")
    memory.add(iter(profiles(10_000)))
    gc.collect()
    items = memory.items
    assert gc.get_count()[0] < 1_000  # not one for each model
    old = {id(item) for item in gc.get_objects(generation=2)}
    assert all(id(item) in old for item in items)
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        assert memory.items == items
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()
