"""Sets of floats: the fast path takes them where their texts tell the elements apart."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model

from omem import LoadError, OMem
from omem.schema import compile_schema
from same import anatomy

TEXTS = ["-0.0", "0.0", "1.0", "-1.5", "1e+300", "5e-324", '"NaN"', '"-Infinity"', "1", '"1.0"']
KINDS: list[Any] = [
    set[float],
    frozenset[float],
    Annotated[set[float], Field(min_length=2)],
    Annotated[set[float], Field(max_length=2)],
    set[Annotated[float, Field(ge=0)]],
    set[Annotated[float, Field(allow_inf_nan=False)]],
    Annotated[set[float], Field(strict=True)],
]


def holder(kind: Any) -> type[BaseModel]:
    return create_model("Holder", key=(int, ...), value=(kind, ...))


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_loads_as_pydantic_reads_it(kind: Any, tmp_path: Path) -> None:
    model = holder(kind)
    records, expected = [], []
    for size in range(4):
        for texts in combinations(sorted(TEXTS), size):
            record = f'{{"key":{len(records)},"value":[{",".join(texts)}]}}'
            records.append(record)
            try:
                expected.append(model.model_validate_json(record))
            except ValidationError:
                pass
    file = tmp_path / "x.json"
    file.write_text("[\n" + ",\n".join(records) + "\n]\n")
    memory = OMem(model, "key")
    report = memory.load_data(file, on_error="skip")
    assert anatomy(memory.items) == anatomy(expected)
    assert len(report.skipped) == len(records) - len(expected)
    # What was read is added, dumped and read again as the same.
    other = OMem(model, "key")
    other.add(expected)
    for store in (memory, other):
        store.dump_data(file)
        assert anatomy(TypeAdapter(list[model]).validate_json(file.read_bytes())) == anatomy(  # type: ignore[valid-type]
            expected
        )
        assert OMem(model, "key").load_data(file).records == len(expected)
    if not expected:
        with pytest.raises(LoadError):
            memory.load_data(file)


@pytest.mark.parametrize(
    ("old", "new", "record"),
    [
        ({0.0, 1.0}, {-0.0, 2.5}, "[-0.0,1.0,2.5]"),
        ({-0.0}, {0.0}, "[-0.0]"),
        ({1.5}, {1.5, float("nan")}, '["NaN",1.5]'),
    ],
)
def test_zeros_meet_as_one(old: set[float], new: set[float], record: str) -> None:
    model = holder(set[float])
    memory = OMem(model, "key")
    memory.add([model(key=1, value=old), model(key=1, value=new)])
    [found] = memory.items
    schema = compile_schema(model)
    assert schema.encode(found).decode() == f'{{"key":1,"value":{record}}}'
    assert anatomy(schema.decode(schema.encode(found))) == anatomy(found)


def test_what_the_fast_path_takes() -> None:
    assert compile_schema(holder(set[float])).slow_fields == []
    # Equal elements of these may have texts that differ in more than a sign of zero.
    for kind in (set[float | None], set[tuple[float, int]]):
        assert compile_schema(holder(kind)).slow_fields == ["value"]
