"""The source ledger: recording, taking back, moving, saving, and what never happens half."""

from __future__ import annotations

import json
import threading
import time
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from omem import BaseMerger, HashingEmbedder, LoadError, Merge, MergeError, OMem, SourceRecord


class Person(BaseModel):
    name: str
    skills: list[str] = []
    bio: str | None = None
    born: date | None = None
    tons: Annotated[int, Merge.SUM, Field(le=40)] = 0


def ada(*skills: str, **fields: Any) -> Person:
    return Person(name="Ada", skills=list(skills), **fields)


@pytest.fixture
def memory() -> OMem[Person]:
    return OMem(Person, "name", track_sources=True, embedder=HashingEmbedder())


def test_a_ledger_must_be_asked_for() -> None:
    memory = OMem(Person, "name")
    assert memory.track_sources is False
    for call in (
        lambda: memory.add(ada(), source_id="s"),
        lambda: memory.record_source("s", []),
        lambda: memory.remove_source("s"),
        lambda: memory.sources(),
        lambda: memory.ledger,
    ):
        with pytest.raises(RuntimeError, match="track_sources=True"):
            call()
    memory.clear(sources=True)


@pytest.mark.parametrize(
    ("bad", "error"), [("", ValueError), (7, TypeError), ("\ud800", ValueError)]
)
def test_a_source_has_a_name(memory: OMem[Person], bad: Any, error: type[Exception]) -> None:
    for call in (
        lambda: memory.add(ada(), source_id=bad),
        lambda: memory.record_source(bad, []),
        lambda: memory.upsert_source(bad, []),
    ):
        with pytest.raises(error, match="source_id"):
            call()
    assert memory.empty() and not memory.sources()


def test_what_the_ledger_knows(memory: OMem[Person]) -> None:
    memory.add([ada("a"), Person(name="Bob", born=date(1999, 1, 2))], source_id="one")
    memory.record_source("two", [{"name": "Ada", "skills": ["b"]}, {}], content_hash="h")
    memory.add(Person(name="Carl"))
    assert memory.sources() == {
        "one": {"raw_items": 2, "content_hash": None},
        "two": {"raw_items": 2, "content_hash": "h"},
    }
    assert memory.sources_of("Ada") == ["one", "two"]
    assert memory.sources_of("Carl") == memory.sources_of("nobody") == memory.sources_of([]) == []
    record = memory.ledger["one"]
    assert isinstance(record, SourceRecord) and record.size == 2
    assert record.raw_items[1] == Person(name="Bob", born=date(1999, 1, 2)).model_dump()
    record.raw_items.clear()
    assert memory.ledger["one"].size == 2, "what is read is the caller's own"
    assert memory.ledger["two"].raw_items[1] == {}
    assert list(memory.ledger) == ["one", "two"] and len(memory.ledger) == 2
    assert "one" in memory.ledger and 7 not in memory.ledger
    with pytest.raises(KeyError):
        memory.ledger["three"]
    with pytest.raises(KeyError, match="no source 'three'"):
        memory.remove_source("three")


def test_a_client_that_merges_by_itself(memory: OMem[Person]) -> None:
    memory.record_source("one", [ada("a").model_dump()])
    memory.record_source("two", [ada("b").model_dump(), {"name": "Bob"}])
    memory.clear()
    assert set(memory.sources()) == {"one", "two"}
    memory.add([ada("a", "b"), Person(name="Bob"), Person(name="Carl")])
    report = memory.remove_source("two")
    assert report["removed_keys"] == ["Bob"] and report["remerged_keys"] == ["Ada"]
    assert memory.items == [ada("a"), Person(name="Carl")]
    assert memory.remove_source("one")["removed_keys"] == ["Ada"]
    assert memory.keys == ["Carl"]
    memory.clear(sources=True)
    assert memory.sources() == {}


