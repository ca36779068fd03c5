"""Finding entities by a value of theirs: secondary indexes, kept up with every change."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from pydantic import BaseModel

from omem.arguments import string
from omem.errors import LookupNotFoundError
from omem.keys import KeyExtractor, key_spec
from omem.memory.edit import Edit

T = TypeVar("T", bound=BaseModel)


class Lookups(Edit[T]):
    """Lookups by name."""

    def create_lookup(
        self, name: str, key_extractor: KeyExtractor[T], *, each: bool = False
    ) -> None:
        """Find entities by a value of theirs from now on; those that are there are taken in.

        A lookup is kept up with every change, `clear` and `load` included. It belongs to this
        memory object and is not saved. An entity whose value is None is not in it.

        Args:
            name: What the lookup is called.
            key_extractor: Where the value is, as for `OMem`: a field name, a dotted path, a tuple
                of those, or a function of the entity. Values are what keys may be.
            each: The value is a list or set, and an entity is found by each of its elements.

        Raises:
            TypeError: The name is no str, or the extractor none of these.
            ValueError: There is a lookup of this name, or a name is no field.
            KeyExtractionError: The function raises, or an entity has a value that cannot be
                looked up, such as a dict. A change that leads to such an entity fails whole.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Person(BaseModel):
            ...     name: str
            ...     home: str | None = None
            ...     skills: list[str] = []
            >>> memory = OMem(Person, "name")
            >>> memory.create_lookup("by_home", "home")
            >>> memory.create_lookup("by_skill", lambda person: person.skills, each=True)
            >>> _ = memory.add([
            ...     Person(name="Ada", home="London", skills=["math", "poetry"]),
            ...     Person(name="Kurt", home="Vienna", skills=["math"]),
            ... ])
            >>> [person.name for person in memory.get_by_lookup("by_skill", "math")]
            ['Ada', 'Kurt']
        """
        string("name", name)
        with self._lock:
            if name in self.list_lookups():
                raise ValueError(
                    f"there is a lookup {name!r} already; drop_lookup({name!r}) removes it"
                )
            self._store.create_lookup(name, key_spec(self.memory_schema, key_extractor), each)

    def get_by_lookup(self, lookup_name: str, lookup_key: Any) -> list[T]:
        """The entities that have a value in a lookup.

        Args:
            lookup_name: The lookup.
            lookup_key: The value; equal values find the same entities, as in a dict.

        Returns:
            The entities in insertion order, each the caller's own copy; empty where there is none.

        Raises:
            LookupNotFoundError: There is no lookup of this name; it is a KeyError.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.create_lookup("by_initial", lambda tag: tag.name[0])
            >>> memory.get_by_lookup("by_initial", "b")
            [Tag(name='b')]
        """
        found = self._store.get_by_lookup(lookup_name, lookup_key)
        if found is None:
            names = ", ".join(map(repr, self.list_lookups())) or "none yet"
            raise LookupNotFoundError(
                f"there is no lookup {lookup_name!r}; create_lookup() makes one (there are {names})"
            )
        return cast("list[T]", found)

    def drop_lookup(self, name: str) -> bool:
        """Drop a lookup; the entities stay.

        Args:
            name: The lookup.

        Returns:
            Whether there was one of this name.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> memory.create_lookup("by_name", "name")
            >>> memory.drop_lookup("by_name"), memory.drop_lookup("by_name")
            (True, False)
        """
        with self._lock:
            return self._store.drop_lookup(name)

    def list_lookups(self) -> list[str]:
        """The names of the lookups.

        Returns:
            The names, in order of creation.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> memory.create_lookup("by_name", "name")
            >>> memory.list_lookups()
            ['by_name']
        """
        return self._store.list_lookups()
