"""What JSON cannot hold is refused by name, or stored on request."""

from __future__ import annotations

import enum
import math
import warnings
from collections import deque
from collections.abc import Callable
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_serializer, model_validator
from pydantic.dataclasses import dataclass as validated_dataclass

from omem import LossyError, LossyWarning, OMem
from omem.schema import compile_schema
from same import anatomy
from shapes import Box, Computed, Inner, Open, Private, Word


class Sub(Inner):
    more: int = 0


class Hidden(BaseModel):
    name: str
    token: str = Field("", exclude=True)


class Answer(enum.Enum):
    YES = "yes"
    UNKNOWN = None


class Slotted(BaseModel):
    __slots__ = ("seen",)
    name: str


@validated_dataclass(config=ConfigDict(extra="allow"))
class Doubled(Open):
    @cached_property
    def twice(self) -> int:
        return 2 * self.a


class AsText(BaseModel):
    size: int

    @model_serializer
    def text(self) -> str:
        return str(self.size)

    @model_validator(mode="before")
    @classmethod
    def parsed(cls, value: Any) -> Any:
        return {"size": value} if isinstance(value, str) else value


BERLIN = ZoneInfo("Europe/Berlin")

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
    # In an hour that a zone repeats or skips, Python holds a datetime equal to no other.
    (lambda: box(datetime, datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN)), "$.content", "come"),
    (lambda: box(datetime, datetime(2020, 3, 29, 2, 30, tzinfo=BERLIN)), "$.content", "come"),
    (lambda: box(Answer | None, Answer.UNKNOWN), "$.content", "come back as None"),
    (lambda: box(Box[Answer | None], box(Answer | None, Answer.UNKNOWN)), "$.content.content", ""),
    (lambda: AsText(size=1), "$", "else than an object"),
    (
        lambda: Inner.model_validate({"x": 1, "more": 2}, extra="allow"),
        "$.more",
        "no field of the model",
    ),
    (
        lambda: box(Inner, Inner.model_validate({"x": 1, "more": 2}, extra="allow")),
        "$.content.more",
        "no field of the model",
    ),
    (lambda: box(list[int | Inner], [1, Inner.model_construct(x=None)]), "$.content[1]", "load"),
    (lambda: box(deque[int], deque([1], 3)), "$.content", "maxlen"),
    (lambda: box(Open, Open(a=2, more=3)), "$.content.more", "no field of the dataclass"),  # type: ignore[call-arg]
    (lambda: slotted(3), "$.seen", "slot"),
    (lambda: box(int, 10**4300), "$.content", "number out of range"),
    (lambda: box(float | str, math.nan), "$.content", "nan"),
    (lambda: Hidden(name="a", token="b"), "$.token", "'b' would come back as ''"),
    (lambda: Sub(x=1), "$.more", ""),
    (lambda: Inner.model_construct(x="1"), "$.x", "int"),
    (lambda: Inner.model_construct(x=1, tags=("a",)), "$.tags", "tuple"),
    (lambda: Inner.model_construct(note="a"), "$.x", "required"),
]


def slotted(seen: int) -> Slotted:
    item = Slotted(name="a")
    object.__setattr__(item, "seen", seen)
    return item


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


def test_fixed_hours_of_a_zone_are_stored() -> None:
    for when in (datetime(2020, 10, 25, 1, 59, tzinfo=BERLIN), datetime(2020, 7, 1, tzinfo=BERLIN)):
        item = box(datetime, when)
        schema = compile_schema(type(item))
        assert schema.decode(schema.encode(item)) == item


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


def test_cached_properties_of_a_dataclass_are_not_missed() -> None:
    item = box(Doubled, Doubled(a=2))
    assert item.content.twice == 4  # type: ignore[attr-defined]
    assert compile_schema(type(item)).encode(item) == b'{"content":{"a":2},"spare":null}'


class Lax(BaseModel):
    key: str
    score: float = 0
    weight: float | None = 1
    word: Word = "a"  # type: ignore[assignment]
    tags: set[str] = frozenset()  # type: ignore[assignment]
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
    assert back.word is Word.A and type(back.tags) is set
    assert back.model_fields_set == {"key"} | ({"path"} if path else set())
    with pytest.raises(LossyError, match=r"\$\.score: 3 \(int\) would come back as 3.0"):
        memory.add([Lax.model_construct(key="b", score=3, word=Word.A, tags=set(), path=path)])


class Priced(BaseModel):
    key: str
    price: Decimal = 0  # type: ignore[assignment]
    least: Annotated[Decimal, Field(ge=0)] = 0  # type: ignore[assignment]
    count: int = 1.0  # type: ignore[assignment]
    path: Path | None = None


@pytest.mark.parametrize("path", [None, Path("a")])
def test_a_number_that_is_a_default_is_stored_as_it_is_read_back(path: Path | None) -> None:
    schema = compile_schema(Priced)
    item = Priced(key="a", path=path)
    record = schema.encode(item)
    assert record.startswith(b'{"key":"a","price":"0","least":"0","count":1,')
    back = schema.decode(record)
    assert back == item and schema.encode(back) == record
    assert back.model_fields_set == {"key"} | ({"path"} if path else set())
    memory = OMem(Priced, "key")
    memory.add(Priced(key="a", price=Decimal(5)))
    assert memory.add([back, item]).unchanged == (1 if path else 2)
    assert memory.items[0].price == 5


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


def test_a_default_of_another_kind_is_refused_and_an_equal_number_is_not() -> None:
    class Sloppy(BaseModel):
        key: str
        score: float = 0
        count: int = True

    memory = OMem(Sloppy, "key")
    with pytest.raises(LossyError, match="count") as told:
        memory.add(Sloppy(key="a"))
    assert told.value.field == "$.count"
    memory.add(Sloppy(key="a", count=1))
    assert memory.get("a") == Sloppy(key="a", count=1)

    class Worded(BaseModel):
        key: str
        word: Literal["a", Word.A] = Word.A

    with pytest.raises(
        LossyError, match=r"\$\.word: <Word.A: 'a'> \(Word\) would come back as 'a'"
    ):
        OMem(Worded, "key").add(Worded(key="a"))
