"""Keys: what identifies an entity, by fields or by a function, in memory and in files."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, computed_field

from omem import KeyExtractionError, OMem
from omem.keys import key_spec, recognise


class Kind(Enum):
    A = "a"
    B = 2


class Rank(IntEnum):
    LOW = 1


@dataclass
class Spot:
    name: str


class Part(BaseModel):
    code: str
    more: Part | None = None


class Item(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    name: str = "n"
    number: int = 0
    ratio: float = 0.5
    flag: bool = False
    raw: bytes = b""
    id: UUID = UUID(int=1)
    day: date = date(2020, 1, 1)
    when: datetime = datetime(2020, 1, 1)
    kind: Kind = Kind.A
    rank: Rank = Rank.LOW
    pair: tuple[int, str] = (1, "a")
    part: Part | None = None
    seen: Annotated[Part, AfterValidator(lambda part: part)] | None = None
    either: Part | int = 0
    spot: Spot = Field(default_factory=lambda: Spot("here"))
    trimmed: Annotated[str, AfterValidator(str.strip)] = "t"
    price: Decimal = Decimal("1.50")

    @property
    def label(self) -> str:
        return f"{self.name}-{self.number}"

    @computed_field  # type: ignore[prop-decorator]
    @cached_property
    def computed(self) -> int:
        return self.number + 1


FULL: dict[str, Any] = {
    "name": 'x"\\\n\x00é😀',
    "number": 2**70,
    "part": Part(code="c", more=Part(code="d")),
    "seen": Part(code="s"),
    "either": Part(code="e"),
    "trimmed": "y",
}
EXTRACTORS: list[Any] = [
    *("name", "number", "ratio", "flag", "raw", "id", "day", "when", "kind", "rank", "pair"),
    *("part.code", "part.more.code", "seen.code", "either.code", "spot.name", "trimmed"),
    *("label", "computed", "price.real.numerator", ("name", "number"), ("part.code", "label")),
    operator.attrgetter("name"),
    operator.attrgetter("name", "part.code"),
    lambda item: item.name,
    lambda item: item.part.more.code,
    lambda item: item.seen.code,
    lambda item: item.either.code,
    lambda item: item.spot.name,
    lambda item: (item.name, item.number),
    lambda item: ((item.name, item.day), item.kind),
    lambda item: f"{item.name}/{item.number}",
    lambda item: f"{item.name}",
    lambda item: f"{item.part.code}:{item.trimmed}",
    lambda item: f"{item.ratio} {item.kind}",
    lambda item: f"{item.number:05d}{item.name!r}",
    lambda item: item.name.upper(),
    lambda item: item.label,
    lambda item: item.pair[0],
    lambda item: (item.name, "fixed", 1),
    lambda item: "all",
    lambda item, start="s": start + item.name,
    lambda item: item.name or item.number,
    lambda item: str(item.price),
    lambda *items: items[0].name,
]


def by_call(extractor: Any) -> Callable[[Any], Any]:
    if callable(extractor):
        return extractor
    if isinstance(extractor, str):
        return operator.attrgetter(extractor)
    return lambda item: tuple(operator.attrgetter(part)(item) for part in extractor)


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=str)
def test_keys_are_the_same_in_memory_and_from_a_file(extractor: Any, tmp_path: Path) -> None:
    if extractor == "price.real.numerator":
        with pytest.raises(ValueError, match="numerator"):
            OMem(Item, "price.numerator")
        return
    item = Item(**FULL)
    expected = by_call(extractor)(item)
    memory: OMem[Item] = OMem(Item, extractor)
    memory.add(item)
    assert memory.keys == [expected]
    # As in a dict, True and an IntEnum member are the int that they equal.
    assert isinstance(expected, (bool, Rank)) or type(memory.keys[0]) is type(expected)
    assert expected in memory
    assert memory.get(expected) == item
    memory.dump(tmp_path)
    fresh: OMem[Item] = OMem(Item, extractor)
    fresh.load(tmp_path)
    assert fresh.keys == [expected]
    assert fresh.get(expected) == item
    assert fresh.remove(expected)
    assert fresh.empty()


class Flags(Flag):
    A = 1
    B = 2


def test_members_of_an_enum_that_no_module_has_and_flags_without_a_name() -> None:
    class Local(Enum):
        A = "a"

    class Row(BaseModel):
        kind: Local = Local.A
        flags: Flags

    flags = [Flags.A, Flags.A | Flags.B, Flags(0)]
    memory: OMem[Row] = OMem(Row, lambda row: (row.kind, row.flags))
    memory.add(Row(flags=flag) for flag in flags)
    assert memory.keys == [(Local.A, flag) for flag in flags]
    assert memory.get((Local.A, Flags(3))) == Row(flags=Flags.A | Flags.B)


def test_paths_through_what_is_none() -> None:
    for extractor in ("part.code", "seen.code", lambda item: item.part.code):
        memory: OMem[Item] = OMem(Item, extractor)
        with pytest.raises(KeyExtractionError, match=r"item 1: .*None"):
            memory.add([Item(part=Part(code="c"), seen=Part(code="s")), Item()])
        assert memory.empty()


def test_the_value_of_a_root_model_can_be_its_key(tmp_path: Path) -> None:
    class Word(RootModel[str]):
        pass

    for extractor in ("root", lambda word: word.root, lambda word: (word.root,)):
        memory: OMem[Word] = OMem(Word, extractor)
        memory.add([Word("a"), Word("b"), Word("a")])
        assert memory.items == [Word("a"), Word("b")]
        memory.dump(tmp_path / "m")
        fresh: OMem[Word] = OMem(Word, extractor)
        fresh.load(tmp_path / "m")
        assert (fresh.keys, fresh.items) == (memory.keys, memory.items)


@pytest.mark.parametrize("name", ["nope", "name.nope", "part.nope", ("name", "nope"), "", "a b"])
def test_a_name_that_nothing_has_is_refused_at_once(name: Any) -> None:
    with pytest.raises(ValueError, match="is no field of"):
        OMem(Item, name)


@pytest.mark.parametrize("extractor", [None, 3, ("name", 3), [], ()])
def test_what_is_no_extractor_is_refused(extractor: Any) -> None:
    with pytest.raises(TypeError, match="key_extractor"):
        OMem(Item, extractor)


@pytest.mark.parametrize(
    "key",
    [
        None,
        [1],
        {1},
        {},
        float("nan"),
        (1, None),
        object(),
        Decimal(1),
        "\ud800",
        1j,
        len,
        pytest.param(10**4300, id="long"),
    ],
)
def test_what_cannot_be_a_key_names_the_item(key: Any) -> None:
    memory: OMem[Item] = OMem(Item, lambda item: key if item.number else 0)
    with pytest.raises(KeyExtractionError, match="item 1: the key"):
        memory.add([Item(), Item(number=1)])
    assert memory.empty()
    assert memory.get(key) is None
    assert key not in memory
    assert memory.remove_many([key]) == ([], [key])


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y"), ZeroDivisionError(), OSError()])
def test_an_extractor_that_raises_names_the_item(error: Exception) -> None:
    def extractor(item: Item) -> int:
        if item.number:
            raise error
        return 1

    with pytest.raises(KeyExtractionError, match=rf"item 1: .*{type(error).__name__}") as raised:
        OMem(Item, extractor).add([Item(), Item(number=1)])
    assert raised.value.__cause__ is error


def test_what_is_no_fault_of_an_extractor_goes_through() -> None:
    def extractor(item: Item) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OMem(Item, extractor).add(Item())


scalars = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    | st.integers(-3, 3)
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from([0.0, -0.0, 1.0, 2.0**53, 1e22, 1e300, 0.1, True, False, *Kind, *Rank])
    | st.binary(max_size=3)
    | st.uuids()
    | st.dates()
    | st.datetimes()
    | st.datetimes(
        min_value=datetime(2, 1, 1),
        max_value=datetime(9998, 1, 1),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    )
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)


@settings(max_examples=300, deadline=None)
@given(st.lists(keys, max_size=8))
def test_keys_are_told_apart_as_in_a_dict(keys: list[Any]) -> None:
    class Row(BaseModel):
        place: int

    memory: OMem[Row] = OMem(Row, lambda row: keys[row.place], strategy_or_merger="keep_incoming")
    memory.add(Row(place=place) for place in range(len(keys)))
    expected = {key: place for place, key in enumerate(keys)}
    assert memory.size == len(expected)
    for key, place in expected.items():
        assert memory.get(key) == Row(place=place)
    assert set(memory.keys) == set(expected)


def test_fields_are_recognised_in_bytecode() -> None:
    for extractor, fields in [
        (lambda x: x.name, ("name",)),
        (lambda x: x.part.code, ("part", "code")),
        (lambda x: (x.name, x.number), ["tuple", ("name",), ("number",)]),
        (lambda x: f"{x.name}-{x.number}", ["format", ("name",), "-", ("number",)]),
        (lambda x: f"{x.name}", ["format", ("name",)]),
        (operator.attrgetter("part.code"), ("part", "code")),
    ]:
        assert recognise(extractor) == fields
    for extractor in EXTRACTORS[-12:]:
        spec = key_spec(Item, extractor)
        assert callable(spec), extractor
