"""The results of a run, as they stand in its JSON file."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1


@dataclass
class Result:
    """What one peer needed for one case with one set of data."""

    case: str
    kind: str
    size: int
    peer: str
    unit: str
    samples: list[float] = field(default_factory=list)
    partner: list[float] = field(default_factory=list)
    """What omem needed just before each of these samples; its median, where it is no time."""
    status: str = "ok"
    """`ok`, `cut off` (over the time budget), `wrong` (the answer), `failed` (an exception), `died`
    (its process), `left out` (the run had no time for it)."""
    note: str = ""
    warm: bool = True
    """Whether a sample that does not count was taken first."""

    def take(self, answer: dict[str, Any]) -> float | None:
        """The value of a worker's answer; what has none is told in place of a time."""
        if "value" in answer:
            return float(answer["value"])
        for status in ("wrong", "failed"):
            if status in answer:
                self.fail(status, answer[status])
        return None

    def fail(self, status: str, note: str) -> None:
        self.status, self.note, self.samples, self.partner = status, note, [], []

    @property
    def question(self) -> str:
        return self.case.partition("/")[0]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a part of the median."""
        if len(self.samples) < 2 or not self.median:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / 2 / self.median

    @property
    def ratio(self) -> float | None:
        """How many times omem's time the peer takes: the median over the pairs of samples."""
        pairs = [
            theirs / ours for theirs, ours in zip(self.samples, self.partner, strict=False) if ours
        ]
        return statistics.median(pairs) if pairs else None


@dataclass
class Run:
    """A whole run: where, of what, and every sample."""

    suite: str
    machine: dict[str, Any]
    versions: dict[str, str]
    revision: str
    started: str
    seconds: float
    missing: list[str]
    results: list[Result]
    unfinished: str = ""
    """Where a run was interrupted."""

    def save(self, path: Path) -> None:
        """One result a line, so that a diff of two runs can be read."""
        facts = {**asdict(self), "format": FORMAT}
        rows = facts.pop("results")
        for row in rows:
            for name in ("samples", "partner"):
                row[name] = [float(f"{value:.5g}") for value in row[name]]
        head = json.dumps(facts, indent=1)[:-2]
        lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
        new = path.with_suffix(".new")
        new.write_text(f'{head},\n "results": [\n{lines}\n ]\n}}\n', encoding="utf-8")
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> Run:
        """A saved run; another file ends the program with a line that says so."""
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SystemExit(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise SystemExit(f"{path} is no JSON: {error}") from None
        if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
            raise SystemExit(f"{path} is no run of this suite: it does not say `format: {FORMAT}`")
        try:
            facts["results"] = [Result(**row) for row in facts["results"]]
            return cls(**facts)
        except (KeyError, TypeError) as error:
            raise SystemExit(f"{path} is no run of this suite: {error}") from None
