"""The index embeds exactly what changed, and nothing twice."""

from __future__ import annotations

import logging
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

import omem.retry
from embedders import Counting, Status
from models import Profile, profiles
from omem import EmbedderError, OMem


class Note(BaseModel):
    key: str
    text: str = ""
    extra: int = 0


def memory_of(embedder: Any, count: int = 100, **options: Any) -> OMem[Note]:
    memory = OMem(Note, "key", embedder=embedder, **options)
    memory.add([Note(key=f"k{n}", text=f"text {n}") for n in range(count)])
    return memory


@pytest.fixture(params=["Flat", "HNSW8"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(omem.retry.time, "sleep", waits.append)
    return waits


def check(memory: OMem[Note], embedder: Counting) -> None:
    """Every entity is the nearest one to its own text, and only entities are found."""
    present = {note.key for note in memory.items}
    for note in memory.items:
        text = note.model_dump_json(exclude_none=True)
        assert memory.search(text, top_k=1, with_scores=True)[0][1] == 0, note
    assert {note.key for note in memory.search("any", top_k=10 * len(present))} == present


def test_only_what_changed_is_embedded(kind: str) -> None:
    embedder = Counting()
    memory = memory_of(embedder, index=kind)
    memory.build_index()
    assert embedder.count() == 100
    memory.build_index()
    memory.search("q")
    assert embedder.count() == 0
    memory.add(Note(key="new", text="new"))
    memory.search("q")
    assert embedder.count() == 1
    memory.remove("k5")
    assert memory.sync_index() and embedder.count() == 0
    memory.upsert([Note(key="k6", text="other"), Note(key="k7", text="text 7")])
    assert memory.sync_index() and embedder.count() == 1
    memory.build_index(force=True)
    assert embedder.count() == 100
    check(memory, embedder)


def test_equal_texts_are_embedded_once(kind: str) -> None:
    embedder = Counting()
    memory = OMem(Note, "key", embedder=embedder, fields_for_index=["text"], index=kind)
    memory.add([Note(key=f"k{n}", text=f"text {n % 3}") for n in range(60)])
    memory.build_index()
    assert embedder.count() == 3
    memory.remove_many([f"k{n}" for n in range(59)])
    memory.sync_index()
    memory.add([Note(key=f"n{n}", text=f"text {59 % 3}") for n in range(10)])
    memory.search("q")
    assert embedder.count() == 0, "the text of the one that stayed is known"
    assert len(memory.search("q", top_k=100)) == 11


def test_any_history_leaves_what_a_fresh_index_has(kind: str, tmp_path: Path) -> None:
    embedder = Counting()
    memory = memory_of(embedder, 0, index=kind)
    dice = random.Random(3)
    for step in range(60):
        keys = [f"k{dice.randrange(40)}" for _ in range(dice.randrange(1, 12))]
        match dice.randrange(6):
            case 0:
                memory.remove_many(keys)
            case 1:
                memory.upsert([Note(key=key, text=f"text {dice.randrange(50)}") for key in keys])
            case 2 if step % 3 == 0:
                memory.dump_index(tmp_path / "i")
                memory.load_index(tmp_path / "i")
            case _:
                memory.add([Note(key=key, extra=dice.randrange(3)) for key in keys])
        if dice.random() < 0.6:
            assert memory.sync_index() or not memory.has_index()
        memory.search("q")
    check(memory, embedder)


@pytest.mark.parametrize("first", ["data", "index"])
def test_parts_restored_in_any_order_embed_the_difference(
    first: str, kind: str, tmp_path: Path
) -> None:
    embedder = Counting()
    memory = memory_of(embedder, index=kind)
    memory.build_index()
    memory.dump_index(tmp_path / "i")
    memory.upsert([Note(key=f"k{n}", text="edited") for n in range(10)])
    memory.dump_data(tmp_path / "d.json")
    embedder.count()
    fresh = memory_of(embedder, 0, index=kind)
    if first == "index":
        fresh.load_index(tmp_path / "i")
        assert fresh.has_index()
        assert fresh.sync_index() and fresh.search("q") == [], "without entities nothing is found"
        fresh.load_data(tmp_path / "d.json")
    else:
        fresh.load_data(tmp_path / "d.json")
        fresh.load_index(tmp_path / "i")
    assert len(fresh.search("q", top_k=200)) == 100
    assert embedder.count() == 10
    check(fresh, embedder)


def test_a_whole_memory_comes_back_with_its_index(kind: str, tmp_path: Path) -> None:
    embedder = Counting()
    memory = memory_of(embedder, index=kind)
    memory.build_index()
    memory.dump(tmp_path / "m")
    embedder.count()
    fresh = memory_of(embedder, 3, index=kind)
    assert fresh.load(tmp_path / "m").index == "loaded"
    assert len(fresh.search("q", top_k=200)) == 100
    assert embedder.count() == 0
    memory.upsert([Note(key="k1", text="edited")])
    memory.dump(tmp_path / "m")
    report = fresh.load(tmp_path / "m")
    assert report.index == "partial" and any("1 texts" in told for told in report.warnings)
    assert fresh.sync_index() and embedder.count() == 1


def test_a_cleared_memory_that_is_filled_again_pays_nothing(kind: str) -> None:
    embedder = Counting()
    memory = memory_of(embedder, index=kind)
    memory.build_index()
    embedder.count()
    items = memory.items
    memory.clear()
    assert memory.search("q") == [] and memory.has_index() and memory.sync_index()
    memory.add(items)
    assert len(memory.search("q", top_k=200)) == 100
    assert embedder.count() == 0


def test_an_index_emptied_by_removals_stays_and_comes_back(kind: str, tmp_path: Path) -> None:
    embedder = Counting()
    memory = memory_of(embedder, 5, index=kind)
    memory.build_index()
    memory.remove_many([f"k{n}" for n in range(5)])
    assert memory.sync_index() and memory.has_index()
    memory.dump_index(tmp_path / "i")
    memory.dump(tmp_path / "m")
    fresh = memory_of(embedder, 0, index=kind)
    fresh.load_index(tmp_path / "i")
    assert fresh.has_index() and fresh.search("q") == []
    assert fresh.load(tmp_path / "m").index == "loaded" and fresh.has_index()
    fresh.add(Note(key="a"))
    assert [note.key for note in fresh.search("q")] == ["a"]


def test_what_is_gone_is_not_saved(tmp_path: Path) -> None:
    memory = memory_of(Counting(), 10)
    memory.build_index()
    memory.remove("k3")
    memory.dump(tmp_path / "m")
    memory.dump_index(tmp_path / "i")
    for folder in (tmp_path / "m" / "faiss_index", tmp_path / "i"):
        assert b"k3" not in (folder / "docstore.pkl").read_bytes()
        assert (folder / "index.faiss").stat().st_size == 45 + 9 * 16 * 4
    assert memory.sync_index() and len(memory.search("q", top_k=20)) == 9


def test_graph_rows_that_are_given_up_are_dropped_when_many() -> None:
    embedder = Counting()
    memory = memory_of(embedder, 600, index="HNSW8")
    memory.build_index()
    memory.upsert([Note(key=f"k{n}", text=f"second {n}") for n in range(200)])
    memory.sync_index()
    index = memory._index
    assert index is not None and (len(index), index.spare) == (600, 200)
    memory.remove_many([f"k{n}" for n in range(100, 300)])
    embedder.count()
    memory.sync_index()
    assert (len(index), index.spare) == (400, 0) and embedder.count() == 0
    check(memory, embedder)


def test_batches_progress_and_options() -> None:
    embedder = Counting()
    memory = memory_of(embedder, 100, embed_batch_size=30)
    steps: list[tuple[int, int]] = []
    memory.build_index(progress=lambda done, texts: steps.append((done, texts)))
    assert embedder.batches == [30, 30, 30, 10]
    assert [texts for _, texts in steps] == [30, 60, 90, 100]
    assert steps[-1][0] == sum(len(text) for text in embedder.texts)
    memory.embed_batch_size = 100
    embedder.count()
    memory.build_index(force=True)
    assert embedder.batches == [100]
    with pytest.raises(ValueError, match="embed_batch_size"):
        memory_of(embedder, embed_batch_size=0)
    for bad in ("IVF", "HNSW", "HNSW1", "HNSW999", "flat", ""):
        with pytest.raises(ValueError, match="index must be"):
            memory_of(embedder, index=bad)
    with pytest.raises(ValueError, match="metric must be"):
        memory_of(embedder, metric="euclid")


def test_transient_errors_are_tried_again(no_waiting: list[float]) -> None:
    embedder = Counting()
    failures = [Status(429), TimeoutError(), ConnectionError()]

    def fail(texts: list[str]) -> None:
        if failures:
            raise failures.pop()

    embedder.before = fail
    memory = memory_of(embedder)
    memory.build_index()
    assert embedder.count() == 100
    assert len(no_waiting) == 3 and no_waiting[0] < 0.6 and sum(no_waiting) > 1


def test_what_was_embedded_before_a_failure_is_kept(no_waiting: list[float], kind: str) -> None:
    embedder = Counting()
    memory = memory_of(embedder, embed_batch_size=10, index=kind)
    calls = 0

    def fail(texts: list[str]) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise ValueError("quota")

    embedder.before = fail
    with pytest.raises(EmbedderError, match="texts 40 to 49: ValueError: quota"):
        memory.build_index()
    assert no_waiting == [], "a ValueError does not go away by itself"
    with pytest.raises(EmbedderError, match="quota"):
        memory.search("q")
    embedder.before = None
    memory.search("q")
    assert embedder.count() == 100, "no text was embedded twice"

    memory.upsert([Note(key=f"k{n}", text="second") for n in range(50)])
    embedder.before, calls = fail, 2
    assert not memory.sync_index() and memory.has_index()
    with pytest.raises(EmbedderError):
        memory.search("q")
    embedder.before = None
    assert memory.sync_index() and embedder.count() == 50
    check(memory, embedder)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda texts: [[1.0, 2.0]] * (len(texts) - 1), "texts 30 to 59.*30 vectors"),
        (lambda texts: [[1.0, float("nan")]] * len(texts), "NaN.*texts 30 to 59"),
        (lambda texts: [[1.0, float("inf")]] * len(texts), "infinite.*texts 30 to 59"),
        (lambda texts: [[1.0]] * len(texts), "dimension 1, the index has 2"),
        (lambda texts: [[1.0, 2.0], [1.0]] * (len(texts) // 2), "no vectors for.*texts 30 to 59"),
        (lambda texts: None, "no vectors|shape"),
    ],
)
def test_vectors_that_cannot_be_are_told(answer: Any, told: str) -> None:
    class Bad:
        calls = 0

        def embed_documents(self, texts: list[str]) -> Any:
            self.calls += 1
            return answer(texts) if self.calls == 2 else [[1.0, 2.0]] * len(texts)

        def embed_query(self, text: str) -> Any:
            return [1.0, 2.0]

    memory = memory_of(Bad(), 100, embed_batch_size=30)
    with pytest.raises(EmbedderError, match=told):
        memory.build_index()
    memory.build_index()
    assert len(memory.search("q", top_k=500)) == 100


def test_another_dimension_is_told_and_not_paid_for() -> None:
    embedder = Counting(dim=16)
    memory = memory_of(embedder)
    memory.build_index()
    for model in ("counting", "other"):
        other = Counting(dim=8, model=model)
        memory.embedder = other
        with pytest.raises(EmbedderError, match=r"dimension 8.*16.*force=True"):
            memory.search("q")
        assert other.count() == 0
        memory.add(Note(key=f"one {model}"))
        with pytest.raises(EmbedderError, match="dimension 8"):
            memory.build_index()
        assert other.count() <= 256 and not memory.sync_index()
    memory.embedder = embedder
    assert len(memory.search("q", top_k=500)) == 102, "the old vectors are still there"
    memory.embedder = other
    other.count()
    memory.build_index(force=True)
    assert other.count() == 102
    check(memory, other)


def test_vectors_of_another_embedder_are_never_mixed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embedder, other = Counting(model="one"), Counting(model="two")
    other.vector = lambda text: [-value for value in embedder.vector(text)]  # type: ignore[method-assign]
    memory = memory_of(embedder)
    memory.build_index()
    memory.dump(tmp_path / "m")
    memory.embedder = other
    memory.add(Note(key="new"))
    with caplog.at_level(logging.WARNING, "omem"):
        check(memory, other)
    assert other.count() == 101 and "embedded again" in caplog.text

    fresh = memory_of(other, 0)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "omem"):
        report = fresh.load(tmp_path / "m")
        assert report.index.startswith("rejected") and "one" in report.index
        assert not fresh.has_index()
        fresh.load_index(tmp_path / "m" / "faiss_index")
    assert not fresh.has_index() and "Counting:one" in caplog.text
    check(fresh, other)
    assert other.count() == 100


