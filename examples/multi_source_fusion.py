"""One picture of a person from many sources, and back again when a source turns out to be wrong.

A registry, a newsletter and a scraper say different things. What they agree on is said once, what
contradicts is settled by a model, and a source that cannot be trusted is taken out as if it had
never spoken. Run it with `python examples/multi_source_fusion.py`; it needs no network.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from omem import Merge, MergeStrategy, OMem


class Researcher(BaseModel):
    orcid: str
    name: Annotated[str | None, Merge.LONGEST] = None
    employer: str | None = None
    fields: list[str] = []
    citations: Annotated[int, Merge.MAX] = 0


REGISTRY = [
    Researcher(orcid="0001", name="Ada King", employer="Analytical Society", fields=["maths"]),
    Researcher(orcid="0002", name="A. M. Turing", employer="NPL"),
]
NEWSLETTER = [
    Researcher(orcid="0001", name="Ada King, Countess of Lovelace", fields=["maths", "engines"]),
    Researcher(orcid="0002", fields=["computability"], citations=1936),
]
SCRAPER = [
    Researcher(orcid="0001", employer="Buy Cheap Engines Ltd", fields=["spam"], citations=10**6),
    Researcher(orcid="0666", name="Nobody"),
]


def fake_model(system: str, user: str, schema: type[BaseModel]) -> dict[str, Any]:
    """Stands for a chat model: unites the fields, and lets what is known win elsewhere."""
    existing, incoming = (
        json.loads(part) for part in user.removeprefix("existing:").split("incoming:")
    )
    known = {name: value for name, value in existing.items() if value}
    united = list(dict.fromkeys([*existing["fields"], *incoming["fields"]]))
    return {**incoming, **known, "fields": united}


def main() -> None:
    """Three sources, one of them bad."""
    memory = OMem(Researcher, "orcid", track_sources=True)
    memory.add(REGISTRY, source_id="registry")
    memory.add(SCRAPER, source_id="scraper")
    memory.add(NEWSLETTER, source_id="newsletter")
    ada = memory.get("0001")
    assert ada is not None
    assert (ada.employer, ada.citations) == ("Buy Cheap Engines Ltd", 10**6)
    assert memory.sources_of("0001") == ["registry", "scraper", "newsletter"]

    done = memory.remove_source("scraper")
    assert (done["removed_keys"], done["remerged_keys"]) == (["0666"], ["0001"])
    assert memory.items == [
        Researcher(
            orcid="0001",
            name="Ada King, Countess of Lovelace",
            employer="Analytical Society",
            fields=["maths", "engines"],
        ),
        Researcher(
            orcid="0002",
            name="A. M. Turing",
            employer="NPL",
            fields=["computability"],
            citations=1936,
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        memory.dump(folder)
        files = [path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()]
        assert not any(word in file for file in files for word in (b"spam", b"Cheap", b"Nobody"))

    # The same sources, with a model that weighs what they say.
    weighed = OMem(
        Researcher,
        "orcid",
        fake_model,
        strategy_or_merger=MergeStrategy.LLM.PREFER_EXISTING,
        track_sources=True,
    )
    calls = weighed.add(REGISTRY, source_id="registry").llm_calls
    calls += weighed.add(NEWSLETTER, source_id="newsletter").llm_calls
    assert calls == 2  # one for each person that both sources know
    ada = weighed.get("0001")
    assert ada is not None
    assert (ada.name, ada.fields) == ("Ada King", ["maths", "engines"])
    for person in memory:
        print(f"{person.name}: {', '.join(person.fields)} ({person.employer})")


if __name__ == "__main__":
    main()
