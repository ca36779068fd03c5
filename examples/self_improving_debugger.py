"""An agent that gets better at fixing bugs: it remembers what helped and what did not.

Each attempt at a fix is an observation of the error's signature. Counts and lists merge by rules;
the lesson is rewritten by a model. A new error finds the nearest known one by meaning. Run it
with `python examples/self_improving_debugger.py`; it needs no network.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel

from omem import FieldMerger, HashingEmbedder, Merge, MergeStrategy, OMem

FIXES = ["restart the service", "raise the pool size", "close the session in a finally block"]
TRUTH = "close the session in a finally block"


class Experience(BaseModel):
    """All that is known of one kind of error."""

    signature: str
    message: str = ""
    attempts: Annotated[int, Merge.SUM] = 0
    tried: list[str] = []
    solved_by: str | None = None
    lesson: str | None = None


def fake_model(system: str, user: str, schema: type[BaseModel]) -> dict[str, Any]:
    """Stands for a chat model that follows the rule it is given."""
    existing, incoming = (
        json.loads(part) for part in user.removeprefix("existing:").split("incoming:")
    )
    assert "never forget a fix that failed" in system
    tried = list(dict.fromkeys([*existing["tried"], *incoming["tried"]]))
    solved = incoming["solved_by"] or existing["solved_by"]
    failed = [fix for fix in tried if fix != solved]
    return {
        **existing,
        "attempts": existing["attempts"] + incoming["attempts"],
        "tried": tried,
        "solved_by": solved,
        "lesson": f"{solved or 'open'}; not: {', '.join(failed)}",
    }


def fix(memory: OMem[Experience], signature: str, message: str) -> int:
    """Try fixes until one works, the promising ones first; how many it took."""
    known = memory.search(message, top_k=1)
    plan = [known[0].solved_by] if known and known[0].solved_by else []
    failed = known[0].tried if known else []
    plan += [way for way in FIXES if way not in failed and way not in plan]
    for number, way in enumerate(plan, start=1):
        works = way == TRUTH
        memory.add(
            Experience(
                signature=signature,
                message=message,
                attempts=1,
                tried=[way],
                solved_by=way if works else None,
            )
        )
        if works:
            memory.build_index()
            return number
    raise AssertionError("no fix worked")


def main() -> None:
    """The same trouble, three times."""
    memory = OMem(
        Experience,
        "signature",
        fake_model,
        HashingEmbedder(),
        strategy_or_merger=MergeStrategy.LLM.CUSTOM_RULE,
        rule="Add up attempts, unite what was tried, and never forget a fix that failed.",
        dynamic_rule=lambda: f"The fixes in use: {FIXES}",
        fields_for_index=["message"],
    )
    memory.build_index()
    first = fix(memory, "TimeoutError@pool.py", "connection pool exhausted after 30 s in checkout")
    second = fix(memory, "TimeoutError@orders.py", "connection pool exhausted in orders worker")
    assert (first, second) == (3, 1)

    known = memory.get("TimeoutError@pool.py")
    assert known is not None
    assert (known.attempts, known.tried, known.solved_by) == (3, FIXES, TRUTH)
    assert known.lesson == f"{TRUTH}; not: restart the service, raise the pool size"

    # The model is down: what it would have merged is merged by rules, and nothing is forgotten.
    def outage(system: str, user: str, schema: type[BaseModel]) -> Any:
        raise ValueError("the model is gone")

    memory.llm_client = outage
    seen = Experience(signature=known.signature, attempts=1, tried=["drop the cache"])
    memory.add(seen)
    after = memory.get(known.signature)
    assert after == FieldMerger[Experience]("signature").pair_merge(known, seen)
    assert after is not None
    assert (after.attempts, after.tried[-1], after.solved_by) == (4, "drop the cache", TRUTH)
    print(f"first {first} attempts, then {second}; lesson: {after.lesson}")


if __name__ == "__main__":
    main()
