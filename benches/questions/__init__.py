"""What is asked: one question in each file, with the cases in which it is asked.

A case is a function of a peer and a trial. It prepares, lets the trial clock the part that is
measured, checks the answer, and returns the measured value; a wrong answer raises.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

ORDER = (
    "add",
    "merge",
    "dump",
    "load",
    "get",
    "lookup",
    "memory",
    "collector",
    "index",
    "search",
    "startup",
    "growth",
)


@dataclass(frozen=True)
class Case:
    """One way to ask a question."""

    question: str
    name: str
    title: str
    verbs: tuple[str, ...]
    sample: Callable[[Any, Any], float]
    unit: str = "s"
    fresh: bool = False
    """Each sample needs a process that has done nothing but answer the fresh cases before it."""
    alone: bool = False
    """The value is no time, so that it needs neither warm-up nor partner."""
    bare: bool = False
    """It needs no entities at hand."""

    @property
    def id(self) -> str:
        return f"{self.question}/{self.name}"


_CASES: dict[str, Case] = {}


def case(
    title: str,
    *verbs: str,
    unit: str = "s",
    fresh: bool = False,
    alone: bool = False,
    bare: bool = False,
) -> Callable[[Callable[[Any, Any], float]], Callable[[Any, Any], float]]:
    """Make a function a case of its file's question; a peer needs these verbs to be asked."""

    def register(sample: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
        question = sample.__module__.rpartition(".")[2]
        name = sample.__name__
        made = Case(question, name, title, verbs, sample, unit, fresh, alone, bare)
        _CASES[made.id] = made
        return sample

    return register


def module(question: str) -> ModuleType:
    return importlib.import_module(f"benches.questions.{question}")


def cases() -> dict[str, Case]:
    """All cases by id, in the order in which they are asked."""
    for question in ORDER:
        module(question)
    ordered = sorted(_CASES.values(), key=lambda case: ORDER.index(case.question))
    return {case.id: case for case in ordered}


def heading(question: str) -> str:
    """The question itself: the first line of its file."""
    return (module(question).__doc__ or "").strip().splitlines()[0]


def explanation(question: str) -> str:
    """What is measured: the other lines of its file's docstring."""
    return (module(question).__doc__ or "").strip().partition("\n")[2].strip()


def reasons(question: str) -> dict[str, str]:
    """Why some peers are faster than omem here."""
    return getattr(module(question), "WHY", {})
