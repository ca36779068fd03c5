"""Lookups: every way of naming a value, and every mutation that must keep them up."""

from __future__ import annotations

import threading
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import BaseModel, field_validator

from omem import BaseMerger, KeyExtractionError, LookupNotFoundError, OMem


class Mood(Enum):
    CALM = "calm"
    ANGRY = "angry"


class Place(BaseModel):
    city: str
    floor: int | None = None


class Npc(BaseModel):
    name: str
    home: Place | None = None
    level: float = 1.0
    tags: list[str] = []
    friends: set[int] = set()
    mood: Mood = Mood.CALM
    kind: Literal["hero", "villain"] | None = None
    extra: dict[str, Any] = {}


ANNA = Npc(name="Anna", home=Place(city="Ulm", floor=2), level=2, tags=["x", "y", "x"], friends={1})
BEN = Npc(name="Ben", home=Place(city="Ulm"), tags=["y"], friends={1, 2}, mood=Mood.ANGRY)
CARL = Npc(name="Carl", kind="villain", extra={"k": [1]})


def names(found: list[Npc]) -> list[str]:
    return [npc.name for npc in found]


@pytest.fixture
def memory() -> OMem[Npc]:
    memory = OMem(Npc, "name")
    memory.add([ANNA, BEN, CARL])
    return memory


@pytest.mark.parametrize(
    ("extractor", "value", "expected"),
    [
        ("home.city", "Ulm", ["Anna", "Ben"]),
        ("home.floor", 2, ["Anna"]),
        ("home.city", None, []),
        ("level", 2, ["Anna"]),
        ("level", True, ["Ben", "Carl"]),
        ("mood", Mood.ANGRY, ["Ben"]),
        ("kind", "villain", ["Carl"]),
        (("name", "level"), ("Anna", 2.0), ["Anna"]),
        (lambda npc: npc.name, "Carl", ["Carl"]),
        (lambda npc: f"{npc.name}!", "Ben!", ["Ben"]),
        (lambda npc: npc.name[0] if npc.home else None, "A", ["Anna"]),
        (lambda npc: len(npc.tags), 1, ["Ben"]),
        ("name", ["Anna"], []),
    ],
)
def test_a_value_can_be_named_in_many_ways(
    memory: OMem[Npc], extractor: Any, value: Any, expected: list[str]
) -> None:
    memory.create_lookup("l", extractor)
    assert names(memory.get_by_lookup("l", value)) == expected
    fresh = OMem(Npc, "name")
    fresh.create_lookup("l", extractor)
    fresh.add([ANNA, BEN, CARL])
    assert names(fresh.get_by_lookup("l", value)) == expected


@pytest.mark.parametrize(
    ("extractor", "value", "expected"),
    [
        ("tags", "x", ["Anna"]),
        ("tags", "y", ["Anna", "Ben"]),
        ("friends", 1, ["Anna", "Ben"]),
        ("friends", 2.0, ["Ben"]),
        (lambda npc: npc.tags, "x", ["Anna"]),
        (lambda npc: [tag.upper() for tag in npc.tags], "Y", ["Anna", "Ben"]),
        (lambda npc: npc.extra, "k", ["Carl"]),
        (lambda npc: npc.tags or None, "x", ["Anna"]),
    ],
)
def test_each_element_of_a_list_can_be_found(
    memory: OMem[Npc], extractor: Any, value: Any, expected: list[str]
) -> None:
    memory.create_lookup("l", extractor, each=True)
    assert names(memory.get_by_lookup("l", value)) == expected


