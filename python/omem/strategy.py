"""Which strategy merges two observations of one entity, and the rules of single fields."""

from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar


class _LLMStrategies:
    """Strategies that ask a model; see `MergeStrategy.LLM`.

    Examples:
        >>> from omem import MergeStrategy
        >>> MergeStrategy.LLM.CUSTOM_RULE
        'llm_custom_rule'
    """

    BALANCED = "llm_balanced"
    """The model weighs both sides alike."""

    PREFER_EXISTING = "llm_prefer_existing"
    """Where the sides contradict each other, what is known wins."""

    PREFER_INCOMING = "llm_prefer_incoming"
    """Where the sides contradict each other, what comes in wins."""

    CUSTOM_RULE = "llm_custom_rule"
    """The model follows the rule given as `rule=` and `dynamic_rule=`."""


class MergeStrategy(str, Enum):
    """How observations with the same key become one entity.

    Examples:
        >>> from omem import MergeStrategy
        >>> MergeStrategy("merge_field") is MergeStrategy.MERGE_FIELD
        True
        >>> MergeStrategy.LLM.BALANCED
        'llm_balanced'
    """

    MERGE_FIELD = "merge_field"
    """Field by field: lists and sets unite, dicts and nested models merge, the rest is
    overwritten by what comes in and is set."""

    KEEP_INCOMING = "keep_incoming"
    """The incoming entity replaces the existing one whole."""

    KEEP_EXISTING = "keep_existing"
    """The existing entity stays; the incoming one is dropped."""

    LLM: ClassVar[type[_LLMStrategies]]


# Set after the class: a class inside an Enum body is a member on Python 3.11 and 3.12 and not
# one from 3.13 on; this is the same on all of them.
type.__setattr__(MergeStrategy, "LLM", _LLMStrategies)

LLM_STRATEGIES = frozenset(
    {
        _LLMStrategies.BALANCED,
        _LLMStrategies.PREFER_EXISTING,
        _LLMStrategies.PREFER_INCOMING,
        _LLMStrategies.CUSTOM_RULE,
    }
)


class FieldRule:
    """The merge rule of one field; made by `Merge`, read from the field's annotation."""

    __slots__ = ("__omem_rule__",)

    def __init__(self, rule: str | tuple[str, Callable[[Any, Any], Any]]) -> None:
        self.__omem_rule__ = rule

    def __repr__(self) -> str:
        rule = self.__omem_rule__
        return f"Merge.custom({rule[1]!r})" if isinstance(rule, tuple) else f"Merge.{rule.upper()}"


class Merge:
    """Merge rules for single fields, put into the field's annotation.

    A rule takes part when both sides have a value: an incoming value that is None or unset
    changes nothing, and an existing None gives way.

    Examples:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> from omem import Merge, OMem
        >>> class Player(BaseModel):
        ...     name: str
        ...     best: Annotated[int, Merge.MAX] = 0
        >>> memory = OMem(Player, "name")
        >>> _ = memory.add([Player(name="Ada", best=7), Player(name="Ada", best=3)])
        >>> memory.get("Ada").best
        7
    """

    MAX = FieldRule("max")
    """The greater value: numbers, decimals, dates and times by value."""
    MIN = FieldRule("min")
    """The lesser value."""
    SUM = FieldRule("sum")
    """The sum of two numbers."""
    KEEP_EXISTING = FieldRule("keep_existing")
    """What was observed first stays."""
    KEEP_INCOMING = FieldRule("keep_incoming")
    """What comes in replaces."""
    UNION = FieldRule("union")
    """The union of two lists or sets, in order of first appearance."""
    APPEND = FieldRule("append")
    """One list after the other."""
    REPLACE = FieldRule("replace")
    """The incoming list replaces the existing one."""
    LONGEST = FieldRule("longest")
    """The longer text, counted in code points; of two as long, the existing one."""

    @staticmethod
    def custom(function: Callable[[Any, Any], Any]) -> FieldRule:
        """A rule of your own.

        Args:
            function: Called with the existing and the incoming value of the field; returns the
                merged value.

        Returns:
            The rule, for the field's annotation.

        Examples:
            >>> from typing import Annotated
            >>> from pydantic import BaseModel
            >>> from omem import Merge, OMem
            >>> class Note(BaseModel):
            ...     topic: str
            ...     text: Annotated[str, Merge.custom(lambda old, new: f"{old} / {new}")]
            >>> memory = OMem(Note, "topic")
            >>> _ = memory.add([Note(topic="a", text="one"), Note(topic="a", text="two")])
            >>> memory.get("a").text
            'one / two'
        """
        return FieldRule(("custom", function))
