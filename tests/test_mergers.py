"""Mergers: those of the engine, one's own, and how they share a memory with others."""

from __future__ import annotations

import logging
import threading
import time
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator

from omem import (
    BaseMerger,
    FieldMerger,
    KeepExistingMerger,
    KeepIncomingMerger,
    KeyExtractionError,
    Merge,
    MergeError,
    MergeStrategy,
    OMem,
    SchemaError,
    create_merger,
)


class Note(BaseModel):
    topic: str
    words: list[str] = []
    rank: int | None = None


class Join(BaseMerger[Note]):
    """Puts words together; it can be slow, and says who is inside."""

    def __init__(self, wait: float = 0.0) -> None:
        super().__init__(lambda note: note.topic)
        self.wait = wait
        self.inside = threading.Event()

    def pair_merge(self, existing: Note, incoming: Note) -> Note:
        self.inside.set()
        time.sleep(self.wait)
        return Note(topic=existing.topic, words=existing.words + incoming.words)


def test_ten_threads_and_a_slow_merger_lose_nothing() -> None:
    memory = OMem(Note, "topic", strategy_or_merger=Join(wait=0.001))
    start = threading.Barrier(10)

    def add(thread: int) -> None:
        start.wait()
        for n in range(8):
            memory.add(Note(topic="t", words=[f"{thread}-{n}"]))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = memory.get("t")
    assert found is not None
    assert sorted(found.words) == sorted(f"{t}-{n}" for t in range(10) for n in range(8))
    for thread in range(10):
        own = [word for word in found.words if word.startswith(f"{thread}-")]
        assert own == [f"{thread}-{n}" for n in range(8)]


def test_readers_and_dumps_do_not_wait_for_a_merger(tmp_path: Any) -> None:
    release = threading.Event()

    class Stuck(Join):
        def pair_merge(self, existing: Note, incoming: Note) -> Note:
            self.inside.set()
            assert release.wait(30)
            return incoming

    merger = Stuck()
    memory = OMem(Note, "topic", strategy_or_merger=merger)
    memory.add([Note(topic="a"), Note(topic="b")])
    mutator = threading.Thread(
        target=memory.add, args=([Note(topic="a", rank=1), Note(topic="c")],)
    )
    mutator.start()
    try:
        assert merger.inside.wait(30)
        assert memory.get("a") == Note(topic="a")
        assert (memory.size, memory.keys, "c" in memory) == (2, ["a", "b"], False)
        assert [note.topic for note in memory] == ["a", "b"]
        memory.dump(tmp_path / "memory")
        assert mutator.is_alive()
    finally:
        release.set()
        mutator.join()
    assert memory.get("a") == Note(topic="a", rank=1)
    assert memory.keys == ["a", "b", "c"]


@pytest.mark.parametrize("on_conflict", ["raise", "quarantine"])
def test_changing_the_memory_from_inside_a_merger_is_refused(on_conflict: Any) -> None:
    memory: OMem[Any]

    class Meddler(Join):
        def pair_merge(self, existing: Note, incoming: Note) -> Note:
            memory.remove("t")
            return existing

    memory = OMem(Note, "topic", strategy_or_merger=Meddler(), on_conflict=on_conflict)
    memory.add(Note(topic="t"))
    with pytest.raises(RuntimeError, match="being changed"):
        memory.add(Note(topic="t"))

    def meddle(old: int, new: int) -> int:
        memory.clear()
        return new

    class Rank(BaseModel):
        name: str
        rank: Annotated[int, Merge.custom(meddle)] = 0

    memory = OMem(Rank, "name", on_conflict=on_conflict)
    memory.add(Rank(name="t", rank=1))
    with pytest.raises(RuntimeError, match="being changed"):
        memory.add(Rank(name="t", rank=2))

    def model(system: str, user: str, schema: type[BaseModel]) -> Note:
        memory.remove("t")
        return Note(topic="t")

    memory = OMem(
        Note,
        "topic",
        model,
        strategy_or_merger=MergeStrategy.LLM.BALANCED,
        on_conflict=on_conflict,
    )
    memory.add(Note(topic="t"))
    with pytest.raises(RuntimeError, match="being changed"):
        memory.add([Note(topic="t"), Note(topic="t")])  # in worker threads
    assert memory.items == [Note(topic="t")]