def test_every_mutation_keeps_them_up(memory: OMem[Npc], tmp_path: Path) -> None:
    memory.create_lookup("city", "home.city")
    memory.create_lookup("tag", "tags", each=True)

    def state() -> dict[str, list[str]]:
        return {
            "Ulm": names(memory.get_by_lookup(lookup_name="city", lookup_key="Ulm")),
            "Bonn": names(memory.get_by_lookup("city", "Bonn")),
            "x": names(memory.get_by_lookup("tag", "x")),
            "y": names(memory.get_by_lookup("tag", "y")),
        }

    memory.add(Npc(name="Carl", home=Place(city="Ulm"), tags=["x"]))
    assert state() == {
        "Ulm": ["Anna", "Ben", "Carl"], "Bonn": [], "x": ["Anna", "Carl"], "y": ["Anna", "Ben"]
    }  # fmt: skip
    memory.upsert(Npc(name="Anna", home=Place(city="Bonn")))
    assert state() == {"Ulm": ["Ben", "Carl"], "Bonn": ["Anna"], "x": ["Carl"], "y": ["Ben"]}
    memory.dump(tmp_path / "m")
    memory.dump_data(tmp_path / "data.json")
    memory.remove("Ben")
    assert state() == {"Ulm": ["Carl"], "Bonn": ["Anna"], "x": ["Carl"], "y": []}
    memory.load(tmp_path / "m")
    assert state() == {"Ulm": ["Ben", "Carl"], "Bonn": ["Anna"], "x": ["Carl"], "y": ["Ben"]}
    memory.clear()
    assert state() == {"Ulm": [], "Bonn": [], "x": [], "y": []}
    memory.load_data(tmp_path / "data.json")
    assert state() == {"Ulm": ["Ben", "Carl"], "Bonn": ["Anna"], "x": ["Carl"], "y": ["Ben"]}
    memory.edit(
        "Carl", instruction="move", editor=lambda *_: Npc(name="Carl", home=Place(city="Bonn"))
    )
    assert state() == {"Ulm": ["Ben"], "Bonn": ["Anna", "Carl"], "x": [], "y": ["Ben"]}


def test_a_merger_of_ones_own_keeps_them_up() -> None:
    class Newest(BaseMerger[Npc]):
        def pair_merge(self, existing: Npc, incoming: Npc) -> Npc:
            return incoming

    memory = OMem(Npc, "name", strategy_or_merger=Newest(lambda npc: npc.name))
    memory.create_lookup("tag", "tags", each=True)
    memory.add(ANNA)
    memory.add(Npc(name="Anna", tags=["z"]))
    assert memory.get_by_lookup("tag", "x") == []
    assert memory.get_by_lookup("tag", "z") == [Npc(name="Anna", tags=["z"])]


def test_what_is_found_is_the_callers_own(memory: OMem[Npc]) -> None:
    memory.create_lookup("city", "home.city")
    memory.get_by_lookup("city", "Ulm")[0].tags.append("changed")
    assert memory.get("Anna") == ANNA


def test_names(memory: OMem[Npc]) -> None:
    memory.create_lookup("b", "level")
    memory.create_lookup("a", "home.city")
    assert memory.list_lookups() == ["b", "a"]
    with pytest.raises(ValueError, match="there is a lookup 'a' already"):
        memory.create_lookup("a", "level")
    with pytest.raises(ValueError, match="'town', which is no field of"):
        memory.create_lookup("c", "home.town")
    with pytest.raises(LookupNotFoundError, match=r"no lookup 'c'.*there are 'b', 'a'"):
        memory.get_by_lookup("c", 1)
    with pytest.raises(KeyError):
        memory.get_by_lookup("c", 1)
    assert memory.drop_lookup("b") is True
    assert memory.drop_lookup("b") is False
    assert memory.list_lookups() == ["a"]
    assert names(memory.get_by_lookup("a", "Ulm")) == ["Anna", "Ben"]
    memory.add(Npc(name="Dora", home=Place(city="Ulm")))
    assert names(memory.get_by_lookup("a", "Ulm")) == ["Anna", "Ben", "Dora"]


def test_a_value_that_cannot_be_looked_up_changes_nothing(
    memory: OMem[Npc], tmp_path: Path
) -> None:
    with pytest.raises(KeyExtractionError, match=r"lookup 'extra' cannot take Npc\(name='An"):
        memory.create_lookup("extra", "extra")
    assert memory.list_lookups() == []

    def home(npc: Npc) -> str:
        if npc.home is None:
            raise ValueError("homeless")
        return npc.home.city

    with pytest.raises(KeyExtractionError, match="homeless; where there is no value"):
        memory.create_lookup("home", home)
    memory.remove("Carl")
    memory.dump_data(tmp_path / "good.json")
    memory.create_lookup("home", home)
    before = memory.items
    with pytest.raises(KeyExtractionError, match="homeless"):
        memory.add([Npc(name="Anna", level=7), Npc(name="Dora")])
    (tmp_path / "bad.json").write_text('[{"name": "Emil"}]')
    with pytest.raises(KeyExtractionError, match="homeless"):
        memory.load_data(tmp_path / "bad.json")
    assert memory.items == before
    assert names(memory.get_by_lookup("home", "Ulm")) == ["Anna", "Ben"]
    memory.load_data(tmp_path / "good.json")
    assert names(memory.get_by_lookup("home", "Ulm")) == ["Anna", "Ben"]


