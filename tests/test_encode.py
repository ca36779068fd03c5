"""Encoding against Pydantic: every record reads back as the model that it was written from."""

from __future__ import annotations

import enum
import ipaddress
import json
import math
import re
import threading
import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar, Union
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from typing_extensions import TypedDict

from models import profiles
from omem import LossyError, LossyWarning, OMem
from omem._omem import Schema
from omem.schema import compile_schema, fingerprint
from same import anatomy

T = TypeVar("T")
COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck))


class Colour(enum.Enum):
    RED = "red"
    BLUE = 'b"lü\n'


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2**40


class Mixed(enum.Enum):
    NUMBER = 1
    TEXT = "1"
    FLOAT = 1.5


class Flags(enum.Flag):
    A = 1
    B = 2


class Inner(BaseModel):
    x: int
    note: str | None = None
    tags: list[str] = []


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    ratio: float
    when: datetime | None = None
    id: UUID | None = None
    members: frozenset[Colour] = frozenset()


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Aliased(BaseModel):
    a: int = Field(alias="A")
    b: str = Field("", validation_alias=AliasChoices("B", AliasPath("bs", 0)))
    c: float = Field(1.0, serialization_alias="see")


class Swapped(BaseModel):
    a: int = Field(alias="b")
    b: int = Field(alias="a")


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog", "puppy"] = "dog"
    lives: int = 1
    friends: list[Union[Dog, Cat]] = []


class Late(BaseModel):
    name: str
    kind: Literal["late"] = "late"


class Tree(BaseModel):
    name: str = ""
    children: list[Tree] = []
    parent: Optional[Tree] = None


class Box(BaseModel, Generic[T]):
    content: T
    spare: T | None = None


class Names(RootModel[list[str]]):
    pass


class Validated(BaseModel):
    name: str
    tags: set[str] = set()
    ratio: float = 0.0

    @field_validator("name")
    @classmethod
    def strip(cls, name: str) -> str:
        return name.strip()


class Written(BaseModel):
    size: int
    when: date = date(2020, 1, 1)

    @field_serializer("size")
    def as_text(self, size: int) -> str:
        return str(size)


class Whole(BaseModel):
    b: int
    a: float = 1.0

    @model_serializer(mode="wrap")
    def turned(self, handler: Any) -> Any:
        return dict(reversed(list(handler(self).items())))


class Checked(BaseModel):
    low: int
    high: int

    @model_validator(mode="after")
    def ordered(self) -> Checked:
        assert self.low <= self.high
        return self


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2

    @cached_property
    def diagonal(self) -> float:
        return math.sqrt(2) * self.side


class Private(BaseModel):
    name: str
    _seen: int = PrivateAttr(0)


@dataclass
class Point:
    x: float
    y: float = 0.0


class Movie(TypedDict, total=False):
    title: str
    year: int


