"""What a question has to work with in a process: data, a folder, a clock, checks."""

from __future__ import annotations

import gc
import json
import signal
import time
import zlib
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from benches.data import Data, Row
from benches.peers.base import Peer
from benches.questions import Case


class WrongAnswerError(Exception):
    """A peer's answer is not what it must be, so its time does not count."""


class Trial:
    """One peer, one set of data, one folder. Untidy ones do not collect garbage before a clock."""

    def __init__(
        self, peer: Peer, data: Data, folder: Path, *, tidy: bool = True, cut_off: float = 0
    ) -> None:
        self.peer = peer
        self.tidy = tidy
        self.cut_off = cut_off
        """Seconds after which what is clocked ends the process (SIGALRM); 0: never."""
        self.data = data
        self.path = folder / "saved"
        self.answer: Any = None
        self.load: Any = None
        """What `fresh_load` found."""
        self.base: Data | None = None
        """The rows that come again where there are very many."""
        self._done = ""
        self._used = False
        self._verified: int | None = None

    @property
    def rows(self) -> list[Row]:
        return self.data.rows

    @property
    def middle_key(self) -> Any:
        """The key of an entity in the middle, as `write_saved` left it beside the file."""
        return json.loads(self.path.with_suffix(".key").read_bytes())

    def write_saved(self) -> None:
        """Leave a file, and a key in it, to processes that must not make any entities."""
        self.saved()
        key = self.rows[len(self.rows) // 2][self.data.key]
        self.path.with_suffix(".key").write_text(json.dumps(key))

    @cached_property
    def items(self) -> list[Any]:
        """The peer's own objects of all rows."""
        rows = self.rows
        gc.disable()
        try:
            return self.peer.make(rows)
        finally:
            gc.enable()

    def clock(self, work: Callable[[], Any], collector: bool = True) -> float:
        """Seconds that some work takes; what it returns becomes `answer`.

        What there is by then, the entities that are added among it, is old to the collector, as in
        a program that has run for a while: only a full collection looks at it.
        """
        self.answer = None
        if self.tidy:
            gc.collect()
        if not collector:
            gc.disable()
        signal.setitimer(signal.ITIMER_REAL, self.cut_off)
        try:
            start = time.perf_counter()
            self.answer = work()
            return time.perf_counter() - start
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            gc.enable()

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise WrongAnswerError(what)

    def sample(self, case: Case) -> float:
        """The value of one sample; what `once` did holds while samples ask for it."""
        self._used = False
        try:
            return case.sample(self.peer, self)
        finally:
            if not self._used:
                self._done = ""

    def once(self, name: str, work: Callable[[], Any]) -> None:
        """Do what several samples in a row need once."""
        self._used = True
        if name != self._done:
            self._done = ""
            work()
            self._done = name

    def loaded(self) -> None:
        """Let the peer hold all entities as they came from a file."""
        peer: Any = self.peer
        self.once("loaded", lambda: peer.load(self.saved()))

    def was_loaded(self) -> None:
        """The peer holds all entities as they came from a file now, for the cases that follow."""
        self._used, self._done = True, "loaded"

    def hold(self) -> None:
        """Let the peer hold all entities."""
        peer: Any = self.peer
        peer.fill(self.items)

    def saved(self) -> Path:
        """A file with all entities, written by the peer itself or else as JSON."""
        if not self.path.exists():
            if self.peer.has("dump") and self.peer.has("fill"):
                self.hold()
                peer: Any = self.peer
                peer.dump(self.path)
            else:
                self._write_json()
        return self.path

    def _write_json(self) -> None:
        import orjson

        self.path.write_bytes(orjson.dumps(self.rows))

    def expect_saved(self, rows: list[Row]) -> None:
        """The file holds just these entities: read and compared, the second time by checksum.

        JSON is read by orjson and not by the peer, whose reader could undo its writer's errors.
        """
        content = self.path.read_bytes()
        checksum = zlib.crc32(content)
        if checksum == self._verified:
            return
        peer: Any = self.peer
        gc.disable()
        try:
            if peer.writes_json:
                import orjson

                # Compared as text: to Python, 1, 1.0 and True are equal.
                exact = partial(orjson.dumps, option=orjson.OPT_SORT_KEYS)
                same = exact(orjson.loads(content)) == exact(rows)
            else:
                peer.load(self.path)
                same = peer.items() == peer.make(rows)
            self.expect(same, "the file does not hold the entities")
        finally:
            gc.enable()
        self._verified = checksum

    def forget_saved(self) -> None:
        self.path.unlink(missing_ok=True)
        self._verified = None
