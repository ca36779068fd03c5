"""The abstract interface of a memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from omem.keys import KeyExtractor
from omem.report import AddReport, ForgetReport, LoadReport, Progress

T = TypeVar("T", bound=BaseModel)
StrPath = str | PathLike[str]


class BaseMem(ABC, Generic[T]):
    """What every memory can do; `OMem` is the implementation, and explains each of them.

    Annotate with this class where code should accept any memory.

    Examples:
        >>> from omem import BaseMem, OMem
        >>> issubclass(OMem, BaseMem)
        True
    """

    @property
    @abstractmethod
    def keys(self) -> list[Any]:
        """All keys, in insertion order."""

    @property
    @abstractmethod
    def items(self) -> list[T]:
        """All entities, in insertion order, each the caller's own copy."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many entities there are."""

    @property
    @abstractmethod
    def index_built(self) -> bool:
        """Whether there is a vector index."""

    @abstractmethod
    def iter_items(self) -> Iterator[T]:
        """All entities, decoded one by one."""

    @abstractmethod
    def empty(self) -> bool:
        """Whether there is no entity."""

    @abstractmethod
    def has_index(self) -> bool:
        """Whether there is a vector index."""

    @abstractmethod
    def add(
        self,
        items: T | Iterable[T],
        *,
        source_id: str | None = None,
        progress: Progress = False,
    ) -> AddReport:
        """Merge observations into the memory."""

    @abstractmethod
    def upsert(self, items: T | Iterable[T]) -> AddReport:
        """Replace entities by key, without merging."""

    @abstractmethod
    def get(self, key: Any) -> T | None:
        """The entity with this key, or None."""

    @abstractmethod
    def remove(self, key: Any) -> bool:
        """Remove one entity; whether it was there."""

    @abstractmethod
    def remove_many(self, keys: Iterable[Any]) -> tuple[list[Any], list[Any]]:
        """Remove entities; the keys removed, and those that were not there."""

    @abstractmethod
    def clear(self, *, sources: bool = False) -> None:
        """Remove all entities; with `sources`, what the source ledger knows too."""

    @abstractmethod
    def forget(self, key: Any) -> ForgetReport:
        """Erase an entity and every trace of it."""

    @abstractmethod
    def record_source(
        self,
        source_id: str,
        raw_items: Iterable[Mapping[str, Any]],
        content_hash: str | None = None,
    ) -> None:
        """Note what a source says, in the ledger alone."""

    @abstractmethod
    def upsert_source(self, source_id: str, items: T | Iterable[T]) -> dict[str, Any]:
        """Replace what a source said."""

    @abstractmethod
    def remove_source(self, source_id: str) -> dict[str, Any]:
        """Take back everything that a source said."""

    @abstractmethod
    def tag_source(
        self,
        source_id: str,
        *,
        add: Iterable[str] | None = None,
        remove: Iterable[str] | None = None,
    ) -> list[str]:
        """Give a source tags, or take some from it; its tags afterwards."""

    @abstractmethod
    def source_tags(self, source_id: str) -> list[str]:
        """The tags of a source."""

    @abstractmethod
    def dump_sources(self, file_path: StrPath) -> None:
        """Save what every source said to one file."""

    @abstractmethod
    def load_sources(self, file_path: StrPath) -> None:
        """Restore what every source said from one file."""

    @abstractmethod
    def sources(self) -> dict[str, dict[str, Any]]:
        """A summary of the source ledger."""

    @abstractmethod
    def sources_of(self, key: Any) -> list[str]:
        """The sources that said something of an entity."""

    @abstractmethod
    def edit(
        self,
        key: Any,
        *,
        remove_fact: str | None = None,
        instruction: str | None = None,
        editor: Any = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Let a model rewrite one entity."""

    @abstractmethod
    def create_lookup(
        self, name: str, key_extractor: KeyExtractor[T], *, each: bool = False
    ) -> None:
        """Find entities by a value of theirs from now on."""

    @abstractmethod
    def get_by_lookup(self, lookup_name: str, lookup_key: Any) -> list[T]:
        """The entities that have a value in a lookup, in insertion order."""

    @abstractmethod
    def drop_lookup(self, name: str) -> bool:
        """Drop a lookup; whether there was one of this name."""

    @abstractmethod
    def list_lookups(self) -> list[str]:
        """The names of the lookups."""

    @abstractmethod
    def build_index(self, force: bool = False, *, progress: Progress = False) -> None:
        """Build the vector index, or bring it up to date."""

    @abstractmethod
    def sync_index(
        self,
        *,
        removed_keys: Iterable[Any] | None = None,
        upserted_keys: Iterable[Any] | None = None,
    ) -> bool:
        """Bring the vector index up to date; whether it is."""

    @abstractmethod
    def clear_index(self) -> None:
        """Drop the vector index; the entities stay."""

    @abstractmethod
    def suspended_index(self) -> AbstractContextManager[Any]:
        """A block of mutations that the index catches up with in one go."""

    @abstractmethod
    def search(self, query: str, top_k: int = 5) -> list[T]:
        """The entities nearest to a query, the nearest first."""

    @abstractmethod
    def search_many(self, queries: Sequence[str], top_k: int = 5) -> list[list[T]]:
        """What `search` finds for each of many queries, asked at once."""

    @abstractmethod
    def search_by_vector(self, vector: Sequence[float], top_k: int = 5) -> list[T]:
        """The entities nearest to a vector, the nearest first."""

    @abstractmethod
    def dump(self, folder_path: StrPath, *, progress: Progress = False) -> None:
        """Save everything to a folder."""

    @abstractmethod
    def load(self, folder_path: StrPath) -> LoadReport:
        """Restore everything from a folder."""

    @abstractmethod
    def dump_data(self, file_path: StrPath, *, progress: Progress = False) -> None:
        """Save the entities to one file."""

    @abstractmethod
    def load_data(self, file_path: StrPath) -> LoadReport:
        """Restore the entities from one file."""

    @abstractmethod
    def dump_index(self, folder_path: StrPath) -> None:
        """Save the vector index to a folder."""

    @abstractmethod
    def load_index(self, folder_path: StrPath) -> None:
        """Restore the vector index from a folder."""

    @abstractmethod
    def dump_metadata(self, file_path: StrPath) -> None:
        """Save the metadata to one file."""

    @abstractmethod
    def load_metadata(self, file_path: StrPath) -> dict[str, Any]:
        """Read metadata from one file and say what does not fit."""

    def __len__(self) -> int:
        """How many entities there are."""
        return self.size

    def __bool__(self) -> bool:
        """A memory is true even while it is empty."""
        return True

    @abstractmethod
    def __contains__(self, key: object) -> bool:
        """Whether there is an entity with this key."""

    def __iter__(self) -> Iterator[T]:
        """All entities, decoded one by one."""
        return self.iter_items()
