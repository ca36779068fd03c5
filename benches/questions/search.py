"""How long does one search take, beyond the embedder?

The five nearest of all entities by vectors of 384 dimensions. Flat: exact. HNSW: a graph, whose
answers must hold nine in ten of the true nearest. Scoped: the five nearest among fifty entities of
one source, exactly. The answers are compared with a product of matrices in NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benches.peers.vectors import Vectors, seeded
from benches.questions import case
from benches.trial import Trial

WHY = {
    "ontomem": "its index is the same flat one, which takes nearly all of the time (0.8 ms); omem "
    "makes five models of the caller's own and makes sure that the vector is finite and the index "
    "up to date: 51 µs of CPU a search where ontomem takes 38",
    "faiss": "the limit: it gives positions in the index, no entities",
}
QUERIES, NEAREST, SCOPE = 40, 5, 50


def true_nearest(vectors: Vectors, queries: Vectors, scope: range) -> list[list[int]]:
    near = queries @ vectors[scope.start : scope.stop].T
    return [[scope.start + int(at) for at in np.argsort(-row)[:NEAREST]] for row in near]


def asked(peer: Any, trial: Trial, recall: float, scope: range | None = None) -> float:
    items = trial.items
    vectors = seeded(len(items))
    queries = seeded(QUERIES, seed=6)

    def work() -> list[list[Any]]:
        if scope is None:
            return [peer.search(query, NEAREST) for query in queries]
        return [peer.search_scoped(query, NEAREST) for query in queries]

    work()  # what the index still has to do is not part of a search
    seconds = trial.clock(work)
    wanted = true_nearest(vectors, queries, scope or range(len(items)))
    place = {row[trial.data.key]: at for at, row in enumerate(trial.rows)}

    def position(found: Any) -> int:
        return found if isinstance(found, int) else place[getattr(found, trial.data.key)]

    most = max(map(len, trial.answer))
    trial.expect(most <= NEAREST, f"{most} were found instead of {NEAREST}")
    hits = sum(
        len({position(found) for found in answer} & set(expected))
        for answer, expected in zip(trial.answer, wanted, strict=True)
    )
    got = hits / (QUERIES * min(NEAREST, len(items)))
    trial.expect(got >= recall, f"only {got:.0%} of the true nearest were found")
    return seconds / QUERIES * 1e6


@case("flat", "index", "search", unit="µs")
def flat(peer: Any, trial: Trial) -> float:
    trial.once("flat", lambda: peer.index(trial.items, seeded(len(trial.items))))
    return asked(peer, trial, recall=0.999)


@case("HNSW", "index_hnsw", "search", unit="µs")
def hnsw(peer: Any, trial: Trial) -> float:
    trial.once("hnsw", lambda: peer.index_hnsw(trial.items, seeded(len(trial.items))))
    return asked(peer, trial, recall=0.9)


@case("scoped to 50 entities", "index_scoped", "search_scoped", unit="µs")
def scoped(peer: Any, trial: Trial) -> float:
    scope = range(min(SCOPE, len(trial.items)))
    vectors = seeded(len(trial.items))
    trial.once("scoped", lambda: peer.index_scoped(trial.items, vectors, scope))
    return asked(peer, trial, recall=0.999, scope=scope)
