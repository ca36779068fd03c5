"""Models of every kind, and hypothesis strategies of them and of their values."""

from __future__ import annotations

import base64
import enum
import ipaddress
import json
import math
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar, Union
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AnyUrl,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    Json,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    RootModel,
    SecretStr,
    SerializeAsAny,
    WrapValidator,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.dataclasses import dataclass as validated_dataclass
from typing_extensions import TypeAliasType, TypedDict

T = TypeVar("T")


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


class Answer(enum.Enum):
    YES = "yes"
    UNKNOWN = None


class Word(enum.StrEnum):
    A = "a"
    B = "b"


class Bits(enum.IntFlag):
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


@dataclass
class Counted:
    # Its own, for Pydantic refuses `init=False` under the `extra="allow"` of a model around it.
    __pydantic_config__ = ConfigDict(extra="ignore")

    a: int
    parts: list[str] = field(default_factory=list)
    count: int = field(default=1, init=False)


@validated_dataclass
class Checkpoint:
    at: datetime
    ratio: float = 0.0


class Crossed(BaseModel):
    a: int = Field(1, alias="b")
    b: int = 5


class Wordy(BaseModel):
    a: int

    @model_serializer
    def wordy(self) -> dict[str, Any]:
        return {"a": self.a, "note": "never read"}


class Text(BaseModel):
    a: int

    @model_serializer
    def text(self) -> str:
        return str(self.a)

    @model_validator(mode="before")
    @classmethod
    def parsed(cls, value: Any) -> Any:
        return {"a": value} if isinstance(value, str) else value


class Hidden(BaseModel):
    a: int = 0
    b: int = Field(0, exclude=True)


class Maybe(RootModel[Optional[int]]):
    pass


@validated_dataclass(config=ConfigDict(extra="allow"))
class Open:
    a: int = 1


class Movie(TypedDict, total=False):
    title: str
    year: int


class Pair(NamedTuple):
    left: int
    right: str


Nested = TypeAliasType(
    "Nested", "int | str | float | bool | list[Nested] | dict[str, Nested] | None"
)


def caught(value: Any, read: Any) -> Any:
    try:
        return read(value)
    except ValueError:
        return Inner(x=-1)


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
    (Open, st.builds(Open, INTS) | INTS.map(lambda a: {"a": a, "more": 1})),
    (Annotated[tuple[int, str], AfterValidator(lambda v: v)], st.tuples(INTS, TEXT)),
    (
        Annotated[frozenset[Decimal], Field(min_length=2)],
        st.frozensets(st.sampled_from(list(map(Decimal, ["1", "1.0", "2"]))), min_size=2),
    ),
    (Annotated[Inner | Tree | dict[str, Any], Field(union_mode="left_to_right")], inners | trees),
    (
        Annotated[Inner, WrapValidator(lambda v, read: caught(v, read))],
        inners | st.just({"x": "no"}),
    ),
    (Movie, st.fixed_dictionaries({"title": TEXT}, optional={"year": INTS})),
    (Pair, st.builds(Pair, INTS, TEXT)),
    (Answer | None, st.none() | st.sampled_from(Answer)),
    (Word, st.sampled_from(Word)),
    (Bits, st.sampled_from([Bits.A, Bits.A | Bits.B, Bits(0)])),
    (Level | int, st.sampled_from(Level) | st.integers(0, 3)),
    (str | Word, st.sampled_from([*Word, "a", "c"])),
    (Literal["a", Word.A], st.sampled_from(["a", Word.A])),
    (Counted, st.builds(Counted, INTS, st.lists(TEXT, max_size=2))),
    (Checkpoint, st.builds(Checkpoint, st.datetimes(), strange)),
    (Crossed, st.builds(lambda b: Crossed.model_validate({"b": b}), INTS)),
    (Wordy, st.builds(Wordy, a=INTS)),
    (Text, st.builds(Text, a=INTS)),
    (Hidden, st.builds(Hidden, a=INTS, b=st.integers(0, 1))),
    (Maybe | None, st.none() | st.builds(Maybe, st.none() | INTS)),
    (Nested, JSON),
    (JsonValue, JSON),
    (Counter[str], st.dictionaries(TEXT, st.integers(0, 9), max_size=2).map(Counter)),
    (Annotated[int | str, Field(union_mode="left_to_right")], INTS | TEXT | INTS.map(str)),
    (Annotated[str | int, Field(union_mode="left_to_right")], INTS | TEXT | INTS.map(str)),
    (Annotated[int, BeforeValidator(int)], INTS),
    (Annotated[list[int], WrapValidator(lambda v, read: sorted(read(v)))], st.lists(INTS)),
    (Annotated[int, PlainValidator(lambda v: v)], INTS | TEXT),
    (Annotated[str, AfterValidator(lambda text: text + "x")], TEXT),
    (Annotated[set[int], PlainSerializer(sorted)], st.sets(INTS, max_size=3)),
    (Base64Bytes, st.binary(max_size=4).map(base64.b64encode)),
    (ByteSize, st.integers(0, 2**60)),
    (ipaddress.IPv4Network | ipaddress.IPv6Address, st.ip_addresses(v=6)),
    (SerializeAsAny[Inner], inners),
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
    (complex, st.complex_numbers(allow_nan=False) | st.builds(complex, strange, strange)),
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
