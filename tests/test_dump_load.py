"""Saving and restoring: the whole folder, its parts, and what is refused."""

from __future__ import annotations

import datetime
import json
import math
import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from models import Profile, profiles
from omem import LoadError, LoadReport, OMem


class Airport(BaseModel):
    icao: str
    name: str | None = None
    lat: float = 0.0
    aliases: list[str] = []


def memory_of(*airports: Airport, **options: Any) -> OMem[Airport]:
    memory = OMem(Airport, "icao", **options)
    memory.add(airports)
    return memory


def test_round_trip(tmp_path: Path) -> None:
    memory = OMem(Profile, "name")
    memory.add(profiles(3_000))
    memory.dump(tmp_path / "a" / "b")
    fresh = OMem(Profile, key_extractor=lambda p: p.name)
    report = fresh.load(str(tmp_path / "a" / "b"))
    assert fresh.items == memory.items
    assert fresh.keys == memory.keys
    assert (report.records, report.entities, report.skipped) == (3_000, 3_000, [])


def test_the_file_is_plain_json_one_record_a_line(tmp_path: Path) -> None:
    memory = memory_of(Airport(icao="A", name='q"\\\n'), Airport(icao="Ü", lat=1e22))
    memory.dump_data(tmp_path / "memory.json")
    content = (tmp_path / "memory.json").read_text(encoding="utf-8")
    assert content == (
        '[\n{"icao":"A","name":"q\\"\\\\\\n","lat":0.0,"aliases":[]},\n'
        '{"icao":"Ü","name":null,"lat":1e+22,"aliases":[]}\n]\n'
    ).replace("1e+22", memory.items[1].model_dump_json().split('"lat":')[1].split(",")[0])
    assert json.loads(content) == [a.model_dump(mode="json") for a in memory.items]
    OMem(Airport, "icao").dump_data(tmp_path / "empty.json")
    assert (tmp_path / "empty.json").read_bytes() == b"[]\n"
    fresh = memory_of(Airport(icao="X"))
    fresh.load_data(tmp_path / "empty.json")
    assert fresh.items == []


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_json_array_loads(tmp_path: Path, indent: int | None, ascii_only: bool) -> None:
    memory = OMem(Profile, "name")
    memory.add(profiles(300))
    rows = [p.model_dump() for p in memory.items]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    fresh = OMem(Profile, "name")
    fresh.load_data(path)
    assert fresh.items == memory.items
    for row in rows:
        row.pop("bio")
    shuffled = [dict(reversed(row.items())) for row in rows]
    path.write_text(json.dumps(shuffled), encoding="utf-8")
    report = fresh.load_data(path)
    assert report.defaults_filled == 300
    assert fresh.items == [p.model_copy(update={"bio": ""}) for p in memory.items]


def test_load_replaces_and_merge_merges(tmp_path: Path) -> None:
    memory_of(Airport(icao="A", name="new"), Airport(icao="B")).dump_data(tmp_path / "x.json")
    memory = memory_of(Airport(icao="A", name="old", aliases=["x"]), Airport(icao="C"))
    memory.load_data(tmp_path / "x.json", mode="merge")
    assert memory.items == [
        Airport(icao="A", name="new", aliases=["x"]),
        Airport(icao="C"),
        Airport(icao="B"),
    ]
    memory.load_data(tmp_path / "x.json")
    assert memory.items == [Airport(icao="A", name="new"), Airport(icao="B")]


