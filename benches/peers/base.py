"""What a peer is to a question: a few verbs, each of which it has or has not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from benches.data import Data, Row


class Peer:
    """One way to keep entities.

    A question asks for verbs by name, and a peer without one of them is not asked:

    | verb | what |
    |---|---|
    | `make(rows)` | its own objects of these rows |
    | `add(objects)` | keep new entities, or merge them into those with the same key |
    | `fill(objects)` | hold just these entities; not measured |
    | `touch(objects)` | replace entities by key; not measured |
    | `dump(path)` | save all, until they are safe on the disk |
    | `load(path)` | restore, until `get` works |
    | `get(key)`, `items()` | one entity, all of them in order, equal to `make`'s objects |
    | `create_lookup(field)`, `lookup(value)` | the entities with a value in a field |
    | `index(vectors)`, `search(vector, k, scope)` | see `questions/index.py` |
    """

    modules: ClassVar[tuple[str, ...]] = ()
    """What a process imports to use it."""

    packages: ClassVar[tuple[str, ...]] = ()
    """The distributions whose versions belong to a result."""

    writes_json: ClassVar[bool] = False
    """Whether its file is a JSON array of all entities, which can be checked without it."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def make(self, rows: Iterable[Row]) -> list[Any]:
        return list(rows)

    def has(self, verb: str) -> bool:
        return bool(self.modules) if verb == "import" else callable(getattr(self, verb, None))


class Keyed(Peer):
    """A dict from key to object: what one has around a codec that only writes and reads lists."""

    held: dict[Any, Any]

    def key_of(self, item: Any) -> Any:
        return getattr(item, self.data.key)

    def hold(self, items: Iterable[Any]) -> None:
        key_of = self.key_of
        self.held = {key_of(item): item for item in items}

    def fill(self, items: Iterable[Any]) -> None:
        self.hold(items)

    def touch(self, items: Iterable[Any]) -> None:
        self.held.update({self.key_of(item): item for item in items})

    def get(self, key: Any) -> Any:
        return self.held[key]

    def items(self) -> list[Any]:
        return list(self.held.values())


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file that somebody else wrote is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
