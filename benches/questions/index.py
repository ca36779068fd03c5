"""How long does building the vector index take, beyond the embedder's own time?

384 dimensions from an embedder that costs nothing: its time is measured and taken off. FAISS alone
gets all vectors in one piece, as a flat index of exact distances.
"""

from __future__ import annotations

from typing import Any

from benches.peers.vectors import seeded
from benches.questions import case
from benches.trial import Trial

WHY = {"faiss": "the limit: no texts are made, no keys kept; the vectors are there in one piece"}


@case("flat index", "index", "search")
def build(peer: Any, trial: Trial) -> float:
    vectors = seeded(len(trial.items))
    seconds = trial.clock(lambda: peer.index(trial.items, vectors))
    at = len(trial.items) // 3
    found = peer.search(vectors[at], 1)
    expected = at if isinstance(found[0], int) else trial.items[at]
    trial.expect(found[0] == expected, "the nearest entity is another one")
    return seconds if trial.answer is None else trial.answer
