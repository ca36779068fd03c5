"""Asks every peer every question, each peer in a process of its own, in turn with omem.

For each kind and size of data one process of omem lives as long as it lasts; the peers' processes
come and go beside it, so that only two of them take memory at a time. Samples are taken in turn
(A B A B …), after one of each that does not count.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.peers import Entry
from benches.questions import Case, cases
from benches.results import Result
from benches.suites import Block, Suite

ROOT = Path(__file__).parent.parent


class TooSlowError(Exception):
    """A peer took longer than the budget allows; its process is gone."""

    def __init__(self, peer: str) -> None:
        super().__init__(peer)
        self.peer = peer


class Worker:
    """The process of one peer."""

    def __init__(self, peer: str, block: Block, folder: Path, start_budget: float = 600) -> None:
        self.peer = peer
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "benches.worker",
            peer,
            block.kind,
            str(block.size),
            str(folder),
        ]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115, closed by `end`
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        hello = self._answer(start_budget)
        self.verbs = set(hello["verbs"])
        self.versions: dict[str, str] = hello["versions"]

    def ask(self, case: str, budget: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(case.encode() + b"\n")
        self.process.stdin.flush()
        return self._answer(budget)

    def _answer(self, budget: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            if not ready.select(budget):
                self.end()
                raise TooSlowError(self.peer)
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise SystemExit(f"a worker ended: {self.process.args}\n{self.said()}")
        return json.loads(line)

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


class Runner:
    """One run of a suite."""

    def __init__(
        self, suite: Suite, peers: list[Entry], folder: Path, progress: Callable[[str], None]
    ) -> None:
        self.suite = suite
        self.peers = peers
        self.folder = folder
        self.progress = progress
        self.cases = cases()
        self.results: dict[tuple[str, str, int, str], Result] = {}
        self.versions: dict[str, str] = {}
        self.cut: set[tuple[str, str, str]] = set()

    def run(self) -> list[Result]:
        """Asks all that the suite asks."""
        for block in self.suite.blocks:
            wanted = [case for case in self.cases.values() if block.wants(case)]
            peers = [entry.name for entry in self.peers if block.asks(entry.name)]
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                desk = Desk(block, Path(folder))
                try:
                    for peer in [*peers, "omem"]:
                        self.progress(f"{block.size:,} {block.kind}: {peer}")
                        for case in wanted:
                            self._ask(desk, case, peer)
                        if peer != "omem":
                            desk.dismiss(peer)
                finally:
                    desk.close()
                    self.versions.update(desk.versions)
        self._compare_alone()
        return list(self.results.values())

    def _ask(self, desk: Desk, case: Case, peer: str) -> None:
        """One case of one peer, if it has an answer and was not cut off at fewer entities."""
        result = self._result(desk.block, case, peer)
        if result.samples or result.status != "ok":
            return
        if (case.id, desk.block.kind, peer) in self.cut:
            result.status = "cut off"
        elif desk.answers(peer, case):
            try:
                self._measure(desk, case, peer, result)
            except TooSlowError as error:
                slow = self._result(desk.block, case, error.peer)
                slow.fail("cut off", f"more than {self.suite.cut_off:g} s")
                self.cut.add((case.id, desk.block.kind, error.peer))

    def _measure(self, desk: Desk, case: Case, peer: str, result: Result) -> None:
        """Samples in turn with omem, until there are enough or the peer's time is up."""
        block, limit = desk.block, self.suite.cut_off
        own = self._result(block, case, "omem")
        pair = (
            peer != "omem" and not case.alone and own.status == "ok" and desk.answers("omem", case)
        )
        started = time.monotonic()
        for number in range(0 if case.alone else -1, block.repetitions(case)):
            ours = own.take(desk.ask("omem", case, limit)) if pair else None
            value = result.take(desk.ask(peer, case, limit))
            if value is None or (pair and ours is None):
                return
            spent = time.monotonic() - started
            if number == -1 and spent < block.budget:
                continue
            result.warm = result.warm and number != -1
            result.samples.append(value)
            if ours is not None:
                result.partner.append(ours)
                own.samples.append(ours)
            if spent > block.budget:
                return

    def _compare_alone(self) -> None:
        """What is no time needs no pairs: it is compared with omem's median."""
        for (case, kind, size, peer), result in self.results.items():
            ours = self.results.get((case, kind, size, "omem"))
            if self.cases[case].alone and peer != "omem" and ours is not None and ours.samples:
                result.partner = [ours.median] * len(result.samples)
        self.results = {
            key: result
            for key, result in self.results.items()
            if result.samples or result.status != "ok"
        }

    def _result(self, block: Block, case: Case, peer: str) -> Result:
        key = (case.id, block.kind, block.size, peer)
        if key not in self.results:
            self.results[key] = Result(case.id, block.kind, block.size, peer, case.unit)
        return self.results[key]


class Desk:
    """The processes that answer about one kind and size of data."""

    def __init__(self, block: Block, folder: Path) -> None:
        self.block = block
        self.folder = folder
        self.workers: dict[str, Worker] = {}
        self.versions: dict[str, str] = {}

    def worker(self, peer: str) -> Worker:
        if peer not in self.workers:
            self.workers[peer] = self._start(peer)
        return self.workers[peer]

    def _start(self, peer: str) -> Worker:
        worker = Worker(peer, self.block, self.folder / peer)
        self.versions.update(worker.versions)
        return worker

    def answers(self, peer: str, case: Case) -> bool:
        return set(case.verbs) <= self.worker(peer).verbs

    def ask(self, peer: str, case: Case, limit: float) -> dict[str, Any]:
        """A worker's answer; one that takes too long is dismissed."""
        try:
            if not case.fresh:
                return self.worker(peer).ask(case.id, limit)
            saved = self.worker(peer).ask("save", limit * 3)
            if "value" not in saved:
                return saved
            new = self._start(peer)
            try:
                return new.ask(case.id, limit)
            finally:
                new.end()
        except TooSlowError:
            self.dismiss(peer)
            raise

    def dismiss(self, peer: str) -> None:
        if peer in self.workers:
            self.workers.pop(peer).end()

    def close(self) -> None:
        for peer in list(self.workers):
            self.dismiss(peer)
