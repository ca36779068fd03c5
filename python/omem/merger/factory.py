"""From a strategy's name to its merger."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

from omem.merger.base import BaseMerger
from omem.merger.classic import FieldMerger, KeepExistingMerger, KeepIncomingMerger
from omem.merger.llm import (
    BalancedMerger,
    CustomRuleMerger,
    PreferExistingMerger,
    PreferIncomingMerger,
)
from omem.strategy import LLM_STRATEGIES, MergeStrategy

T = TypeVar("T", bound=BaseModel)

_MERGERS: dict[str, type[BaseMerger[Any]]] = {
    MergeStrategy.MERGE_FIELD.value: FieldMerger,
    MergeStrategy.KEEP_INCOMING.value: KeepIncomingMerger,
    MergeStrategy.KEEP_EXISTING.value: KeepExistingMerger,
    MergeStrategy.LLM.BALANCED: BalancedMerger,
    MergeStrategy.LLM.PREFER_EXISTING: PreferExistingMerger,
    MergeStrategy.LLM.PREFER_INCOMING: PreferIncomingMerger,
    MergeStrategy.LLM.CUSTOM_RULE: CustomRuleMerger,
}


def create_merger(
    strategy: MergeStrategy | str,
    key_extractor: Callable[[T], Any],
    *,
    llm_client: Any = None,
    item_schema: type[T] | None = None,
    **options: Any,
) -> BaseMerger[T]:
    """Make the merger of a strategy.

    Args:
        strategy: A `MergeStrategy` or its value, such as "merge_field".
        key_extractor: Tells the key of an item, as in `OMem`.
        llm_client: The model, for the LLM strategies.
        item_schema: The Pydantic model of the items, for the LLM strategies.
        options: What the merger's class takes: `lists`, `rule`, `dynamic_rule`, `max_workers`…

    Returns:
        The merger.

    Raises:
        TypeError: An unknown strategy or an option that this merger does not take.
        ValueError: An option that the strategy needs is missing.

    Examples:
        >>> from omem import MergeStrategy, create_merger
        >>> create_merger(MergeStrategy.KEEP_EXISTING, lambda item: item.id).name
        'keep_existing'
    """
    name = strategy.value if isinstance(strategy, MergeStrategy) else strategy
    merger = _MERGERS.get(name) if isinstance(name, str) else None
    if merger is None:
        raise TypeError(
            f"unknown merge strategy {strategy!r}; use one of {', '.join(map(repr, _MERGERS))} "
            "or a merger object"
        )
    if name in LLM_STRATEGIES:
        options |= {"llm_client": llm_client, "item_schema": item_schema}
    accepted = inspect.signature(merger).parameters
    unknown = [option for option in options if option not in accepted]
    if unknown:
        raise TypeError(
            f"{merger.__name__} takes no option {unknown[0]!r}; it takes "
            f"{', '.join(list(accepted)[1:])}"
        )
    return merger(key_extractor, **options)
