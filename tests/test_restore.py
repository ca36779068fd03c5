"""Records that are read from files of any layout: what loads, what is dropped, what is told."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    computed_field,
    field_validator,
    model_serializer,
)

from omem import LoadError, OMem
from omem.report import LoadReport
from same import anatomy
from shapes import Colour, Level

Loaded = tuple[OMem[Any], LoadReport]


def load(model: type[BaseModel], path: Path, rows: Any, **options: Any) -> Loaded:
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows, indent=2), "utf-8")
    memory: OMem[Any] = OMem(model, "key")
    return memory, memory.load_data(path, **options)


class Crossed(BaseModel):
    key: str
    a: int = Field(1, alias="b")
    b: int = 5


@dataclass
class Counted:
    a: int
    count: int = field(default=1, init=False)


class Holder(BaseModel):
    key: str
    counted: Counted


class Wordy(BaseModel):
    key: str
    a: int

    @model_serializer
    def wordy(self) -> dict[str, Any]:
        return {"key": self.key, "a": self.a, "note": "never read"}


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = 0


class Pair(BaseModel):
    x: int = 0
    y: int = 0


class Mixed(BaseModel):
    key: str
    part: Open | Pair


@pytest.mark.parametrize(
    "item",
    [
        Crossed.model_validate({"key": "k", "b": 2}),
        Holder(key="k", counted=Counted(1)),
        Wordy(key="k", a=1),
        Mixed(key="k", part=Open.model_validate({"x": 1, "y": "text"})),
        Mixed(key="k", part=Pair(x=1)),
    ],
    ids=lambda item: type(item).__name__,
)
def test_what_was_accepted_loads(item: BaseModel, tmp_path: Path) -> None:
    memory: OMem[Any] = OMem(type(item), "key")
    memory.add(item)
    assert anatomy(memory.get("k")) == anatomy(item)
    memory.dump_data(tmp_path / "x.json")
    text = (tmp_path / "x.json").read_text()
    for layout in (text, json.dumps(json.loads(text), indent=2)):
        again, report = load(type(item), tmp_path / "y.json", layout)
        assert anatomy(again.get("k")) == anatomy(item)
        assert report.unknown_dropped == 0
        again.dump_data(tmp_path / "z.json")
        assert (tmp_path / "z.json").read_text() == text


def test_what_a_crossed_alias_would_lose_is_told(tmp_path: Path) -> None:
    rows = [{"key": "k", "a": 7, "b": 8}]  # both fields are read from "b"
    with pytest.raises(LoadError, match="no field for") as refused:
        load(Crossed, tmp_path / "x.json", rows)
    assert refused.value.path == "$.a"
    memory, report = load(Crossed, tmp_path / "x.json", rows, unknown="drop")
    assert (memory.get("k").a, report.unknown_dropped) == (8, 1)


class Square(BaseModel):
    key: str
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


class StrictSquare(Square):
    model_config = ConfigDict(extra="forbid")


class Squares(BaseModel):
    key: str
    squares: list[StrictSquare] = []


@pytest.mark.parametrize("model", [Square, StrictSquare])
def test_computed_fields_of_a_file_are_computed_anew(model: type[Square], tmp_path: Path) -> None:
    item = model(key="k", side=3)
    memory, report = load(model, tmp_path / "x.json", [item.model_dump(mode="json")])
    assert memory.items == [item]
    assert report.unknown_dropped == 0
    nested = Squares(key="k", squares=[StrictSquare(key="a", side=2)])
    memory, _ = load(Squares, tmp_path / "x.json", [nested.model_dump(mode="json")])
    assert memory.items == [nested]


def test_what_a_model_forbids_can_be_dropped(tmp_path: Path) -> None:
    rows = [{"key": "k", "side": 3, "colour": "red"}]
    with pytest.raises(LoadError) as refused:
        load(StrictSquare, tmp_path / "x.json", rows)
    assert refused.value.path == "$.colour"
    memory, report = load(StrictSquare, tmp_path / "x.json", rows, unknown="drop")
    assert memory.items == [StrictSquare(key="k", side=3)]
    assert report.unknown_dropped == 1


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: Annotated[str, Field(alias="called")]


class Owner(BaseModel):
    key: str
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    other: Cat | int | None = None
    ages: dict[int, int] = {}
    deep: int = Field(0, validation_alias=AliasChoices("deep", AliasPath("far", "down")))

    @field_validator("deep")
    @classmethod
    def positive(cls, value: int, info: ValidationInfo) -> int:
        assert value >= 0
        return value


@pytest.mark.parametrize(
    ("fault", "path"),
    [
        ({"pets": [{"kind": "cat"}, {"kind": "cat", "lives": "nine"}]}, "$.pets[1].lives"),
        ({"pets": [{"kind": "dog"}]}, "$.pets[0].called"),
        ({"pets": [{"kind": "cow"}]}, "$.pets[0]"),
        ({"pets": [{"kind": "dog", "called": "x", "tail": 1}]}, "$.pets[0].tail"),
        ({"other": {"lives": "many"}}, "$.other.lives"),
        ({"ages": {"1": 2, "one": 3}}, "$.ages.one"),
        ({"ages": {"1": "x"}}, "$.ages.1"),
        ({"deep": -1}, "$.deep"),
    ],
    ids=str,
)
def test_errors_name_the_place_in_every_layout(
    fault: dict[str, Any], path: str, tmp_path: Path
) -> None:
    rows = [{"key": "a", "deep": 1}, {"key": "b", **fault}]
    ours = "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n"
    indented = json.dumps(rows, indent=2)
    for text, line in ((ours, 3), (indented, 6)):
        with pytest.raises(LoadError) as refused:
            load(Owner, tmp_path / "x.json", text)
        error = refused.value
        assert (error.record, error.line, error.path) == (1, line, path)
        assert error.file == str(tmp_path / "x.json")
        assert error.offset == (text.index('{"key":"b"') if line == 3 else text.index("{", 10))
        assert str(error).count(path) == 1 + ("no field" in str(error))
        memory, report = load(Owner, tmp_path / "x.json", text, on_error="skip")
        assert memory.keys == ["a"]
        (bad,) = report.skipped
        assert (bad.record, bad.line, bad.path) == (1, line, path)


def test_a_key_that_is_none_names_the_record_in_every_layout(tmp_path: Path) -> None:
    class Note(BaseModel):
        key: str | None = None
        text: str = ""

    rows = [{"key": "a", "text": "x"}, {"key": None, "text": "y"}, {"key": "c", "text": "z"}]
    ours = "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n"
    for text, line in ((ours, 3), (json.dumps(rows, indent=2), 6)):
        (tmp_path / "x.json").write_text(text)
        for extractor in ("key", lambda note: note.key, lambda note: (note.key, "part")):
            memory: OMem[Note] = OMem(Note, extractor)
            with pytest.raises(LoadError, match="None") as refused:
                memory.load_data(tmp_path / "x.json")
            assert (refused.value.record, refused.value.line) == (1, line)
            assert text[refused.value.offset :].startswith("{")
            report = memory.load_data(tmp_path / "x.json", on_error="skip")
            assert [(bad.record, bad.line) for bad in report.skipped] == [(1, line)]
            assert memory.size == 2


class Everything(BaseModel):
    key: str
    when: datetime
    day: date = date(2020, 1, 1)
    took: timedelta = timedelta(hours=1, microseconds=5)
    price: Decimal = Decimal("1.50")
    id: UUID = UUID(int=5)
    path: Path = Path("a/ü")
    raw: bytes = "ü".encode()
    colour: Colour = Colour.BLUE
    level: Level = Level.HIGH
    score: float = math.nan
    scores: dict[str, float | None] = {"a": math.inf, "b": -math.inf, "c": None}
    tags: set[str] = {"b", "a"}
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = [Cat(lives=3)]
    ages: dict[int, str] = {-1: "x"}
    address: IPv4Address | None = None
    anything: Any = {"a": [1, 2.5, None]}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def title(self) -> str:
        return self.key.upper()


def test_a_file_as_ontomem_writes_it_loads_from_a_rich_schema(tmp_path: Path) -> None:
    items = [
        Everything(key="a\n", when=datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=5)))),
        Everything(key="é", when=datetime(1, 1, 1), pets=[], address=IPv4Address("1.2.3.4")),
    ]
    # Its files are json.dump of model_dump(mode="json"): NaN as a bare token, computed fields too.
    rows = [item.model_dump(mode="json") for item in items]
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    assert "NaN" in text and "Infinity" in text and "title" in text
    memory, report = load(Everything, tmp_path / "x.json", text)
    assert [anatomy(item) for item in memory] == [anatomy(item) for item in items]
    assert (report.entities, report.unknown_dropped, report.skipped) == (2, 0, [])
    memory.dump_data(tmp_path / "ours.json")
    ours = (tmp_path / "ours.json").read_text("utf-8")
    assert [Everything.model_validate(row).key for row in json.loads(ours)] == ["a\n", "é"]
    assert "NaN," not in ours


class Growing(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def grow(cls, name: str) -> str:
        return name if name.endswith("!!") else name + "!"


def test_what_a_validator_changes_each_time_it_reads_is_told(tmp_path: Path) -> None:
    """A record that is written as it was read is not read again; one that is not, is."""
    file = tmp_path / "growing.json"
    file.write_text('[\n{"name":"a!!"}\n]\n')
    memory = OMem(Growing, "name")
    assert memory.load_data(file).entities == 1
    assert memory.keys == ["a!!"]
    file.write_text('[\n{"name":"a!!"},\n{"name":"b"}\n]\n')
    with pytest.raises(LoadError, match="record 1, line 3") as told:
        memory.load_data(file)
    assert told.value.path == "$.name"
    assert memory.keys == ["a!!"]


def test_defaults_that_were_filled_in_are_counted_however_deep(tmp_path: Path) -> None:
    class Leaf(BaseModel):
        a: int = 1
        b: int = 2

    class Tree(BaseModel):
        key: str
        leaves: list[Leaf] = []
        named: dict[str, tuple[Leaf, int]] = {}

    file = tmp_path / "trees.json"
    file.write_text('[{"key": "x", "leaves": [{"a": 5}, {}], "named": {"n": [{"b": 7}, 1]}}]')
    report = OMem(Tree, "key").load_data(file)
    assert report.defaults_filled == 1 + 2 + 1


def or_nothing(value: Any, read: Any) -> Pair:
    try:
        return read(value)  # type: ignore[no-any-return]
    except ValidationError:
        return Pair(x=-1)


class Ways(BaseModel):
    key: str = "a"
    caught: Annotated[Pair, WrapValidator(or_nothing)] = Pair()
    first: Annotated[Open | Pair | dict[str, int], Field(union_mode="left_to_right")] = Open()
    best: Pair | dict[str, int] | None = None


@pytest.mark.parametrize("field", ["caught", "best"])
def test_an_unknown_field_leads_to_no_other_value(field: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    row = {"key": "a", field: {"x": 1, "z": 2}}
    with pytest.raises(LoadError, match="no field for") as told:
        load(Ways, path, [row])
    assert told.value.path == f"$.{field}.z"
    memory, report = load(Ways, path, [row], unknown="drop")
    assert anatomy(memory.items) == anatomy([Ways.model_validate_json(json.dumps(row))])
    assert getattr(memory.items[0], field) == Pair(x=1)
    assert report.unknown_dropped == 1


@pytest.mark.parametrize(
    "part", [{"caught": {"x": "no"}}, {"first": {"x": 1, "z": 2}}, {"best": {"x": 1}}]
)
def test_what_the_models_own_rules_keep_is_kept(part: dict[str, Any], tmp_path: Path) -> None:
    memory, report = load(Ways, tmp_path / "x.json", [{"key": "a", **part}])
    assert anatomy(memory.items) == anatomy([Ways.model_validate_json(json.dumps(part))])
    assert report.unknown_dropped == 0


PARTS: list[dict[str, Any]] = [
    {},
    {"caught": {"x": 1}},
    {"caught": {"x": "no"}},
    {"caught": {"x": 1, "z": 2}},
    {"first": {"x": 1}},
    {"first": {"x": 1, "z": 2}},
    {"best": {"x": 1}},
    {"best": {"x": 1, "z": 2}},
    {"best": {"x": "1"}},
    {"best": {"z": 2.5}},
    {"best": None},
    {"other": 1},
    {"key": 1},
]


@pytest.mark.parametrize("unknown", ["error", "drop"])
@pytest.mark.parametrize("part", PARTS)
def test_the_layout_of_a_file_changes_nothing(part: Any, unknown: Any, tmp_path: Path) -> None:
    """A compact record is first validated by the model's own rules alone."""
    whole = Ways(first=Pair(x=3), best=Pair(x=4)).model_dump()
    for row in ({"key": "a", **part}, {**whole, **part}):
        outcomes = []
        for text in (json.dumps([row], indent=2), json.dumps([row], separators=(",", ":"))):
            try:
                memory, report = load(Ways, tmp_path / "x.json", text, unknown=unknown)
            except LoadError as error:
                outcomes.append((error.path, re.sub("^.*?byte [0-9]+: ", "", str(error))))
            else:
                counts = (report.defaults_filled, report.unknown_dropped)
                outcomes.append((anatomy(memory.items), counts))
        assert outcomes[0] == outcomes[1]


