"""Encoding against Pydantic: every record reads back as the model that it was written from."""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field

from models import profiles
from omem import LossyError, OMem
from omem._omem import Schema
from omem.schema import compile_schema
from same import anatomy
from shapes import (
    ANY_TEXT,
    INTS,
    JSON,
    TEXT,
    ZONES,
    Box,
    Colour,
    Inner,
    Level,
    Loose,
    Mixed,
    Population,
    Tree,
    cats,
    dogs,
    inners,
    populations,
)

COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck))


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

    on_a_small_stack(work)
    assert results == ["written", "written", "deep", "deep"]


def on_a_small_stack(work: Callable[[], None]) -> None:
    threading.stack_size(512 * 1024)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    threading.stack_size(0)


asked = contextvars.ContextVar("asked", default="outside")


class Asking(BaseModel):
    name: Annotated[str, AfterValidator(lambda _: asked.get())]


class Slow(BaseModel):
    name: str = "a"
    even: Annotated[int, Field(multiple_of=2)] = 0
    inner: Slow | None = None
    content: Annotated[Any, AfterValidator(lambda x: x)] = None


def test_what_only_pydantic_reads_is_stored_and_loaded_on_a_small_stack(tmp_path: Path) -> None:
    depths = [20, 100, 160, 198]
    loaded: list[int] = []

    def work() -> None:
        asked.set("inside")
        for depth in depths:
            model, content = Slow(), {"a": 1}
            for _ in range(depth - 1):
                model, content = Slow(inner=model), {"a": content}  # type: ignore[dict-item]
            for item in (model, Slow.model_construct(content=content)):
                memory = OMem(Slow, "name")
                memory.add([item, item])
                memory.dump_data(tmp_path / "x.json")
                memory.load_data(tmp_path / "x.json")
                assert (
                    compile_schema(Slow).encode(memory.items[0])
                    in (tmp_path / "x.json").read_bytes()
                )
            loaded.append(depth)
        OMem(Asking, "name").add(Asking(name="inside"))
        loaded.append(0)

    on_a_small_stack(work)
    assert loaded == [*depths, 0]
