"""pysimdjson: the file parsed to a document whose values are made when they are asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import simdjson

from benches.data import Data, Row
from benches.peers.base import Peer


class Simdjson(Peer):
    """It reads only, and finds by position: `get` looks a key's position up in the rows."""

    modules = ("simdjson",)
    packages = ("pysimdjson",)

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.parser = simdjson.Parser()
        self.document: Any = None

    def load(self, path: Path) -> None:
        self.document = None  # a parser serves one document at a time
        self.document = self.parser.parse(path.read_bytes())

    @cached_property
    def positions(self) -> dict[Any, int]:
        return {row[self.data.key]: at for at, row in enumerate(self.data.rows)}

    def locate(self, key: Any) -> None:
        """Prepare the positions, which are not part of what is measured."""
        _ = self.positions[key]

    def get(self, key: Any) -> Row:
        return self.document[self.positions[key]].as_dict()

    def items(self) -> list[Row]:
        return self.document.as_list()


PEERS = {"pysimdjson": Simdjson}
