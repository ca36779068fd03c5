"""One document, three readers: our layout, any layout, and Pydantic give the same."""

from __future__ import annotations

import json
import random
import re
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from omem import LoadError, LossyError, OMem
from omem.errors import OMemError
from omem.schema import compile_schema
from same import anatomy
from shapes import Population, cats, dogs, inners, populations

#: Texts of values, many of them close to what some type is written as.
VALUES = [
    *("0", "-0", "1", "1.0", "1.50", "1e5", "1E400", "-1e-400", "01", "1.", ".5", "+1", "0e0"),
    *("NaN", "Infinity", "-Infinity", '"NaN"', '"Infinity"', "null", "true", "false", '""', "[]"),
    *('"1"', '"1.0"', '"true"', "{}", "[1]", '{"a":1}', '{"a":1,"a":2}', "[1,1]", "[2,1]"),
    *('"\\u0041"', '"\\/"', '"\\ud83d\\ude00"', '"\\ud800"', '"\x7f"', '"\\u001F"', '"\\u0008"'),
    *('"2020-01-01"', '"2020-01-01T00:00:00"', '"2020-01-01 00:00"', '"2020-01-01T00:00:00.1Z"'),
    *('"2020-01-01T00:00:00+00:00"', '"24:00"', '"12:30:00Z"', '"P1D"', '"PT3600S"', "86400"),
    *('"00000000-0000-0000-0000-00000000000A"', '"0000000000000000000000000000000a"'),
    *("9007199254740993", "18446744073709551616", "1e22", "1" * 310, "5e-324", "1e-7", "1e16"),
    *("10000000000000000.0", "0.0000001", "-0.0", "2.0", '"red"', '{"x":1}', '{"kind":"dog"}'),
]
TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[\[\]{},:]')
PIECES = ['"', "\\", "\x00", ",", "}", "{", "0", "e", "-", "\ufeff", "é"]


def mutated(text: str, choice: random.Random) -> str:
    """The text with a value, a name, white space, order, an escape or a byte changed."""
    tokens = [match.span() for match in TOKENS.finditer(text)]
    if not tokens:
        return text
    start, end = choice.choice(tokens)
    match choice.randrange(8):
        case 0 | 1 | 2:
            return text[:start] + choice.choice(VALUES) + text[end:]
        case 3:
            return text[:start] + choice.choice([" ", "\n", "\t", "\r\n"]) + text[start:]
        case 4:
            return text[:start] + text[end:]
        case 5:
            try:
                members = list(json.loads(text).items())
            except (ValueError, AttributeError):
                return text
            choice.shuffle(members)
            return json.dumps(dict(members), separators=(",", ":"))
        case 6:
            at = choice.randrange(len(text))
            return text[:at] + choice.choice(PIECES) + text[at + choice.randrange(2) :]
        case _:
            name = re.search(r'"(\w+)":', text)
            twice = f"{{{name[0] if name else ''}{choice.choice(VALUES)},"
            return text.replace("{", twice, 1)


def texts(items: list[BaseModel], choice: random.Random) -> list[str]:
    found: list[str] = []
    for item in items:
        for write in (
            lambda: compile_schema(type(item)).encode(item).decode(),
            lambda: item.model_dump_json(by_alias=choice.random() < 0.5),
        ):
            try:
                found.append(write())
            except ValueError:
                continue
    return found


def expected(model: type[BaseModel], text: bytes) -> BaseModel | None:
    """What Pydantic reads, if that can be stored; an error of its own for what it forbids."""
    try:
        item = model.model_validate_json(text, by_alias=True, by_name=True)
        compile_schema(model).encode(item)
    except LossyError:
        return None
    except ValidationError as error:
        if all(fault["type"] == "extra_forbidden" for fault in error.errors()):
            raise
        return None
    return item


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(populations(), st.randoms(use_true_random=False))
def test_every_reader_gives_pydantics_verdict_and_value(
    population: Population, choice: random.Random
) -> None:
    model, items = population
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        for text in texts(items, choice):
            for document in (text, *(mutated(text, choice) for _ in range(4))):
                raw = document.encode(errors="surrogatepass")
                try:
                    item = expected(model, raw)
                except ValidationError:
                    continue  # unknown="drop" is kinder than a model that forbids
                for layout in (b"[\n%b\n]\n", b" [ %b ]"):
                    path.write_bytes(layout % raw)
                    memory: OMem[Any] = OMem(model, lambda item: 1)
                    try:
                        memory.load_data(path, unknown="drop")
                    except LoadError:
                        assert item is None
                    else:
                        # A brace and a comma can make two records of one.
                        assert item is not None or document.count("{") != text.count("{")
                        assert item is None or anatomy(memory.items[0]) == anatomy(item)


