"""The memory: `OMem`."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TypeVar

from pydantic import BaseModel

from omem.memory.rollback import Rollback

T = TypeVar("T", bound=BaseModel)


class OMem(Rollback[T]):
    """A memory of consolidated entities.

    Observations with the same key are merged into one entity; entities are found by key, by
    lookup and by meaning; the memory is saved to a folder and restored from it. What goes in and
    comes out are models; at rest an entity is its JSON record, held in Rust.

    Args:
        memory_schema: The Pydantic model of the entities.
        key_extractor: What identifies an entity: a field name, a dotted path, a tuple of those, or
            a function of the model. Keys are str, int, float, bool, bytes, UUID, date, datetime,
            Enum members, or tuples of those.
        llm_client: The model for LLM strategies and `edit`: a LangChain chat model, or a callable
            `(system, user, schema) -> schema instance | dict | JSON text`.
        embedder: What embeds texts for the index: any object with `embed_documents` and
            `embed_query`.
        strategy_or_merger: A `MergeStrategy` or a merger object.
        fields_for_index: The fields whose text is embedded; the whole record by default.
        index: The kind of index: "Flat", which is exact, or "HNSW" and the number of links of its
            graph, such as "HNSW32", which is approximate and faster from some 100,000 entities on.
        metric: How vectors are compared: "l2", "cosine" or "ip" (inner product).
        embed_batch_size: At most so many texts go into one call of the embedder; also an attribute.
        verbose: Set the `omem` logger to DEBUG; `configure_logging()` shows what it logs.
        track_sources: Keep the source ledger: what each source said, so that it can be taken back
            (`remove_source`).
        lossy: What to do with a value that would not survive saving: "error", "warn" or "allow".
        on_conflict: What `add` does where an observation cannot be merged, since the result would
            break a constraint of the model or a rule fails: "raise" MergeError and change nothing,
            or keep what is known, set the observation aside in `quarantine`, and go on.
        merger_options: Options of the strategy: `lists` ("union", "append", "replace") for
            MERGE_FIELD; `rule`, `dynamic_rule`, `max_workers`, `max_retries`, `on_llm_error` for
            LLM strategies.

    Raises:
        TypeError: The schema is no Pydantic model, or an option is unknown.
        ValueError: An option has a value that it cannot have.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import HashingEmbedder, OMem
        >>> class Airport(BaseModel):
        ...     icao: str
        ...     name: str
        ...     aliases: list[str] = []
        >>> memory = OMem(Airport, "icao", embedder=HashingEmbedder())
        >>> _ = memory.add([
        ...     Airport(icao="EDDF", name="Frankfurt am Main", aliases=["FRA"]),
        ...     Airport(icao="EGLL", name="London Heathrow"),
        ... ])
        >>> [airport.name for airport in memory.search("frankfurt main", top_k=1)]
        ['Frankfurt am Main']
    """


# A call with wrong arguments is told by the name that the user knows, not by that of a base.
for _base in OMem.__mro__:
    if _base.__module__.startswith("omem.memory."):
        for _member in vars(_base).values():
            if isinstance(_member, FunctionType):
                inspect.unwrap(_member).__qualname__ = f"OMem.{_member.__name__}"

__all__ = ["OMem"]
