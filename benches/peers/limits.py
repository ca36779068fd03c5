"""No libraries, but what the machine can do: the same bytes written, read, copied."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from benches.data import Data, Row
from benches.peers.base import Peer, write_synced


class Bytes(Peer):
    """The bytes of all entities, as compact JSON with one on each line."""

    packages = ("orjson",)
    writes_json = True

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.content: bytes | bytearray = b""
        self.held: list[Row] = []
        self.size = 0

    def prepare(self, path: Path) -> None:
        """What a load needs beside the file."""

    def fill(self, items: Iterable[Row]) -> None:
        self.held = list(items)
        self.add(self.held)

    def add(self, items: Iterable[Row]) -> None:
        content = bytearray(b"[")
        self.size = 0
        for item in items:
            content += b",\n" if self.size else b"\n"
            content += orjson.dumps(item)
            self.size += 1
        content += b"\n]\n"
        self.content = content

    def stream(self, rows: Iterable[Row]) -> Iterable[Row]:
        return rows

    def count(self) -> int:
        return self.size

    def touch(self, items: Iterable[Row]) -> None:
        key = self.data.key
        changed = {item[key]: item for item in items}
        self.fill([changed.get(row[key], row) for row in self.held])


class Disk(Bytes):
    def dump(self, path: Path) -> None:
        write_synced(path, self.content)

    def load(self, path: Path) -> None:
        self.content = b""  # ten million entities are not held twice
        self.content = path.read_bytes()


class Memcpy(Bytes):
    """Instead of a file: what is in memory, copied to other memory."""

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.source = bytearray()

    def prepare(self, path: Path) -> None:
        self.source = bytearray(path.read_bytes())

    def load(self, path: Path) -> None:
        self.content = bytes(self.source)


class Nothing(Peer):
    """A process that holds nothing."""

    modules = ("sys",)


PEERS = {"disk": Disk, "memcpy": Memcpy, "nothing": Nothing}
