"""Writes `docs/benchmarks.md`, and the measured table of other pages, from a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benches import plots, report
from benches.data import KINDS
from benches.peers import ENTRIES
from benches.results import Result, Run

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "benches" / "runs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
WITH_TABLE = ("README.md", "docs/persistence.md")
TABLE_CASES = ("add/new", "dump/fresh", "load/first_get", "load/all_items")
TABLE_TITLES = ("add", "dump, fsync included", "load to the first `get`", "load to all entities")

HEAD = """\
# Benchmarks

This page is written by `make bench-docs` from [{name}](../{folder}/run.json), which holds every
raw sample; no number in it is typed by hand. How the suite works and how to run it:
[benches/README.md](../benches/README.md).

{facts}

**How to read it.** `12.3 ms ± 2 % · 3.4 ×`: the median of all samples, half the distance between
their quartiles, and the median over pairs of samples taken in turn of *how many times omem's time*
the peer took. Above 1 × omem is faster; what is below 1 × is **bold** and explained under its
table. Memory and pauses are compared in the same way. *Peers in italics* are limits of the machine.
An empty cell: the peer has no answer to that question. `cut off`: one sample took longer than the
budget, or did so with fewer of the same data; `left out`: the run had no time for it. Every answer
was checked before its time counted. Files replace those of the sample before and are synced
(ontomem never syncs); they are read from the page cache.
"""


def fresh(name: str) -> Path:
    """A folder for a run that no run has yet."""
    names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
    return next(RUNS / n for n in names if not (RUNS / n / "run.json").exists())


def latest(suite: str | None = None) -> Path:
    """The folder of the newest run."""
    runs = [(Run.load(path), path.parent) for path in RUNS.glob("*/run.json")]
    found = [(run.started, folder) for run, folder in runs if suite in (None, run.suite)]
    if not found:
        raise SystemExit("there is no run yet; `make bench` makes one")
    return max(found)[1]


def write(folder: Path) -> None:
    """All pages, from one run."""
    run = Run.load(folder / "run.json")
    pictures = plots.draw(run, folder)
    where = folder.relative_to(ROOT).as_posix()
    parts = [HEAD.format(name=folder.name, folder=where, facts=report.facts(run))]
    parts += [
        f"![{plots.caption(path)}](../{where}/{path.name})\n\n*{plots.caption(path)}.*\n"
        for path in pictures
    ]
    parts.append(report.all_questions(run))
    page = ROOT / "docs" / "benchmarks.md"
    page.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    for name in WITH_TABLE:
        page = ROOT / name
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        root = "../" * name.count("/")
        shown = summary(run, root, where, [path.name for path in pictures])
        page.write_text(f"{before}{BEGIN}\n{shown}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def summary(run: Run, root: str, where: str, pictures: list[str]) -> str:
    """The measured table: the main verbs, every peer, the largest size with nearly all answers."""
    rows = [r for r in run.results if r.case in TABLE_CASES and r.kind == "profiles"]
    if not rows:
        raise SystemExit("the run has none of the cases that the table shows")
    answered = Counter(row.size for row in rows if row.samples)
    most = max(answered.values())
    size = max(size for size, count in answered.items() if count >= 0.9 * most)
    asked = {row.peer for row in rows if row.size == size}
    found: dict[tuple[str, str], Result] = {(r.case, r.peer): r for r in rows if r.size == size}
    lines = ["| | " + " | ".join(TABLE_TITLES) + " |", "|---" * (len(TABLE_TITLES) + 1) + "|"]
    for entry in ENTRIES:
        if entry.name in asked:
            cells = [report.cell(found.get((case, entry.name))) for case in TABLE_CASES]
            title = f"*{entry.title}*" if entry.limit else entry.title
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    machine = run.machine
    lines += [
        "",
        f"{size:,} eight-field profiles of about {KINDS['profiles'].bytes} bytes; medians of "
        f"interleaved samples, their spread, and how many times omem's time a peer takes "
        f"(**bold**: less). {machine['processor']}, {machine['cores']} cores, {machine['python']}, "
        f"revision {run.revision}. All questions, other data and sizes, and why some peers are "
        f"faster: [benchmarks]({root}docs/benchmarks.md).",
    ]
    if "peers.png" in pictures:
        lines += ["", f"![Peers against omem]({root}{where}/peers.png)"]
    return "\n".join(lines)