CALLS: list[str] = []


def noted(value: Any) -> Any:
    CALLS.append("")
    return value


class Terse(BaseModel):
    """Writes no field that equals its default."""

    a: int = 1
    b: int = 2

    @model_serializer(mode="wrap")
    def write(self, handler: Any) -> dict[str, Any]:
        defaults = {"a": 1, "b": 2}
        return {name: v for name, v in handler(self).items() if v != defaults[name]}


class Noted(BaseModel):
    key: Annotated[str, AfterValidator(noted)]
    pet: Pair | Open | Terse = Pair()
    caught: Annotated[Pair, WrapValidator(or_nothing)] = Pair()
    home: Path = Path()
    terse: Terse = Terse()


def test_a_record_that_is_written_as_it_was_read_is_validated_once(tmp_path: Path) -> None:
    items = [Noted(key=str(n), home=Path(f"p{n}"), terse=Terse(b=n)) for n in range(5)]
    memory = OMem(Noted, "key")
    memory.add(items)
    memory.dump_data(tmp_path / "x.json")
    CALLS.clear()
    report = memory.load_data(tmp_path / "x.json")
    assert len(CALLS) == len(items)
    # What the file does not say is counted, although nothing was to be filled in to know it.
    assert report.defaults_filled == len(items) + 1
    assert anatomy(memory.items) == anatomy(items)