class Pair(NamedTuple):
    left: int
    right: str


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ANY_TEXT = st.text(max_size=12)
ZONES = st.sampled_from(
    [UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-3, minutes=-30))]
)
INTS = st.integers() | st.integers(-(2**70), 2**70) | st.integers(-(10**40), 10**40)
JSON = st.recursive(
    st.none() | st.booleans() | INTS | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
inners = st.builds(Inner, x=INTS, note=st.none() | TEXT, tags=st.lists(TEXT, max_size=2))
cats = st.builds(Cat, lives=st.integers(0, 9))
dogs = st.builds(
    Dog, kind=st.sampled_from(["dog", "puppy"]), friends=st.lists(cats | st.builds(Dog), max_size=2)
)
trees = st.recursive(
    st.builds(Tree, name=TEXT),
    lambda inner: st.builds(
        Tree, name=TEXT, children=st.lists(inner, max_size=2), parent=st.none() | inner
    ),
    max_leaves=4,
)
strange = st.floats() | st.sampled_from(
    [0.1, 1e16, 1e15, 1e-5, 5e-324, -0.0, 1.7976931348623157e308]
)

#: Types with values that Pydantic accepts for them; some of these do not come back from JSON.
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, ANY_TEXT),
    (
        Annotated[str, Field(min_length=1, max_length=3)],
        st.text("aé漢😀\n", min_size=1, max_size=3),
    ),
    (Annotated[str, Field(pattern="^a*$")], st.text("a")),
    (int, INTS),
    (Annotated[int, Field(ge=-3, lt=10)], st.integers(-3, 9)),
    (Annotated[int, Field(multiple_of=3)], st.integers().map(lambda n: 3 * n)),
    (float, strange),
    (Annotated[float, Field(gt=0, le=1)], st.floats(0, 1, exclude_min=True)),
    (
        Annotated[float, Field(allow_inf_nan=False)],
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    (Annotated[float, Field(strict=True)], strange),
    (bool, st.booleans()),
    (None, st.none()),
    (bytes, TEXT.map(str.encode) | st.binary(max_size=4)),
    (date, st.dates()),
    (datetime, st.datetimes(timezones=st.none() | ZONES)),
    (time, st.times(timezones=st.none() | st.just(UTC))),
    (timedelta, st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6))),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Annotated[Decimal, Field(allow_inf_nan=True)], st.decimals()),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Mixed, st.sampled_from(Mixed)),
    (Flags, st.sampled_from([Flags.A, Flags.B, Flags.A | Flags.B])),
    (Literal["a", "b\n", 3, True, None], st.sampled_from(["a", "b\n", 3, True, None])),
    (Literal[Colour.RED], st.just(Colour.RED)),
    (Any, JSON | st.binary() | st.datetimes() | st.tuples(INTS) | st.floats() | inners),
    (Inner, inners),
    (Box[int], st.builds(Box[int], content=INTS)),
    (Box[list[str]], st.builds(Box[list[str]], content=st.lists(TEXT, max_size=2))),
    (Strict, st.builds(Strict, ratio=strange, id=st.none() | st.uuids())),
    (Loose, st.builds(Loose, a=INTS, b=JSON)),
    (Aliased, st.builds(lambda a, b: Aliased.model_validate({"A": a, "B": b}), INTS, TEXT)),
    (Swapped, st.builds(lambda a, b: Swapped.model_validate({"a": a, "b": b}), INTS, INTS)),
    (Tree, trees),
    (Annotated[Cat | Dog, Field(discriminator="kind")], cats | dogs),
    (Union[Cat, Dog, None], cats | dogs | st.none()),
    (Union[Cat, Late], cats | st.builds(Late, name=TEXT)),
    (Names, st.builds(Names, st.lists(TEXT, max_size=2))),
    (Validated, st.builds(Validated, name=TEXT, tags=st.sets(TEXT, max_size=3))),
    (Written, st.builds(Written, size=INTS)),
    (Whole, st.builds(Whole, b=INTS, a=st.floats())),
    (Checked, st.builds(Checked, low=st.integers(max_value=0), high=st.integers(0))),
    (Computed, st.builds(Computed, side=INTS)),
    (Private, st.builds(Private, name=TEXT)),
    (Point, st.builds(Point, st.floats(), st.floats())),
    (Movie, st.fixed_dictionaries({"title": TEXT}, optional={"year": INTS})),
    (Pair, st.builds(Pair, INTS, TEXT)),
    (int | str, INTS | TEXT),
    (int | float | None, INTS | strange | st.none()),
    (float | str, strange | TEXT),
    (bool | int, st.booleans() | INTS),
    (str | list[str], TEXT | st.lists(TEXT, max_size=3)),
    (date | list[date] | None, st.none() | st.dates() | st.lists(st.dates(), max_size=2)),
    (dict[str, int] | list[int] | int, INTS | st.lists(INTS, max_size=2)),
    (str | bytes, TEXT | st.binary(max_size=3)),
    (str | datetime, TEXT | st.datetimes()),
    (date | datetime, st.dates() | st.datetimes()),
    (UUID | str, st.uuids() | st.uuids().map(str) | TEXT),
    (Decimal | int | None, st.none() | INTS | st.decimals(allow_nan=False, allow_infinity=False)),
    (list[int] | set[int], st.lists(INTS, max_size=3) | st.sets(INTS, max_size=3)),
    (deque[int], st.lists(INTS, max_size=3).map(deque) | st.just(deque([1], 2))),
    (defaultdict[str, list[int]], st.dictionaries(TEXT, st.lists(INTS, max_size=2), max_size=2)),
    (OrderedDict[str, int], st.dictionaries(TEXT, INTS, max_size=2)),
    (Sequence[int], st.lists(INTS, max_size=3) | st.tuples(INTS)),
    (dict[int, str], st.dictionaries(INTS, TEXT, max_size=3)),
    (dict[Colour, float], st.dictionaries(st.sampled_from(Colour), strange, max_size=2)),
    (dict[date, Inner], st.dictionaries(st.dates(), inners, max_size=2)),
    (dict[str | None, int], st.dictionaries(st.none() | TEXT, INTS, max_size=2)),
    (dict[tuple[int, int], int], st.dictionaries(st.tuples(INTS, INTS), INTS, max_size=1)),
    (PurePosixPath, TEXT.map(PurePosixPath)),
    (ipaddress.IPv4Address, st.ip_addresses(v=4)),
    (re.Pattern[str], st.sampled_from([re.compile("a+"), re.compile("a", re.I)])),
    (AnyUrl, st.sampled_from(["http://a.b/c?d=é", "https://xn--bcher-kva.example/"])),
    (SecretStr, TEXT),
    (Json[list[int]], st.lists(INTS, max_size=2).map(json.dumps)),
    (complex, st.complex_numbers(allow_nan=False)),
    (Annotated[str, AfterValidator(str.strip)], TEXT),
    (Annotated[int, PlainSerializer(str)], INTS),
    (Annotated[float, PlainSerializer(lambda value: round(value, 1))], strange),
]


