"""A run as Markdown: one table for each question, with what was lost and why."""

from __future__ import annotations

from benches.data import KINDS
from benches.peers import ENTRIES, NAMED
from benches.questions import ORDER, cases, explanation, heading, reasons
from benches.results import Result, Run

Column = tuple[str, str, int]
"""A case's id, a kind of data, a size."""


def number(value: float, unit: str) -> str:
    """Three digits that count, in a unit that suits."""
    if unit == "s":
        value, unit = (value, "s") if value >= 1 else (value * 1e3, "ms")
        if unit == "ms" and value < 0.1:
            value, unit = value * 1e3, "µs"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def times(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.2g} ×"


def cell(result: Result | None) -> str:
    """The median, its spread, and how many times omem's time it is."""
    if result is None:
        return ""
    if result.status == "left out":
        return "left out"
    if result.status == "cut off":
        return f"cut off ({result.note})"
    if not result.samples:
        return f"{result.status}: {result.note}" if result.status != "ok" else ""
    text = number(result.median, result.unit)
    if len(result.samples) > 2:
        text += f" ± {result.spread:.0%}"
    ratio = result.ratio
    if result.peer != "omem" and ratio is not None:
        shown = times(ratio)
        text += f" · {shown}" if ratio >= 1 else f" · **{shown}**"
    return text


class Table:
    """The results of one question, by peer and column."""

    def __init__(self, run: Run, question: str) -> None:
        self.question = question
        self.results = [result for result in run.results if result.question == question]
        self.found = {(r.case, r.kind, r.size, r.peer): r for r in self.results}
        self.cases = cases()

    def groups(self) -> list[tuple[str, list[Column]]]:
        """The columns, by what they have in common: cases, kinds of data, sizes."""
        columns = {(r.case, r.kind, r.size): None for r in self.results}
        order = list(self.cases)
        titled: dict[tuple[str, int] | str, list[Column]] = {}
        for column in columns:
            case, kind, size = column
            group = (kind, size) if kind == "profiles" else case
            titled.setdefault(group, []).append(column)
        groups: list[tuple[str, list[Column]]] = []
        for group, members in titled.items():
            members.sort(key=lambda c: order.index(c[0]))
            if isinstance(group, str):
                groups.append((f"{self.cases[group].title}, other kinds of data", members))
            else:
                groups.append((f"{group[1]:,} {KINDS[group[0]].title}", members))
        return groups

    def column_title(self, column: Column) -> str:
        case, kind, size = column
        return self.cases[case].title if kind == "profiles" else f"{KINDS[kind].title} ({size:,})"

    def lines(self, columns: list[Column]) -> list[str]:
        present = {r.peer for r in self.results if (r.case, r.kind, r.size) in set(columns)}
        lines = [
            "| | " + " | ".join(map(self.column_title, columns)) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for entry in ENTRIES:
            if entry.name in present:
                cells = [cell(self.found.get((*column, entry.name))) for column in columns]
                title = f"*{entry.title}*" if entry.limit else entry.title
                lines.append(f"| {title} | " + " | ".join(cells) + " |")
        return lines

    def lost(self) -> list[str]:
        """Who is faster than omem, where, and why."""
        why = reasons(self.question)
        lines = []
        for entry in ENTRIES:
            faster = sum(
                1
                for r in self.results
                if r.peer == entry.name and r.ratio is not None and r.ratio < 1
            )
            if faster:
                asked = sum(1 for r in self.results if r.peer == entry.name and r.ratio is not None)
                reason = why.get(entry.name, "the reason is not known yet")
                lines.append(
                    f"- {entry.title} needs less than omem in {faster} of {asked}: {reason}."
                )
        return lines

    def wrong(self) -> list[str]:
        return [
            f"- {NAMED[r.peer].title}, {self.cases[r.case].title}, {r.size:,} {r.kind}: "
            f"{r.status} ({r.note})."
            for r in self.results
            if r.status in ("wrong", "failed", "died")
        ]


def question(run: Run, name: str, level: str = "##") -> str:
    """The section of one question."""
    table = Table(run, name)
    if not table.results:
        return ""
    lines = [f"{level} {heading(name)}", "", explanation(name), ""]
    for title, columns in table.groups():
        lines += [f"{title}:", "", *table.lines(columns), ""]
    for title, found in (("Lost:", table.lost()), ("Does not count:", table.wrong())):
        if found:
            lines += [title, "", *found, ""]
    return "\n".join(lines)


def all_questions(run: Run) -> str:
    return "\n".join(text for name in ORDER if (text := question(run, name)))


def facts(run: Run) -> str:
    """The machine, the versions, the revision, as one paragraph each."""
    machine = run.machine
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    unfinished = (
        f" **Unfinished**: the run was interrupted at {run.unfinished}." if run.unfinished else ""
    )
    return (
        f"{machine['system']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['file_system']}, {machine['python']}; "
        f"revision {run.revision}, {run.started[:10]}, {run.seconds / 60:.0f} minutes, "
        f"load before it {machine['load_before']}.{unfinished}\n\nVersions: {versions}."
    )
