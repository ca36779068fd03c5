"""The cost of merging grows with the number of observations, and with nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from omem import BaseMerger, OMem


class Item(BaseModel):
    key: str
    tags: list[str] = []
    rank: int = 0


class Last(BaseMerger[Item]):
    def pair_merge(self, existing: Item, incoming: Item) -> Item:
        return incoming


def model(system: str, user: str, schema: type[BaseModel]) -> dict[str, Any]:
    return {"key": "a", "rank": 1}


def duplicates(count: int) -> list[Item]:
    """Observations of one key whose lists grow to `count` elements and fifty."""
    return [Item(key="a", tags=[f"t{n % 50}", f"u{n}"], rank=n) for n in range(count)]


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


CASES: list[tuple[str, int, int, dict[str, Any]]] = [
    ("the engine", 16_000, 64_000, {}),
    ("a merger of one's own", 5_000, 20_000, {"strategy_or_merger": Last("key")}),
    ("a model", 500, 2_000, {"llm_client": model, "strategy_or_merger": "llm_balanced"}),
]


@pytest.mark.parametrize(("few", "many", "options"), [case[1:] for case in CASES])
def test_duplicates_of_one_key_are_merged_in_linear_time(
    few: int, many: int, options: dict[str, Any]
) -> None:
    def once(count: int) -> float:
        items = duplicates(count)
        memory = OMem(Item, "key", **options)
        taken = seconds(lambda: memory.add(items))
        found = memory.get("a")
        assert memory.size == 1
        assert found is not None
        if not options:
            assert (found.rank, len(found.tags)) == (count - 1, count + min(count, 50))
        return taken

    # Four times as many: four times as long, and not sixteen. The best of three, since others
    # use the machine too.
    assert min(once(many) for _ in range(3)) < 9 * min(once(few) for _ in range(3))


def test_a_known_key_costs_the_same_in_a_large_memory() -> None:
    def once(size: int) -> float:
        memory = OMem(Item, "key")
        memory.add([Item(key=f"k{n}", tags=["a"]) for n in range(size)])
        incoming = [Item(key=f"k{n % size}", tags=[f"b{n}"]) for n in range(0, 70_000, 7)]
        taken = seconds(lambda: memory.add(incoming))
        assert memory.size == size
        return taken

    assert min(once(80_000) for _ in range(3)) < 4 * min(once(10_000) for _ in range(3))
