"""The data of the benchmarks: the same ones for the same seed."""

from __future__ import annotations

import random
from typing import Any

_WORDS = (
    "memory agent graph Zürich naïve señal 文字 данные signal merge vector store entity record "
    "größe façade schema index query"
).split()


def profiles(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Eight-field profiles, about 475 bytes each as JSON, ASCII and other text mixed."""
    dice = random.Random(seed)

    def words(n: int) -> str:
        return " ".join(dice.choice(_WORDS) for _ in range(n))

    return [
        {
            "name": f"person-{number:07d}",
            "affiliation": words(3) if number % 5 else None,
            "skills": [words(1) for _ in range(4)],
            "papers": [words(6) for _ in range(3)],
            "bio": words(22),
            "h_index": dice.randrange(90) if number % 7 else None,
            "email": f"p{number}@example.org" if number % 3 else None,
            "score": dice.random() * 100,
        }
        for number in range(count)
    ]
