"""What cannot be merged is set aside: kept, told, saved, restored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, model_validator

from omem import BaseMerger, LoadError, Merge, MergeError, MergeStrategy, OMem, inspect, verify
from omem.quarantine import QuarantinedItem


class Truck(BaseModel):
    plate: str
    tons: Annotated[int, Merge.SUM, Field(le=40)] = 0


class Span(BaseModel):
    name: str
    start: int = 0
    end: int = 10

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if self.start > self.end:
            raise ValueError("the start lies after the end")
        return self


def loaded(**options: Any) -> OMem[Truck]:
    memory = OMem(Truck, "plate", on_conflict="quarantine", **options)
    loads = [("a", 30), ("b", 1), ("a", 20), ("a", 10), ("a", 5)]
    report = memory.add([Truck(plate=plate, tons=tons) for plate, tons in loads])
    assert (report.added, report.merged, report.unchanged, report.quarantined) == (2, 1, 0, 2)
    return memory


def test_conflicts_are_set_aside_and_the_rest_is_merged() -> None:
    memory = loaded()
    assert memory.items == [Truck(plate="a", tons=40), Truck(plate="b", tons=1)]
    aside = memory.quarantine
    assert (list(aside), len(aside), "a" in aside, "b" in aside, {} in aside) == (
        ["a"],
        1,
        True,
        False,
        False,
    )
    assert [(item.tons, reason) for item, reason in aside["a"]] == [
        (20, "$.tons: Input should be less than or equal to 40"),
        (5, "$.tons: Input should be less than or equal to 40"),
    ]
    aside["a"][0].item.tons = 0
    assert aside["a"][0].item == Truck(plate="a", tons=20)
    assert dict(aside.items()) == aside
    with pytest.raises(KeyError):
        aside["b"]


def test_raising_is_the_default_and_tells_both_sides() -> None:
    memory = OMem(Span, "name")
    memory.add(Span(name="x", start=5, end=9))
    with pytest.raises(MergeError, match=r"'x'.*lies after") as caught:
        memory.add([Span(name="y"), Span(name="x", end=4)])
    error = caught.value
    assert (error.key, error.existing) == ("x", Span(name="x", start=5, end=9))
    assert error.incoming == Span(name="x", end=4)
    assert "lies after" in error.reason
    assert error.__cause__ is not None
    assert memory.items == [Span(name="x", start=5, end=9)]
    assert not memory.quarantine

    report = memory.add([Span(name="y"), Span(name="x", end=4)], on_conflict="quarantine")
    assert (report.added, report.quarantined) == (1, 1)
    assert memory.quarantine["x"][0].item == Span(name="x", end=4)
    with pytest.raises(MergeError):
        memory.add(Span(name="x", end=4), on_conflict="raise")
    with pytest.raises(ValueError, match="on_conflict"):
        OMem(Span, "name", on_conflict="keep")  # type: ignore[arg-type]


def test_a_failing_custom_rule_is_a_conflict() -> None:
    def divide(existing: int, incoming: int) -> int:
        return existing // incoming

    class Ratio(BaseModel):
        id: int
        value: Annotated[int, Merge.custom(divide)]

    memory = OMem(Ratio, "id")
    memory.add(Ratio(id=1, value=8))
    with pytest.raises(MergeError, match=r"ZeroDivisionError.*value") as caught:
        memory.add([Ratio(id=1, value=2), Ratio(id=1, value=0)])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert (caught.value.key, caught.value.incoming) == (1, Ratio(id=1, value=0))
    assert memory.items == [Ratio(id=1, value=8)]
    report = memory.add([Ratio(id=1, value=n) for n in (2, 0, 2)], on_conflict="quarantine")
    assert (report.merged, report.quarantined) == (2, 1)
    assert memory.items == [Ratio(id=1, value=2)]


class Fussy(BaseMerger[Span]):
    """Takes no names that end in a number, and mistakes the key of those that end in a dash."""

    def pair_merge(self, existing: Span, incoming: Span) -> Span:
        if incoming.name[-1].isdigit():
            raise RuntimeError("no numbers")
        if incoming.name.endswith("-"):
            return Span(name="other")
        return Span(name=existing.name, start=incoming.start, end=99)


def test_a_failing_merger_of_ones_own() -> None:
    memory = OMem(Span, "name", strategy_or_merger=Fussy(lambda s: s.name))
    names = ["a", "b1", "c-", "d"]
    memory.add([Span(name=name) for name in names])
    before = memory.items
    again = [Span(name=name, start=n) for n, name in enumerate(names)]
    with pytest.raises(RuntimeError, match="no numbers"):
        memory.add(again)
    with pytest.raises(MergeError, match="key") as caught:
        memory.add(again[2:])
    assert (caught.value.key, caught.value.incoming) == ("c-", again[2])
    assert memory.items == before
    report = memory.add(
        [*again, again[1], Span(name="e"), Span(name="e")], on_conflict="quarantine"
    )
    assert (report.added, report.merged, report.quarantined) == (1, 3, 3)
    assert {key: [aside.item for aside in found] for key, found in memory.quarantine.items()} == {
        "b1": [again[1], again[1]],
        "c-": [again[2]],
    }
    assert memory.quarantine["b1"][0].reason == "RuntimeError: no numbers"
    assert [(s.name, s.end) for s in memory] == [
        ("a", 99),
        ("b1", 10),
        ("c-", 10),
        ("d", 99),
        ("e", 99),
    ]


def test_what_a_model_does_not_merge_can_be_set_aside() -> None:
    def no_twos(system: str, user: str, schema: type[BaseModel]) -> dict[str, Any]:
        incoming = json.loads(user.split("incoming:")[1])
        if incoming["start"] == 2:
            raise ValueError("not this one")
        return {**incoming, "end": 50}

    memory = OMem(
        Span,
        "name",
        no_twos,
        strategy_or_merger=MergeStrategy.LLM.BALANCED,
        on_llm_error="quarantine",
    )
    memory.add(Span(name="x"))
    report = memory.add([Span(name="x", start=n) for n in (1, 2, 3)])
    # (known, 1) and (2, 3) are merged first, then the two results.
    assert (report.merged, report.quarantined, report.llm_calls) == (3, 0, 3)
    report = memory.add([Span(name="x", start=n) for n in (4, 5, 2)])
    assert (report.merged, report.quarantined) == (2, 1)
    assert [aside.item for aside in memory.quarantine["x"]] == [Span(name="x", start=2)]
    assert memory.items == [Span(name="x", start=5, end=50)]


def test_a_failed_pair_sets_all_observations_behind_it_aside() -> None:
    class Join(BaseMerger[Span]):
        def pair_merge(self, existing: Span, incoming: Span) -> Span:
            if existing.start == 0:
                raise RuntimeError("nothing goes with a zero")
            return existing

    memory = OMem(Span, "name", strategy_or_merger=Join(lambda s: s.name))
    items = [Span(name="x", start=n) for n in range(4)]
    report = memory.add(items, on_conflict="quarantine")
    assert (report.added, report.quarantined) == (1, 3)
    assert [aside.item.start for aside in memory.quarantine["x"]] == [1, 2, 3]
    assert memory.items == items[:1]


def test_it_is_saved_and_restored_with_the_memory(tmp_path: Path) -> None:
    memory, folder = loaded(), tmp_path / "memory"
    memory.dump(folder)
    assert verify(folder) == []
    assert "quarantine.json" in inspect(folder).checksums
    rows = json.loads((folder / "quarantine.json").read_bytes())
    assert [row["item"] for row in rows] == [
        {"plate": "a", "tons": 20},
        {"plate": "a", "tons": 5},
    ]
    fresh = OMem(Truck, "plate")
    fresh.add([Truck(plate="z", tons=40), Truck(plate="z", tons=1)], on_conflict="quarantine")
    fresh.load(folder)
    assert fresh.quarantine == memory.quarantine
    assert (list(fresh.quarantine), fresh.items) == (["a"], memory.items)

    fresh.quarantine.clear()
    fresh.dump(folder)
    assert not (folder / "quarantine.json").exists()
    assert verify(folder) == []
    memory.load(folder)
    assert not memory.quarantine
    assert memory.items == fresh.items


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    memory, folder = loaded(), tmp_path / "memory"
    memory.dump(folder)
    place = folder / "quarantine.json"
    good = place.read_bytes()
    fresh = OMem(Truck, "plate")
    for content in (None, good.replace(b"20", b"21"), b"[1]", b"{}", b"["):
        if content is None:
            place.unlink()
        else:
            place.write_bytes(content)
        with pytest.raises(LoadError, match=r"quarantine\.json"):
            fresh.load(folder)
        assert verify(folder) != []
        assert fresh.empty()
    for content in (b"[1]", b"{}", b"[", b'[{"item":{"tons":3},"reason":"x"}]'):
        place.write_bytes(content)
        with pytest.raises(LoadError, match=r"quarantine\.json"):
            fresh.load(folder, verify=False)
        assert fresh.empty()
    place.write_text(json.dumps(json.loads(good), indent=2))
    fresh.load(folder, verify=False)
    assert fresh.quarantine == memory.quarantine
    place.unlink()
    fresh.load(folder, verify=False)
    assert not fresh.quarantine


def test_clearing() -> None:
    memory = loaded()
    memory.add([Truck(plate="b", tons=40)])
    assert memory.quarantine.pop("b") == [
        QuarantinedItem(
            Truck(plate="b", tons=40), "$.tons: Input should be less than or equal to 40"
        )
    ]
    assert "b" not in memory.quarantine
    del memory.quarantine["a"]
    assert not memory.quarantine
    with pytest.raises(KeyError):
        del memory.quarantine["a"]
    memory.add(Truck(plate="b", tons=40))
    memory.clear()
    assert not memory.quarantine


def test_keys_are_found_as_in_a_dict() -> None:
    class Day(BaseModel):
        user: str
        day: int
        steps: Annotated[int, Merge.SUM, Field(lt=100)]

    memory = OMem(Day, ("user", "day"), on_conflict="quarantine")
    memory.add([Day(user="a", day=1, steps=60) for _ in range(3)])
    assert list(memory.quarantine) == [("a", 1)]
    assert len(memory.quarantine[("a", 1.0)]) == 2
