"""`on_error="skip"` for the ledger and the quarantine: what is good stays, what is bad is told."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from omem import LoadError, LoadReport, Merge, MergeError, OMem


class Person(BaseModel):
    name: str
    skills: list[str] = []
    age: Annotated[int, Merge.SUM, Field(le=100)] = 0


def tracked() -> OMem[Person]:
    return OMem(Person, "name", track_sources=True, on_conflict="quarantine")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    memory = tracked()
    for letter in "abc":
        people = [Person(name=f"P{n}", skills=[f"{letter}{n}"]) for n in range(4)]
        memory.add(people, source_id=letter)
    memory.add(Person(name="P1", skills=["own"]))
    memory.tag_source("b", add=["t"])
    memory.add(Person(name="Old", age=80), source_id="c")
    memory.add([Person(name="Old", age=n) for n in (30, 31)], source_id="a")
    assert len(memory.quarantine["Old"]) == 2
    memory.dump(tmp_path / "m")
    return tmp_path / "m"


def lines_of(file: Path) -> list[str]:
    return [line.removesuffix(",") for line in file.read_text().splitlines()[1:-1]]


def write(file: Path, lines: list[str]) -> None:
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def load(folder: Path) -> tuple[OMem[Person], LoadReport]:
    memory = tracked()
    with pytest.raises(LoadError, match="not the file that"):
        memory.load(folder, on_error="skip")
    assert memory.empty() and not memory.sources()
    return memory, memory.load(folder, verify=False, on_error="skip")


def test_each_line_of_the_ledger_may_be_broken(folder: Path) -> None:
    file = folder / "sources.json"
    lines = lines_of(file)
    whole = tracked()
    whole.load(folder)
    for number, line in enumerate(lines):
        write(file, [*lines[:number], line[: len(line) // 2], *lines[number + 1 :]])
        with pytest.raises(LoadError, match=f"sources.json: record {number}, line {number + 2},"):
            tracked().load(folder, verify=False)
        memory, report = load(folder)
        (bad,) = report.skipped
        assert (bad.file, bad.record, bad.line) == ("sources.json", number, number + 2)
        assert any("sources.json" in warning for warning in report.warnings)
        assert memory.items == whole.items
        lost: dict[str, Any] = json.loads(line)
        for source, about in whole.sources().items():
            introduces = lost["kind"] == "source"
            mine = lost["source"] == source
            assert memory.sources()[source]["raw_items"] == about["raw_items"] - (
                mine and not introduces
            )
            assert memory.source_tags(source) == (
                [] if mine and introduces else whole.source_tags(source)
            )
        # All that is left works, and is saved and loaded as it is.
        memory.dump(folder.with_name("again"))
        again = tracked()
        assert again.load(folder.with_name("again")).skipped == []
        assert again.sources() == memory.sources() and again.items == memory.items
        for source in list(memory.sources()):
            memory.upsert_source(source, [Person(name="new", skills=[source])])
        for source in list(memory.sources()):
            memory.remove_source(source)
        assert not memory.sources()


def test_what_a_lost_line_did_not_say_is_still_exact(folder: Path) -> None:
    file = folder / "sources.json"
    lines = lines_of(file)
    number = next(n for n, line in enumerate(lines) if '"a2"' in line)
    write(file, [*lines[:number], "{}", *lines[number + 1 :]])
    memory, report = load(folder)
    assert "this has no field 'n'" in report.skipped[0].reason
    memory.remove_source("b")
    skills = {person.name: person.skills for person in memory.iter_items()}
    assert skills.pop("P1") == ["a1", "c1", "own"]
    assert skills == {"P0": ["a0", "c0"], "P2": ["c2"], "P3": ["a3", "c3"], "Old": []}


HOSTILE: list[dict[str, Any]] = [
    {"kind": "no"},
    {"kind": "at"},
    {"kind": "put"},
    {"kind": "source"},
    {"kind": "source", "key": None, "record": None, "info": {"content_hash": None, "tags": []}},
    {"kind": 5},
    {"n": "x"},
    {"n": -1},
    {"n": 0},
    {"n": 1.5},
    {"n": 2**62},
    {"n": 10**30},
    {"batch": None},
    {"source": None},
    {"source": 5},
    {"source": None, "kind": "record"},
    {"key": None},
    {"key": 5},
    {"unset": [1]},
    {"unset": {"a": 1}},
    {"unset": "x"},
    {"info": 5, "kind": "source"},
    {"info": {}, "kind": "source"},
    {"info": {"content_hash": 5, "tags": 7}, "kind": "source"},
    {"record": None},
    {"record": 5},
    {"record": {}},
    {"record": {"name": 5}},
    {"record": {"name": "P0", "no": 1}},
]


@pytest.mark.parametrize("change", HOSTILE, ids=json.dumps)
def test_a_hostile_line_is_told_or_harmless(folder: Path, change: dict[str, Any]) -> None:
    file = folder / "sources.json"
    lines = lines_of(file)
    number = next(n for n, line in enumerate(lines) if '"b0"' in line)
    lines[number] = json.dumps({**json.loads(lines[number]), **change}, separators=(",", ":"))
    write(file, lines)
    memory = tracked()
    report = memory.load(folder, verify=False, on_error="skip")
    assert [(bad.file, bad.record, bad.line) for bad in report.skipped] in (
        [],
        [("sources.json", number, number + 2)],
    )
    if report.skipped:
        fresh = tracked()
        with pytest.raises(LoadError, match=f"sources.json: record {number}, line {number + 2},"):
            fresh.load(folder, verify=False)
        assert fresh.empty() and not fresh.sources()
    assert memory.size == 5 and set(memory.sources()) == {"a", "b", "c"}
    for source in list(memory.sources()):
        assert memory.ledger[source].source_id == source
        memory.remove_source(source)
    memory.dump(folder)
    tracked().load(folder)


def test_a_mangled_ledger_never_leaves_a_memory_that_does_not_work(folder: Path) -> None:
    file = folder / "sources.json"
    whole = file.read_bytes()
    dice = random.Random(8)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(2, len(content) - 3)
            if dice.random() < 0.5:
                content[at] = dice.randrange(256)
            else:
                del content[at : at + dice.randrange(60)]
        file.write_bytes(content)
        memory = tracked()
        report = memory.load(folder, verify=False, on_error="skip")
        assert memory.size == 5
        assert all(bad.file == "sources.json" for bad in report.skipped)
        for source in list(memory.sources()):
            assert memory.sources()[source]["raw_items"] == len(memory.ledger[source].raw_items)
            memory.remove_source(source)


def test_a_ledger_of_sources_loses_what_is_bad_and_no_more(folder: Path) -> None:
    rows: list[Any] = [
        {"source_id": "x", "raw_items": [{"name": "P0"}, {"name": 5}, {}, {"name": "P1", "no": 1}]},
        {"source_id": "", "raw_items": []},
        7,
        {"source_id": "y", "tags": ["t"], "raw_items": [{"name": "P2", "skills": ["s"]}]},
    ]
    file = folder / "sources.json"
    file.write_text(json.dumps(rows[:1], indent=2))
    with pytest.raises(LoadError, match=r"record 0, line 2, byte 4: .*\(\$.raw_items\[1\].name\)"):
        tracked().load(folder, verify=False)
    file.write_text(json.dumps(rows, indent=2))
    memory = tracked()
    report = memory.load(folder, verify=False, on_error="skip")
    assert [(bad.record, bad.line, bad.path) for bad in report.skipped] == [
        (0, 2, "$.raw_items[1].name"),
        (0, 2, "$.raw_items[3].no"),
        (1, 18, "$"),
        (2, 22, "$"),
    ]
    assert memory.sources() == {
        "x": {"raw_items": 2, "content_hash": None},
        "y": {"raw_items": 1, "content_hash": None},
    }
    assert memory.remove_source("y")["remerged_keys"] == []
    assert memory.remove_source("x")["removed_keys"] == ["P0"]


def test_each_entry_of_the_quarantine_may_be_broken(folder: Path) -> None:
    file = folder / "quarantine.json"
    lines = lines_of(file)
    for number, line in enumerate(lines):
        for broken in (line[:9], '{"item":{"name":5},"reason":"r"}', '{"item":[]}'):
            write(file, [*lines[:number], broken, *lines[number + 1 :]])
            with pytest.raises(LoadError, match=f"quarantine.json: record {number}, line"):
                tracked().load(folder, verify=False)
            memory, report = load(folder)
            assert [(bad.file, bad.record) for bad in report.skipped] == [
                ("quarantine.json", number)
            ]
            assert [aside.item.age for aside in memory.quarantine["Old"]] == [31 - number]


@pytest.mark.parametrize("mode", ["load", "replace", "merge"])
def test_records_of_one_key_that_cannot_be_merged_are_set_aside(tmp_path: Path, mode: str) -> None:
    content = '[{"name":"a","age":80},{"name":"b"},{"name":"a","age":30},{"name":"a","age":5}]'
    (tmp_path / "memory.json").write_text(content)
    memory = OMem(Person, "name")
    memory.add(Person(name="old"))

    def restore(**options: Any) -> LoadReport:
        if mode == "load":
            return memory.load(tmp_path, **options)
        return memory.load_data(tmp_path / "memory.json", mode=mode, **options)  # type: ignore[arg-type]

    with pytest.raises(MergeError, match=r"'a'.* cannot be merged"):
        restore()
    assert memory.keys == ["old"] and not memory.quarantine
    report = restore(on_error="skip")
    assert memory.keys == ["old", "a", "b"][mode != "merge" :]
    entity = memory.get("a")
    assert entity is not None and entity.age == 85
    assert [aside.item.age for aside in memory.quarantine["a"]] == [30]
    assert (report.records, report.merged, report.skipped) == (4, 1, [])
    assert any("1 records cannot be merged" in warning for warning in report.warnings)
