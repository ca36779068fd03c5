"""What type checkers make of the API; checked by test_typing.py, and run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from omem import (
    AddReport,
    ForgetReport,
    HashingEmbedder,
    LoadReport,
    MergeStrategy,
    OMem,
    SourceRecord,
)

if TYPE_CHECKING:
    from typing import assert_type
else:

    def assert_type(value: object, kind: object) -> object:
        return value


class Airport(BaseModel):
    icao: str
    name: str | None = None


memory = OMem(
    Airport,
    key_extractor=lambda airport: airport.icao,
    embedder=HashingEmbedder(),
    strategy_or_merger=MergeStrategy.MERGE_FIELD,
)
assert_type(memory, OMem[Airport])
assert_type(memory.add(Airport(icao="EDDF")), AddReport)
assert_type(memory.get("EDDF"), Airport | None)
assert_type(memory.items, list[Airport])
assert_type(memory.iter_items(), Iterator[Airport])
assert_type(memory.search("x"), list[Airport])
assert_type(memory.search("x", with_scores=True), list[tuple[Airport, float]])
assert_type(memory.search_many(["x"]), list[list[Airport]])
assert_type(memory.search_many(["x"], with_scores=True), list[list[tuple[Airport, float]]])
assert_type(memory.search_by_vector([0.0] * 512), list[Airport])
assert_type(memory.search_by_vector([0.0] * 512, with_scores=True), list[tuple[Airport, float]])
assert_type([airport.icao for airport in memory], list[str])
assert_type(OMem(Airport, ("icao", "name"), verbose=False).get(("a", "b")), Airport | None)
assert_type(memory.forget("EDDF"), ForgetReport)
tracked = OMem(Airport, "icao", track_sources=True, embedder=HashingEmbedder())
assert_type(tracked.add(Airport(icao="EDDF"), source_id="one"), AddReport)
assert_type(tracked.ledger["one"], SourceRecord)
assert_type(tracked.sources_of("EDDF"), list[str])
assert_type(tracked.remove_source("one"), dict[str, Any])


def restore(folder: str) -> LoadReport:
    """A function, so that it is checked and not run."""
    return memory.load(folder)