def test_an_extractor_cannot_change_the_memory(memory: OMem[Npc]) -> None:
    def meddle(npc: Npc) -> str:
        memory.remove(npc.name)
        return npc.name

    with pytest.raises(KeyExtractionError, match="is being changed by the call") as caught:
        memory.create_lookup("l", meddle)
    cause = caught.value.__cause__
    assert cause is not None and isinstance(cause.__cause__, RuntimeError)
    assert memory.size == 3


def test_a_model_that_pydantic_must_read() -> None:
    class Strange(BaseModel):
        name: str
        group: str | None = None
        tags: list[str] = []

        @field_validator("tags")
        @classmethod
        def upper(cls, tags: list[str]) -> list[str]:
            return [tag.upper() for tag in tags]

    memory = OMem(Strange, "name")
    memory.create_lookup("group", "group")
    memory.create_lookup("tag", "tags", each=True)
    memory.add([Strange(name="a", group="g", tags=["t"]), Strange(name="b", tags=["u", "t"])])
    assert [item.name for item in memory.get_by_lookup("group", "g")] == ["a"]
    assert [item.name for item in memory.get_by_lookup("tag", "T")] == ["a", "b"]


def test_eight_threads_keep_them_up() -> None:
    memory = OMem(Npc, "name")
    memory.create_lookup("tag", "tags", each=True)
    memory.create_lookup("level", "level")
    wrong: list[Any] = []

    def work(thread: int) -> None:
        for number in range(60):
            name = f"{thread}-{number % 7}"
            memory.add(Npc(name=name, tags=[f"t{number % 3}"], level=float(number)))
            if number % 5 == 4:
                memory.remove(name)
            found = memory.get_by_lookup("tag", "t1")
            wrong.extend(npc for npc in found if "t1" not in npc.tags)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for tag in ("t0", "t1", "t2"):
        assert names(memory.get_by_lookup("tag", tag)) == [
            npc.name for npc in memory.items if tag in npc.tags
        ]


class Machine(RuleBasedStateMachine):
    """Random changes; the lookups against a scan of all entities."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = OMem(Npc, "name")
        self.memory.create_lookup("level", "level")
        self.memory.create_lookup("tag", "tags", each=True)
        self.memory.create_lookup("size", lambda npc: len(npc.tags) or None)

    npcs = st.lists(
        st.builds(
            Npc,
            name=st.sampled_from("abcdef"),
            level=st.sampled_from([0.5, 1.0, 2.0]),
            tags=st.lists(st.sampled_from("pqrs"), max_size=4),
        ),
        max_size=6,
    )

    @rule(npcs=npcs)
    def add(self, npcs: list[Npc]) -> None:
        self.memory.add(npcs)

    @rule(npcs=npcs)
    def upsert(self, npcs: list[Npc]) -> None:
        self.memory.upsert(npcs)

    @rule(keys=st.lists(st.sampled_from("abcdef")))
    def remove(self, keys: list[str]) -> None:
        self.memory.remove_many(keys)

    @rule()
    def clear(self) -> None:
        self.memory.clear()

    @rule()
    def create_again(self) -> None:
        assert self.memory.drop_lookup("tag")
        self.memory.create_lookup("tag", "tags", each=True)

    @invariant()
    def agree(self) -> None:
        items = self.memory.items
        for level in (0.5, 1, 2):
            expected = [npc for npc in items if npc.level == level]
            assert self.memory.get_by_lookup("level", level) == expected
        for tag in "pqrs":
            assert self.memory.get_by_lookup("tag", tag) == [n for n in items if tag in n.tags]
        for size in range(5):
            expected = [npc for npc in items if npc.tags and len(npc.tags) == size]
            assert self.memory.get_by_lookup("size", size) == expected


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
