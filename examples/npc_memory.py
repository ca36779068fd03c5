"""The memory of a game's characters: found by key, by place, by friend and by what they know.

The game tells what happens as small observations; each character's entity grows. Run it with
`python examples/npc_memory.py`; it needs no network.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, Field

from omem import HashingEmbedder, Merge, OMem

Mood = Annotated[int, Merge.SUM, Field(ge=-10, le=10)]


class Npc(BaseModel):
    name: str
    place: str | None = None
    mood: Mood = 0
    trust: dict[str, int] = {}
    friends: set[str] = set()
    facts: list[str] = []


def fake_editor(system: str, user: str, schema: type[BaseModel]) -> dict[str, Any]:
    """Stands for a chat model: removes the facts that name the stolen crown."""
    record = json.loads(user.split("record:")[1].split("to do:")[0])
    return {**record, "facts": [fact for fact in record["facts"] if "crown" not in fact]}


def main() -> None:
    """A day in the village."""
    memory = OMem(
        Npc, "name", fake_editor, HashingEmbedder(), on_conflict="quarantine", fields_for_index=None
    )
    memory.create_lookup("by_place", "place")
    memory.create_lookup("by_friend", "friends", each=True)
    memory.add(
        [
            Npc(name="Mira", place="harbour", facts=["The ship from Riga is late."]),
            Npc(name="Odo", place="market", mood=4, friends={"Mira"}),
            Npc(name="Pia", place="market", friends={"Mira", "Odo"}),
        ]
    )
    # The player helps Odo, who then walks to the harbour.
    memory.add(Npc(name="Odo", mood=3, trust={"player": 2}, facts=["The player found my cat."]))
    memory.add(Npc(name="Odo", place="harbour"))
    memory.add(Npc(name="Odo", facts=["The crown was stolen by Pia."], trust={"Pia": -5}))

    assert [npc.name for npc in memory.get_by_lookup("by_place", "harbour")] == ["Mira", "Odo"]
    assert [npc.name for npc in memory.get_by_lookup("by_place", "market")] == ["Pia"]
    assert [npc.name for npc in memory.get_by_lookup("by_friend", "Mira")] == ["Odo", "Pia"]
    odo = memory.get("Odo")
    assert odo is not None
    assert (odo.mood, odo.trust) == (7, {"player": 2, "Pia": -5})

    # Nobody is happier than 10: a gift too many is set aside, and the story goes on.
    report = memory.add([Npc(name="Odo", mood=9), Npc(name="Pia", mood=9)])
    assert (report.merged, report.quarantined) == (1, 1)
    assert [aside.item.mood for aside in memory.quarantine["Odo"]] == [9]
    assert odo == memory.get("Odo")

    # A wizard makes Odo forget; what he knows of the cat stays.
    done = memory.edit("Odo", remove_fact="Pia stole the crown")
    assert done["applied"]
    assert done["new"].facts == ["The player found my cat."]

    memory.build_index()
    assert [npc.name for npc in memory.search("is the ship from Riga here", top_k=1)] == ["Mira"]
    assert memory.remove("Pia")
    assert memory.get_by_lookup("by_place", "market") == []
    assert [npc.name for npc in memory.get_by_lookup("by_friend", "Mira")] == ["Odo"]
    for npc in memory:
        print(f"{npc.name} at the {npc.place}, mood {npc.mood}: {' '.join(npc.facts)}")


if __name__ == "__main__":
    main()
