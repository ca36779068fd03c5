"""Asks every peer every question, each peer in a process of its own, in turn with omem.

For each kind and size of data one process of omem lives as long as it lasts; the peers' processes
come and go beside it, so that only two of them take memory at a time. Samples are taken in turn
(A B A B …), after one of each that does not count.

A suite may have a time: each set of data has its minutes of it (what it leaves goes to the next),
and within them each peer and each of its cases an equal part of what is left. A case gets one
sample at least, unless the minutes are over: then it is shown as left out (omem never is).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benches.peers import Entry
from benches.process import Desk, GoneError
from benches.questions import Case, cases
from benches.results import Result
from benches.suites import Block, Suite

FOREVER = float("inf")


class Runner:
    """One run of a suite."""

    def __init__(
        self,
        suite: Suite,
        peers: list[Entry],
        folder: Path,
        progress: Callable[[str], None],
        save: Callable[[str], None] = lambda where: None,
    ) -> None:
        self.suite = suite
        self.peers = peers
        self.folder = folder
        self.progress = progress
        self.save = save
        """Called after each case, so that what was measured so far is never lost."""
        self.cases = cases()
        self.found: dict[tuple[str, str, int, str], Result] = {}
        self.versions: dict[str, str] = {}
        self.verbs: dict[str, set[str]] = {}
        self.cut: dict[tuple[str, str, str], tuple[int, str]] = {}

    def run(self) -> None:
        """Asks all that the suite asks."""
        end = time.monotonic()
        for number, block in enumerate(self.suite.blocks, 1):
            end = end + block.minutes * 60 if block.minutes else FOREVER
            self._block(block, end, f"{number}/{len(self.suite.blocks)}")

    def _block(self, block: Block, end: float, place: str) -> None:
        wanted = [case for case in self.cases.values() if block.wants(case)]
        # The limits first, so that no slow peer takes their time. omem's process is the second of
        # every pair; its own turn asks what no peer was asked.
        by_use = sorted(self.peers, key=lambda entry: not entry.limit)
        peers = [*(entry.name for entry in by_use if block.asks(entry.name)), "omem"]
        entities = any(not case.bare for case in wanted)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            desk = Desk(block.kind, block.size, Path(folder), block.cut_off, entities=entities)
            try:
                for at, peer in enumerate(peers):
                    where = f"{block.size:,} {block.kind}: {peer}"
                    left = "" if end == FOREVER else f", {_minutes(end)} left for these data"
                    self.progress(f"data {place}, {where} ({at + 1}/{len(peers)}{left})")
                    share = time.monotonic() + max(0, end - time.monotonic()) / (len(peers) - at)
                    self._peer(desk, block, peer, wanted, (share, end))
                    if peer != "omem":
                        desk.dismiss(peer)
            finally:
                desk.close()
                self.versions.update(desk.versions)

    def _peer(
        self, desk: Desk, block: Block, peer: str, wanted: list[Case], ends: tuple[float, float]
    ) -> None:
        """All cases of one peer, each with an equal part of the time that is left."""
        share, end = ends
        try:
            asked = [case for case in wanted if self._answers(desk, peer, case)]
        except GoneError as gone:
            for case in wanted:
                self._lost(block, case, gone)
            return
        fresh = [case for case in asked if case.fresh]
        for at, case in enumerate(asked):
            result = self._result(block, case, peer)
            known = self.cut.get((case.id, block.kind, peer))
            if result.samples or result.status != "ok":
                continue
            if known:
                result.fail(known[1], f"already at {known[0]:,}")
            elif time.monotonic() > end and peer != "omem":
                result.fail("left out", "the time for these data was over")
            else:
                budget = min(block.budget, (share - time.monotonic()) / (len(asked) - at))
                self.progress(f"    {peer}: {case.id}")
                if case.fresh:
                    self._measure_fresh(desk, block, peer, fresh, budget * len(fresh))
                else:
                    self._measure(desk, block, peer, case, budget)
            self.save(f"{block.size:,} {block.kind}: {peer}, {case.id}")

    def _measure(self, desk: Desk, block: Block, peer: str, case: Case, budget: float) -> None:
        """Samples in turn with omem, until there are enough or the time is up."""
        for _ in range(2):  # where omem's process is gone, the peer is asked without it
            try:
                self._pairs(desk, block, peer, case, budget)
                return
            except GoneError as gone:
                self._lost(block, case, gone)
                if gone.peer == peer:
                    return

    def _pairs(self, desk: Desk, block: Block, peer: str, case: Case, budget: float) -> None:
        result, own = self._result(block, case, peer), self._result(block, case, "omem")
        pair = peer != "omem" and not case.alone and self._answers(desk, "omem", case)
        started = time.monotonic()
        for number in range(0 if case.alone else -1, block.repetitions(case)):
            pair = pair and own.status == "ok"
            ours = own.take(desk.ask("omem", case.id)) if pair else None
            value = result.take(desk.ask(peer, case.id))
            if value is None:
                return
            spent = time.monotonic() - started
            if number == -1 and spent < budget:
                continue
            result.warm = result.warm and number != -1
            result.samples.append(value)
            if ours is not None:
                result.partner.append(ours)
                own.samples.append(ours)
            if spent > budget:
                return

    def _measure_fresh(
        self, desk: Desk, block: Block, peer: str, fresh: list[Case], budget: float
    ) -> None:
        """Samples of processes that do nothing else; each answers all of these cases."""
        started = time.monotonic()
        results = [self._result(block, case, peer) for case in fresh]
        while time.monotonic() - started <= budget or not results[0].samples:
            try:
                answers = desk.ask_fresh(peer, [case.id for case in fresh])
            except GoneError as gone:
                for case in fresh:
                    self._lost(block, case, gone)
                return
            for result, answer in zip(results, answers, strict=True):
                value = result.take(answer) if result.status == "ok" else None
                if value is not None:
                    result.samples.append(value)
            if len(results[0].samples) in (0, block.repetitions(fresh[0])):
                return

    def _lost(self, block: Block, case: Case, gone: GoneError) -> None:
        """A case without an answer; with more of the same data it would have none either."""
        self.progress(f"    {case.id}: {gone}")
        self._result(block, case, gone.peer).fail(gone.status, gone.note)
        self.cut.setdefault((case.id, block.kind, gone.peer), (block.size, gone.status))

    def _answers(self, desk: Desk, peer: str, case: Case) -> bool:
        if peer not in self.verbs:
            self.verbs[peer] = desk.worker(peer).verbs
        return set(case.verbs) <= self.verbs[peer]

    def results(self) -> list[Result]:
        """What was measured so far. What is no time has omem's median as partner."""
        for (case, kind, size, peer), result in self.found.items():
            ours = self.found.get((case, kind, size, "omem"))
            if self.cases[case].alone and peer != "omem" and ours is not None and ours.samples:
                result.partner = [ours.median] * len(result.samples)
        return [r for r in self.found.values() if r.samples or r.status != "ok"]

    def _result(self, block: Block, case: Case, peer: str) -> Result:
        key = (case.id, block.kind, block.size, peer)
        if key not in self.found:
            self.found[key] = Result(case.id, block.kind, block.size, peer, case.unit)
        return self.found[key]


def _minutes(end: float) -> str:
    return f"{max(0.0, end - time.monotonic()) / 60:.1f} minutes"