def test_the_engines_mergers_on_their_own_and_in_a_memory() -> None:
    one, two = Note(topic="a", words=["x"], rank=1), Note(topic="a", words=["y"])
    expected: dict[type[BaseMerger[Note]], Note] = {
        FieldMerger: Note(topic="a", words=["x", "y"], rank=1),
        KeepExistingMerger: one,
        KeepIncomingMerger: two,
    }
    for merger_class, merged in expected.items():
        merger = merger_class("topic")
        assert merger.merge(note for note in (one, Note(topic="b"), two)) == [
            merged,
            Note(topic="b"),
        ]
        assert merger.merge([]) == []
        assert merger.pair_merge(one, two) == merged
        assert merger.batch_merge([(one, two)] * 2) == [merged] * 2
        memory = OMem(Note, "topic", strategy_or_merger=merger)
        memory.add([one, two])
        assert memory.items == [merged]
    assert FieldMerger(lambda n: n.topic, lists="append").merge([one, one])[0].words == ["x", "x"]
    # The rank that was set is an observation, though it equals the default.
    unset = FieldMerger(lambda n: n.topic).pair_merge(two, Note(topic="a", rank=None))
    assert "rank" in unset.model_fields_set
    with pytest.raises(ValueError, match="lists"):
        FieldMerger(lambda n: n.topic, lists="first")  # type: ignore[arg-type]


def test_a_subclass_of_an_engines_merger_is_asked() -> None:
    class Ranked(FieldMerger[Note]):
        def pair_merge(self, existing: Note, incoming: Note) -> Note:
            merged = super().pair_merge(existing, incoming)
            return merged.model_copy(update={"rank": len(merged.words)})

    memory = OMem(Note, "topic", strategy_or_merger=Ranked("topic"))
    notes = [Note(topic="a", words=[word]) for word in "xyz"]
    memory.add(notes)
    assert memory.items == [Note(topic="a", words=["x", "y", "z"], rank=3)]
    assert Ranked("topic").merge(notes) == memory.items


def test_batches_hold_at_most_so_many_pairs() -> None:
    sizes: list[int] = []

    class Batched(Join):
        def batch_merge(self, pairs: list[tuple[Note, Note]]) -> list[Note]:
            sizes.append(len(pairs))
            return [self.pair_merge(existing, incoming) for existing, incoming in pairs]

    merger = Batched()
    assert merger.max_batch_pairs == 40
    merger.max_batch_pairs = 7
    memory = OMem(Note, "topic", strategy_or_merger=merger)
    memory.add([Note(topic=str(n % 10), words=[str(n)]) for n in range(40)])
    # Four observations of ten keys: 20 pairs in the first round, then 10.
    assert sizes == [7, 7, 6, 7, 3]
    assert [note.words for note in memory] == [
        [str(n + 10 * k) for k in range(4)] for n in range(10)
    ]

    class Lazy(Batched):
        def batch_merge(self, pairs: list[tuple[Note, Note]]) -> list[Note]:
            return super().batch_merge(pairs)[1:]

    memory = OMem(Note, "topic", strategy_or_merger=Lazy())
    with pytest.raises(ValueError, match="0 entities for 1 pairs"):
        memory.add([Note(topic="a"), Note(topic="a")])
    assert memory.empty()


def test_what_a_merger_returns_is_checked() -> None:
    class Bad(Join):
        result: Any = None

        def pair_merge(self, existing: Note, incoming: Note) -> Note:
            return self.result  # type: ignore[no-any-return]

    for result in (
        None,
        {"topic": "t"},
        Note(topic="u"),
        Note.model_construct(topic="t", words=[1]),
    ):
        merger = Bad()
        merger.result = result
        memory = OMem(Note, "topic", strategy_or_merger=merger)
        memory.add(Note(topic="t"))
        with pytest.raises(MergeError, match="'t'") as caught:
            memory.add([Note(topic="t", rank=1)])
        assert (caught.value.key, caught.value.incoming) == ("t", Note(topic="t", rank=1))
        assert memory.items == [Note(topic="t")]


def test_an_item_without_a_key() -> None:
    for merger in (Join(), FieldMerger[Note](lambda note: note.topic)):
        merger.key_extractor = lambda note: note.subject  # type: ignore[attr-defined]
        with pytest.raises(KeyExtractionError, match="item 0"):
            merger.merge([Note(topic="a")])


def test_strategies_by_name(caplog: pytest.LogCaptureFixture) -> None:
    assert MergeStrategy["MERGE_FIELD"] == "merge_field"
    assert getattr(MergeStrategy.LLM, "BALANCED") == "llm_balanced"
    for strategy in ("keep_existing", MergeStrategy.KEEP_EXISTING):
        merger = create_merger(
            strategy=strategy,
            key_extractor=lambda note: note.topic,
            llm_client=None,
            item_schema=Note,
            rule=None,
            dynamic_rule=None,
            max_workers=3,
        )
        assert isinstance(merger, KeepExistingMerger)
    with caplog.at_level(logging.WARNING, "omem"):
        create_merger("merge_field", lambda note: note.topic, rule="Prefer the newer one.")
    assert "no effect" in caplog.text
    with pytest.raises(TypeError, match="strategy"):
        create_merger("merge_fields", lambda note: note.topic)
    with pytest.raises(TypeError, match="list_mode"):
        create_merger("merge_field", lambda note: note.topic, list_mode="union")
    with pytest.raises(TypeError, match="merger itself"):
        OMem(Note, "topic", strategy_or_merger=Join(), lists="append")


