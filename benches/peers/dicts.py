"""A dict of dicts, merged by a loop, written by json or orjson: what one writes oneself."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from benches.data import Data, Row
from benches.peers.base import Keyed, write_synced


class Json(Keyed):
    modules = ("json",)
    writes_json = True
    lookups: dict[Any, list[Row]]

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.held = {}

    def key_of(self, item: Row) -> Any:
        return item[self.data.key]

    def make_ruled(self, rows: Iterable[Row]) -> list[Row]:
        return self.make(rows)

    def unites(self) -> None:
        """Its lists can be united."""

    def start(self, strategy: str, lists: str = "replace", rules: bool = False) -> None:
        self.held = {}
        self.lists = lists
        self.strategy = strategy
        self.rules = _RULES if rules else {}

    def merge(self, items: Iterable[Row]) -> None:
        held, key, strategy, rules = self.held, self.data.key, self.strategy, self.rules
        union = self.lists == "union"
        for item in items:
            known = held.get(item[key])
            if known is None or strategy == "keep_incoming":
                held[item[key]] = dict(item)
            elif strategy == "merge_field":
                for name, value in item.items():
                    if value is None:
                        continue
                    rule = rules.get(name)
                    if rule is not None:
                        known[name] = rule(known[name], value)
                    elif union and isinstance(value, list):
                        known[name] = list(dict.fromkeys([*known[name], *value]))
                    else:
                        known[name] = value

    def dump(self, path: Path) -> None:
        text = json.dumps(self.items(), ensure_ascii=False, separators=(",", ":"))
        write_synced(path, text.encode())

    def load(self, path: Path) -> None:
        self.hold(json.loads(path.read_bytes()))

    def create_lookup(self, field: str) -> None:
        self.lookups = defaultdict(list)
        for item in self.held.values():
            self.lookups[item[field]].append(item)

    def lookup(self, value: Any) -> list[Row]:
        return self.lookups[value]


class Orjson(Json):
    modules = ("orjson",)
    packages = ("orjson",)

    def dump(self, path: Path) -> None:
        write_synced(path, orjson.dumps(self.items()))

    def load(self, path: Path) -> None:
        self.hold(orjson.loads(path.read_bytes()))


def _more(left: Any, right: Any) -> Any:
    return right if left is None or right > left else left


_RULES: dict[str, Callable[[Any, Any], Any]] = {
    "h_index": _more,
    "score": lambda left, right: left + right,
    "bio": lambda left, right: max(left, right, key=len),
}

PEERS = {"json": Json, "orjson": Orjson}