def test_records_move_between_memories(memory: OMem[Person]) -> None:
    memory.add(ada("a", born=date(2000, 1, 1)), source_id="one")
    memory.tag_source("one", add=["x"])
    other = OMem(Person, "name", track_sources=True)
    other.add(ada("a", "b"))
    other.ledger["one"] = memory.ledger["one"]
    other.record_source("two", [{"name": "Ada", "skills": ["b"]}])
    assert other.ledger["one"] == memory.ledger["one"] and other.source_tags("one") == ["x"]
    other.remove_source("one")
    assert other.items == [ada("b")]
    assert memory.ledger.pop("one").tags == ["x"]
    assert memory.items == [ada("a", born=date(2000, 1, 1))] and memory.sources() == {}
    with pytest.raises(KeyError):
        del memory.ledger["one"]


def test_a_bad_record_changes_nothing(memory: OMem[Person]) -> None:
    memory.add(ada("a"), source_id="one")
    before = memory.ledger["one"]
    with pytest.raises(ValueError, match=r"item 1 of source 'one' .*\(\$\.name\)"):
        memory.record_source("one", [{"name": "Bob"}, {"name": ["no"]}])
    with pytest.raises(ValueError, match="item 0 of source 'one'"):
        memory.ledger["one"] = SourceRecord(source_id="one", raw_items=[{"nam": "x"}])
    assert memory.ledger["one"] == before and memory.sources_of("Bob") == []


def test_a_removed_entity_does_not_come_back(memory: OMem[Person]) -> None:
    memory.add(ada("a"), source_id="one")
    memory.add(ada("b"), source_id="two")
    memory.remove("Ada")
    memory.remove_source("two")
    assert memory.empty()
    memory.add(ada("c"), source_id="three")
    memory.remove_source("three")
    assert memory.empty()
    assert memory.ledger["one"].size == 1, "what a source said is kept"


def test_replaced_and_rewritten_entities(memory: OMem[Person]) -> None:
    memory.add(ada("a"), source_id="one")
    memory.upsert(ada("mine"))
    memory.add(ada("b"), source_id="two")
    memory.remove_source("one")
    assert memory.items == [ada("mine", "b")]
    memory.edit("Ada", instruction="x", editor=lambda *_: ada("mine", "b", bio="edited"))
    memory.add(ada("c"), source_id="three")
    assert memory.remove_source("three")["edits_dropped"] == []
    assert memory.items == [ada("mine", "b", bio="edited")]
    assert memory.remove_source("two")["edits_dropped"] == ["Ada"]
    assert memory.items == [ada("mine")]


