"""What is embedded is what Pydantic and Python write, whoever computes it."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, computed_field, field_serializer

from embedders import Counting
from omem import OMem, _omem
from omem.index.text import shown, texts
from omem.schema import compile_schema
from shapes import Colour, Inner, Level


class Everything(BaseModel):
    key: int
    text: str | None = None
    flag: bool | None = None
    number: int | float | None = None
    ratio: float = 0.0
    ratios: list[float | None] = []
    names: list[str] = []
    table: dict[str, int | None] = {}
    nested: list[dict[str, list[int]]] = []
    inner: Inner | None = None
    inners: dict[str, Inner] = {}
    pair: tuple[int, str] | None = None
    colour: Colour | None = None
    level: Level = Level.LOW
    word: Literal["a", "b'"] | None = None
    day: date | None = None
    moment: datetime | None = None
    clock: time | None = None
    id: UUID | None = None
    ids: list[UUID] = []
    price: Decimal | None = None
    prices: list[Decimal] = []
    raw: bytes | None = None
    span: timedelta | None = None
    any: Any = None
    tags: set[str] = set()
    codes: frozenset[int] = frozenset()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOAT = st.floats(width=64)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ZONES = st.sampled_from([None, UTC, timezone(timedelta(minutes=-330))])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
INNER = st.builds(Inner, x=st.integers(), note=TEXT | st.none(), tags=st.lists(TEXT, max_size=2))
VALUES: dict[str, Any] = {
    "key": st.integers(),
    "text": TEXT | st.none(),
    "flag": st.booleans() | st.none(),
    "number": st.integers() | FLOAT | st.none(),
    "ratio": FLOAT,
    "ratios": st.lists(FLOAT | st.none(), max_size=4),
    "names": st.lists(TEXT, max_size=3),
    "table": st.dictionaries(TEXT, st.integers() | st.none(), max_size=3),
    "nested": st.lists(st.dictionaries(TEXT, st.lists(st.integers(), max_size=2), max_size=2)),
    "inner": INNER | st.none(),
    "inners": st.dictionaries(TEXT, INNER, max_size=2),
    "pair": st.tuples(st.integers(), TEXT) | st.none(),
    "colour": st.sampled_from(Colour) | st.none(),
    "level": st.sampled_from(Level),
    "word": st.sampled_from(["a", "b'", None]),
    "day": st.dates() | st.none(),
    "moment": st.datetimes(timezones=ZONES).map(lambda at: at.replace(fold=0)) | st.none(),
    "clock": st.times().map(lambda at: at.replace(fold=0)) | st.none(),
    "id": st.uuids() | st.none(),
    "ids": st.lists(st.uuids(), max_size=2),
    "price": st.decimals(allow_nan=False, allow_infinity=False) | st.none(),
    "prices": st.lists(st.decimals(allow_nan=False, allow_infinity=False), max_size=2),
    "raw": TEXT.map(str.encode) | st.none(),
    "span": st.timedeltas() | st.none(),
    "any": JSON,
}
MODELS = st.fixed_dictionaries(VALUES).map(lambda values: Everything(**values))


def embedded(model: BaseModel, fields: list[str] | None = None) -> str:
    """The text that a memory embeds for one entity."""
    embedder = Counting()
    memory: OMem[Any] = OMem(type(model), "key", embedder=embedder, fields_for_index=fields)
    memory.add(model)
    memory.build_index()
    return embedder.texts[0]


@settings(deadline=None, max_examples=300)
@given(MODELS)
def test_the_whole_record_is_what_pydantic_writes(model: Everything) -> None:
    assert embedded(model) == model.model_dump_json(exclude_none=True)


FIELDS = list(VALUES)


@settings(deadline=None, max_examples=300)
@given(MODELS, st.lists(st.sampled_from(FIELDS), unique=True, min_size=1))
def test_fields_are_what_python_shows(model: Everything, fields: list[str]) -> None:
    values = ((name, getattr(model, name)) for name in fields)
    lines = [f"{name}: {value}" for name, value in values if value is not None]
    # A loaded time zone is an offset, which shows as that.
    assert embedded(model, fields) == "\n".join(lines)


@settings(deadline=None, max_examples=100)
@given(MODELS)
def test_both_ways_to_a_text_agree(model: Everything) -> None:
    schema = compile_schema(Everything)
    for fields in ([], FIELDS, ["names", "ratio", "any"]):
        slow = _omem.Texts(schema, fields, False, lambda entity, f=fields: shown(entity, f))
        found = []
        for given_texts in (texts(schema, Everything, fields), slow):
            memory = OMem(Everything, "key")
            memory.add(model)
            stale = _omem.Stale(memory._store, _omem.Rows(True), given_texts)
            found.append(stale.texts(0, 1))
        assert found[0] == found[1]


def test_most_records_need_no_python() -> None:
    calls: list[object] = []
    schema = compile_schema(Everything)
    memory = OMem(Everything, "key")
    memory.add(
        Everything(
            key=1, text="Zürich", ratio=float("inf"), names=["it's", "文字"], colour=Colour.BLUE,
            moment=datetime(2024, 2, 29, tzinfo=UTC), ids=[UUID(int=3)], price=Decimal("1.50"),
            any={"a": [None, 1e100]}, tags={"b", "a"}, inner=Inner(x=1),
        )
    )  # fmt: skip
    names = ["text", "ratio", "names", "colour", "level", "moment", "ids", "price", "any", "table"]
    for fields in ([], names):
        given_texts = _omem.Texts(schema, fields, True, lambda entity: calls.append(entity) or "")
        _omem.Stale(memory._store, _omem.Rows(True), given_texts).texts(0, 1)
    assert not calls


def test_models_that_write_otherwise_than_they_are_recorded() -> None:
    class Computed(BaseModel):
        key: str

        @computed_field
        @property
        def loud(self) -> str:
            return self.key.upper()

    class Renamed(BaseModel):
        model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)
        key: str = Field(alias="Key")

    class Custom(BaseModel):
        key: str
        price: float = 1.5

        @field_serializer("price")
        def _price(self, value: float) -> str:
            return f"{value:.2f}"

    class Extra(BaseModel):
        model_config = ConfigDict(extra="allow")
        key: str

    class Outer(BaseModel):
        key: str
        inner: Computed

    models = [
        Computed(key="a"),
        Renamed(key="a"),
        Custom(key="a"),
        Extra(key="a", more=[1, None]),
        Outer(key="o", inner=Computed(key="i")),
    ]
    for model in models:
        memory: Any = OMem(type(model), "key", embedder=(embedder := Counting()), lossy="allow")
        memory.add(model)
        memory.build_index()
        assert embedder.texts == [model.model_dump_json(exclude_none=True)]


SETS = """
import json, sys
from typing import Any
from pydantic import BaseModel, field_validator
from omem import OMem

