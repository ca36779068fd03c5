"""One entity per person and day: a composite key, rules per field, and a model for the prose.

Many observations of a day come in from several devices, in any order and more than once. The
numbers merge by rules, in Rust; the diary is put together by a model, only where a day has several
entries. Run it with `python examples/daily_snapshots.py`; it needs no network.
"""

from __future__ import annotations

import json
import tempfile
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel

from omem import Merge, MergeStrategy, OMem


class Day(BaseModel):
    """What is known of one person on one day."""

    user: str
    day: date
    steps: Annotated[int, Merge.MAX] = 0
    """A counter that only grows, read at different times."""
    resting_pulse: Annotated[int | None, Merge.MIN] = None
    places: list[str] = []


class Diary(BaseModel):
    user: str
    day: date
    summary: str


def fake_model(system: str, user: str, schema: type[BaseModel]) -> dict[str, Any]:
    """Stands for a chat model: joins the sentences of both summaries, each once."""
    existing, incoming = (
        json.loads(part) for part in user.removeprefix("existing:").split("incoming:")
    )
    sentences = dict.fromkeys(f"{existing['summary']} {incoming['summary']}".split(". "))
    return {**existing, "summary": ". ".join(sentences)}


def main() -> None:
    """Merge three days of two people."""
    monday, tuesday = date(2026, 3, 2), date(2026, 3, 3)
    days = OMem(Day, ("user", "day"))
    report = days.add(
        [
            Day(user="ada", day=monday, steps=4200, resting_pulse=58, places=["home", "office"]),
            Day(user="ada", day=monday, steps=9100, places=["office", "gym"]),
            Day(user="ada", day=tuesday, steps=300, resting_pulse=61),
            Day(user="alan", day=monday, steps=12000, places=["track"]),
            Day(user="ada", day=monday, steps=7000, resting_pulse=55),  # late, from the watch
        ]
    )
    assert (report.added, report.merged) == (3, 2)
    assert days.get(("ada", monday)) == Day(
        user="ada", day=monday, steps=9100, resting_pulse=55, places=["home", "office", "gym"]
    )
    assert days.keys == [("ada", monday), ("ada", tuesday), ("alan", monday)]

    with tempfile.TemporaryDirectory() as folder:
        days.dump(folder)
        restored = OMem(Day, ("user", "day"))
        restored.load(folder)
        assert restored.items == days.items
        again = restored.add(days.items)  # the same day sent twice changes nothing
        assert (again.merged, again.unchanged) == (0, 3)

    diary = OMem(
        Diary,
        ("user", "day"),
        fake_model,
        strategy_or_merger=MergeStrategy.LLM.CUSTOM_RULE,
        rule="Write one summary of the day, in the order of events.",
    )
    report = diary.add(
        [
            Diary(user="ada", day=monday, summary="Met Alan."),
            Diary(user="ada", day=tuesday, summary="Wrote all day."),
            Diary(user="ada", day=monday, summary="Went to the gym."),
        ]
    )
    assert report.llm_calls == 1  # Tuesday has one entry and costs nothing
    entry = diary.get(("ada", monday))
    assert entry is not None
    assert entry.summary == "Met Alan. Went to the gym."
    for item in days:
        print(f"{item.day} {item.user:5} {item.steps:6} steps  {', '.join(item.places)}")


if __name__ == "__main__":
    main()
