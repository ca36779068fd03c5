"""What became faster or slower between two runs: `python benches/compare.py A.json B.json`.

A case counts as changed when all three hold:

- its samples differ by a two-sided Mann-Whitney U test [1], computed exactly, ties included, by
  counting the subsets of the pooled mid-ranks (of more than thirty samples on a side by the normal
  approximation); no distribution of the times is assumed;
- it still does after the Benjamini-Hochberg step-up [2] over all cases of the comparison, so that
  at most one in twenty of the reported changes is expected to be chance;
- the medians differ by at least the threshold, 5 % by default: a drift of the machine between two
  runs is systematic, and no test sees through it. So the limits (write, read) are reported too: if
  they moved alike, the machine did.

Few samples can show nothing: the smallest p of three against three is 0.1, of four against four
0.029, and the step-up asks for less where many cases are compared. So compare runs of the cases in
question with `--repetitions 9`.

[1] Mann, Whitney: On a Test of Whether one of Two Random Variables is Stochastically Larger than
    the Other. Annals of Mathematical Statistics 18 (1947).
[2] Benjamini, Hochberg: Controlling the False Discovery Rate. Journal of the Royal Statistical
    Society B 57 (1995).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, erfc, sqrt
from pathlib import Path

if not __package__:  # run as a file: `benches` is beside us, not on the path
    sys.path[0] = str(Path(__file__).parent.parent)

from benches.results import Result, Run

LEVEL = 0.05
THRESHOLD = 0.05
EXACT = 30
"""Samples on a side up to which the test is computed exactly."""


@dataclass(frozen=True)
class Change:
    """How a case of a peer moved from one run to the other."""

    before: Result
    after: Result
    p: float

    @property
    def factor(self) -> float:
        return self.after.median / self.before.median

    @property
    def name(self) -> str:
        result = self.after
        return f"{result.peer}: {result.case}, {result.size:,} {result.kind}"


def mann_whitney(left: Sequence[float], right: Sequence[float]) -> float:
    """The two-sided p of the U test, with mid-ranks for ties.

    Args:
        left: Samples.
        right: Samples of the other side.

    Returns:
        The probability of ranks at least as lopsided if both sides came from one distribution.
    """
    pooled = sorted([*left, *right])
    doubled: dict[float, int] = {}
    for value in pooled:
        first = pooled.index(value)
        doubled[value] = 2 * first + pooled.count(value) + 1
    if max(len(left), len(right)) > EXACT:
        return _normal([doubled[value] for value in left], [doubled[v] for v in pooled])
    # How many subsets of so many of the pooled samples have so high a sum of doubled ranks.
    subsets: list[dict[int, int]] = [defaultdict(int) for _ in range(len(left) + 1)]
    subsets[0][0] = 1
    for value in pooled:
        rank = doubled[value]
        for taken in range(len(left), 0, -1):
            for total, ways in subsets[taken - 1].items():
                subsets[taken][total + rank] += ways
    sums = subsets[len(left)]
    middle = len(left) * (len(pooled) + 1)
    seen = abs(sum(doubled[value] for value in left) - middle)
    extreme = sum(ways for total, ways in sums.items() if abs(total - middle) >= seen)
    return extreme / sum(sums.values())


def _normal(left: list[int], pooled: list[int]) -> float:
    """The same by the normal distribution that the sum of doubled ranks comes close to."""
    taken, total = len(left), len(pooled)
    middle = taken * (total + 1)
    spread = sum((rank - (total + 1)) ** 2 for rank in pooled)
    variance = taken * (total - taken) * spread / (total * (total - 1))
    away = max(0, abs(sum(left) - middle) - 1)  # continuity: half a step of doubled ranks
    return erfc(away / sqrt(2 * variance)) if variance else 1.0


def significant(ps: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which of these stand the Benjamini-Hochberg step-up at a level."""
    order = sorted(range(len(ps)), key=lambda at: ps[at])
    passed = 0
    for rank, at in enumerate(order, 1):
        if ps[at] <= level * rank / len(ps):
            passed = rank
    stands = [False] * len(ps)
    for at in order[:passed]:
        stands[at] = True
    return stands


def measured(run: Run) -> dict[tuple[str, str, int, str], Result]:
    """The results that have samples, by case, kind, size and peer."""
    return {(r.case, r.kind, r.size, r.peer): r for r in run.results if r.samples}


def covered(before: Run, after: Run) -> str:
    """What the comparison can see: results of both runs, with enough samples."""
    left, right = measured(before), measured(after)
    both = left.keys() & right.keys()
    few = sum(1 for key in both if not shows(len(left[key].samples), len(right[key].samples)))
    text = f"{len(both)} results of both runs are compared"
    text += f", {few} of them with too few samples to show anything" if few else ""
    for name, only in (("first", left.keys() - both), ("second", right.keys() - both)):
        text += f"; {len(only)} are only in the {name}" if only else ""
    return text + "."


def shows(left: int, right: int) -> bool:
    """Whether so many samples could differ at all: the smallest p that the test can give."""
    return 2 / comb(left + right, left) <= LEVEL


def changes(before: Run, after: Run, threshold: float = THRESHOLD) -> list[Change]:
    """What changed beyond the noise, the largest change first."""
    known = measured(before)
    pairs = [(known[key], r) for key, r in measured(after).items() if key in known]
    found = [Change(a, b, mann_whitney(a.samples, b.samples)) for a, b in pairs if a.median]
    stands = significant([change.p for change in found])
    told = [
        change
        for change, stand in zip(found, stands, strict=True)
        if stand and abs(change.factor - 1) >= threshold
    ]
    return sorted(told, key=lambda change: -max(change.factor, 1 / (change.factor or 1e-9)))


def describe(before: Run, after: Run, threshold: float = THRESHOLD) -> str:
    """The comparison as text."""
    lines = [f"{before.revision} → {after.revision}", covered(before, after)]
    lines += [
        f"The {name} run is unfinished: it was interrupted at {run.unfinished}."
        for name, run in (("first", before), ("second", after))
        if run.unfinished
    ]
    if before.machine.get("processor") != after.machine.get("processor"):
        lines.append("These runs are of different machines: the changes are not the code's.")
    found = changes(before, after, threshold)
    for title, part in (
        ("Slower", [change for change in found if change.factor > 1]),
        ("Faster", [change for change in found if change.factor < 1]),
    ):
        lines.append(f"\n{title}: {len(part)}")
        lines += [
            f"  {change.factor:6.2f} ×  {change.name}  "
            f"({change.before.median:.4g} → {change.after.median:.4g} {change.after.unit}, "
            f"p = {change.p:.2g})"
            for change in part
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python benches/compare.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, metavar="A.json")
    parser.add_argument("after", type=Path, metavar="B.json")
    parser.add_argument(
        "--threshold", type=float, default=THRESHOLD, help="smallest change (%(default)s)"
    )
    options = parser.parse_args()
    print(describe(Run.load(options.before), Run.load(options.after), options.threshold))


if __name__ == "__main__":
    main()
