"""Laws of merging over generated models and data, and the engine against a plain reference."""

from __future__ import annotations

import json
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, create_model

from omem import FieldMerger, KeepExistingMerger, KeepIncomingMerger, Merge, OMem
from omem.schema import compile_schema
from omem.strategy import FieldRule

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
INTS = st.integers(-3, 3) | st.integers(-(10**20), 10**20)
WORDS = st.lists(TEXT, max_size=5)


class Inner(BaseModel):
    note: str | None = None
    tags: list[str] = []
    best: Annotated[int, Merge.MAX] = 0
    seen: dict[str, list[int]] = {}


INNER = st.builds(
    lambda note, tags, best, seen, keep: Inner(
        **{k: v for k, v in zip(Inner.model_fields, (note, tags, best, seen)) if k in keep}
    ),
    st.none() | TEXT,
    WORDS,
    INTS,
    st.dictionaries(TEXT, st.lists(st.integers(0, 3), max_size=3), max_size=3),
    st.sets(st.sampled_from(list(Inner.model_fields))),
)

Kind = tuple[Any, FieldRule | None, Any, st.SearchStrategy[Any]]
"""Type, rule, default and values of a field."""

KINDS: list[Kind] = [
    (str, None, "", TEXT),
    (str | None, None, None, st.none() | TEXT),
    (int, None, 7, INTS),
    (bool, None, False, st.booleans()),
    (list[str], None, [], WORDS),
    (list[float], None, [], st.lists(st.sampled_from([0.0, 1.0, 1.5, 1e300]), max_size=5)),
    (list[int] | None, None, None, st.none() | st.lists(INTS, max_size=4)),
    (list[dict[str, int]], None, [], st.lists(st.dictionaries(TEXT, INTS, max_size=2), max_size=3)),
    (list[Inner], None, [], st.lists(INNER, max_size=3)),
    (set[int], None, set(), st.sets(st.integers(0, 9), max_size=4)),
    (tuple[int, int], None, (0, 0), st.tuples(INTS, INTS)),
    (dict[str, Any], None, {}, st.dictionaries(TEXT, INTS | WORDS, max_size=3)),
    (dict[str, Inner], None, {}, st.dictionaries(st.sampled_from("ab"), INNER, max_size=2)),
    (Inner, None, Inner(), INNER),
    (Inner | None, None, None, st.none() | INNER),
    (int, Merge.MAX, 0, INTS),
    (float | None, Merge.MIN, None, st.none() | st.floats(allow_nan=False)),
    (date, Merge.MAX, date(2000, 1, 1), st.dates()),
    (Decimal, Merge.MIN, Decimal(0), st.decimals(allow_nan=False, allow_infinity=False, places=2)),
    (str, Merge.MAX, "", TEXT),
    (int, Merge.SUM, 0, INTS),
    (str, Merge.LONGEST, "", TEXT),
    (str, Merge.KEEP_EXISTING, "", TEXT),
    (list[str], Merge.KEEP_INCOMING, [], WORDS),
    (list[str], Merge.UNION, [], WORDS),
    (list[str], Merge.APPEND, [], WORDS),
    (list[str], Merge.REPLACE, [], WORDS),
    (dict[str, int], Merge.REPLACE, {}, st.dictionaries(TEXT, INTS, max_size=3)),
]
LAWFUL = [kind for kind in KINDS if kind[1] not in (Merge.SUM, Merge.APPEND)]