def test_another_choice_of_fields_is_told_and_embeds_what_differs(tmp_path: Path) -> None:
    embedder = Counting()
    memory = OMem(Note, "key", embedder=embedder, fields_for_index=["text"])
    memory.add([Note(key=f"k{n}", text=f"text {n}") for n in range(10)])
    memory.build_index()
    memory.dump(tmp_path / "m")
    embedder.count()
    fresh = OMem(Note, "key", embedder=embedder, fields_for_index=["key"])
    report = fresh.load(tmp_path / "m")
    assert report.index == "partial" and any("fields" in told for told in report.warnings)
    fresh.search("q")
    assert embedder.texts == [f"key: k{n}" for n in range(10)]


def test_another_kind_is_told_and_pays_nothing(tmp_path: Path) -> None:
    embedder = Counting()
    for kind, metric in [("Flat", "l2"), ("HNSW8", "ip"), ("Flat", "cosine")]:
        memory = memory_of(embedder, index=kind, metric=metric)
        memory.build_index()
        memory.dump(tmp_path / "m")
        embedder.count()
        for other in ("Flat", "HNSW16"):
            for wanted in ("l2", "cosine", "ip"):
                fresh = memory_of(embedder, 0, index=other, metric=wanted)
                report = fresh.load(tmp_path / "m")
                if metric == "cosine" and wanted != "cosine":
                    assert report.index.startswith("rejected") and "cosine" in report.index
                    continue
                same = (kind, metric) == (other, wanted)
                assert report.index == "loaded" and same == (not report.warnings)
                twin = memory_of(Counting(), index="Flat", metric=wanted)
                query = "text 7"
                found = [note.key for note in fresh.search(query, top_k=10)]
                assert found == [note.key for note in twin.search(query, top_k=10)]
                assert embedder.count() == 0


