"""msgspec: typed structs in a dict."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from benches.data import Data, Row
from benches.peers.base import Keyed, write_synced
from benches.shapes import struct_of


class Msgspec(Keyed):
    modules = ("msgspec",)
    packages = ("msgspec",)
    writes_json = True

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.held = {}
        self.struct = struct_of(data.model)
        self.encoder = msgspec.json.Encoder()
        self.decoder = msgspec.json.Decoder(list[self.struct])  # type: ignore[name-defined]

    def make(self, rows: Iterable[Row]) -> list[Any]:
        return msgspec.convert(list(rows), list[self.struct])  # type: ignore[name-defined]

    def dump(self, path: Path) -> None:
        write_synced(path, self.encoder.encode(self.items()))

    def load(self, path: Path) -> None:
        self.hold(self.decoder.decode(path.read_bytes()))


PEERS = {"msgspec": Msgspec}
