"""Exact means exact: what a removed source leaves is what would be had it never been added."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Annotated, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import BaseModel

from omem import BaseMerger, Merge, MergeStrategy, OMem

KEYS = "abcde"
SOURCES = ("s1", "s2", "s3")


class Inner(BaseModel):
    city: str = "?"
    notes: list[str] = []


class Fact(BaseModel):
    key: str
    text: str = ""
    tags: list[str] = []
    best: Annotated[int, Merge.MAX] = 0
    inner: Inner = Inner()
    extra: dict[str, int] | None = None


class Chain(BaseMerger[Fact]):
    """What was merged with what, and in which order: nothing is associative about it."""

    def pair_merge(self, existing: Fact, incoming: Fact) -> Fact:
        return Fact(key=existing.key, text=f"({existing.text}+{incoming.text})")


def sparse(fields: dict[str, Any]) -> Fact:
    """A fact in which only these fields are set, those that equal their default included."""
    return Fact(**fields)


words = st.sampled_from(["", "u", "v", "w"])
facts = st.fixed_dictionaries(
    {"key": st.sampled_from(KEYS)},
    optional={
        "text": words,
        "tags": st.lists(words, max_size=3),
        "best": st.integers(0, 3),
        "inner": st.one_of(
            st.builds(Inner),
            st.builds(Inner, city=words),
            st.builds(Inner, city=st.just("?"), notes=st.lists(words, max_size=2)),
        ),
        "extra": st.none() | st.dictionaries(words, st.integers(0, 3), max_size=2),
    },
).map(sparse)
batches = st.lists(facts, max_size=5)
sources = st.sampled_from(SOURCES)

Op = tuple[str, Any, str | None]


class Machine(RuleBasedStateMachine):
    """Random changes; after each, the memory against one that was built without what is gone."""

    make: Callable[[bool], OMem[Fact]]

    def __init__(self) -> None:
        super().__init__()
        self.memory = type(self).make(True)
        self.log: list[Op] = []

    @rule(items=batches, source=sources)
    def add(self, items: list[Fact], source: str) -> None:
        self.memory.add(items, source_id=source)
        self.log.append(("add", items, source))

    @rule(items=batches)
    def add_without_a_source(self, items: list[Fact]) -> None:
        self.memory.add(items)
        self.log.append(("add", items, None))

    @rule(items=st.lists(facts, max_size=2))
    def upsert(self, items: list[Fact]) -> None:
        self.memory.upsert(items)
        self.log.append(("upsert", items, None))

    @rule(keys=st.lists(st.sampled_from(KEYS), max_size=2))
    def remove(self, keys: list[str]) -> None:
        self.memory.remove_many(keys)
        self.log.append(("remove", keys, None))

    @rule(source=sources)
    def remove_source(self, source: str) -> None:
        if source not in self.memory.ledger:
            return
        before = {key: self.memory.get(key) for key in self.memory.keys}
        report = self.memory.remove_source(source)
        after = {key: self.memory.get(key) for key in self.memory.keys}
        self.log = [op for op in self.log if op[2] != source]
        assert set(report["removed_keys"]) == before.keys() - after.keys()
        changed = {key for key in after if after[key] != before[key]}
        assert changed <= set(report["remerged_keys"]) <= after.keys()

    @rule(source=sources, items=batches)
    def upsert_source(self, source: str, items: list[Fact]) -> None:
        self.memory.upsert_source(source, items)
        self.log = [op for op in self.log if op[2] != source]
        self.log.append(("add", items, source))

    @rule()
    def dump_and_load(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.memory.dump(folder)
            self.memory = type(self).make(True)
            self.memory.load(folder)

    @invariant()
    def agrees(self) -> None:
        fresh = type(self).make(False)
        for what, argument, _ in self.log:
            getattr(fresh, {"add": "add", "upsert": "upsert", "remove": "remove_many"}[what])(
                argument
            )
        assert self.memory.items == fresh.items
        said = {s: [f for op in self.log if op[2] == s for f in op[1]] for s in SOURCES}
        for source, items in said.items():
            if source in self.memory.ledger:
                assert self.memory.ledger[source].raw_items == [f.model_dump() for f in items]
            else:
                assert not items
        for key in KEYS:
            expected = {s for s, items in said.items() if any(f.key == key for f in items)}
            assert set(self.memory.sources_of(key)) == expected


def machine(name: str, examples: int, **options: Any) -> type:
    def make(track: bool) -> OMem[Fact]:
        memory = OMem(Fact, "key", track_sources=track, **options)
        memory.mechanical_remerge_threshold = 1_000
        memory.create_lookup("tag", "tags", each=True)
        return memory

    test = type(name, (Machine,), {"make": staticmethod(make)}).TestCase
    test.settings = settings(max_examples=examples, stateful_step_count=20, deadline=None)
    return test


TestUnion = machine("Union", 60, strategy_or_merger=MergeStrategy.MERGE_FIELD)
TestAppend = machine("Append", 20, lists="append")
TestReplace = machine("Replace", 20, lists="replace")
TestKeepIncoming = machine("KeepIncoming", 20, strategy_or_merger="keep_incoming")
TestKeepExisting = machine("KeepExisting", 20, strategy_or_merger="keep_existing")
TestOwnMerger = machine("OwnMerger", 30, strategy_or_merger=Chain(lambda fact: fact.key))