def test_keys_of_every_type_are_found(tmp_path: Path) -> None:
    from datetime import UTC, date, datetime
    from uuid import UUID

    class Any_(BaseModel):
        id: Any = None
        text: str = ""

    class Keyed(BaseModel):
        number: int
        text: str

    keys: list[Any] = [
        "a\nb", "", "ü文", 7, -1, 2**70, 1.5, True, b"\x00\n", UUID(int=5), date(2024, 2, 29),
        datetime(2024, 2, 29, 1, 2, 3, 4), datetime(2024, 2, 29, tzinfo=UTC), ("a", 1, ("b", 2.5)),
    ]  # fmt: skip
    embedder = Counting()
    memory = OMem(Keyed, lambda item: keys[item.number], embedder=embedder)
    memory.add([Keyed(number=n, text=f"text {n}") for n in range(len(keys))])
    memory.build_index()
    memory.dump(tmp_path / "m")
    embedder.count()
    fresh = OMem(Keyed, lambda item: keys[item.number], embedder=embedder)
    assert fresh.load(tmp_path / "m").index == "loaded"
    for number, key in enumerate(keys):
        text = Keyed(number=number, text=f"text {number}").model_dump_json()
        assert fresh.search(text, top_k=1)[0].number == number
        assert fresh.sync_index(upserted_keys=[key], removed_keys=[key])
    assert embedder.count() == 0
    assert fresh.remove_many(keys) == (keys, [])
    assert fresh.sync_index() and fresh.search("q") == [] and fresh.has_index()


