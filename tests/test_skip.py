"""`on_error="skip"`: the good records are loaded, the bad ones listed, whatever the damage."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from pydantic import BaseModel

from omem import LoadError, OMem


class Airport(BaseModel):
    icao: str
    name: str | None = None
    lat: float = 0.0
    aliases: list[str] = []


AIRPORTS = [Airport(icao=f"A{n}", name="ü" * n, lat=n / 3, aliases=["x"] * 2) for n in range(30)]


def ours(path: Path) -> bytes:
    memory = OMem(Airport, "icao")
    memory.add(AIRPORTS)
    memory.dump_data(path)
    return path.read_bytes()


def peers(path: Path) -> bytes:
    rows = [a.model_dump() for a in AIRPORTS]
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")
    return path.read_bytes()


@pytest.fixture(params=[ours, peers])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    return request.param(tmp_path / "whole.json")


def skip(content: bytes, tmp_path: Path) -> tuple[list[Airport], list[tuple[int, str]], int]:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    memory = OMem(Airport, "icao")
    report = memory.load_data(path, on_error="skip")
    assert report.entities == memory.size
    assert report.merged == 0
    return memory.items, [(bad.record, bad.reason) for bad in report.skipped], report.records


def without(*numbers: int) -> list[Airport]:
    return [a for n, a in enumerate(AIRPORTS) if n not in numbers]


def test_a_file_cut_anywhere_gives_what_came_before(content: bytes, tmp_path: Path) -> None:
    for end in range(3, len(content) - 3, 11):
        items, bad, records = skip(content[:end], tmp_path)
        assert items == AIRPORTS[: len(items)]
        assert len(bad) == 1
        assert len(items) <= records <= len(items) + 1
        assert abs(len(items) - 30 * end / len(content)) < 4


def test_garbage_costs_the_record_that_it_hit(content: bytes, tmp_path: Path) -> None:
    dice = random.Random(4)
    for _ in range(60):
        number = dice.randrange(30)
        at = content.index(b'"A%d"' % number)
        garbage = bytes(dice.randrange(256) for _ in range(4)).replace(b"\n", b"\0")
        items, bad, records = skip(content[:at] + garbage + content[at + 4 :], tmp_path)
        assert items == without(number)
        assert [record for record, _ in bad] == [number]
        assert records == 30


def test_values_that_do_not_fit(content: bytes, tmp_path: Path) -> None:
    broken = content.replace(b'"A3"', b"null").replace(b'"A7"', b"[1]")
    items, bad, records = skip(broken, tmp_path)
    assert items == without(3, 7)
    assert [record for record, _ in bad] == [3, 7]
    assert records == 30


def test_bad_records_name_line_offset_and_path(tmp_path: Path) -> None:
    lines = ['{"icao":"A"}', '{"icao":tru}', '{"icao":"C","lat":"x"}', "7", '{"icao":"E"}']
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    (tmp_path / "x.json").write_text(text)
    memory = OMem(Airport, "icao")
    report = memory.load_data(tmp_path / "x.json", on_error="skip")
    assert memory.keys == ["A", "E"]
    assert [(bad.record, bad.line, bad.path) for bad in report.skipped] == [
        (1, 3, "$.icao"),
        (2, 4, "$.lat"),
        (3, 5, "$"),
    ]
    for bad, begins in zip(report.skipped, ["tru}", '{"icao":"C"', "7,"], strict=True):
        assert text[bad.offset :].startswith(begins)


def test_records_on_one_line_are_loaded_up_to_the_fault(tmp_path: Path) -> None:
    rows = json.dumps([a.model_dump() for a in AIRPORTS]).encode()
    items, bad, records = skip(rows.replace(b'"A5"', b'"A5'), tmp_path)
    assert items == AIRPORTS[:5]
    assert ([record for record, _ in bad], records) == ([5], 6)


def test_records_of_one_key_are_merged(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"icao":"A","name":"x"},{"icao":"A","lat":2.0},{}]')
    memory = OMem(Airport, "icao")
    report = memory.load_data(tmp_path / "x.json", on_error="skip")
    assert memory.items == [Airport(icao="A", name="x", lat=2.0)]
    assert (report.records, report.merged, len(report.skipped)) == (3, 1, 1)


@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"{}", b"nonsense", b"\xff" * 99])
def test_what_is_no_array_at_all_is_an_error(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(LoadError):
        skip(content, tmp_path)


def test_a_merge_skips_too_and_changes_nothing_without(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content.replace(b'"A3"', b"null"))
    memory = OMem(Airport, "icao")
    memory.add(Airport(icao="A1", aliases=["old"]))
    with pytest.raises(LoadError):
        memory.load_data(tmp_path / "x.json", mode="merge")
    assert memory.items == [Airport(icao="A1", aliases=["old"])]
    report = memory.load_data(tmp_path / "x.json", mode="merge", on_error="skip")
    assert (report.records, report.entities, report.merged) == (30, 29, 1)
    entity = memory.get("A1")
    assert entity is not None
    assert entity.aliases == ["old", "x"]


def test_keys_that_cannot_be_had_are_skipped_with_their_place(tmp_path: Path) -> None:
    def key(airport: Airport) -> str:
        if airport.icao == "A4":
            raise ZeroDivisionError
        return airport.icao

    ours(tmp_path / "x.json")
    memory = OMem(Airport, key)
    with pytest.raises(LoadError, match="record 4, line 6"):
        memory.load_data(tmp_path / "x.json")
    report = memory.load_data(tmp_path / "x.json", on_error="skip")
    assert memory.items == without(4)
    assert [(bad.record, bad.line) for bad in report.skipped] == [(4, 6)]