class Rich(BaseModel):
    key: str
    count: int = 0
    ratio: float = 0.5
    ratios: list[float] = []
    flag: bool = False
    note: str | None = None
    tags: set[int] = set()
    inner: Any = None
    pets: list[Any] = []
    pair: tuple[int, str] = (1, "a")


class Slow(Rich):
    even: Annotated[int, Field(multiple_of=2)] = 2


@pytest.mark.parametrize("model", [Rich, Slow])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_with_random_damage_is_refused_or_read_as_it_stands(
    model: type[Rich], indent: int | None, tmp_path: Path
) -> None:
    items = [
        model(key=f'k{n}é"', count=n * 10**n, ratios=[1.0, float("inf")], tags={3, 1}, note="x\n")
        for n in range(4)
    ]
    memory: OMem[Any] = OMem(model, "key")
    memory.add(items)
    path = tmp_path / "x.json"
    memory.dump_data(path)
    whole = path.read_bytes()
    if indent is not None:
        whole = json.dumps(json.loads(whole), indent=indent, ensure_ascii=False).encode()
    choice = random.Random(str(model) + str(indent))
    reader = TypeAdapter(list[model])  # type: ignore[valid-type]
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(choice.randint(1, 2)):
            at = choice.randrange(len(damaged))
            match choice.randrange(4):
                case 0:
                    damaged[at] ^= 1 << choice.randrange(8)
                case 1:
                    del damaged[at : at + choice.choice([1, 2, 5, 40])]
                case 2:
                    damaged[at:at] = choice.choice([*PIECES, *VALUES]).encode()
                case _:
                    other = choice.randrange(len(damaged))
                    damaged[at : at + 8] = damaged[other : other + 8]
        path.write_bytes(damaged)
        fresh: OMem[Any] = OMem(model, "key")
        try:
            fresh.load_data(path)
        except LoadError:
            outcomes.add("refused")
            assert fresh.empty()
        else:
            outcomes.add("read")
            rows = reader.validate_json(bytes(damaged))
            if len({row.key for row in rows}) == len(rows):
                assert [anatomy(item) for item in fresh] == [anatomy(row) for row in rows]
        try:
            report = fresh.load_data(path, on_error="skip", unknown="drop")
        except OMemError:
            continue
        read = report.entities + report.merged
        # What is wrong between two records is listed as well.
        assert read <= report.records <= read + len(report.skipped)
    assert outcomes == {"refused", "read"}


@settings(max_examples=60, deadline=None)
@given(st.lists(cats | dogs | inners, max_size=3), st.text(max_size=8))
def test_escapes_are_another_writing_of_the_same(pets: list[BaseModel], note: str) -> None:
    item = Rich.model_construct(key="k", note=note)
    try:
        record = compile_schema(Rich).encode(Rich(key="k", note=note))
    except LossyError:
        assert any("\ud800" <= char <= "\udfff" for char in note)
        return
    escaped = re.sub(
        r'"note":"((?:[^"\\]|\\.)*)"',
        lambda _: '"n\\u006fte":"' + "".join(map(escape, note)) + '"',
        record.decode(),
        count=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        path.write_text(f"[\n{escaped}\n]\n", "utf-8")
        memory = OMem(Rich, "key")
        memory.load_data(path)
        assert memory.items[0].note == item.note
        memory.dump_data(path)
        assert path.read_bytes() == b"[\n" + record + b"\n]\n"


def escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))


class Sets(BaseModel):
    key: str
    prices: Annotated[frozenset[Decimal], Field(min_length=2)] = frozenset(map(Decimal, "12"))
    parts: set[Any] = set()


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ('"prices":["1.0","1.01"]', None),
        ('"prices":["1.0","1.00"]', "at least 2 items"),
        ('"parts":["a",1]', None),
        ('"parts":[[1]]', "hashable"),
        ('"parts":[{}]', "hashable"),
    ],
)
def test_the_elements_of_a_set_are_judged_as_pydantic_does(
    part: str, reason: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    row = f'{{"key":"a",{part}}}'
    memory = OMem(Sets, "key")
    for text in (f"[\n{row}\n]\n", f"[ {row} ]"):
        path.write_text(text)
        if reason is None:
            memory.load_data(path)
            assert anatomy(memory.items) == anatomy([Sets.model_validate_json(row)])
        else:
            with pytest.raises(LoadError, match=reason):
                memory.load_data(path)
