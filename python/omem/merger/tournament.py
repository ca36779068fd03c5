"""Many observations of many entities, merged in pairs, round by round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from omem import _omem
from omem.errors import MergeError
from omem.restore import path_of

if TYPE_CHECKING:
    from omem.merger.base import BaseMerger

T = TypeVar("T", bound=BaseModel)
Failed = tuple[int, int, Exception]
"""An observation that was not merged: its group, its place in the group, and why."""


@dataclass(slots=True)
class Played(Generic[T]):
    """What a tournament came to.

    Attributes:
        merged: The entity of each group; None where nothing was merged into its first observation.
        failed: The observations that were not merged, in the order of groups and places.
    """

    merged: list[T | None]
    failed: list[Failed] = field(default_factory=list[Failed])


def play(
    merger: BaseMerger[T],
    groups: list[list[T]],
    *,
    check: Callable[[T, T, T], None] | None = None,
    keep_going: bool = False,
) -> Played[T]:
    """Merge each group of observations into one entity.

    Neighbours are merged first, so that the order of observations is kept, then the results with
    each other; the pairs of all groups share the calls of the merger. Where a pair is not merged,
    its existing side goes on alone, and the observations behind its incoming side have failed.

    Args:
        merger: Merges the pairs.
        groups: Observations of one entity each, in order.
        check: Called with both sides of a pair and the result; raises MergeError if it is bad.
        keep_going: A pair that raises, or is refused by `check`, has failed and ends nothing.

    Returns:
        The entities, and what was not merged.

    Raises:
        MergeError: A result is refused.
        Exception: What the merger raises.
    """
    current = [list(group) for group in groups]
    merged = [False] * len(groups)
    failed: list[dict[int, Exception]] = [{} for _ in groups]
    for calls in _omem.rounds([len(group) for group in groups], merger.max_batch_pairs):
        for call in calls:
            pairs = [(current[g][one], current[g][other]) for g, one, other in call]
            results = merger.merge_pairs(pairs, keep_going=keep_going)
            for (g, one, other), pair, result in zip(call, pairs, results, strict=True):
                try:
                    if isinstance(result, Exception):
                        error = result
                    else:
                        if check is not None:
                            check(*pair, result)
                        current[g][one], merged[g] = result, True
                        continue
                except MergeError as refusal:
                    if not keep_going:
                        raise
                    error = refusal
                # In this round each side stands for as many observations as lie between the two.
                for place in range(other, min(2 * other - one, len(groups[g]))):
                    failed[g].setdefault(place, error)
    return Played(
        [group[0] if is_merged else None for group, is_merged in zip(current, merged, strict=True)],
        [(g, place, places[place]) for g, places in enumerate(failed) for place in sorted(places)],
    )


def reason(error: Exception) -> str:
    """Why a pair was not merged, in one line.

    Args:
        error: What the merger raised.

    Returns:
        The reason of a MergeError, the first fault of a ValidationError, else class and message.

    Examples:
        >>> reason(ZeroDivisionError("division by zero"))
        'ZeroDivisionError: division by zero'
    """
    if isinstance(error, MergeError):
        return error.reason or str(error)
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False, include_input=False)[0]
        return f"{path_of(fault)}: {fault['msg']}"
    return f"{type(error).__name__}: {error}".removesuffix(": ")
