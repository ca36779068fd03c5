"""The process of one peer, as the runner sees it: it answers, or it is gone, and why is told."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
RESERVE = 0.06
"""The part of the machine's memory that must stay free, or the largest process is ended."""


POLL = 0.25
"""Seconds between two looks at the memory while an answer is waited for."""


class GoneError(Exception):
    """A peer has no answer: its process was ended or ended itself."""

    def __init__(self, peer: str, status: str, note: str) -> None:
        super().__init__(f"{peer}: {status} ({note})")
        self.peer, self.status, self.note = peer, status, note


class MemoryShortError(Exception):
    """The machine has nearly no memory left."""


class Worker:
    """The process of one peer."""

    def __init__(
        self, peer: str, kind: str, size: int, folder: Path, cache: Path, cut_off: float
    ) -> None:
        self.peer, self.cut_off = peer, cut_off
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benches.worker", peer, kind, str(size)]
        command += [str(folder), str(cache), str(cut_off)]
        self.log = tempfile.TemporaryFile()  # noqa: SIM115, closed by `end`
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        hello = self._answer(120)
        self.verbs = set(hello["verbs"])
        self.versions: dict[str, str] = hello["versions"]

    def ask(self, case: str, patience: float) -> dict[str, Any]:
        """The answer about a case, preparation and checks included within so many seconds."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone; `_answer` says why
            self.process.stdin.write(case.encode() + b"\n")
            self.process.stdin.flush()
        return self._answer(patience)

    def _answer(self, patience: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        end = time.monotonic() + patience
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            while not ready.select(POLL):
                memory = psutil.virtual_memory()
                if memory.available < RESERVE * memory.total:
                    raise MemoryShortError
                if time.monotonic() > end:
                    self.end()
                    note = f"more than {patience:g} s with preparation and checks"
                    raise GoneError(self.peer, "cut off", note)
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        if code == -signal.SIGALRM:
            raise GoneError(self.peer, "cut off", f"more than {self.cut_off:g} s")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = self.said().strip().splitlines()[-1:]
        raise GoneError(self.peer, "died", ": ".join([how, *said])[:300])

    def resident(self) -> int:
        """Bytes of memory that the process holds."""
        try:
            return psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return 0

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


class Desk:
    """The processes that answer about one kind and size of data."""

    def __init__(
        self, kind: str, size: int, folder: Path, cut_off: float, *, entities: bool
    ) -> None:
        self.kind, self.size, self.folder, self.cut_off = kind, size, folder, cut_off
        self.entities = entities
        """Whether a process makes its entities before it is asked."""
        self.patience = 4 * cut_off + 60
        self.workers: dict[str, Worker] = {}
        self.versions: dict[str, str] = {}
        self.broken: dict[str, GoneError] = {}
        """Who could not even start with these data."""

    def worker(self, peer: str) -> Worker:
        """The process that has been asked already, or a new one that has its entities."""
        if peer in self.broken:
            raise self.broken[peer]
        if peer not in self.workers:
            try:
                self.workers[peer] = self._start(peer)
                if self.entities:
                    self._answer(peer, self.workers[peer], "ready")
            except GoneError as gone:
                if gone.peer == peer:
                    self.broken[peer] = gone
                self.dismiss(peer)
                raise
        return self.workers[peer]

    def _start(self, peer: str) -> Worker:
        folder, cache = self.folder / peer, self.folder
        worker = Worker(peer, self.kind, self.size, folder, cache, self.cut_off)
        self.versions.update(worker.versions)
        return worker

    def _answer(self, peer: str, worker: Worker, case: str) -> dict[str, Any]:
        """An answer. Where memory gets short, the largest process is the one that is ended."""
        try:
            return worker.ask(case, self.patience)
        except MemoryShortError:
            every = {**self.workers, peer: worker}
            largest = max(every, key=lambda name: every[name].resident())
            note = f"out of memory: it held {every[largest].resident() / 1e9:.0f} GB"
            worker.end()
            self.dismiss(peer)
            self.dismiss(largest)
            raise GoneError(largest, "died", note) from None
        except GoneError:
            self.dismiss(peer)
            raise

    def ask(self, peer: str, case: str) -> dict[str, Any]:
        return self._answer(peer, self.worker(peer), case)

    def ask_fresh(self, peer: str, cases: list[str]) -> list[dict[str, Any]]:
        """The answers of a process that does nothing else. The other one leaves a file to it."""
        saved = self.ask(peer, "save")
        if "value" not in saved:
            return [saved] * len(cases)
        new = self._start(peer)
        try:
            return [self._answer(peer, new, case) for case in cases]
        finally:
            new.end()

    def dismiss(self, peer: str) -> None:
        if peer in self.workers:
            self.workers.pop(peer).end()

    def close(self) -> None:
        for peer in list(self.workers):
            self.dismiss(peer)
