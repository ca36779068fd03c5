"""Mergers that ask a model, and lose nothing when it fails."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel

from omem import _omem
from omem.arguments import one_of, whole
from omem.errors import MergeError
from omem.keys import KeyExtractor
from omem.llm import Prompt, StructuredModel
from omem.merger.base import BaseMerger
from omem.merger.classic import FieldMerger
from omem.merger.tournament import reason

T = TypeVar("T", bound=BaseModel)
OnLLMError = Literal["field", "existing", "incoming", "quarantine", "raise"]

_TASK = """\
You maintain the records of a knowledge base. You get two observations of the same entity as JSON:
"existing" is what the knowledge base holds, "incoming" was observed later. Answer with the one
record that should replace both.

Always:
- Keep the values that identify the entity exactly as they are.
- Use only what the two records say. Do not add, guess, complete or correct anything.
- Keep every fact that nothing contradicts, whichever record it stands in.
- Put lists together without repeating entries that say the same.
- A missing or null value says nothing: it never replaces a value.

Where the two records contradict each other:
"""


class BaseLLMMerger(BaseMerger[T]):
    """A merger that asks a model about each pair; subclass it to bring your own instructions.

    Each answer is validated against the schema, and must keep the key. A transient error
    (connection, time-out, HTTP 408, 409, 429, 5xx) is tried again for the pairs that failed; what
    then remains is settled by `on_llm_error`, so that an outage never loses what was known.

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        llm_client: A LangChain chat model, or a callable `(system, user, schema)`.
        item_schema: The Pydantic model of the items.
        max_workers: At most so many requests run at once.
        max_retries: How often a transient error is tried again.
        on_llm_error: "field" merges the pair field by field, "existing" and "incoming" keep one
            side, "quarantine" keeps the existing side and sets the incoming one aside in the
            memory's quarantine, "raise" raises MergeError.
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import BaseLLMMerger
        >>> class Bug(BaseModel):
        ...     id: int
        ...     notes: str
        >>> class Shortest(BaseLLMMerger[Bug]):
        ...     @property
        ...     def system_prompt(self):
        ...         return "Keep the shorter notes."
        >>> def model(system, user, schema):  # stands for a chat model
        ...     return {"id": 1, "notes": "brief"}
        >>> merger = Shortest(lambda bug: bug.id, model, Bug)
        >>> merger.merge([Bug(id=1, notes="brief"), Bug(id=1, notes="long story")])
        [Bug(id=1, notes='brief')]
    """

    def __init__(
        self,
        key_extractor: KeyExtractor[T],
        llm_client: Any,
        item_schema: type[T],
        max_workers: int = 5,
        *,
        max_retries: int = 2,
        on_llm_error: OnLLMError = "field",
        logger_instance: logging.Logger | None = None,
    ) -> None:
        super().__init__(key_extractor, logger_instance=logger_instance)
        one_of("on_llm_error", on_llm_error, get_args(OnLLMError))
        if llm_client is None:
            raise ValueError(f"{type(self).__name__} needs llm_client: the model that it asks")
        if item_schema is None:
            raise ValueError(f"{type(self).__name__} needs item_schema: the model of the items")
        self.llm_client = llm_client
        self.item_schema = item_schema
        self.max_workers = whole("max_workers", max_workers, least=1)
        self.max_retries = whole("max_retries", max_retries)
        self.on_llm_error: OnLLMError = on_llm_error
        self._by_field = FieldMerger(self.key_extractor)

    @property
    @abstractmethod
    def system_prompt(self) -> str:
        """What the model is told to do; braces in it are text. Read at every merge.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import CustomRuleMerger
            >>> class Bug(BaseModel):
            ...     id: int
            >>> merger = CustomRuleMerger("id", lambda *_: None, Bug, rule="Keep the shorter one.")
            >>> merger.system_prompt.endswith("Keep the shorter one.")
            True
        """

    def build_prompt(self) -> Any:
        """The prompt of a pair.

        Returns:
            A `Prompt`, or a LangChain chat prompt, whose `format_messages` takes
            `item_existing` and `item_incoming` (JSON texts).

        Examples:
            >>> from omem import BalancedMerger
            >>> from pydantic import BaseModel
            >>> class Bug(BaseModel):
            ...     id: int
            >>> prompt = BalancedMerger("id", lambda *_: None, Bug).build_prompt()
            >>> system, user = prompt.format_messages(item_existing="{}", item_incoming="{}")
            >>> user[1].split()
            ['existing:', '{}', 'incoming:', '{}']
        """
        return Prompt(
            self.system_prompt, "existing:\n{item_existing}\n\nincoming:\n{item_incoming}"
        )

    def pair_merge(self, existing: T, incoming: T) -> T:
        """Merge one pair; see `BaseMerger.pair_merge`."""
        result = self.batch_merge([(existing, incoming)])[0]
        if isinstance(result, MergeError):
            raise result
        return result

    def batch_merge(self, pairs: list[tuple[T, T]]) -> Sequence[T | MergeError]:
        """Merge pairs, several requests at once; see `BaseMerger.batch_merge`."""
        if not pairs:
            return []
        prompt = self.build_prompt()
        model = StructuredModel(
            self.llm_client,
            self.item_schema,
            max_workers=self.max_workers,
            max_retries=self.max_retries,
        )
        requests = [
            prompt.format_messages(
                item_existing=existing.model_dump_json(indent=2),
                item_incoming=incoming.model_dump_json(indent=2),
            )
            for existing, incoming in pairs
        ]
        try:
            answers = model.ask(requests)
        finally:
            self.llm_calls += model.calls
        return [
            self._settle(existing, incoming, answer)
            for (existing, incoming), answer in zip(pairs, answers, strict=True)
        ]

    def merge_pairs(
        self, pairs: list[tuple[T, T]], *, keep_going: bool = False
    ) -> Sequence[T | Exception]:
        """One `batch_merge`, see `BaseMerger.merge_pairs`.

        What it raises ends all, since bad answers do not get that far.
        """
        results = super().merge_pairs(pairs)
        if not keep_going and self.on_llm_error != "quarantine":
            for result in results:
                if isinstance(result, Exception):
                    raise result
        return results

    def _settle(self, existing: T, incoming: T, answer: T | Exception) -> T | MergeError:
        """The answer where it is sound, else what `on_llm_error` says."""
        key = self.key_extractor(existing)
        if isinstance(answer, Exception):
            cause: Exception | None = answer
            why = reason(answer)
        else:
            fault = self._key_fault(key, answer)
            if fault is None:
                return answer
            cause, why = None, fault
        self.logger.warning(
            "the model did not merge %r (%s); on_llm_error=%r applies", key, why, self.on_llm_error
        )
        match self.on_llm_error:
            case "existing":
                return existing
            case "incoming":
                return incoming
            case "field":
                try:
                    return self._by_field.pair_merge(existing, incoming)
                except MergeError as error:
                    cause, why = error, f"{why}; nor can it be merged by field: {error.reason}"
            case _:
                pass
        failure = MergeError(
            f"the model did not merge {key!r}: {why}",
            key=key,
            existing=existing,
            incoming=incoming,
            reason=why,
        )
        failure.__cause__ = cause
        if self.on_llm_error == "raise":
            raise failure
        return failure

    def _key_fault(self, key: Any, answer: T) -> str | None:
        try:
            answered = self.key_extractor(answer)
            same = _omem.key_text(answered) == _omem.key_text(key)
        except Exception as error:
            return f"its answer has no usable key ({error})"
        return None if same else f"its answer has another key, {answered!r}"


class BalancedMerger(BaseLLMMerger[T]):
    """The model weighs both sides alike (`MergeStrategy.LLM.BALANCED`).

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        llm_client: A LangChain chat model, or a callable `(system, user, schema)`.
        item_schema: The Pydantic model of the items.
        max_workers: At most so many requests run at once.
        max_retries: How often a transient error is tried again.
        on_llm_error: As in `BaseLLMMerger`.
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import BalancedMerger
        >>> class Bug(BaseModel):
        ...     id: int
        ...     notes: str
        >>> def model(system, user, schema):  # stands for a chat model
        ...     return {"id": 1, "notes": "both"}
        >>> merger = BalancedMerger("id", model, Bug)
        >>> merger.merge([Bug(id=1, notes="old"), Bug(id=1, notes="new")])
        [Bug(id=1, notes='both')]
    """

    @property
    def system_prompt(self) -> str:
        """The instructions; see `BaseLLMMerger.system_prompt`."""
        return _TASK + (
            "- Neither record has precedence. Prefer the more specific and more complete value.\n"
            "- Where both may hold and the field is free text, say both briefly.\n"
            "- Where just one can hold and nothing tells which, take the incoming one."
        )


class PreferExistingMerger(BaseLLMMerger[T]):
    """What is known wins where the sides contradict (`MergeStrategy.LLM.PREFER_EXISTING`).

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        llm_client: A LangChain chat model, or a callable `(system, user, schema)`.
        item_schema: The Pydantic model of the items.
        max_workers: At most so many requests run at once.
        max_retries: How often a transient error is tried again.
        on_llm_error: As in `BaseLLMMerger`.
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import PreferExistingMerger
        >>> class Bug(BaseModel):
        ...     id: int
        ...     notes: str
        >>> def model(system, user, schema):  # stands for a chat model
        ...     return {"id": 1, "notes": "both"}
        >>> merger = PreferExistingMerger("id", model, Bug)
        >>> merger.merge([Bug(id=1, notes="old"), Bug(id=1, notes="new")])
        [Bug(id=1, notes='both')]
    """

    @property
    def system_prompt(self) -> str:
        """The instructions; see `BaseLLMMerger.system_prompt`."""
        return _TASK + (
            "- The existing record is right. Take its value and leave the contradicting one out.\n"
            "- The incoming record only fills in what the existing one lacks."
        )


class PreferIncomingMerger(BaseLLMMerger[T]):
    """What comes in wins where the sides contradict (`MergeStrategy.LLM.PREFER_INCOMING`).

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        llm_client: A LangChain chat model, or a callable `(system, user, schema)`.
        item_schema: The Pydantic model of the items.
        max_workers: At most so many requests run at once.
        max_retries: How often a transient error is tried again.
        on_llm_error: As in `BaseLLMMerger`.
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import PreferIncomingMerger
        >>> class Bug(BaseModel):
        ...     id: int
        ...     notes: str
        >>> def model(system, user, schema):  # stands for a chat model
        ...     return {"id": 1, "notes": "both"}
        >>> merger = PreferIncomingMerger("id", model, Bug)
        >>> merger.merge([Bug(id=1, notes="old"), Bug(id=1, notes="new")])
        [Bug(id=1, notes='both')]
    """

    @property
    def system_prompt(self) -> str:
        """The instructions; see `BaseLLMMerger.system_prompt`."""
        return _TASK + (
            "- The incoming record is right. Take its value and leave the contradicting one out.\n"
            "- What the incoming record does not mention stays as the existing one has it."
        )


class CustomRuleMerger(BaseLLMMerger[T]):
    """The model follows a rule of yours (`MergeStrategy.LLM.CUSTOM_RULE`).

    Args:
        key_extractor: Tells the key of an item, as in `OMem`.
        llm_client: A LangChain chat model, or a callable `(system, user, schema)`.
        item_schema: The Pydantic model of the items.
        rule: The rule, in plain words; braces are text.
        dynamic_rule: Called at every merge; what it returns is added to the rule.
        max_workers: At most so many requests run at once.
        max_retries: How often a transient error is tried again.
        on_llm_error: As in `BaseLLMMerger`.
        logger_instance: Where the merger logs; the `omem` logger by default.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import CustomRuleMerger
        >>> class Bug(BaseModel):
        ...     id: int
        ...     notes: str
        >>> def model(system, user, schema):  # stands for a chat model
        ...     return {"id": 1, "notes": "both"}
        >>> merger = CustomRuleMerger("id", model, Bug, rule="Say both.")
        >>> merger.merge([Bug(id=1, notes="old"), Bug(id=1, notes="new")])
        [Bug(id=1, notes='both')]
    """

    def __init__(
        self,
        key_extractor: KeyExtractor[T],
        llm_client: Any,
        item_schema: type[T],
        rule: str | None = None,
        dynamic_rule: Callable[[], str] | None = None,
        max_workers: int = 5,
        *,
        max_retries: int = 2,
        on_llm_error: OnLLMError = "field",
        logger_instance: logging.Logger | None = None,
    ) -> None:
        super().__init__(
            key_extractor,
            llm_client,
            item_schema,
            max_workers,
            max_retries=max_retries,
            on_llm_error=on_llm_error,
            logger_instance=logger_instance,
        )
        if not rule:
            raise ValueError("CUSTOM_RULE needs rule=: how to merge, in plain words")
        if not isinstance(rule, str):
            raise TypeError(f"rule must be a str, not {type(rule).__name__}")
        if dynamic_rule is not None and not callable(dynamic_rule):
            raise TypeError(f"dynamic_rule must be callable, not {type(dynamic_rule).__name__}")
        self.rule = rule
        self.dynamic_rule = dynamic_rule

    @property
    def system_prompt(self) -> str:
        """The instructions; see `BaseLLMMerger.system_prompt`."""
        dynamic = (self.dynamic_rule() or "").strip() if self.dynamic_rule else ""
        return f"{_TASK}{self.rule}" + (f"\n\nFor now:\n{dynamic}" if dynamic else "")
