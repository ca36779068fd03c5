"""What a memory holds: entities by key, and the views of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from omem.memory._state import MemoryState
from omem.quarantine import Quarantine

T = TypeVar("T", bound=BaseModel)


class Views(MemoryState[T]):
    """Looking at entities; nothing changes."""

    def get(self, key: Any) -> T | None:
        """The entity with this key.

        Args:
            key: The key; equal keys find the same entity, as in a dict.

        Returns:
            The caller's own copy, or None where there is none.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> OMem(Tag, "name").get("a") is None
            True
        """
        return cast("T | None", self._store.get(key))

    @property
    def keys(self) -> list[Any]:
        """All keys, in insertion order.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.keys
            ['a', 'b']
        """
        return self._store.snapshot().keys()

    @property
    def items(self) -> list[T]:
        """All entities, in insertion order; a new list of new copies at each call.

        Decoding is O(n): for one pass over a very large memory take `iter_items`.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.items
            [Tag(name='a'), Tag(name='b')]
        """
        return cast("list[T]", self._store.snapshot().decode())

    def iter_items(self) -> Iterator[T]:
        """All entities as of now, in insertion order, decoded one by one.

        Returns:
            An iterator over the caller's own copies; later changes do not show in it.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> [tag.name for tag in memory.iter_items()]
            ['a', 'b']
        """
        return cast("Iterator[T]", iter(self._store.snapshot()))

    @property
    def size(self) -> int:
        """How many entities there are.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.size, len(memory)
            (2, 2)
        """
        return len(self._store)

    def empty(self) -> bool:
        """Whether there is no entity.

        Returns:
            True where there is none; a memory itself is true all the same.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> memory.empty(), bool(memory)
            (True, True)
        """
        return len(self._store) == 0

    def __contains__(self, key: object) -> bool:
        """Whether there is an entity with this key."""
        return self._store.contains(key)

    @property
    def quarantine(self) -> Quarantine[T]:
        """The observations that could not be merged: a mapping of key to items and reasons.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> memory.quarantine.clear()
            >>> dict(memory.quarantine)
            {}
        """
        return self._quarantine
