"""Asking a model for instances of a schema: LangChain chat models as they are, or a callable."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from omem.arguments import whole
from omem.errors import ReentryError
from omem.retry import is_transient, wait_before
from omem.schema import compile_schema

T = TypeVar("T", bound=BaseModel)

Messages = Sequence[Any]
"""Chat messages: `(role, text)` pairs, or the message objects of a LangChain prompt."""


class Prompt:
    """A system and a user message; the user's text has named places in braces.

    The system text is taken as it is: braces in it are text. It has the one method of a
    LangChain chat prompt that is used here, so that either can be returned by `build_prompt`.

    Args:
        system: What the model is told to do.
        user: The template of the request, in the syntax of `str.format`.

    Examples:
        >>> Prompt("Merge {braces}.", "A: {a}").format_messages(a="{x}")
        [('system', 'Merge {braces}.'), ('human', 'A: {x}')]
    """

    def __init__(self, system: str, user: str) -> None:
        self.system = system
        self.user = user

    def format_messages(self, **values: str) -> Messages:
        """The messages with the values put in.

        Args:
            values: One for each named place.

        Returns:
            `(role, text)` pairs, which LangChain chat models accept.
        """
        return [("system", self.system), ("human", self.user.format(**values))]


def check_client(name: str, client: object) -> None:
    """Refuse what cannot be asked.

    Args:
        name: The argument that it was given as.
        client: Its value.

    Raises:
        TypeError: It has no `with_structured_output(schema)` and is no callable.
    """
    if not (hasattr(client, "with_structured_output") or callable(client)):
        raise TypeError(
            f"{name} must be a LangChain chat model, another object with "
            "with_structured_output(schema), or a callable (system, user, schema), "
            f"not {client!r}"
        )


class StructuredModel(Generic[T]):
    """A model that answers with instances of one schema.

    Args:
        client: An object with LangChain's `with_structured_output(schema)`, or a callable
            `(system, user, schema)` that returns an instance, a dict or JSON text.
        schema: The Pydantic model of the answers.
        max_workers: At most so many requests run at once.
        max_retries: How often a transient error is tried again.
    """

    def __init__(
        self, client: Any, schema: type[T], *, max_workers: int = 5, max_retries: int = 2
    ) -> None:
        check_client("llm_client", client)
        self._client = client
        self._schema = schema
        self._max_workers = whole("max_workers", max_workers, least=1)
        self._max_retries = whole("max_retries", max_retries)
        self.calls = 0
        """Requests made so far, retries included."""

    def ask(self, requests: Sequence[Messages]) -> list[T | Exception]:
        """Ask each request; a transient error is retried for the requests that failed alone.

        Args:
            requests: The messages of each request.

        Returns:
            For each request its answer, or the error that remained.

        Raises:
            ReentryError: The client tried to change the memory that waits for its answer.
        """
        answers: dict[int, T | Exception] = {}
        open_requests = list(range(len(requests)))
        for attempt in range(self._max_retries + 1):
            if attempt:
                wait_before(attempt)
            self.calls += len(open_requests)
            results = self._send([requests[number] for number in open_requests])
            for result in results:
                if isinstance(result, ReentryError):
                    raise result
            answers.update(zip(open_requests, map(self._parse, results), strict=True))
            open_requests = [
                number
                for number in open_requests
                if isinstance(error := answers[number], Exception) and is_transient(error)
            ]
            if not open_requests:
                break
        return [answers[number] for number in range(len(requests))]

    def _send(self, requests: list[Messages]) -> list[Any]:
        if not hasattr(self._client, "with_structured_output"):
            return self._each(requests, self._call)
        try:
            runnable = cast(Any, self._client).with_structured_output(self._schema)
        except Exception as error:
            return [error] * len(requests)
        if not _batches(runnable):
            return self._each(requests, runnable.invoke)
        try:
            results = list(
                runnable.batch(
                    requests, {"max_concurrency": self._max_workers}, return_exceptions=True
                )
            )
        except Exception as error:
            return [error] * len(requests)
        if len(results) != len(requests):
            wrong = ValueError(f"the model gave {len(results)} answers to {len(requests)} requests")
            return [wrong] * len(requests)
        return results

    def _call(self, messages: Messages) -> Any:
        texts = [_role_and_text(message) for message in messages]
        system = "\n\n".join(text for role, text in texts if role == "system")
        user = "\n\n".join(text for role, text in texts if role != "system")
        return self._client(system, user, self._schema)

    def _each(self, requests: list[Messages], call: Callable[[Messages], Any]) -> list[Any]:
        """One call for each request, in threads that know the caller's context."""

        def attempt(messages: Messages) -> Any:
            try:
                return call(messages)
            except Exception as error:
                return error

        if len(requests) == 1 or self._max_workers == 1:
            return [attempt(messages) for messages in requests]
        with ThreadPoolExecutor(min(self._max_workers, len(requests))) as pool:
            futures = [
                pool.submit(contextvars.copy_context().run, attempt, messages)
                for messages in requests
            ]
            try:
                return [future.result() for future in futures]
            except BaseException:  # Ctrl-C: what has not begun is not paid for
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _parse(self, answer: Any) -> T | Exception:
        """The answer as an instance of the schema that is valid by its own rules."""
        if isinstance(answer, Exception):
            return answer
        try:
            if type(answer) is self._schema:
                # Some models are made without validation, by model_construct or by assignment.
                compile_schema(self._schema).encode(answer)
                return cast(T, answer)
            if isinstance(answer, BaseModel):
                answer = answer.model_dump()
            if isinstance(answer, (str, bytes, bytearray)):
                return self._from_json(_without_fence(answer))
            return self._from_python(answer)
        except ValueError as error:
            return error

    def _from_json(self, text: str | bytes | bytearray) -> T:
        return self._schema.model_validate_json(text, by_alias=True, by_name=True)

    def _from_python(self, answer: Any) -> T:
        try:
            return self._schema.model_validate(answer, by_alias=True, by_name=True)
        except ValidationError:
            # In a strict model, what is a str in a dict of JSON may stand for a date.
            try:
                return self._from_json(to_json(answer))
            except (ValueError, RecursionError):
                pass
            raise


def _batches(runnable: Any) -> bool:
    """Whether it has LangChain's `batch`, which tells each failure in its place."""
    try:
        parameters = inspect.signature(runnable.batch).parameters.values()
    except (AttributeError, TypeError, ValueError):
        return False
    return any(p.name == "return_exceptions" or p.kind is p.VAR_KEYWORD for p in parameters)


def _role_and_text(message: Any) -> tuple[str, str]:
    if isinstance(message, tuple):
        return cast("tuple[str, str]", message)
    return str(getattr(message, "type", "human")), str(getattr(message, "content", message))


def _without_fence(answer: str | bytes | bytearray) -> str | bytes | bytearray:
    """JSON text without the Markdown fence that chat models like to put around it."""
    text = answer.decode("utf-8", "replace") if isinstance(answer, (bytes, bytearray)) else answer
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].removeprefix("json").strip()
    return answer