class Plain(BaseModel):
    key: str = "a"
    tags: set[str] = set()
    codes: frozenset[str] = frozenset()
class Checked(Plain):
    deep: list[dict[str, set[str]]] = []
    @field_validator("tags")
    @classmethod
    def check(cls, value: Any) -> Any:
        return value
class Embedder:
    texts: list[str] = []
    def embed_documents(self, texts):
        self.texts += texts
        return [[1.0]] * len(texts)
    def embed_query(self, text):
        return [1.0]

words = {"red", "green", "blue", "white", "black"}
for model in (Plain(tags=words, codes=words), Checked(tags=words, deep=[{"x": words}])):
    for fields in (None, ["tags", "codes"]):
        memory = OMem(type(model), "key", embedder=Embedder(), fields_for_index=fields)
        memory.add(model)
        memory.build_index()
print(json.dumps(Embedder.texts))
"""


def test_sets_have_the_same_text_in_every_process() -> None:
    found = set()
    for seed in range(4):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        ran = subprocess.run(
            [sys.executable, "-c", SETS], env=environment, check=True, capture_output=True
        )
        found.add(ran.stdout)
    assert len(found) == 1
    whole, fields, *_ = json.loads(found.pop())
    colours = ["black", "blue", "green", "red", "white"]
    assert json.loads(whole) == {"key": "a", "tags": colours, "codes": colours}
    shown_set = "{'black', 'blue', 'green', 'red', 'white'}"
    assert fields == f"tags: {shown_set}\ncodes: frozenset({shown_set})"


def test_texts_are_hashed_without_the_gil(tmp_path: Path) -> None:
    """While texts are hashed other threads run: a counter goes on meanwhile."""
    import threading
    import time as clock

    class Note(BaseModel):
        key: int
        text: str

    memory = OMem(Note, "key", embedder=Counting(dim=1))
    memory.add(Note(key=n, text=f"{n} " * 3000) for n in range(4000))
    steps: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            steps.append(clock.perf_counter())
            clock.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    given_texts = texts(compile_schema(Note), Note, [])
    start = clock.perf_counter()
    stale = _omem.Stale(memory._store, _omem.Rows(True), given_texts)
    end = clock.perf_counter()
    stop.set()
    thread.join()
    assert len(stale) == 4000
    within = [step for step in steps if start < step < end]
    assert len(within) > 3, f"{len(within)} steps in {end - start:.3f} s"


class Mood(enum.StrEnum):
    GLAD = "glad"


def test_enums_of_every_sort() -> None:
    class Feeling(BaseModel):
        key: int = 1
        mood: Mood = Mood.GLAD
        moods: list[Mood] = [Mood.GLAD]
        colour: Colour = Colour.RED
        colours: list[Colour] = [Colour.BLUE]

    model = Feeling()
    fields = ["mood", "moods", "colour", "colours"]
    lines = [f"{name}: {getattr(model, name)}" for name in fields]
    assert embedded(model, fields) == "\n".join(lines)