BROKEN = {
    "truncated": (
        '[\n{"icao":"A","name":null,"lat":0.0,"aliases":[]},\n{"icao":"B","na',
        "record 1",
    ),
    "not an array": ('{"icao":"A"}', "array"),
    "not objects": ("[1]", "record 0"),
    "trailing": ('[{"icao":"A"}] x', "after"),
    "missing field": ('[{"icao":"A"},{"name":"x"}]', r"record 1.*\$\.icao"),
    "wrong type": ('[{"icao":"A","lat":"north"}]', r"\$\.lat"),
    "unknown field": ('[{"icao":"A","iata":"FRA"}]', r"\$\.iata"),
    "empty": ("", "empty"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_told_and_changes_nothing(tmp_path: Path, case: str) -> None:
    content, message = BROKEN[case]
    path = tmp_path / "memory.json"
    path.write_text(content)
    memory = memory_of(Airport(icao="X", name="kept"))
    with pytest.raises(LoadError, match=message) as caught:
        memory.load_data(path)
    assert str(path) in str(caught.value)
    assert memory.items == [Airport(icao="X", name="kept")]


def test_skip_lists_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(
        '[\n{"icao":"A"},\n{"name":"no key"},\n{"icao":"C","lat":"x"},\n{"icao":"D"}\n]'
    )
    memory = OMem(Airport, "icao")
    report = memory.load_data(path, on_error="skip")
    assert memory.keys == ["A", "D"]
    assert [(bad.record, bad.line, bad.offset) for bad in report.skipped] == [
        (1, 3, 16),
        (2, 4, 35),
    ]
    assert report.skipped[1].path == "$.lat"


def test_unknown_fields_are_dropped_on_request(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text('[{"icao":"A","iata":"FRA"},{"icao":"B"}]')
    memory = OMem(Airport, "icao")
    report = memory.load_data(path, unknown="drop")
    assert report.unknown_dropped == 1
    assert memory.keys == ["A", "B"]


def test_migrate_converts_old_records(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text('[{"code":"A","names":"x"},{"code":"B"}]')
    memory = OMem(Airport, "icao")
    memory.load_data(path, migrate=lambda old: {"icao": old["code"], "name": old.get("names")})
    assert memory.items == [Airport(icao="A", name="x"), Airport(icao="B", name=None)]


@pytest.mark.parametrize(
    ("migrate", "says"),
    [
        (lambda old: old["gone"], "migrate raised KeyError: 'gone'"),
        (lambda old: 1 // 0, "ZeroDivisionError"),
        (lambda old: None, "NoneType"),
        (lambda old: [old], "list"),
        (lambda old: {"icao": object()}, "not JSON"),
        (lambda old: {"icao": "\ud800"}, "not JSON"),
        (lambda old: {"icao": "A", "lat": "north"}, r"\$\.lat"),
        (lambda old: {"icao": "A", "iata": "x"}, r"\$\.iata"),
        (lambda old: {}, r"\$\.icao"),
    ],
)
def test_a_migration_that_fails_is_told_with_its_record(
    tmp_path: Path, migrate: Any, says: str
) -> None:
    path = tmp_path / "memory.json"
    path.write_text('[{"icao":"A"},\n{"icao":"B"}]')
    memory = memory_of(Airport(icao="X"))

    def second(old: dict[str, Any]) -> dict[str, Any]:
        return old if old["icao"] == "A" else migrate(old)

    with pytest.raises(LoadError, match=f"record 1, line 2.*{says}") as caught:
        memory.load_data(path, migrate=second)
    assert (caught.value.file, caught.value.record) == (str(path), 1)
    assert memory.keys == ["X"]
    report = memory.load_data(path, migrate=second, on_error="skip")
    assert memory.keys == ["A"]
    assert [bad.record for bad in report.skipped] == [1]


def test_a_migration_may_return_what_pydantic_writes_as_json(tmp_path: Path) -> None:
    class Event(BaseModel):
        name: str
        day: datetime.date
        cost: Decimal
        score: float

    path = tmp_path / "memory.json"
    path.write_text('[{"name":"a"}]')
    memory = OMem(Event, "name")
    day, cost = datetime.date(2024, 2, 29), Decimal("1.50")
    memory.load_data(path, migrate=lambda old: old | {"day": day, "cost": cost, "score": math.inf})
    assert memory.items == [Event(name="a", day=day, cost=cost, score=math.inf)]


def test_a_migration_that_changes_the_memory_is_a_runtime_error(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text('[{"icao":"A"}]')
    memory = memory_of(Airport(icao="X"))

    def migrate(old: dict[str, Any]) -> dict[str, Any]:
        memory.clear()
        return old

    with pytest.raises(RuntimeError, match="callback"):
        memory.load_data(path, migrate=migrate, on_error="skip")
    with pytest.raises(TypeError, match="migrate"):
        memory.load_data(path, migrate="x")  # type: ignore[arg-type]
    assert memory.keys == ["X"]


def test_a_validator_that_breaks_is_told_with_its_record(tmp_path: Path) -> None:
    class Fragile(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def look(cls, value: str) -> str:
            return {"a": "a"}[value]

    path = tmp_path / "memory.json"
    path.write_text('[{"name":"a"},{"name":"b"}]')
    memory = OMem(Fragile, "name")
    with pytest.raises(LoadError, match=r"record 1.*KeyError: 'b'"):
        memory.load_data(path)
    report = memory.load_data(path, on_error="skip")
    assert (memory.keys, [bad.record for bad in report.skipped]) == (["a"], [1])


def test_reports_count_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(
        '[{"icao":"A"},{"icao":"A","lat":1.0},{"icao":"B","iata":"X","name":null,"aliases":[]},'
        '{"icao":7},{"icao":"C","name":"c","lat":0.0,"aliases":["x"]}]'
    )
    memory = memory_of(Airport(icao="C", aliases=["y"]), Airport(icao="D"))
    report = memory.load_data(path, mode="merge", on_error="skip", unknown="drop")
    assert report.path == path
    assert (report.records, report.entities, report.merged) == (5, 4, 2)
    assert (report.defaults_filled, report.unknown_dropped) == (3 + 2 + 1, 1)
    assert [(bad.record, bad.path) for bad in report.skipped] == [(3, "$.icao")]
    report = memory.load_data(path, on_error="skip", unknown="drop")
    assert (report.records, report.entities, report.merged) == (5, 3, 1)
    memory.dump(tmp_path / "m")
    report = memory.load(tmp_path / "m")
    assert report == LoadReport(path=tmp_path / "m", records=3, entities=3)


def test_missing_files(tmp_path: Path) -> None:
    memory = memory_of(Airport(icao="A"))
    for attempt in (memory.load, memory.load_data, memory.load_metadata):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            attempt(tmp_path / "nowhere")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(FileNotFoundError, match=r"memory\.json"):
        memory.load(tmp_path / "hollow")
    memory.load_index(tmp_path / "nowhere")
    assert memory.keys == ["A"]


def test_changed_data_are_not_believed(tmp_path: Path) -> None:
    memory_of(Airport(icao="A", name="one")).dump(tmp_path)
    data = tmp_path / "memory.json"
    data.write_bytes(data.read_bytes().replace(b"one", b"two"))
    memory = OMem(Airport, "icao")
    with pytest.raises(LoadError, match=r"verify=False"):
        memory.load(tmp_path)
    assert memory.empty()
    memory.load(tmp_path, verify=False)
    assert memory.items == [Airport(icao="A", name="two")]


def test_another_schema_is_refused(tmp_path: Path) -> None:
    class Airfield(BaseModel):
        icao: str
        name: str | None = None
        lat: float = 0.0
        aliases: list[str] = []

    memory_of(Airport(icao="A")).dump(tmp_path)
    with pytest.raises(LoadError, match="Airport"):
        OMem(Airfield, "icao").load(tmp_path)


def test_metadata(tmp_path: Path) -> None:
    memory = memory_of(Airport(icao="A"), fields_for_index=["name"])
    memory.dump(tmp_path)
    found = memory.load_metadata(tmp_path / "metadata.json")
    assert (found["schema_name"], found["size"]) == ("Airport", 1)
    assert found["fields_for_index"] == ["name"]
    assert found["key_fields"] == ["icao"]
    assert found["strategy"] == "merge_field"
    assert found["files"]["memory.json"]["size"] == (tmp_path / "memory.json").stat().st_size
    assert found["mismatches"] == []
    other = memory_of(fields_for_index=["icao"]).load_metadata(tmp_path / "metadata.json")
    assert any("fields_for_index" in text for text in other["mismatches"])
    memory.dump_metadata(tmp_path / "deep" / "m.json")
    assert memory.load_metadata(tmp_path / "deep" / "m.json")["size"] == 1


def test_mode_and_symlink_survive(tmp_path: Path) -> None:
    target = tmp_path / "real" / "data.json"
    target.parent.mkdir()
    target.write_text("[]")
    os.chmod(target, 0o640)
    link = tmp_path / "link.json"
    link.symlink_to(target)
    memory_of(Airport(icao="A")).dump_data(link)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert OMem(Airport, "icao").load_data(target).entities == 1
    assert [p.name for p in target.parent.iterdir() if "tmp" in p.name] == []


def test_dump_leaves_the_users_files_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    memory = memory_of(Airport(icao="A"))
    memory.dump(tmp_path)
    memory.dump(tmp_path)
    names = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert names == {"notes.txt", "memory.json", "metadata.json"}


def test_progress_reports_and_can_stop(tmp_path: Path) -> None:
    memory = OMem(Profile, "name")
    memory.add(profiles(2_000))
    seen: list[tuple[int, int]] = []
    memory.dump_data(tmp_path / "x.json", progress=lambda done, n: seen.append((done, n)))
    assert seen[-1] == ((tmp_path / "x.json").stat().st_size, 2_000)

    def stop(done: int, records: int) -> None:
        raise KeyboardInterrupt

    before = (tmp_path / "x.json").read_bytes()
    memory.clear()
    with pytest.raises(KeyboardInterrupt):
        memory.dump_data(tmp_path / "x.json", progress=stop)
    assert (tmp_path / "x.json").read_bytes() == before
    with pytest.raises(KeyboardInterrupt):
        memory.load_data(tmp_path / "x.json", progress=stop)
    assert memory.empty()


def test_a_folder_given_as_a_file_is_told_with_the_verb_for_it(tmp_path: Path) -> None:
    memory = OMem(Profile, "name")
    memory.dump(tmp_path / "m")
    with pytest.raises(IsADirectoryError, match=r"load\(\) restores those"):
        memory.load_data(tmp_path / "m")