def test_a_place_without_an_index_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = memory_of(Counting(), 5)
    memory.build_index()
    memory.dump(tmp_path / "whole")
    with caplog.at_level(logging.WARNING, "omem"):
        memory.load_index(tmp_path / "whole")
    assert "holds no index; dump() writes it to its folder faiss_index" in caplog.text
    with pytest.raises(NotADirectoryError):
        memory.load_index(tmp_path / "whole" / "memory.json")
    assert memory.has_index()


def test_client_code_of_the_peer(tmp_path: Path) -> None:
    embedder = Counting()
    memory = memory_of(embedder, 20)
    assert not memory.sync_index(removed_keys={"k1"}) and not memory.has_index()
    memory.dump_index(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    memory.load_index(str(tmp_path / "none"))
    with pytest.raises(TypeError, match=r"removed_keys must be several keys, as \['k1'\]"):
        memory.sync_index(removed_keys="k1")
    memory.build_index()
    other = memory_of(embedder, 5)
    with memory.suspended_index() as index, other.suspended_index() as none:
        assert index is not None and none is None
        removed, _ = memory.remove_many(("k1", "k2"))
        memory.upsert(Note(key="k3", text="new"))
        assert memory.has_index()
    embedder.count()
    assert memory.sync_index(removed_keys=removed, upserted_keys={"k3"})
    assert embedder.count() == 1
    memory.dump_index(str(tmp_path / "i"))
    memory.clear_index()
    assert not memory.has_index() and not memory.index_built
    memory.load_index(tmp_path / "i")
    assert {n.key for n in memory.search("q", top_k=50)} == {n.key for n in memory.items}
    assert embedder.count() == 0


def test_dumping_while_vectors_change_saves_one_moment(tmp_path: Path) -> None:
    embedder = Counting(dim=64)
    memory = memory_of(embedder, 3000)
    memory.build_index()
    stop = threading.Event()
    errors: list[BaseException] = []

    def change() -> None:
        dice = random.Random(1)
        try:
            while not stop.is_set():
                memory.upsert([Note(key=f"k{dice.randrange(3000)}", text=f"{dice.random()}")])
                memory.remove(f"k{dice.randrange(3000)}")
                memory.sync_index()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for round_ in range(5):
            memory.dump(tmp_path / f"{round_}")
    finally:
        stop.set()
        thread.join()
    assert not errors
    for round_ in range(5):
        fresh = memory_of(embedder, 0)
        fresh.load(tmp_path / f"{round_}")
        embedder.count()
        fresh.sync_index()
        assert embedder.count() <= 1, "what was about to be embedded, and no more"
        vectors = fresh._index
        assert vectors is not None and vectors.store is not None
        texts = {note.key: note.model_dump_json() for note in fresh.items}
        rows = vectors.rows.keys(range(len(vectors.rows)))
        for key, vector in zip(rows, vectors.store.vectors, strict=True):
            own = np.float32(embedder.vector(texts[key.decode().strip('"')]))
            assert np.array_equal(vector, own)


def test_an_embedder_that_comes_back_to_the_memory() -> None:
    embedder = Counting()
    memory = memory_of(embedder)
    found: list[Any] = []

    def ask(texts: list[str]) -> None:
        with pytest.raises(RuntimeError, match="embedder must not"):
            memory.build_index()
        with pytest.raises(RuntimeError, match="embedder must not"):
            memory.sync_index()
        found.append(memory.get("k1"))

    memory.build_index()
    embedder.before = ask
    memory.add(Note(key="new"))
    memory.search("q")
    assert len(found) == 1


def test_profiles_of_realistic_size() -> None:
    embedder = Counting()
    memory = OMem(Profile, "name", embedder=embedder, fields_for_index=["skills", "bio", "score"])
    memory.add(profiles(2000))
    memory.build_index()
    memory.add(profiles(2000))
    assert memory.sync_index() and embedder.count() == 2000
