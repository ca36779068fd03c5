"""Properties over generated models and values: what is accepted comes back the same."""

from __future__ import annotations

import json
import math
import tempfile
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Literal, Optional, Union
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError, create_model

from omem import LoadError, LossyError, OMem
from omem.schema import compile_schema
from same import anatomy


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Inner(BaseModel):
    x: int
    note: str | None = None
    tags: list[str] = []


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, TEXT),
    (int, st.integers(-(10**30), 10**30)),
    (float, st.floats()),
    (bool, st.booleans()),
    (bytes, TEXT.map(str.encode)),
    (date, st.dates()),
    (datetime, st.datetimes(timezones=st.none() | ZONES)),
    (time, st.times()),
    (timedelta, st.timedeltas(max_value=timedelta(days=10**6), min_value=timedelta(days=-(10**6)))),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False, places=3)),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Literal["a", "b", 3], st.sampled_from(["a", "b", 3])),
    (Union[int, str], st.integers() | TEXT),
    (Union[int, float, None], st.integers() | st.floats() | st.none()),
    (
        Any,
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | TEXT
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
            max_leaves=5,
        ),
    ),
    (
        Inner,
        st.builds(Inner, x=st.integers(), note=st.none() | TEXT, tags=st.lists(TEXT, max_size=2)),
    ),
]


def around(leaf: tuple[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
    """A leaf, or a container of it: the type and the strategy of its values."""
    kind, values = leaf
    wraps: list[tuple[Any, Any]] = [
        (kind, values),
        (Optional[kind], st.none() | values),
        (list[kind], st.lists(values, max_size=4)),
        (dict[str, kind], st.dictionaries(TEXT, values, max_size=3)),
        (tuple[kind, int], st.tuples(values, st.integers())),
        (tuple[kind, ...], st.lists(values, max_size=3).map(tuple)),
    ]
    if kind in (str, int, float, bool, UUID, date, Colour):
        wraps.append((set[kind], st.sets(values, max_size=4)))
        wraps.append((frozenset[kind], st.frozensets(values, max_size=4)))
    return st.sampled_from(wraps)


@st.composite
def populations(draw: st.DrawFn) -> tuple[type[BaseModel], list[BaseModel]]:
    """A model with some fields, and instances of it."""
    shapes = draw(st.lists(st.sampled_from(LEAVES).flatmap(around), min_size=1, max_size=4))
    fields: dict[str, Any] = {
        f"f{number}": (kind, ...) if draw(st.booleans()) else (Optional[kind], None)
        for number, (kind, _) in enumerate(shapes)
    }
    model = create_model("Generated", key=(int, ...), **fields)
    items = []
    for key in range(draw(st.integers(1, 4))):
        values = {name: draw(values) for (_, values), name in zip(shapes, fields, strict=True)}
        items.append(model(key=key, **values))
    return model, items


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(populations())
def test_what_is_accepted_comes_back(population: tuple[type[BaseModel], list[BaseModel]]) -> None:
    model, items = population
    memory = OMem(model, "key")
    try:
        memory.add(items)
    except LossyError:
        # Pydantic itself does not bring this model back from its own JSON.
        lost = [item for item in items if anatomy(item) != anatomy(reread(model, item))]
        assert lost or any(has_wild_float(item) for item in items)
        return
    for item in items:
        assert anatomy(item) == anatomy(memory.get(item.key))  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        memory.dump(folder)
        fresh = OMem(model, lambda item: item.key)
        fresh.load(folder)
        for old, new in zip(items, fresh, strict=True):
            assert anatomy(old) == anatomy(new)
        rows = json.loads((Path(folder) / "memory.json").read_text())
        assert len(rows) == len(items)


def reread(model: type[BaseModel], item: BaseModel) -> BaseModel | None:
    try:
        return model.model_validate_json(item.model_dump_json(round_trip=True))
    except ValidationError:
        return None


def has_wild_float(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, BaseModel):
        value = value.__dict__
    if isinstance(value, dict):
        value = value.values()
    return isinstance(value, (list, tuple, set, type({}.values()))) and any(
        map(has_wild_float, value)
    )


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(populations())
def test_records_are_what_pydantic_writes(
    population: tuple[type[BaseModel], list[BaseModel]],
) -> None:
    model, items = population
    schema = compile_schema(model)
    for item in items:
        try:
            record = schema.encode(item)
        except LossyError:
            continue
        assert anatomy(item) == anatomy(schema.decode(record))
        if not has_wild_float(item) and not any(
            "set[" in str(f.annotation) for f in model.model_fields.values()
        ):
            assert record.decode() == item.model_dump_json(round_trip=True)


class Document(BaseModel):
    key: str
    count: int = 0
    ratio: float = 0.5
    flag: bool = False
    note: str | None = None
    names: list[str] = []
    when: datetime | None = None
    level: Colour = Colour.RED
    inner: Inner | None = None


CANONICAL = Document(
    key="a",
    count=3,
    note='q"\\ü',
    names=["x", "y"],
    when=datetime(2024, 2, 29, tzinfo=UTC),
    inner=Inner(x=1),
).model_dump_json()
PIECES = [
    "0",
    "-",
    "1.0",
    "1e5",
    '"',
    "\\",
    "\\u00e9",
    "null",
    "true",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    " ",
    "\n",
    "NaN",
    '"NaN"',
    "Infinity",
    "é",
    "\x00",
    '"extra":1',
    "2024-02-30T00:00:00Z",
    "00",
]


@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_mutated_documents_get_pydantics_verdict(data: st.DataObject) -> None:
    text = CANONICAL
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 6))
        text = text[:at] + data.draw(st.sampled_from(["", *PIECES])) + text[at + cut :]
    try:
        expected = Document.model_validate_json(text)
    except ValidationError:
        expected = None
    memory = OMem(Document, "key")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        path.write_text(f"[{text}]", encoding="utf-8")
        try:
            memory.load_data(path, unknown="drop")
        except LoadError:
            assert expected is None or not survives(expected)
            return
    if expected is None:
        # A comma between two documents makes two records of them.
        assert "," in text
        return
    assert memory.size == 1
    assert anatomy(expected) == anatomy(memory.items[0])


def survives(item: BaseModel) -> bool:
    back = reread(type(item), item)
    return back is not None and anatomy(item) == anatomy(back)


@pytest.mark.parametrize("depth", [1, 50, 150, 196, 197, 198, 199, 200, 254, 300])
def test_what_is_accepted_at_any_depth_loads(depth: int, tmp_path: Path) -> None:
    class Deep(BaseModel):
        key: str
        value: Any = None

    value: Any = 1
    for _ in range(depth):
        value = [value]
    memory = OMem(Deep, "key")
    try:
        memory.add(Deep(key="a", value=value))
    except LossyError:
        assert depth >= 199
        assert memory.empty()
        return
    assert depth < 199
    memory.dump(tmp_path)
    fresh = OMem(Deep, "key")
    fresh.load(tmp_path)
    assert fresh.items == memory.items
