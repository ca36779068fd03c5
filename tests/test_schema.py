"""What is compiled from a model: coverage, defaults, rules, fingerprint."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import pytest
from pydantic import AfterValidator, BaseModel, Field, create_model, field_validator

from omem import Merge, OMem, SchemaError
from omem.schema import compile_schema, fingerprint
from shapes import Box, Cat, Checked, Computed, Dog, Inner, Late, Names, Strict, Tree, Validated


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


@pytest.mark.parametrize("path", [None, Path("a")])
def test_decoded_defaults_are_unset_inside_containers(path: Path | None) -> None:
    class Fast(BaseModel):
        many: list[Part] = []
        named: dict[str, Part] = {}
        either: Part | list[Part] | None = None
        pair: tuple[Part, int] = (Part(), 1)

    class Slow(Fast):
        path: Path | None = None

    part = Part(a=1, b=0)
    fields: dict[str, Any] = {"many": [part], "named": {"x": part}, "either": part}
    for model in (Fast, Slow):
        schema = compile_schema(model)
        item = model(**fields, pair=(part, 2), **({"path": path} if model is Slow else {}))
        back = schema.decode(schema.encode(item))
        assert isinstance(back, Fast) and isinstance(back.either, Part)
        for inner in (back.many[0], back.named["x"], back.either, back.pair[0]):
            assert inner.model_fields_set == {"a"}


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


def test_schemas_and_their_classes_are_let_go() -> None:
    class Gone(BaseModel):
        name: str
        inner: Inner = Inner(x=1)

    schema = compile_schema(Gone)
    assert compile_schema(Gone) is schema
    watch = weakref.ref(Gone)
    del schema, Gone
    gc.collect()
    assert watch() is None


def test_defaults_of_nested_models_have_a_text() -> None:
    class Lax(BaseModel):
        score: float = 0
        tags: frozenset[str] = frozenset("ba")

    class Holder(BaseModel):
        name: str
        lax: Lax = Lax()
        laxes: list[Lax] = [Lax(score=2)]
        again: Lax = Field(default_factory=Lax)

    schema = compile_schema(Holder)
    record = schema.encode(Holder(name="a"))
    lax = '{"score":0.0,"tags":["a","b"]}'
    assert record.decode() == (
        f'{{"name":"a","lax":{lax},"laxes":[{lax.replace("0.0", "2.0")}],"again":{lax}}}'
    )
    assert schema.decode(record).model_fields_set == {"name"}


def test_merge_rules_stand_around_the_type_or_a_member_of_its_union() -> None:
    class Scores(BaseModel):
        name: str
        best: Annotated[int | None, Merge.MAX] = None
        worst: Annotated[int, Merge.MIN] | None = None
        inner: Optional[Scores] = None

    memory = OMem(Scores, "name")
    memory.add([Scores(name="a", best=best, worst=best) for best in (3, None, 1, 5, 2)])
    assert memory.get("a") == Scores(name="a", best=5, worst=1)

    class Deep(BaseModel):
        scores: list[Annotated[int, Merge.MAX]]

    with pytest.raises(SchemaError, match=r"Deep\.scores has a merge rule inside a container"):
        compile_schema(Deep)

    class Twice(BaseModel):
        score: Annotated[Annotated[int, Merge.MAX] | None, Merge.MIN]

    with pytest.raises(SchemaError, match="more than one"):
        compile_schema(Twice)


def test_models_of_one_union_merge_as_pydantic_reads_them() -> None:
    class Owner(BaseModel):
        name: str
        pet: Cat | Late | None = None

    memory = OMem(Owner, "name")
    memory.add([Owner(name="a", pet=Cat(lives=3)), Owner(name="a", pet=Cat(kind="cat"))])
    assert memory.get("a") == Owner(name="a", pet=Cat(lives=3))
    memory.add([Owner(name="b", pet=Late(name="x")), Owner(name="b", pet=Cat(lives=2, kind="cat"))])
    back = memory.get("b")
    assert back is not None and type(back.pet) is Cat