def form(value: Any) -> str:
    """What elements of lists are compared by."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, sort_keys=True)


def unite(old: list[Any], new: list[Any]) -> list[Any]:
    """The union of lists: an empty one takes the other as it stands."""
    if not old:
        return new
    united = {form(element): element for element in new}
    fresh = united.keys() - {form(element) for element in old}
    return old + [element for text, element in united.items() if text in fresh]


def value(old: Any, new: Any, lists: str) -> Any:
    """Two values by the rules of MERGE_FIELD."""
    if isinstance(new, list) and isinstance(old, list):
        return {"union": unite(old, new), "append": old + new, "replace": new}[lists]
    if isinstance(new, set):
        return old | new
    if isinstance(new, BaseModel) and isinstance(old, BaseModel):
        return model(old, new, lists)
    if isinstance(new, dict) and isinstance(old, dict):
        both = {key: member(old[key], new[key], lists) for key in old if key in new}
        return {**old, **new, **both}
    return new


def member(old: Any, new: Any, lists: str) -> Any:
    """Two values of a key or field: None is no observation, and gives way to one."""
    return old if new is None else new if old is None else value(old, new, lists)


RULES: dict[FieldRule, Any] = {
    Merge.MAX: lambda old, new, default: max(old, new),
    Merge.MIN: lambda old, new, default: min(old, new),
    Merge.SUM: lambda old, new, default: old + new,
    Merge.LONGEST: lambda old, new, default: new if len(new) > len(old) else old,
    Merge.KEEP_EXISTING: lambda old, new, default: new if old == default else old,
    Merge.KEEP_INCOMING: lambda old, new, default: new,
    Merge.REPLACE: lambda old, new, default: new,
    Merge.UNION: lambda old, new, default: unite(old, new),
    Merge.APPEND: lambda old, new, default: old + new,
}


def model(old: BaseModel, new: BaseModel, lists: str = "union") -> Any:
    """Two observations; what was not set is none."""
    merged = dict(old)
    for name in new.model_fields_set:
        known, seen = merged[name], getattr(new, name)
        field = type(new).model_fields[name]
        rule = next((mark for mark in field.metadata if isinstance(mark, FieldRule)), None)
        if rule is None or known is None or seen is None:
            merged[name] = member(known, seen, lists)
        else:
            merged[name] = RULES[rule](known, seen, field.get_default(call_default_factory=True))
    return type(new)(**merged)


def whole(value: Any) -> Any:
    """A value in which all is set, and seen to be.

    In a nested model that was merged, what equals its default counts as unset, so that MAX of -2,
    nothing and -1 would depend on which two come first.
    """
    if isinstance(value, Inner):
        return Inner(**{**dict(value), "best": value.best or 1})
    return {key: whole(part) for key, part in value.items()} if isinstance(value, dict) else value


@st.composite
def observations(
    draw: st.DrawFn,
    kinds: list[Kind] = KINDS,
    *,
    keys: str = "ab",
    most: int = 8,
    full: bool = False,
) -> list[BaseModel]:
    """Observations of one generated model."""
    places = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=5, max_size=12, unique=True))
    chosen = [kinds[place] for place in places]
    fields: dict[str, Any] = {
        f"f{n}": (kind if rule is None else Annotated[kind, rule], default)
        for n, (kind, rule, default, _) in enumerate(chosen)
    }
    cls = create_model("Generated", key=(str, ...), **fields)
    found: list[BaseModel] = []
    for key in draw(st.lists(st.sampled_from(keys), min_size=most if full else 1, max_size=most)):
        values = {f"f{n}": draw(values) for n, (_, _, _, values) in enumerate(chosen)}
        if full:
            values = whole(values)
        unset = set[str]() if full else draw(st.sets(st.sampled_from(list(values)), max_size=4))
        found.append(cls(key=key, **{name: values[name] for name in values if name not in unset}))
    return found


LAZY = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    max_examples=100,
)


def folded(items: list[BaseModel], merge: Any) -> list[Any]:
    """The reference: one observation after the other."""
    known: dict[Any, Any] = {}
    for item in items:
        key = item.key  # type: ignore[attr-defined]
        known[key] = merge(known[key], item) if key in known else item
    return list(known.values())


@LAZY
@given(observations(), st.sampled_from(["union", "append", "replace"]), st.data())
def test_the_engine_equals_the_reference(
    items: list[BaseModel], lists: Any, data: st.DataObject
) -> None:
    memory = OMem(type(items[0]), "key", lists=lists)
    cut = data.draw(st.integers(0, len(items)))
    memory.add(items[:cut])
    if data.draw(st.booleans()):
        with tempfile.TemporaryDirectory() as folder:
            memory.dump(Path(folder) / "memory")
            memory.load(Path(folder) / "memory")
    report = memory.add(items[cut:])
    expected = folded(items, lambda old, new: model(old, new, lists))
    assert memory.items == expected
    assert report.added + report.merged + report.unchanged == len(items) - cut
    if lists == "union":
        assert FieldMerger("key").merge(items) == expected


@LAZY
@given(observations())
def test_keeping_one_side(items: list[BaseModel]) -> None:
    for merger, merge in (
        (KeepIncomingMerger[BaseModel]("key"), lambda old, new: new),
        (KeepExistingMerger[BaseModel]("key"), lambda old, new: old),
    ):
        memory = OMem(type(items[0]), "key", strategy_or_merger=merger)
        for item in items:
            memory.add(item)
        assert memory.items == merger.merge(items) == folded(items, merge)


@LAZY
@given(observations(LAWFUL, keys="a"))
def test_merging_is_idempotent(items: list[BaseModel]) -> None:
    merger = FieldMerger[BaseModel]("key")
    for item in items:
        assert merger.pair_merge(item, item) == item
    memory = OMem(type(items[0]), "key")
    memory.add(items)
    before = memory.items
    report = memory.add(before)
    assert (memory.items, report.unchanged, report.merged) == (before, 1, 0)


@LAZY
@given(observations(keys="a", most=3, full=True))
def test_merging_is_associative(items: list[BaseModel]) -> None:
    merge = FieldMerger[BaseModel]("key").pair_merge
    one, two, three = items
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


class Spot(NamedTuple):
    x: int
    y: int = 0


def unchanged(value: Any) -> Any:
    return value


@pytest.mark.parametrize("lists", ["union", "append", "replace"])
@pytest.mark.parametrize(
    ("kind", "old", "new", "merged"),
    [
        (Spot, Spot(1), Spot(2), Spot(2)),
        (Spot | None, Spot(1), Spot(2), Spot(2)),
        (tuple[int, Path], (1, Path("a")), (1, Path("b")), (1, Path("b"))),
        (tuple[int, int] | tuple[int] | str, (1, 2), (1,), (1,)),
        (Annotated[tuple[int, int], AfterValidator(unchanged)], (1, 2), (1, 3), (1, 3)),
        (set[Path], {Path("a")}, {Path("b")}, {Path("a"), Path("b")}),
        (Annotated[frozenset[int], AfterValidator(unchanged)], {1}, {2, 1}, {1, 2}),
        (set[Decimal], {Decimal("1.0")}, {Decimal("1.00"), Decimal(2)}, {Decimal(1), Decimal(2)}),
        (set[Literal[0, False]], {False}, {0}, {0}),
        (set[float], {0.0, 1.0}, {-0.0}, {0.0, 1.0}),
    ],
)
def test_tuples_are_one_value_and_sets_unite_whatever_they_hold(
    kind: Any, old: Any, new: Any, merged: Any, lists: Any
) -> None:
    cls = create_model("Generated", key=(str, ...), value=(kind, ...))
    memory = OMem(cls, "key", lists=lists)
    memory.add([cls(key="a", value=old), cls(key="a", value=new)])
    schema = compile_schema(cls)
    found = memory.items[0]
    assert found.value == merged  # type: ignore[attr-defined]
    assert schema.decode(schema.encode(found)) == found
    with tempfile.TemporaryDirectory() as folder:
        memory.dump_data(Path(folder) / "x.json")
        record = (Path(folder) / "x.json").read_bytes()[2:-3]
    assert record == schema.encode(found)
