"""Merging and editing by a model: what it costs, and that nothing is lost when it fails."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Annotated, Any
from unittest.mock import MagicMock, Mock

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel, ConfigDict, Field

from omem import BaseLLMMerger, MergeError, MergeStrategy, OMem, retry
from omem.merger import CustomRuleMerger, create_merger
from omem.strategy import LLM_STRATEGIES


class Person(BaseModel):
    name: str
    city: str | None = None
    skills: list[str] = []


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)


def both(messages: Any) -> tuple[Person, Person]:
    """The two records of a request."""
    text = messages[-1][1] if isinstance(messages[-1], tuple) else messages[-1].content
    _, existing, incoming = text.replace("incoming:", "existing:").split("existing:")
    return Person.model_validate_json(existing), Person.model_validate_json(incoming)


class Chat:
    """A chat model as clients write fakes of it: a runnable behind `with_structured_output`."""

    def __init__(self, answer: Callable[[Person, Person], Any]) -> None:
        self.answer = answer
        self.calls = 0
        self._lock = threading.Lock()

    def with_structured_output(self, schema: Any) -> Runnable[Any, Any]:
        def invoke(messages: Any) -> Any:
            with self._lock:
                self.calls += 1
            return self.answer(*both(messages))

        return RunnableLambda(invoke)


def united(existing: Person, incoming: Person) -> Person:
    return Person(
        name=existing.name,
        city=incoming.city or existing.city,
        skills=[*existing.skills, *incoming.skills],
    )


def people() -> list[Person]:
    return [Person(name="Ada", skills=[str(n)]) for n in range(5)] + [Person(name="Alan")]


def memory_with(client: Any, **options: Any) -> OMem[Person]:
    return OMem(
        Person,
        "name",
        client,
        strategy_or_merger=MergeStrategy.LLM.BALANCED,
        **options,
    )


def test_pairs_of_a_key_are_merged_in_order() -> None:
    chat = Chat(united)
    memory = memory_with(chat)
    report = memory.add(people())
    assert chat.calls == report.llm_calls == 4
    ada = memory.get("Ada")
    assert ada is not None
    assert ada.skills == ["0", "1", "2", "3", "4"]
    assert memory.add(Person(name="Ada", city="London")).llm_calls == 1


def test_a_callable_and_json_answers() -> None:
    asked: list[tuple[str, str]] = []

    def model(system: str, user: str, schema: type[BaseModel]) -> str:
        asked.append((system, user))
        return '```json\n{"name": "Ada", "city": "Turin"}\n```'

    memory = OMem(
        Person,
        lambda p: p.name,
        model,
        strategy_or_merger=MergeStrategy.LLM.CUSTOM_RULE,
        rule="Keep {braces} as text.",
        dynamic_rule=lambda: f"Known: {len(asked)}",
    )
    memory.add([Person(name="Ada"), Person(name="Ada", city="Rome")])
    memory.add(Person(name="Ada", city="Bonn"))
    assert memory.items == [Person(name="Ada", city="Turin")]
    assert "{braces}" in asked[0][0]
    assert ["Known: 0" in asked[0][0], "Known: 1" in asked[1][0]] == [True, True]


def test_a_real_langchain_chat_model() -> None:
    class Structured(GenericFakeChatModel):
        def with_structured_output(self, schema: Any, **options: Any) -> Runnable[Any, Any]:
            return self | (lambda message: schema.model_validate_json(message.content))

    answer = AIMessage(content=json.dumps({"name": "Ada", "city": "Turin", "skills": []}))
    memory = memory_with(Structured(messages=iter([answer])))
    memory.add([Person(name="Ada", city="Rome"), Person(name="Ada", city="Turin")])
    assert memory.items == [Person(name="Ada", city="Turin", skills=[])]


class StatusError(Exception):
    status_code = 429


def test_a_transient_error_is_retried_for_its_pair_alone() -> None:
    failures = iter([StatusError("slow down"), ConnectionError("gone")])

    def sometimes(existing: Person, incoming: Person) -> Person:
        if incoming.name == "Ada" and (error := next(failures, None)) is not None:
            raise error
        return united(existing, incoming)

    chat = Chat(sometimes)
    memory = memory_with(chat)
    names = ["Ada", "Alan", "Grace"]
    memory.add([Person(name=name, skills=[s]) for s in "ab" for name in names])
    assert chat.calls == 3 + 2
    assert [p.skills for p in memory] == [["a", "b"]] * 3


BAD_ANSWERS: dict[str, Callable[[Person, Person], Any]] = {
    "another key": lambda e, i: Person(name="Somebody"),
    "invalid": lambda e, i: {"city": 3},
    "broken JSON": lambda e, i: '{"name": ',
    "nothing": lambda e, i: None,
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_bad_answer_falls_back_and_is_not_asked_again(case: str) -> None:
    chat = Chat(BAD_ANSWERS[case])
    memory = memory_with(chat)
    memory.add([Person(name="Ada", city="Rome", skills=["a"]), Person(name="Ada", skills=["b"])])
    assert memory.items == [Person(name="Ada", city="Rome", skills=["a", "b"])]
    assert chat.calls == 1


@pytest.mark.parametrize(
    ("choice", "skills"), [("existing", ["a"]), ("incoming", ["b"]), ("field", ["a", "b"])]
)
def test_on_llm_error(choice: str, skills: list[str]) -> None:
    def fail(existing: Person, incoming: Person) -> Person:
        raise ValueError("no")

    memory = memory_with(Chat(fail), on_llm_error=choice)
    memory.add([Person(name="Ada", skills=["a"]), Person(name="Ada", skills=["b"])])
    assert [p.skills for p in memory] == [skills]


def test_raising_changes_nothing() -> None:
    def fail(existing: Person, incoming: Person) -> Person:
        raise TimeoutError("no")

    chat = Chat(fail)
    memory = memory_with(chat, on_llm_error="raise", max_retries=1)
    memory.add(Person(name="Ada"))
    with pytest.raises(MergeError, match="Ada") as caught:
        memory.add([Person(name="Alan"), Person(name="Ada", city="Rome")])
    assert caught.value.incoming == Person(name="Ada", city="Rome")
    assert memory.items == [Person(name="Ada")]
    assert chat.calls == 2


def test_mergers_work_on_their_own() -> None:
    merger = create_merger(
        "llm_balanced", lambda p: p.name, llm_client=Chat(united), item_schema=Person
    )
    assert [p.skills for p in merger.merge(people())] == [["0", "1", "2", "3", "4"], []]
    with pytest.raises(ValueError, match="rule"):
        CustomRuleMerger(lambda p: p.name, Chat(united), Person)
    with pytest.raises(ValueError, match="llm_client"):
        memory_with(None)


def forty_two_pairs() -> list[Person]:
    return [Person(name=f"p{n % 42}", skills=[str(n // 42)]) for n in range(84)]


@pytest.mark.parametrize("kind", ["chat model", "callable"])
def test_requests_run_at_once_but_no_more_than_max_workers(kind: str) -> None:
    lock = threading.Lock()
    running, most = 0, 0

    def slow(existing: Person, incoming: Person) -> Person:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return united(existing, incoming)

    chat: Any = Chat(slow)
    if kind == "callable":
        chat = lambda system, user, schema: slow(*both([("human", user)]))  # noqa: E731
    memory = memory_with(chat, max_workers=7)
    began = time.perf_counter()
    memory.add(forty_two_pairs())
    assert most == 7
    assert time.perf_counter() - began < 42 * 0.02
    assert [person.skills for person in memory] == [["0", "1"]] * 42
    assert threading.active_count() < 7  # no pool outlives the call


def test_a_batch_holds_at_most_forty_pairs() -> None:
    sizes: list[int] = []

    class Counting(Chat):
        def with_structured_output(self, schema: Any) -> Runnable[Any, Any]:
            runnable = super().with_structured_output(schema)

            class Batched(type(runnable)):  # type: ignore[misc]
                def batch(self, inputs: list[Any], *args: Any, **options: Any) -> list[Any]:
                    sizes.append(len(inputs))
                    return runnable.batch(inputs, *args, **options)

            return Batched(runnable.func)  # type: ignore[attr-defined]

    memory_with(Counting(united)).add(forty_two_pairs())
    assert sizes == [40, 2]


def test_an_outage_loses_nothing_and_costs_no_more_than_the_retries() -> None:
    def down(existing: Person, incoming: Person) -> Person:
        raise StatusError("overloaded")

    chat = Chat(down)
    memory = memory_with(chat)
    report = memory.add(people())
    assert chat.calls == report.llm_calls == 4 * 3
    assert [p.skills for p in memory] == [["0", "1", "2", "3", "4"], []]

    def broken(existing: Person, incoming: Person) -> Person:
        error = StatusError("bad request")
        error.status_code = 400
        raise error

    chat = memory.llm_client = Chat(broken)
    assert memory.add(Person(name="Ada", city="Rome")).llm_calls == chat.calls == 1
    assert memory.get("Ada") == Person(name="Ada", city="Rome", skills=["0", "1", "2", "3", "4"])


class Dated(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    born: date = Field(alias="bornOn")
    age: Annotated[int, Field(ge=0)] = 0


class Loose(BaseModel):
    name: str
    born: str


class Sub(Dated):
    more: int = 1


BORN = date(1815, 12, 10)
GOOD: dict[str, Any] = {
    "an instance": Dated(name="Ada", bornOn=BORN, age=36),
    "a dict by alias": {"name": "Ada", "bornOn": BORN, "age": 36},
    "a dict of JSON values": {"name": "Ada", "bornOn": "1815-12-10", "age": 36},
    "a dict by field name": {"name": "Ada", "born": "1815-12-10", "age": 36},
    "JSON": '{"name": "Ada", "born": "1815-12-10", "age": 36}',
    "bytes": b' {"name": "Ada", "bornOn": "1815-12-10", "age": 36} ',
    "a fence": '```json\n{"name": "Ada", "born": "1815-12-10", "age": 36}\n```',
    "a plain fence": '```\n{"name": "Ada", "born": "1815-12-10", "age": 36}\n```\n',
    "a subclass": Sub(name="Ada", bornOn=BORN, age=36),
}
BAD: dict[str, Any] = {
    "unchecked": Dated.model_construct(name="Ada", born=BORN, age=-1),
    "unchecked types": Dated.model_construct(name="Ada", born="1815", age=1),
    "another model": Loose(name="Ada", born="1815"),
    "out of bounds": {"name": "Ada", "born": "1815-12-10", "age": -1},
    "cut off": '{"name": "Ada", "bornOn": "1815-1',
    "prose": "I merged the two records for you.",
    "a list": [1, 2],
    "a number": 3,
}


@pytest.mark.parametrize("case", [*GOOD, *BAD])
def test_what_counts_as_an_answer(case: str) -> None:
    answer = GOOD.get(case, BAD.get(case))
    calls: list[str] = []

    def model(system: str, user: str, schema: type[BaseModel]) -> Any:
        calls.append(user)
        return answer

    memory = OMem(Dated, "name", model, strategy_or_merger="llm_prefer_existing")
    memory.add([Dated(name="Ada", bornOn=BORN, age=1), Dated(name="Ada", bornOn=BORN, age=2)])
    assert [item.age for item in memory] == [36 if case in GOOD else 2]
    assert len(calls) == 1


def test_clients_without_langchains_batch() -> None:
    class OnlyInvoke:
        def with_structured_output(self, schema: Any) -> Any:
            return SimpleNamespace(invoke=lambda messages: united(*both(messages)))

    class OldBatch:
        def with_structured_output(self, schema: Any) -> Any:
            def batch(inputs: list[Any], config: Any = None) -> list[Any]:
                raise AssertionError("one bad answer would spoil all")

            return SimpleNamespace(invoke=lambda m: united(*both(m)), batch=batch)

    for client in (OnlyInvoke(), OldBatch()):
        memory = memory_with(client)
        assert memory.add(people()).llm_calls == 4
        assert memory.items[0].skills == ["0", "1", "2", "3", "4"]


def test_a_mock_is_accepted_and_what_it_answers_is_not() -> None:
    for mock in (Mock(), MagicMock()):
        memory = memory_with(mock)
        memory.add(people())
        assert memory.items[0].skills == ["0", "1", "2", "3", "4"]
    with pytest.raises(TypeError, match="with_structured_output"):
        memory_with(object()).add(people())


class ToolChat(BaseChatModel):
    """A chat model that calls tools, so that LangChain's own `with_structured_output` is used."""

    model: str = "fake"

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **options: Any) -> Runnable[Any, Any]:
        return self

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        existing, incoming = both(messages)
        call = {"name": "Person", "args": united(existing, incoming).model_dump(), "id": "1"}
        message = AIMessage(content="", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


def test_langchains_own_structured_output() -> None:
    memory = memory_with(ToolChat())
    assert memory.add(people()).llm_calls == 4
    assert memory.items[0].skills == ["0", "1", "2", "3", "4"]


def test_extension_points(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    class Own(BaseLLMMerger[Person]):
        @property
        def system_prompt(self) -> str:
            return "Merge {them}."

        def build_prompt(self) -> ChatPromptTemplate:
            system = SystemMessage(self.system_prompt)
            user = "existing: {item_existing}\nincoming: {item_incoming}"
            return ChatPromptTemplate.from_messages([system, ("user", user)])

    def answer(existing: Person, incoming: Person) -> Person:
        seen.append((existing, incoming))
        return united(existing, incoming)

    log = logging.getLogger("mine")
    merger = Own(lambda p: p.name, Chat(answer), Person, 2, logger_instance=log)
    merger.max_batch_pairs = 1
    memory = OMem(Person, "name", strategy_or_merger=merger)
    memory.add([Person(name="A{da}", skills=["{a}"]), Person(name="A{da}", skills=["b"])])
    assert memory.items == [Person(name="A{da}", skills=["{a}", "b"])]
    assert len(seen) == 1
    asked: list[str] = []
    merger.llm_client = lambda system, user, schema: asked.append(system)
    with caplog.at_level(logging.WARNING, "mine"):
        memory.add(Person(name="A{da}", skills=["c"]))
    assert asked == ["Merge {them}."]
    assert [record.name for record in caplog.records] == ["mine"]
    assert memory.items[0].skills == ["{a}", "b", "c"]


def test_another_client_takes_over() -> None:
    first, second = Chat(united), Chat(lambda existing, incoming: incoming)
    memory = memory_with(first)
    memory.add([Person(name="Ada", skills=["a"]), Person(name="Ada", skills=["b"])])
    memory.llm_client = second
    assert memory.llm_client is second
    memory.add(Person(name="Ada", skills=["c"]))
    assert (first.calls, second.calls, memory.items[0].skills) == (1, 1, ["c"])


def test_an_interrupt_stops_and_changes_nothing() -> None:
    begun: list[int] = []

    def stop(system: str, user: str, schema: type[BaseModel]) -> Any:
        begun.append(1)
        if len(begun) == 3:
            raise KeyboardInterrupt
        time.sleep(0.01)
        return united(*both([("human", user)]))

    memory = memory_with(stop, max_workers=2)
    memory.add([Person(name=f"p{n}") for n in range(42)])
    before = memory.items
    with pytest.raises(KeyboardInterrupt):
        memory.add(forty_two_pairs())
    assert len(begun) < 40  # what had not begun was never asked
    assert memory.items == before
    memory.llm_client = Chat(united)
    memory.add(forty_two_pairs())  # and the memory is not locked
    assert memory.size == 42


def test_a_failing_dynamic_rule_changes_nothing() -> None:
    memory = OMem(
        Person,
        "name",
        Chat(united),
        strategy_or_merger=MergeStrategy.LLM.CUSTOM_RULE,
        rule="Newest first.",
        dynamic_rule=lambda: str(1 // 0),
    )
    memory.add(Person(name="Ada"))
    with pytest.raises(ZeroDivisionError):
        memory.add([Person(name="Eve"), Person(name="Ada")])
    assert memory.keys == ["Ada"]


def test_the_prompts_say_what_matters() -> None:
    def noting(system: str, user: str, schema: type[BaseModel]) -> None:
        prompts.append(system)

    for strategy in LLM_STRATEGIES:
        prompts: list[str] = []
        rule = {"rule": "Be kind."} if strategy == MergeStrategy.LLM.CUSTOM_RULE else {}
        memory = OMem(Person, "name", noting, strategy_or_merger=strategy, **rule)
        memory.add([Person(name="Ada"), Person(name="Ada", city="Rome")])
        (prompt,) = prompts
        for word in ("identify", "exactly", "Do not add", "guess", "null"):
            assert word in prompt
        assert ("Be kind." in prompt) == bool(rule)


def editor(**changes: Any) -> Callable[..., Any]:
    def edit(system: str, user: str, schema: Any) -> dict[str, Any]:
        record = json.loads(user.split("record:")[1].split("to do:")[0])
        return {**record, **changes}

    return edit


def test_edit() -> None:
    memory = OMem(Person, "name")
    memory.add(Person(name="Ada", city="Rome"))
    tried = memory.edit("Ada", instruction="move", editor=editor(city="Bonn"), dry_run=True)
    assert (tried["changed"], tried["applied"]) == (True, False)
    assert memory.items == [Person(name="Ada", city="Rome")]
    done = memory.edit("Ada", remove_fact="Rome", editor=editor(city=None))
    assert (done["applied"], done["new"].city) == (True, None)
    assert memory.items == [Person(name="Ada")]
    same = memory.edit("Ada", instruction="nothing", editor=editor())
    assert (same["changed"], same["applied"]) == (False, False)
    with pytest.raises(ValueError, match="key"):
        memory.edit("Ada", instruction="rename", editor=editor(name="Eve"))
    with pytest.raises(KeyError):
        memory.edit("Eve", instruction="x", editor=editor())
    with pytest.raises(RuntimeError, match="model"):
        memory.edit("Ada", instruction="x")
    with pytest.raises(ValueError, match="either"):
        memory.edit("Ada", editor=editor())
    assert memory.items == [Person(name="Ada")]