BAD_RULES: list[tuple[Any, Any, str]] = [
    (list[int], Merge.MAX, "MAX"),
    (dict[int, str], Merge.MIN, "MIN"),
    (dict, Merge.MAX, "MAX"),
    (str, Merge.SUM, "SUM"),
    (set[int], Merge.APPEND, "APPEND"),
    (int, Merge.LONGEST, "LONGEST"),
    (dict[str, int], Merge.UNION, "UNION"),
    (int | str, Merge.MAX, "MAX"),
    (int, Merge.REPLACE, "REPLACE"),
]


@pytest.mark.parametrize(("kind", "rule", "name"), BAD_RULES)
def test_rules_are_checked_when_the_memory_is_built(kind: Any, rule: Any, name: str) -> None:
    class Inner(BaseModel):
        value: Annotated[kind, rule]

    class Outer(BaseModel):
        id: int
        inner: list[Inner] = []

    with pytest.raises(SchemaError, match=rf"Inner\.value .*Merge\.{name}"):
        OMem(Outer, "id")


class Score(BaseModel):
    best: Annotated[int, Merge.MAX] = 0
    log: Annotated[list[str], Merge.APPEND] = []
    note: Annotated[str, Merge.custom(lambda old, new: f"{old}/{new}")] = ""


class Player(BaseModel):
    name: str
    score: Score = Score()
    by_game: dict[str, Score] = {}
    last: Score | None = None


def test_rules_in_nested_models() -> None:
    memory = OMem(Player, "name")
    memory.add(
        [
            Player(
                name="Ada",
                score=Score(best=3, log=["x"], note="a"),
                by_game={"go": Score(best=1, note="n")},
                last=Score(note="p"),
            ),
            Player(
                name="Ada",
                score=Score(best=2, log=["x"], note="b"),
                by_game={"go": Score(best=5, note="m"), "chess": Score()},
                last=Score(best=1),
            ),
        ]
    )
    assert memory.items == [
        Player(
            name="Ada",
            score=Score(best=3, log=["x", "x"], note="a/b"),
            by_game={"go": Score(best=5, note="n/m"), "chess": Score()},
            last=Score(best=1, note="p"),
        )
    ]


CUSTOM: list[tuple[Any, Any, Any, Any, Any]] = [
    (dict[int, str], {1: "a"}, {2: "b"}, lambda old, new: {**old, **new}, {1: "a", 2: "b"}),
    (Note, Note(topic="a"), Note(topic="b"), lambda old, new: new, Note(topic="b")),
    (Annotated[int, BeforeValidator(int)], 1, 2, lambda old, new: old + new, 3),
    (Decimal, Decimal("1.50"), Decimal("2"), lambda old, new: old + new, Decimal("3.50")),
    (
        frozenset[date],
        frozenset([date.min]),
        frozenset([date.max]),
        lambda a, b: a & b,
        frozenset(),
    ),
    (complex, 1j, 2j, lambda old, new: old * new, complex(-2)),
    (int | None, 1, 2, lambda old, new: None, None),
    (list[Note], [Note(topic="a")], [], lambda old, new: old * 2, [Note(topic="a")] * 2),
]


@pytest.mark.parametrize(("kind", "old", "new", "rule", "merged"), CUSTOM)
def test_custom_rules_take_any_type(kind: Any, old: Any, new: Any, rule: Any, merged: Any) -> None:
    class Thing(BaseModel):
        id: int
        value: Annotated[kind, Merge.custom(rule)]

    memory = OMem(Thing, "id")
    memory.add([Thing(id=1, value=old), Thing(id=1, value=new)])
    assert memory.items == [Thing(id=1, value=merged)]


def test_a_custom_rule_that_returns_what_the_field_cannot_hold() -> None:
    class Thing(BaseModel):
        id: int
        value: Annotated[int, Merge.custom(lambda old, new: "many")]

    memory = OMem(Thing, "id")
    memory.add(Thing(id=1, value=1))
    with pytest.raises(MergeError, match=r"\$\.value: Input should be a valid integer"):
        memory.add(Thing(id=1, value=2))
    assert memory.items == [Thing(id=1, value=1)]
