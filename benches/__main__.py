"""The benchmark suite: `python -m benches [quick | full | tiny]`, `compare`, `docs`.

Asks every question of every peer, each peer in a process of its own and in turn with omem, prints
one table for each question, and leaves a folder with all raw samples (`run.json`) and plots.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benches import pages, plots, report
from benches.data import KINDS
from benches.machine import host, machine, revision
from benches.peers import ENTRIES
from benches.questions import ORDER, cases
from benches.results import Run
from benches.runner import Runner
from benches.suites import SUITES, Suite


def whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 up")
    return int(text)


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number greater than 0")
    return value


def parser() -> argparse.ArgumentParser:
    known = [*ORDER, *cases()]
    made = argparse.ArgumentParser(
        prog="python -m benches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="questions and cases:\n  "
        + "\n  ".join(f"{c.id:<32}{c.title}" for c in cases().values())
        + "\n\nkinds of data:\n  "
        + "\n  ".join(f"{name:<32}{kind.title}" for name, kind in KINDS.items())
        + "\n\npeers:\n  "
        + "\n  ".join(f"{e.name:<32}{e.title}" for e in ENTRIES)
        + "\n\nTwo runs: `python -m benches.compare A.json B.json`. The pages that show a run: "
        "`python -m benches docs [--run FOLDER]`.",
    )
    made.add_argument("suite", nargs="?", default="quick", choices=[*SUITES, "docs"])
    made.add_argument("--questions", nargs="+", choices=known, metavar="Q", help="only these")
    made.add_argument("--data", nargs="+", choices=list(KINDS), metavar="KIND", help="only these")
    made.add_argument(
        "--sizes", nargs="+", type=whole, metavar="N", help="these numbers of entities"
    )
    made.add_argument(
        "--peers",
        nargs="*",
        choices=[e.name for e in ENTRIES],
        metavar="PEER",
        help="only these; omem is always measured",
    )
    made.add_argument("--repetitions", type=whole, metavar="N", help="samples of each case")
    made.add_argument("--budget", type=positive, metavar="S", help="seconds for a peer and a case")
    made.add_argument("--cut-off", type=positive, metavar="S", help="seconds for one sample")
    made.add_argument(
        "--minutes",
        type=positive,
        metavar="M",
        help="for the whole run; what they are not enough for is left out "
        f"(full: {sum(block.minutes for block in SUITES['full'].blocks):.0f}; else: no limit)",
    )
    made.add_argument("--host", default=host(), help="name in the run's folder (%(default)s)")
    made.add_argument("--out", type=Path, help="where the run goes (benches/runs/DATE-HOST)")
    made.add_argument(
        "--scratch", type=Path, help="where files are written, on the disk to measure"
    )
    made.add_argument("--docs", action="store_true", help="write the pages from this run as well")
    made.add_argument("--run", type=Path, help="the run that `docs` shows (the newest)")
    made.add_argument("--no-save", action="store_true", help="print only")
    return made


def main() -> None:
    options = parser().parse_args()
    if options.suite == "docs":
        folder = (options.run or pages.latest()).resolve()
        pages.write(folder)
        print(f"docs/benchmarks.md and the tables of other pages show {folder.name} now")
        return
    from omem import _omem

    if _omem.DEBUG_BUILD:
        raise SystemExit("this is a debug build of omem; build a release to measure")
    suite = SUITES[options.suite].narrowed(
        ask=options.questions,
        kinds=options.data,
        sizes=options.sizes,
        rounds=options.repetitions,
        budget=options.budget,
        cut_off=options.cut_off,
        minutes=options.minutes,
    )
    if not suite.blocks:
        raise SystemExit(f"the {suite.name} suite asks nothing of what was chosen; try `full`")
    measure(suite, options)


def measure(suite: Suite, options: argparse.Namespace) -> None:
    """Run a suite; what was measured is saved after each case, so that nothing interrupts it."""
    chosen = [e for e in ENTRIES if options.peers is None or e.name in options.peers]
    missing = [e.title for e in chosen if not e.installed]
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.monotonic()
    folder = options.out or pages.fresh(f"{started[:10]}-{options.host}")
    if not options.no_save:
        folder.mkdir(parents=True, exist_ok=True)

    def tell(what: str) -> None:
        print(f"{time.monotonic() - clock:6.0f} s  {what}", file=sys.stderr, flush=True)

    def result(where: str = "") -> Run:
        return Run(
            suite=suite.name,
            machine=facts,
            versions=dict(sorted(runner.versions.items())),
            revision=revision(),
            started=started,
            seconds=round(time.monotonic() - clock, 1),
            missing=missing,
            results=runner.results(),
            unfinished=where,
        )

    def save(where: str) -> None:
        if not options.no_save:
            result(where).save(folder / "run.json")

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.scratch is not None:
        options.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        facts = machine(Path(scratch))
        peers = [e for e in chosen if e.installed and e.name != "omem"]
        runner = Runner(suite, peers, Path(scratch), tell, save)
        try:
            runner.run()
        except KeyboardInterrupt:
            tell("interrupted" if options.no_save else f"interrupted; {folder} holds what there is")
            raise SystemExit(130) from None
    run = result()
    print(report.all_questions(run))
    if missing:
        print(f"Not installed, so not measured: {', '.join(missing)}.\n")
    if options.no_save:
        return
    run.save(folder / "run.json")
    plots.draw(run, folder)
    tell(f"all samples and plots are in {folder}")
    if options.docs:
        pages.write(folder.resolve())


if __name__ == "__main__":
    main()
