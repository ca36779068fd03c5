"""What a question has to work with in a process: data, a folder, a clock, checks."""

from __future__ import annotations

import gc
import json
import time
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from benches.data import Data, Row
from benches.peers.base import Peer


class WrongAnswerError(Exception):
    """A peer's answer is not what it must be, so its time does not count."""


class Trial:
    """One peer, one set of data, one folder. Untidy ones do not collect garbage before a clock."""

    def __init__(self, peer: Peer, data: Data, folder: Path, *, tidy: bool = True) -> None:
        self.peer = peer
        self.tidy = tidy
        self.data = data
        self.path = folder / "saved"
        self.answer: Any = None
        self.alone = 0.0
        self._done: set[str] = set()
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
        return self.peer.make(self.rows)

    def clock(self, work: Callable[[], Any], collector: bool = True) -> float:
        """Seconds that some work takes; what it returns becomes `answer`.

        What the suite itself holds is kept out of the collector's sight: no peer pays for it.
        """
        self.answer = None
        if self.tidy:
            gc.collect()
            gc.freeze()
        if not collector:
            gc.disable()
        try:
            start = time.perf_counter()
            self.answer = work()
            return time.perf_counter() - start
        finally:
            gc.enable()
            gc.unfreeze()

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise WrongAnswerError(what)

    def once(self, name: str, work: Callable[[], Any]) -> None:
        """Do what several samples of a case need once."""
        if name not in self._done:
            work()
            self._done = {name}

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

    def expect_saved(self, items: list[Any]) -> None:
        """The file holds just these entities: loaded and compared, the second time by checksum."""
        checksum = zlib.crc32(self.path.read_bytes())
        if checksum != self._verified:
            peer: Any = self.peer
            peer.load(self.path)
            if peer.has("items"):
                self.expect(peer.items() == items, "the file does not hold the entities")
            else:
                self.expect(peer.content == self.path.read_bytes(), "the file holds other bytes")
            self._verified = checksum

    def forget_saved(self) -> None:
        self.path.unlink(missing_ok=True)
        self._verified = None