def around(leaf: tuple[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
    """A type, or a container of it, and a strategy of its values."""
    kind, values = leaf
    wraps: list[tuple[Any, Any]] = [
        (kind, values),
        (kind, values),
        (Optional[kind], st.none() | values),
        (list[kind], st.lists(values, max_size=4)),
        (dict[str, kind], st.dictionaries(TEXT, values, max_size=3)),
        (tuple[kind, int], st.tuples(values, INTS)),
        (tuple[kind, ...], st.lists(values, max_size=3).map(tuple)),
        (Annotated[list[kind], Field(max_length=2)], st.lists(values, max_size=2)),
    ]
    if kind in (str, int, float, bool, UUID, date, Colour, Strict, PurePosixPath):
        wraps.append((set[kind], st.sets(values, max_size=4)))
        wraps.append((frozenset[kind], st.frozensets(values, max_size=4)))
    return st.sampled_from(wraps)


CONFIGS: list[ConfigDict] = [
    *([ConfigDict()] * 6),
    ConfigDict(strict=True),
    ConfigDict(frozen=True, extra="forbid"),
    ConfigDict(extra="allow"),
    ConfigDict(ser_json_inf_nan="constants"),
    ConfigDict(ser_json_inf_nan="strings", allow_inf_nan=False),
    ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"),
    ConfigDict(ser_json_timedelta="float"),
    ConfigDict(use_enum_values=True),
    ConfigDict(str_strip_whitespace=True, str_to_lower=True),
    ConfigDict(coerce_numbers_to_str=True, str_max_length=4),
    ConfigDict(validate_assignment=True, revalidate_instances="always", validate_default=True),
    ConfigDict(alias_generator=str.upper, populate_by_name=True, serialize_by_alias=True),
]

Population = tuple[type[BaseModel], list[BaseModel]]


@st.composite
def populations(draw: st.DrawFn) -> Population:
    """A model of some fields under some config, and instances of it, some with unset fields."""
    shapes = draw(st.lists(st.sampled_from(LEAVES).flatmap(around), min_size=1, max_size=3))
    config = draw(st.sampled_from(CONFIGS))
    fields: dict[str, Any] = {}
    for number, (kind, _) in enumerate(shapes):
        fields[f"f{number}"] = (kind, ...) if draw(st.booleans()) else (Optional[kind], None)
    model = create_model(
        "Generated", __config__=ConfigDict(**config, arbitrary_types_allowed=True), **fields
    )
    items = []
    for _ in range(draw(st.integers(1, 3))):
        values = {}
        for name, (_, strategy) in zip(fields, shapes, strict=True):
            if model.model_fields[name].is_required() or draw(st.booleans()):
                values[name] = draw(strategy)
        try:
            items.append(model.model_validate(values, by_name=True))
        except (ValueError, OverflowError):
            pass  # the config forbids this value
    return model, items


def reread(model: type[BaseModel], record: str | bytes) -> BaseModel:
    return model.model_validate_json(record, by_alias=True, by_name=True)


def refusal(schema: Schema, item: BaseModel) -> LossyError | None:
    try:
        schema.encode(item)
    except LossyError as error:
        return error
    return None


def refuse(token: str) -> None:
    raise ValueError(token)


@settings(COMMON, max_examples=600)
@given(populations())
def test_what_is_accepted_reads_back_the_same(population: Population) -> None:
    model, items = population
    schema = compile_schema(model)
    for item in items:
        before = anatomy(item)
        try:
            record = schema.encode(item)
        except LossyError:
            continue
        assert anatomy(item) == before
        json.loads(record, parse_constant=refuse)
        for back in (reread(model, record), schema.decode(record)):
            assert anatomy(back) == before
            assert schema.encode(back) == record


@settings(COMMON, max_examples=600)
@given(populations())
def test_what_is_refused_does_not_come_back_from_pydantic_either(population: Population) -> None:
    model, items = population
    schema = compile_schema(model)
    for item in items:
        error = refusal(schema, item)
        # Pydantic writes what is not finite as null, or as what is not JSON.
        if error is not None and "nan" not in repr(item) and "inf" not in repr(item):
            assert error.field is not None and error.field.startswith("$")
            try:
                text = item.model_dump_json(round_trip=True, by_alias=False, warnings="error")
                back = reread(model, text)
            except ValueError:
                continue
            assert anatomy(back) != anatomy(item)


JUNK = (
    JSON
    | st.floats()
    | ANY_TEXT
    | st.binary(max_size=3)
    | st.datetimes(timezones=st.none() | ZONES)
    | st.dates()
    | st.sets(INTS | TEXT, max_size=2)
    | st.tuples(INTS)
    | st.sampled_from([*Colour, *Level, *Mixed, Decimal("1.0"), UUID(int=1), Path("a"), 1j, len])
    | inners
    | cats
    | dogs
    | st.builds(Loose, a=TEXT.map(len))
)


@settings(COMMON, max_examples=600)
@given(populations(), st.data())
def test_what_was_never_validated_is_the_same_or_refused(
    population: Population, data: st.DataObject
) -> None:
    model, _ = population
    schema = compile_schema(model)
    item = model.model_construct(**{name: data.draw(JUNK) for name in model.model_fields})
    try:
        record = schema.encode(item)
    except LossyError:
        return
    assert anatomy(reread(model, record)) == anatomy(item)
    assert anatomy(schema.decode(record)) == anatomy(item)


def test_profiles_are_written_as_pydantic_writes_them() -> None:
    schema = compile_schema(type(profiles(1)[0]))
    assert schema.slow_fields == []
    for profile in profiles(300):
        assert schema.encode(profile).decode() == profile.model_dump_json()


def test_which_fields_need_pydantic() -> None:
    class Many(BaseModel):
        generic: Box[dict[str, list[float | None]]]
        tagged: Annotated[Cat | Dog, Field(discriminator="kind")]
        mixed: str | list[str] | None
        tree: Tree
        computed: Computed
        strict: Strict
        pattern: Annotated[str, Field(pattern="a")]
        path: Path
        checked: list[Checked]
        validated: Validated | None

        @field_validator("mixed")
        @classmethod
        def same(cls, mixed: Any) -> Any:
            return mixed

    assert compile_schema(Many).slow_fields == ["mixed", "pattern", "path", "checked", "validated"]
    assert compile_schema(Checked).slow_fields == ["low", "high"]
    assert compile_schema(Names).slow_fields == []
    assert not compile_schema(Names).covered


@pytest.mark.parametrize(
    "text", ["é" * 40, "漢字" * 40, "😀" * 40, '\x7fé"\\\n\x00', "a" * 63 + "é\n"]
)
def test_strings_keep_no_second_copy(text: str) -> None:
    class Note(BaseModel):
        text: str

    note = Note(text=text)
    size = note.text.__sizeof__()
    record = compile_schema(Note).encode(note)
    assert note.text.__sizeof__() == size
    assert record.decode() == note.model_dump_json()


@settings(COMMON, max_examples=300)
@given(
    st.text(
        st.characters(max_codepoint=0x11FFF) | st.sampled_from('"\\\n\x00\x1f\x7f'), max_size=200
    )
)
def test_strings_of_any_width(text: str) -> None:
    schema = compile_schema(Inner)
    item = Inner(x=1, note=text)
    if any("\ud800" <= char <= "\udfff" for char in text):
        with pytest.raises(LossyError) as refused:
            schema.encode(item)
        assert refused.value.field == "$.note"
    else:
        assert json.loads(schema.encode(item))["note"] == text
        assert schema.encode(item).decode() == item.model_dump_json()


def test_sets_are_sorted_and_fields_in_order() -> None:
    class Bag(BaseModel):
        ints: set[int] = set()
        path: Path | None = None
        names: frozenset[str] = frozenset()

    schema = compile_schema(Bag)
    for path in (None, Path("a")):  # the fast path and the slow one
        bag = Bag(ints={10, 9, -1}, names=frozenset("cab"), path=path)
        ints = bag.ints
        del bag.ints
        bag.ints = ints
        record = json.loads(schema.encode(bag))
        assert list(record) == ["ints", "path", "names"]
        assert record["ints"] == [-1, 10, 9]
        assert record["names"] == ["a", "b", "c"]


class Sub(Inner):
    more: int = 0


class Hidden(BaseModel):
    name: str
    token: str = Field("", exclude=True)


REFUSED: list[tuple[Callable[[], BaseModel], str, str]] = [
    (lambda: box(SecretStr, SecretStr("x")), "$.content", "masked"),
    (lambda: box(bytes, b"\xff"), "$.content", "utf-8"),
    (lambda: box(Any, [{"a": datetime(2020, 1, 1)}]), "$.content[0].a", "datetime"),
    (lambda: box(Any, {1: 2}), "$.content.1", "int"),
    (lambda: box(list[Inner], [Inner(x=1), Sub(x=1)]), "$.content[1]", "Sub"),
    (lambda: box(dict[str, str], {"a": "\ud800"}), "$.content", "surrogates"),
    (lambda: box(dict[str, int], {"\ud800": 1}), "$.content.\ufffd\ufffd\ufffd", "come back as"),
    (lambda: box(datetime, datetime(2020, 1, 1, fold=1)), "$.content", "fold=1"),
    (lambda: box(time, time(1, fold=1)), "$.content", "fold=1"),
    (
        lambda: box(datetime, datetime(2020, 1, 1, tzinfo=timezone(timedelta(seconds=1)))),
        "$.content",
        "tz",
    ),
    (lambda: box(deque[int], deque([1], 3)), "$.content", "maxlen"),
    (lambda: box(int, 10**4300), "$", "number out of range"),
    (lambda: box(float | str, math.nan), "$.content", "nan"),
    (lambda: Hidden(name="a", token="b"), "$.token", "'b' would come back as ''"),
    (lambda: Sub(x=1), "$.more", ""),
    (lambda: Inner.model_construct(x="1"), "$.x", "int"),
    (lambda: Inner.model_construct(x=1, tags=("a",)), "$.tags", "tuple"),
    (lambda: Inner.model_construct(note="a"), "$.x", "required"),
]


def box(kind: Any, content: Any) -> BaseModel:
    return Box[kind].model_construct(content=content, spare=None)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("make", "field", "reason"), REFUSED)
def test_what_json_cannot_hold_is_refused_by_name(
    make: Callable[[], BaseModel], field: str, reason: str
) -> None:
    item = make()
    model = Inner if type(item) is Sub else type(item)
    with pytest.raises(LossyError) as refused:
        compile_schema(model).encode(item)
    if model is not type(item):
        assert "subclass Sub" in str(refused.value)
    else:
        assert refused.value.field == field
        assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_private_attributes() -> None:
    schema = compile_schema(Private)
    item = Private(name="a")
    assert schema.encode(item) == b'{"name":"a"}'
    item._seen = 3
    with pytest.raises(LossyError, match=r"\$\._seen: a private attribute") as refused:
        schema.encode(item)
    assert refused.value.field == "$._seen"


def test_cached_and_computed_values_are_not_written() -> None:
    item = Computed(side=2)
    assert item.diagonal > 2
    assert item.area == 4
    assert compile_schema(Computed).encode(item) == b'{"side":2}'


class Lax(BaseModel):
    key: str
    score: float = 0
    weight: float | None = 1
    path: Path | None = None


@pytest.mark.parametrize("path", [None, Path("a")])
def test_a_default_that_is_not_validated_is_stored_as_the_type_of_its_field(
    path: Path | None,
) -> None:
    memory = OMem(Lax, "key")
    memory.add([Lax(key="a", path=path)])
    back = memory.get("a")
    assert back == Lax(key="a", path=path)
    assert back is not None and type(back.score) is float and type(back.weight) is float
    assert back.model_fields_set == {"key"} | ({"path"} if path else set())
    with pytest.raises(LossyError, match=r"\$\.score: 3 \(int\) would come back as 3.0"):
        memory.add([Lax.model_construct(key="b", score=3, weight=1.0, path=path)])


def test_what_is_lossy_can_be_stored() -> None:
    class Login(BaseModel):
        name: str
        secret: SecretStr
        cache: int = Field(0, exclude=True)

    item = Login(name="a", secret=SecretStr("x"), cache=3)
    memory = OMem(Login, "name", lossy="allow")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        memory.add([item])
    back = memory.get("a")
    assert back == Login(name="a", secret=SecretStr("*" * 10))
    memory = OMem(Login, "name", lossy="warn")
    with pytest.warns(LossyWarning, match=r"\$\.secret: a secret is masked"):
        memory.add([item])
    assert memory.get("a") == back

    memory = OMem(Inner, "note", lossy="allow")
    memory.add([Sub(x=1, note="a", more=3)])
    assert anatomy(memory.get("a")) == anatomy(Inner(x=1, note="a"))
    with pytest.raises(LossyError, match="does not load"):
        memory.add([Inner.model_construct(x="no", note="a")])


class Part(BaseModel):
    a: int = 0
    b: int = 0
    more: Part | None = None


class Whole2(BaseModel):
    key: str
    part: Part = Part()
    parts: dict[str, Part] = {}
    path: Path | None = None
    last: int = 0


@pytest.mark.parametrize("path", [None, Path("a")])
def test_unset_fields_are_no_observation(path: Path | None) -> None:
    memory = OMem(Whole2, "key")
    first = {"a": 1, "b": 2, "more": {"a": 3, "b": 4}}
    memory.add(
        [Whole2.model_validate({"key": "k", "part": first, "parts": {"x": first}, "last": 9})]
    )
    second = {"b": 20, "more": {"a": 0}}
    memory.add(
        [Whole2.model_validate({"key": "k", "part": second, "parts": {"x": second}, "path": path})]
    )
    merged = memory.get("k")
    assert merged is not None
    wanted = Part(a=1, b=20, more=Part(a=0, b=4))
    assert (merged.part, merged.parts, merged.path, merged.last) == (wanted, {"x": wanted}, path, 9)


def test_decoded_defaults_are_unset_on_the_slow_path_too() -> None:
    class Slow(BaseModel):
        name: Annotated[str, AfterValidator(str.strip)]
        title: Annotated[str, AfterValidator(str.strip)] = "none"
        where: Path = Path("here")
        inner: Inner = Inner(x=1)

    schema = compile_schema(Slow)
    back = schema.decode(schema.encode(Slow(name="a", title="none", inner=Inner(x=2))))
    assert isinstance(back, Slow)
    assert back.model_fields_set == {"name", "inner"}
    assert back.inner.model_fields_set == {"x"}


def test_deep_records_on_a_small_stack() -> None:
    schema, slow = (
        compile_schema(Box[Any]),
        compile_schema(Box[Annotated[Any, AfterValidator(lambda x: x)]]),
    )
    results: list[str] = []

    def work() -> None:
        for depth in (198, 199):
            for kind in (schema, slow):
                content: Any = 1
                for _ in range(depth):
                    content = [content]
                model = type(kind.decode(b'{"content":1,"spare":null}'))
                try:
                    kind.encode(model.model_construct(content=content, spare=None))
                    results.append("written")
                except LossyError as error:
                    results.append("deep" if "nested" in str(error) else str(error))
        tree = Tree()
        for _ in range(250):
            tree = Tree(parent=tree)
        with pytest.raises(LossyError):
            compile_schema(Tree).encode(tree)

    threading.stack_size(512 * 1024)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    threading.stack_size(0)
    assert results == ["written", "written", "deep", "deep"]


def test_fingerprints_do_not_depend_on_the_process_or_on_warnings() -> None:
    class Odd(BaseModel):
        function: Callable[[int], int] | None = None
        when: Any = object()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fingerprint(Odd) == fingerprint(Odd)
        assert fingerprint(Odd) != fingerprint(Inner)
    again = create_model("Inner", x=(int, ...), note=(str | None, None), tags=(list[str], []))
    assert fingerprint(again) == fingerprint(Inner)
    huge = create_model("Huge", x=(Annotated[int, Field(le=2**80)], ...))
    assert len(fingerprint(huge)) == 32
