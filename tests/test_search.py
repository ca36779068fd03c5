"""Searches find exactly what they should."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from embedders import Counting
from omem import EmbedderError, OMem


class Note(BaseModel):
    key: str
    group: int = 0


def memory_of(count: int = 300, **options: Any) -> tuple[OMem[Note], Counting]:
    embedder = Counting()
    memory = OMem(Note, "key", embedder=embedder, **options)
    memory.add([Note(key=f"k{n}", group=n % 10) for n in range(count)])
    memory.build_index()
    return memory, embedder


def nearest(memory: OMem[Note], embedder: Counting, query: str, metric: str) -> dict[str, float]:
    """The distance of every entity by plain arithmetic, the nearest first."""
    asked = np.array(embedder.vector(query))
    found = {}
    for note in memory.items:
        own = np.array(embedder.vector(note.model_dump_json(exclude_none=True)))
        found[note.key] = float(
            {
                "l2": ((own - asked) ** 2).sum(),
                "cosine": 1 - own @ asked / np.linalg.norm(own) / np.linalg.norm(asked),
                "ip": -(own @ asked),
            }[metric]
        )
    return dict(sorted(found.items(), key=lambda item: item[1]))


@pytest.mark.parametrize("kind", ["Flat", "HNSW16"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_the_nearest_are_found_with_their_scores(kind: str, metric: str) -> None:
    memory, embedder = memory_of(index=kind, metric=metric)
    truth = nearest(memory, embedder, "question", metric)
    found = memory.search(query="question", top_k=20, with_scores=True)
    assert [note.key for note, _ in found] == list(truth)[:20]
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    wanted = [1 - d if metric == "cosine" else -d for d in list(truth.values())[:20]]
    assert scores == pytest.approx(wanted, abs=1e-4)
    limit = (list(truth.values())[6] + list(truth.values())[7]) / 2
    assert len(memory.search("question", top_k=20, max_distance=limit)) == 7
    assert memory.search("question", max_distance=limit - 1e6) == []
    by_vector = memory.search_by_vector(embedder.vector("question"), 20, with_scores=True)
    assert by_vector == found
    many = memory.search_many(["question", "other"], top_k=20, with_scores=True)
    assert [note for note, _ in many[0]] == [note for note, _ in found]
    assert [note for note, _ in many[1]] == memory.search("other", top_k=20)


@pytest.mark.parametrize("kind", ["Flat", "HNSW16"])
def test_a_filter_still_gives_as_many_as_there_are(kind: str) -> None:
    memory, embedder = memory_of(index=kind)
    order = list(nearest(memory, embedder, "q", "l2"))
    asked: list[str] = []

    def where(note: Note) -> bool:
        asked.append(note.key)
        return note.group == 3

    wanted = [key for key in order if memory.get(key).group == 3]  # type: ignore[union-attr]
    for top_k in (1, 5, 30, 100):
        found = memory.search("q", top_k=top_k, where=where)
        assert [note.key for note in found] == wanted[:top_k]
    assert memory.search("q", where=lambda note: False) == []
    with pytest.raises(ZeroDivisionError):
        memory.search("q", where=lambda note: 1 // 0)
    for size in (0, 1, 4, 40, 250):
        scope = {f'"{key}"'.encode() for key in order[::-1][:size]}
        near = [order[n] for n in range(len(order)) if f'"{order[n]}"'.encode() in scope]
        memory._scope = lambda source_ids, tags, scope=scope: scope  # type: ignore[method-assign]
        assert [note.key for note in memory.search("q", top_k=7)] == near[:7]
        assert [note.key for note in memory.search("q", top_k=999)] == near


def test_what_is_gone_is_never_found_and_never_missed() -> None:
    memory, embedder = memory_of()
    order = list(nearest(memory, embedder, "q", "l2"))
    started = threading.Event()
    release = threading.Event()

    def wait(texts: list[str]) -> None:
        started.set()
        release.wait(30)

    embedder.before = wait
    memory.add(Note(key="slow"))
    thread = threading.Thread(target=memory.build_index)
    thread.start()
    assert started.wait(30)
    try:
        # While the embedder is asked, others search what is there, without what is gone by now.
        memory.remove_many(order[:50])
        start = time.monotonic()
        assert [note.key for note in memory.search("q", top_k=7)] == order[50:57]
        assert time.monotonic() - start < 5
    finally:
        release.set()
        thread.join()
    embedder.before = None
    assert len(memory.search("q", top_k=999)) == 251


def test_searches_go_on_while_others_add_and_build() -> None:
    memory, _ = memory_of(200)
    stop, errors = threading.Event(), []

    def search() -> None:
        try:
            while not stop.is_set():
                found = [note.key for note in memory.search("q", top_k=20)]
                assert len(found) == len(set(found)) == 20
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(30):
        memory.add([Note(key=f"n{step}-{n}") for n in range(10)])
        memory.remove(f"n{step}-0")
        memory.build_index(force=step % 10 == 9)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(memory.search("q", top_k=999)) == memory.size == 470


def test_a_child_searches() -> None:
    memory, _ = memory_of(2000)
    memory.search_many([f"{n}" for n in range(200)])
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            memory.search("q")

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                found = len(memory.search("q", top_k=7)) + len(memory.search_many(["a"] * 50)[9])
                os._exit(0 if found == 12 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()


def test_questions_that_cannot_be_answered() -> None:
    memory, embedder = memory_of(5)
    assert memory.search("q", top_k=0) == [] and memory.search_many([]) == []
    with pytest.raises(ValueError, match="top_k"):
        memory.search("q", top_k=-1)
    with pytest.raises(TypeError):
        memory.search("q", top_k=1.5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="sequence of str"):
        memory.search_many("query")
    with pytest.raises(TypeError, match="a query must be a str, not list"):
        memory.search(["query"])  # type: ignore[call-overload]
    for search in (
        memory.search,
        lambda query, **options: memory.search_by_vector([1.0], **options),
    ):
        with pytest.raises(TypeError, match="where must be a function of the entity"):
            search("query", where={"group": 1})
    for vector in ([1.0], [float("nan")] * 16, "text", [[1.0] * 16]):
        with pytest.raises(ValueError, match="vector"):
            memory.search_by_vector(vector)  # type: ignore[arg-type]
    embedder.vector = lambda text: [float("nan")] * 16  # type: ignore[method-assign]
    with pytest.raises(EmbedderError, match=r"NaN.*the query 'q'"):
        memory.search("q")