def test_strategies(memory: OMem[Person]) -> None:
    memory.add(ada("a"), source_id="one")
    memory.add([ada("b"), Person(name="Bob")], source_id="two")
    report = memory.remove_source("two", strategy="touched")
    assert set(report["removed_keys"]) == {"Ada", "Bob"} and memory.empty()
    memory.add(ada("c"))
    memory.remove_source("one")
    assert memory.items == [ada("c")]
    with pytest.raises(ValueError, match="strategy must be one of"):
        memory.remove_source("one", strategy="other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="remerge must be one of"):
        memory.remove_source("one", remerge="other")  # type: ignore[arg-type]


def test_remerge_by_the_merger_or_by_rule() -> None:
    class Count(BaseMerger[Person]):
        calls = 0

        def pair_merge(self, existing: Person, incoming: Person) -> Person:
            Count.calls += 1
            return incoming

    memory = OMem(Person, "name", track_sources=True, strategy_or_merger=Count(lambda p: p.name))
    assert memory.mechanical_remerge_threshold == 12
    for number in range(14):
        memory.add(ada(str(number)), source_id=f"s{number}")
    Count.calls = 0
    memory.remove_source("s13")
    assert Count.calls == 0 and memory.items == [ada(*map(str, range(13)))]
    memory.remove_source("s12", remerge="llm")
    assert Count.calls == 11 and memory.items == [ada("11")]
    memory.remove_source("s11")
    assert Count.calls == 21 and memory.items == [ada("10")]
    memory.remove_source("s10", remerge="mechanical")
    assert Count.calls == 21 and memory.items == [ada(*map(str, range(10)))]


def test_upsert_source(memory: OMem[Person]) -> None:
    report = memory.upsert_source("one", [ada("a"), Person(name="Bob")], content_hash="1")
    assert report["added_keys"] == ["Ada", "Bob"]
    memory.add(ada("b"), source_id="two")
    memory.tag_source("one", add=["x", "y"], remove=["y"])
    report = memory.upsert_source("one", ada("c"), content_hash="2")
    assert report["removed_keys"] == ["Bob"] and report["added_keys"] == ["Ada"]
    assert report["remerged_keys"] == ["Ada"]
    assert memory.items == [ada("b", "c")]
    assert memory.sources()["one"] == {"raw_items": 1, "content_hash": "2"}
    assert memory.source_tags("one") == ["x"]


def state(memory: OMem[Person], folder: Path) -> Any:
    memory.dump(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".json"}
    files.pop("metadata.json")
    found = memory.get_by_lookup("skill", "a")
    return files, memory.items, memory.sources(), found, dict(memory.quarantine)


def test_what_fails_changes_nothing(memory: OMem[Person], tmp_path: Path) -> None:
    memory.create_lookup("skill", "skills", each=True)
    memory.add([ada("a", tons=30), Person(name="Bob", tons=1)], source_id="one")
    memory.add(ada("b", tons=5), source_id="two")
    before = state(memory, tmp_path / "m")
    with pytest.raises(MergeError):
        memory.add([Person(name="New"), ada(tons=30)], source_id="three")
    with pytest.raises(MergeError):
        memory.upsert_source("two", [Person(name="New"), ada(tons=11)])
    with pytest.raises(TypeError):
        memory.upsert_source("one", [ada(), "x"])  # type: ignore[list-item]
    assert state(memory, tmp_path / "m") == before


def test_what_was_set_aside_goes_with_its_source(memory: OMem[Person], tmp_path: Path) -> None:
    memory.on_conflict = "quarantine"
    memory.add(ada(tons=30), source_id="one")
    memory.add([ada(tons=20, bio="secret"), ada("b")], source_id="two")
    assert [aside.item.bio for aside in memory.quarantine["Ada"]] == ["secret"]
    assert memory.ledger["two"].size == 2
    memory.dump(tmp_path)
    fresh = OMem(Person, "name", track_sources=True, on_conflict="quarantine")
    fresh.load(tmp_path)
    for each in (memory, fresh):
        each.remove_source("two")
        assert len(each.quarantine) == 0 and each.items == [ada(tons=30)]
    fresh.dump(tmp_path)
    assert not [path for path in tmp_path.iterdir() if b"secret" in path.read_bytes()]


def holds(folder: Path, text: bytes) -> list[str]:
    return [str(p) for p in folder.rglob("*") if p.is_file() and text in p.read_bytes()]


def test_a_removed_source_leaves_no_byte(memory: OMem[Person], tmp_path: Path) -> None:
    memory.create_lookup("skill", "skills", each=True)
    memory.add([ada("a"), Person(name="Bob")], source_id="public")
    memory.add([ada("SECRET"), Person(name="SECRET name", bio="SECRET bio")], source_id="SECRET id")
    memory.tag_source("SECRET id", add=["SECRET tag"])
    memory.build_index()
    memory.dump(tmp_path)
    assert holds(tmp_path, b"SECRET")
    assert memory.remove_source("SECRET id")["index_patched"] is True
    memory.dump(tmp_path)
    assert holds(tmp_path, b"SECRET") == []
    assert memory.get_by_lookup("skill", "SECRET") == []
    assert [person.name for person in memory.search("SECRET")] == ["Ada", "Bob"] or [
        person.name for person in memory.search("SECRET")
    ] == ["Bob", "Ada"]


def test_forget(memory: OMem[Person], tmp_path: Path) -> None:
    memory.create_lookup("skill", "skills", each=True)
    memory.on_conflict = "quarantine"
    memory.add([ada("a", tons=40, bio="PRIVATE")], source_id="one")
    memory.add([ada("b", tons=9, bio="PRIVATE"), Person(name="Bob")], source_id="two")
    memory.build_index()
    report = memory.forget("Ada")
    assert report.entity and report.lookups == ["skill"] and report.indexed and report
    assert report.sources == ["one", "two"] and report.quarantined == 1
    assert report.observations == 2
    assert memory.ledger["one"].raw_items == [] and memory.sources_of("Ada") == []
    memory.dump(tmp_path)
    assert holds(tmp_path, b"PRIVATE") == [] and holds(tmp_path, b"Ada") == []
    assert not memory.forget("Ada")
    plain = OMem(Person, "name")
    plain.add(ada("a"))
    assert plain.forget("Ada").entity and plain.empty()


def test_dump_and_load(memory: OMem[Person], tmp_path: Path) -> None:
    memory.add(ada("a"), source_id="one")
    memory.add(Person(name="Bob"))
    memory.record_source("two", [{}], content_hash="h")
    memory.tag_source("two", add=["t"])
    memory.dump(tmp_path / "m")
    fresh = OMem(Person, "name", track_sources=True)
    fresh.load(tmp_path / "m")
    assert {s: fresh.ledger[s] for s in fresh.ledger} == {
        s: memory.ledger[s] for s in memory.ledger
    }
    blind = OMem(Person, "name")
    assert any("sources.json" in told for told in blind.load(tmp_path / "m").warnings)
    file = tmp_path / "m" / "sources.json"
    file.write_bytes(file.read_bytes().replace(b'"one"', b'"uno"'))
    with pytest.raises(LoadError, match=r"sources\.json.*load\(verify=False\)"):
        fresh.load(tmp_path / "m")
    assert "one" in fresh.ledger
    fresh.load(tmp_path / "m", verify=False)
    assert list(fresh.ledger) == ["uno", "two"]
    file.write_text("[{]")
    with pytest.raises(LoadError):
        fresh.load(tmp_path / "m", verify=False)
    assert list(fresh.ledger) == ["uno", "two"]
    file.unlink()
    with pytest.raises(LoadError, match="missing"):
        fresh.load(tmp_path / "m")
    fresh.load(tmp_path / "m", verify=False)
    assert fresh.sources() == {} and fresh.size == 2


def test_dump_and_load_sources(memory: OMem[Person], tmp_path: Path) -> None:
    memory.add([ada("a"), Person(name="Bob", bio="ü")], source_id="one")
    memory.add(ada("x"))
    memory.tag_source("one", add=["t"])
    file = tmp_path / "deep" / "ledger.json"
    memory.dump_sources(file)
    rows = json.loads(file.read_text())
    assert [set(row) for row in rows] == [{"source_id", "content_hash", "tags", "raw_items"}]
    assert rows[0]["raw_items"][1] == Person(name="Bob", bio="ü").model_dump(mode="json")
    fresh = OMem(Person, "name", track_sources=True)
    fresh.add([ada("a", "x"), Person(name="Bob")])
    fresh.record_source("old", [])
    fresh.load_sources(file)
    assert {s: fresh.ledger[s] for s in fresh.ledger} == {"one": memory.ledger["one"]}
    fresh.remove_source("one")
    assert fresh.empty(), "rebuilt from the ledger alone"
    memory.dump(tmp_path / "m")
    fresh.load_sources(tmp_path / "m" / "sources.json")
    assert fresh.ledger["one"] == memory.ledger["one"]
    for content in ("{", "{}", '[{"source_id": 3}]', "[1]"):
        file.write_text(content)
        with pytest.raises(LoadError):
            fresh.load_sources(file)
    with pytest.raises(FileNotFoundError):
        fresh.load_sources(tmp_path / "none.json")
    assert "one" in fresh.ledger


def test_load_data_keeps_what_sources_say(memory: OMem[Person], tmp_path: Path) -> None:
    memory.add(ada("a"), source_id="one")
    memory.add(ada("b"), source_id="two")
    memory.dump_data(tmp_path / "d.json")
    memory.load_data(tmp_path / "d.json")
    memory.remove_source("two")
    assert memory.items == [ada("a")]
    memory.load_data(tmp_path / "d.json", mode="merge")
    assert memory.items == [ada("a", "b")]


def test_a_search_within_sources(memory: OMem[Person]) -> None:
    memory.add([ada("a"), Person(name="Bob")], source_id="one")
    memory.add([Person(name="Carl")], source_id="two")
    memory.tag_source("two", add=["t"])
    names = lambda **scope: {p.name for p in memory.search("x", **scope)}  # noqa: E731
    assert names(source_ids=["one"]) == {"Ada", "Bob"}
    assert names(tags=["t"]) == {"Carl"}
    assert names(source_ids=["one"], tags=["t"]) == {"Ada", "Bob", "Carl"}
    assert names(source_ids=[]) == names(tags=["no"]) == set()
    with pytest.raises(TypeError, match="source_ids must be several"):
        memory.search("x", source_ids="one")
    with pytest.raises(KeyError):
        memory.tag_source("three", add=["t"])


def test_keys_of_any_kind(tmp_path: Path) -> None:
    class Row(BaseModel):
        day: date
        number: int
        words: list[str] = []

    memory = OMem(Row, ("day", "number"), track_sources=True)
    key = (date(2024, 2, 29), 1)
    row = Row(day=key[0], number=1, words=["a"])
    memory.add(row, source_id="one")
    memory.add(Row(day=key[0], number=1, words=["b"]), source_id="two")
    memory.dump(tmp_path)
    memory.load(tmp_path)
    assert memory.sources_of(key) == ["one", "two"]
    assert memory.remove_source("two")["remerged_keys"] == [key]
    assert memory.items == [row]


def test_a_callback_cannot_change_the_memory() -> None:
    class Meddler(BaseMerger[Person]):
        memory: OMem[Person]

        def pair_merge(self, existing: Person, incoming: Person) -> Person:
            self.memory.record_source("x", [])
            return existing

    merger = Meddler(lambda person: person.name)
    merger.memory = memory = OMem(Person, "name", track_sources=True, strategy_or_merger=merger)
    memory.add(ada(), source_id="one")
    with pytest.raises(RuntimeError, match="callback"):
        memory.add(ada("b"), source_id="two")
    assert list(memory.sources()) == ["one"] and memory.items == [ada()]


def test_eight_threads(memory: OMem[Person], tmp_path: Path) -> None:
    memory.create_lookup("skill", "skills", each=True)
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for number in range(25):
                source = f"{thread}-{number}"
                memory.add(
                    [ada(source), Person(name=f"p{number % 5}", skills=[source])], source_id=source
                )
                if number % 3 == 0:
                    memory.upsert_source(source, [ada(source + "!")])
                if number % 2:
                    memory.remove_source(source)
                memory.sources_of("Ada")
                if number % 12 == 0:
                    memory.dump(tmp_path / str(thread))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    kept = {f"{t}-{n}" for t in range(8) for n in range(0, 25, 2)}
    assert set(memory.sources()) == kept
    entity = memory.get("Ada")
    assert entity is not None
    expected = {s + "!" if int(s.split("-")[1]) % 3 == 0 else s for s in kept}
    assert set(entity.skills) == expected and len(entity.skills) == len(expected)
    memory.dump(tmp_path / "last")
    fresh = OMem(Person, "name", track_sources=True)
    fresh.load(tmp_path / "last")
    assert fresh.items == memory.items and fresh.sources() == memory.sources()


def test_removing_a_small_source_costs_what_it_touched() -> None:
    def cost(count: int) -> float:
        memory = OMem(Person, "name", track_sources=True)
        memory.add((Person(name=str(n), skills=["x"]) for n in range(count)), source_id="big")
        best = 1.0
        for trial in range(5):
            items = [Person(name=str(n), skills=["y"]) for n in range(10)]
            memory.add([*items, *(Person(name=f"new{n}") for n in range(10))], source_id="small")
            start = time.perf_counter()
            memory.remove_source("small")
            best = min(best, time.perf_counter() - start)
        assert memory.size == count
        return best

    small = cost(2_000)
    assert cost(60_000) < 8 * small + 0.002
