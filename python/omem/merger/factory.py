"""From a strategy's name to its merger."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

from omem.keys import KeyExtractor
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
logger = logging.getLogger("omem.merger")

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
    key_extractor: KeyExtractor[T],
    *,
    llm_client: Any = None,
    item_schema: type[T] | None = None,
    rule: str | None = None,
    dynamic_rule: Callable[[], str] | None = None,
    max_workers: int = 5,
    **options: Any,
) -> BaseMerger[T]:
    """Make the merger of a strategy.

    Args:
        strategy: A `MergeStrategy` or its value, such as "merge_field".
        key_extractor: Tells the key of an item, as in `OMem`.
        llm_client: The model, for the LLM strategies.
        item_schema: The Pydantic model of the items, for the LLM strategies.
        rule: How to merge, in plain words, for CUSTOM_RULE; other strategies have no use for it.
        dynamic_rule: Called at every merge for more of the rule, for CUSTOM_RULE.
        max_workers: At most so many requests run at once, for the LLM strategies.
        options: What else the merger's class takes: `lists` for MERGE_FIELD; `max_retries`,
            `on_llm_error`, `logger_instance` for the LLM strategies.

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
    name, merger = _merger_of(strategy)
    if name in LLM_STRATEGIES:
        options |= {
            "llm_client": llm_client,
            "item_schema": item_schema,
            "max_workers": max_workers,
        }
    if name == MergeStrategy.LLM.CUSTOM_RULE:
        options |= {"rule": rule, "dynamic_rule": dynamic_rule}
    elif rule or dynamic_rule:
        logger.warning("rule= and dynamic_rule= have no effect with the strategy %r", name)
    accepted = inspect.signature(merger).parameters
    unknown = [option for option in options if option not in accepted]
    if unknown:
        raise TypeError(
            f"unknown option {unknown[0]!r}: the strategy {name!r} has only "
            f"{', '.join(list(accepted)[1:])}"
        )
    return merger(key_extractor, **options)


def options_of(strategy: MergeStrategy | str) -> list[str]:
    """The options with which a memory may be built for a strategy.

    Args:
        strategy: A `MergeStrategy` or its value.

    Returns:
        Their names. What is of no use to the strategy, but taken with a warning, comes last.

    Raises:
        TypeError: An unknown strategy.

    Examples:
        >>> options_of("merge_field")
        ['lists', 'logger_instance', 'max_workers', 'rule', 'dynamic_rule']
    """
    own = [*inspect.signature(_merger_of(strategy)[1]).parameters]
    given = ("key_extractor", "llm_client", "item_schema")
    return [*dict.fromkeys(name for name in (*own, *_FOR_ALL) if name not in given)]


_FOR_ALL = ("max_workers", "rule", "dynamic_rule")


def _merger_of(strategy: MergeStrategy | str) -> tuple[str, type[BaseMerger[Any]]]:
    name = strategy.value if isinstance(strategy, MergeStrategy) else strategy
    merger = _MERGERS.get(name) if isinstance(name, str) else None
    if merger is None:
        if isinstance(strategy, type) and issubclass(strategy, BaseMerger):
            made = f"{strategy.__name__}(key_extractor, …)"
            raise TypeError(f"{strategy.__name__} is a class; give an object of it, {made}")
        raise TypeError(
            f"unknown merge strategy {strategy!r}; use one of {', '.join(map(repr, _MERGERS))} "
            "or a merger object"
        )
    return name, merger
