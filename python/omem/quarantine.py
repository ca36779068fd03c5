"""What could not be merged, set aside instead of lost."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, cast

from pydantic import BaseModel

from omem import _omem
from omem.errors import KeyExtractionError, LoadError
from omem.rows import read_rows

T = TypeVar("T", bound=BaseModel)

Entries = dict[bytes, list[tuple[bytes, str]]]
"""Record and reason of each observation that was set aside, by key text."""


class QuarantinedItem(NamedTuple, Generic[T]):
    """An observation that was set aside.

    Attributes:
        item: The observation, as it came in.
        reason: Why it was not merged.

    Examples:
        >>> from omem import QuarantinedItem
        >>> item, reason = QuarantinedItem({"plate": "B-1"}, "too heavy")
        >>> reason
        'too heavy'
    """

    item: T
    reason: str


class Quarantine(Mapping[Any, list[QuarantinedItem[T]]]):
    """The observations of a memory that could not be merged, by key.

    It is read like a dict; what it gives are the caller's own copies. What was dealt with is
    removed with `del`, `pop` or `clear`. It is saved and restored with the memory.

    Args:
        schema: The compiled schema of the memory.

    Examples:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel, Field
        >>> from omem import Merge, OMem
        >>> class Truck(BaseModel):
        ...     plate: str
        ...     tons: Annotated[int, Merge.SUM, Field(le=40)]
        >>> memory = OMem(Truck, "plate", on_conflict="quarantine")
        >>> memory.add([Truck(plate="B-1", tons=30), Truck(plate="B-1", tons=20)]).quarantined
        1
        >>> memory.get("B-1").tons
        30
        >>> [(aside.item.tons, aside.reason) for aside in memory.quarantine["B-1"]]
        [(20, '$.tons: Input should be less than or equal to 40')]
    """

    __slots__ = ("_entries", "_schema")

    def __init__(self, schema: _omem.Schema) -> None:
        self._schema = schema
        self._entries: Entries = {}

    def __getitem__(self, key: Any) -> list[QuarantinedItem[T]]:
        """What was set aside under a key, in the order of arrival."""
        return self._decode(self._entries[self._text(key)])

    def __iter__(self) -> Iterator[Any]:
        """The keys, in the order of their first appearance."""
        return map(_omem.key_from_text, list(self._entries))

    def __len__(self) -> int:
        """The number of keys."""
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        """Whether something was set aside under a key."""
        try:
            return self._text(key) in self._entries
        except KeyError:
            return False

    def __delitem__(self, key: Any) -> None:
        """Forget what was set aside under a key."""
        del self._entries[self._text(key)]

    def pop(self, key: Any) -> list[QuarantinedItem[T]]:
        """Take out what was set aside under a key.

        Args:
            key: The key.

        Returns:
            Items and reasons, in the order of arrival.

        Raises:
            KeyError: There is nothing under this key.

        Examples:
            >>> from typing import Annotated
            >>> from pydantic import BaseModel, Field
            >>> from omem import Merge, OMem
            >>> class Truck(BaseModel):
            ...     plate: str
            ...     tons: Annotated[int, Merge.SUM, Field(le=40)]
            >>> memory = OMem(Truck, "plate", on_conflict="quarantine")
            >>> _ = memory.add([Truck(plate="B-1", tons=30), Truck(plate="B-1", tons=20)])
            >>> [aside] = memory.quarantine.pop("B-1")
            >>> aside.item.tons, len(memory.quarantine)
            (20, 0)
        """
        return self._decode(self._entries.pop(self._text(key)))

    def clear(self) -> None:
        """Forget everything that was set aside.

        Examples:
            >>> from typing import Annotated
            >>> from pydantic import BaseModel, Field
            >>> from omem import Merge, OMem
            >>> class Truck(BaseModel):
            ...     plate: str
            ...     tons: Annotated[int, Merge.SUM, Field(le=40)]
            >>> memory = OMem(Truck, "plate", on_conflict="quarantine")
            >>> _ = memory.add([Truck(plate="B-1", tons=30), Truck(plate="B-1", tons=20)])
            >>> memory.quarantine.clear()
            >>> len(memory.quarantine)
            0
        """
        self._entries = {}

    def __repr__(self) -> str:
        return f"<quarantine of {sum(map(len, self._entries.values())):,} items>"

    def _put(self, refused: Iterable[tuple[bytes, bytes, bytes, str]]) -> None:
        for text, _, record, reason in refused:
            self._entries.setdefault(text, []).append((record, reason))

    def _drop(self, observations: Iterable[tuple[bytes, bytes]]) -> None:
        """Forget some observations, by key text and record; those that are not there are passed."""
        for text, record in observations:
            entries = self._entries.get(text, [])
            place = next((n for n, entry in enumerate(entries) if entry[0] == record), None)
            if place is not None:
                del entries[place]
                if not entries:
                    del self._entries[text]

    def _decode(self, entries: list[tuple[bytes, str]]) -> list[QuarantinedItem[T]]:
        return [
            QuarantinedItem(cast(T, self._schema.decode(record)), reason)
            for record, reason in list(entries)
        ]

    @staticmethod
    def _text(key: object) -> bytes:
        try:
            return _omem.key_text(key)
        except KeyExtractionError:
            raise KeyError(key) from None


def joined(entries: Entries, refused: Iterable[tuple[bytes, bytes, bytes, str]]) -> Entries:
    """Entries and what was refused since, in a dict of its own.

    Args:
        entries: The entries.
        refused: Key text, record of the other side, record and reason of each observation.

    Returns:
        All of them.
    """
    found = {key: list(there) for key, there in entries.items()}
    for key, _, record, reason in refused:
        found.setdefault(key, []).append((record, reason))
    return found


def to_json(quarantine: Quarantine[Any]) -> bytes:
    """The content of a `quarantine.json`.

    Args:
        quarantine: A quarantine.

    Returns:
        A JSON array with one object per line: the `item`, and the `reason` why it stands here.
    """
    lines = [
        b'{"item":%b,"reason":%b}' % (record, json.dumps(reason).encode())
        for entries in quarantine._entries.values()
        for record, reason in entries
    ]
    return b"[\n" + b",\n".join(lines) + b"\n]\n" if lines else b"[]\n"


def read(
    path: Path, restore: Callable[[bytes], T], store: _omem.Store, *, skip: bool = False
) -> tuple[Entries, _omem.Loaded]:
    """Read a `quarantine.json`.

    Args:
        path: The file.
        restore: Makes a model of the JSON text of an item.
        store: Encodes and keys the items.
        skip: Leave out what is bad, instead of raising.

    Returns:
        The entries; size and checksum of the file, and what was left out.

    Raises:
        LoadError: The file does not hold what it should; the message names the entry.
    """
    entries: Entries = {}

    def take(raw: bytes) -> None:
        row: object = json.loads(raw)
        fields = cast("dict[str, Any]", row) if isinstance(row, dict) else {}
        item, reason = fields.get("item"), fields.get("reason")
        if not (isinstance(item, dict) and isinstance(reason, str)):
            raise LoadError("this is no object with an item and a reason")
        batch = store.encode([restore(json.dumps(item, ensure_ascii=False).encode())])
        entries.setdefault(batch.keys()[0], []).append((batch.records()[0], reason))

    return entries, read_rows(path, take, skip=skip)
