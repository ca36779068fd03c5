"""Merging and editing by a model: what it costs, and that nothing is lost when it fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel

from omem import MergeError, MergeStrategy, OMem, retry
from omem.merger import CustomRuleMerger, create_merger


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
