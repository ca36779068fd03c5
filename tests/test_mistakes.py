"""Mistakes that newcomers make are told by what they gave, with a word on what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from omem import FieldMerger, HashingEmbedder, LoadError, MergeStrategy, OMem


class Person(BaseModel):
    name: str
    age: int | None = None
    skills: list[str] = []


ADA = Person(name="Ada", skills=["maths"])


def build(**options: Any) -> OMem[Person]:
    return OMem(Person, "name", embedder=HashingEmbedder(), **options)


def asked(**options: Any) -> OMem[Person]:
    strategy = MergeStrategy.LLM.BALANCED
    return OMem(Person, "name", lambda *_: {}, strategy_or_merger=strategy, **options)


class HalfAnEmbedder:
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]


BUILDING: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: OMem(), TypeError, "OMem.__init__() missing 2 required"),
    (lambda: OMem(Person, "name", None, None, "merge_field"), TypeError, "OMem.__init__() takes"),
    (lambda: build(embeder=None), TypeError, "no option 'embeder'; did you mean 'embedder'?"),
    (lambda: build(strategy="union"), TypeError, "did you mean 'strategy_or_merger'?"),
    (lambda: build(stratgy="union"), TypeError, "did you mean 'strategy_or_merger'?"),
    (lambda: build(key="name"), TypeError, "did you mean 'key_extractor'?"),
    (lambda: asked(on_llm_eror="raise"), TypeError, "did you mean 'on_llm_error'?"),
    (lambda: asked(lists="append"), TypeError, "this strategy has only max_workers, max_retries"),
    (lambda: build(strategy_or_merger=FieldMerger("name"), rule="x"), TypeError, "ready-made"),
    (lambda: build(strategy_or_merger=FieldMerger), TypeError, "give an object of it, FieldMerger"),
    (lambda: build(strategy_or_merger=MergeStrategy.LLM), TypeError, "use one of 'merge_field'"),
    (lambda: OMem(Person, ["name"]), TypeError, "as ('a', 'b')"),
    (lambda: FieldMerger(["name"]), TypeError, "key_extractor must be a field name"),
    (lambda: OMem(Person, "name", "gpt-4"), TypeError, "llm_client must be a LangChain chat model"),
    (lambda: OMem(Person, "name", embedder=HalfAnEmbedder()), TypeError, "and embed_query"),
    (lambda: asked(max_workers="4"), TypeError, "max_workers must be an int, not '4'"),
    (lambda: asked(max_workers=0), ValueError, "max_workers must be at least 1, not 0"),
    (lambda: asked(max_retries=-1), ValueError, "max_retries must be at least 0, not -1"),
    (lambda: build(embed_batch_size="9"), TypeError, "embed_batch_size must be an int, not '9'"),
    (lambda: build(index=32), ValueError, "as 'HNSW32', not 32"),
    (lambda: build(lists="concat"), ValueError, "lists must be one of 'union', 'append'"),
    (lambda: HashingEmbedder("64"), TypeError, "dim must be an int, not '64'"),
]


@pytest.mark.parametrize(("mistake", "error", "told"), BUILDING, ids=lambda case: str(case)[:50])
def test_building(mistake: Callable[[], object], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=re.escape(told)):
        mistake()


USING: list[tuple[Callable[[Any], object], type[Exception], str]] = [
    (lambda memory: memory.add(ADA, ADA), TypeError, "OMem.add() takes 2 positional"),
    (lambda memory: memory.add({"name": "x"}), TypeError, "Person.model_validate(…) makes one"),
    (lambda memory: memory.search("x", k=3), TypeError, "OMem.search() got an unexpected"),
    (lambda memory: memory.search("x", top_k="3"), TypeError, "top_k must be an int, not '3'"),
    (lambda memory: memory.search("x", top_k=-1), ValueError, "top_k must be at least 0, not -1"),
    (lambda memory: memory.search("x", max_distance="1"), TypeError, "max_distance must be a nu"),
    (lambda memory: memory.remove_many(3), TypeError, "keys must be several keys, as [3]"),
    (lambda memory: memory.create_lookup(3, "age"), TypeError, "name must be a str, not 3"),
    (lambda memory: memory.create_lookup("l", "skills"), ValueError, "each=True looks up each"),
    (lambda memory: memory.create_lookup("l", "name", each=True), ValueError, "of type str"),
    (lambda memory: memory.edit("Ada", instruction="x", editor="gpt"), TypeError, "editor must be"),
    (lambda memory: memory.embedder.embed_documents("text"), TypeError, "as ['text'], not one"),
    (lambda memory: FieldMerger("name").merge([{"name": "x"}]), TypeError, "item 0 is a dict"),
    (lambda memory: FieldMerger("name").merge(ADA), TypeError, "several entities, as [item]"),
]


@pytest.mark.parametrize(("mistake", "error", "told"), USING, ids=lambda case: str(case)[:50])
def test_using(mistake: Callable[[Any], object], error: type[Exception], told: str) -> None:
    memory = build()
    memory.add(ADA)
    with pytest.raises(error, match=re.escape(told)):
        mistake(memory)
    assert memory.items == [ADA]
    assert memory.list_lookups() == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    build().dump_data(file)
    with pytest.raises(NotADirectoryError, match=r"cannot use as a folder.*people\.json"):
        build().dump(file)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("embed_batch_size", 0, "embed_batch_size must be at least 1, not 0"),
        ("fields_for_index", ["nme"], "names 'nme', which Person does not have; its fields are"),
    ],
)
def test_options_that_are_set_later(name: str, value: object, told: str) -> None:
    memory = build()
    memory.add(ADA)
    before = getattr(memory, name)
    setattr(memory, name, value)
    with pytest.raises(ValueError, match=told):
        memory.search("maths")
    setattr(memory, name, before)
    assert memory.search("maths") == [ADA]


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lambda memory: memory.remove_source(3), "source_id must be a str, not 3"),
        (lambda memory: memory.tag_source(3), "source_id must be a str, not 3"),
        (lambda memory: memory.source_tags(3), "source_id must be a str, not 3"),
        (lambda memory: memory.record_source("s", [], content_hash=3), "content_hash must be a s"),
        (lambda memory: memory.upsert_source("s", ADA, content_hash=3), "content_hash must be a "),
        (lambda memory: memory.upsert_source("s", [{"name": "x"}]), "item 0 is a dict"),
    ],
)
def test_sources(mistake: Callable[[Any], object], told: str) -> None:
    memory = build(track_sources=True)
    memory.add(ADA, source_id="s")
    with pytest.raises(TypeError, match=told):
        mistake(memory)
    assert memory.sources() == {"s": {"raw_items": 1, "content_hash": None}}


def test_a_model_that_cannot_be_asked_is_told_when_it_is_asked() -> None:
    memory = asked()
    memory.llm_client = "gpt-4"
    memory.add(ADA)
    with pytest.raises(TypeError, match="llm_client must be a LangChain chat model"):
        memory.add(Person(name="Ada", age=36))
    assert memory.items == [ADA]


def test_entities_are_no_ledger(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    file.write_text('[{"name": "Ada"}]')
    with pytest.raises(LoadError, match=r"people\.json: record 0.* a source of dump_sources\(\)"):
        build(track_sources=True).load_sources(file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"name": "Ada"}\n{"name": "Bob"}\n', "of JSON Lines, make an array first"),
        ('[{"age": 36}]', "give it a default, or convert the records with migrate="),
    ],
)
def test_a_file_of_something_else(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    file.write_text(text)
    with pytest.raises(LoadError, match=re.escape(told)):
        build().load_data(file)
