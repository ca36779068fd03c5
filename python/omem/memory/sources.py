"""The source ledger: which source said what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from omem import _omem, source_files
from omem.arguments import string, strings
from omem.base import StrPath
from omem.errors import KeyExtractionError, SourceNotFoundError
from omem.memory.lookups import Lookups
from omem.restore import Restorer
from omem.sources import SourceLedger, SourceRecord, check_source_id, note, to_text

T = TypeVar("T", bound=BaseModel)


class Sources(Lookups[T]):
    """Sources and what they said."""

    @property
    def ledger(self) -> SourceLedger:
        """The sources by their ids: a mutable mapping of `SourceRecord`.

        Raises:
            RuntimeError: The memory keeps no ledger.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", track_sources=True)
            >>> _ = memory.add(Tag(name="a"), source_id="letter")
            >>> memory.ledger["letter"].raw_items
            [{'name': 'a'}]
        """
        self._need_ledger()
        return SourceLedger(self)

    def sources(self) -> dict[str, dict[str, Any]]:
        """A summary of the ledger.

        Returns:
            For each source the number of its `raw_items` and its `content_hash`.

        Raises:
            RuntimeError: The memory keeps no ledger.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", track_sources=True)
            >>> _ = memory.add(Tag(name="a"), source_id="letter")
            >>> memory.sources()
            {'letter': {'raw_items': 1, 'content_hash': None}}
        """
        ledger = self._need_ledger()
        summary: dict[str, dict[str, Any]] = {}
        for source_id in ledger.sources():
            about = ledger.about(source_id)
            if about is not None:
                summary[source_id] = {"raw_items": about[2], "content_hash": about[0]}
        return summary

    def sources_of(self, key: Any) -> list[str]:
        """The sources that said something of an entity.

        Args:
            key: The key of the entity.

        Returns:
            Their ids, in the order in which they first did.

        Raises:
            RuntimeError: The memory keeps no ledger.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", track_sources=True)
            >>> _ = memory.add(Tag(name="a"), source_id="letter")
            >>> memory.sources_of("a")
            ['letter']
        """
        ledger = self._need_ledger()
        try:
            return ledger.sources_of(_omem.key_text(key))
        except KeyExtractionError:
            return []

    def record_source(
        self,
        source_id: str,
        raw_items: Iterable[Mapping[str, Any]],
        content_hash: str | None = None,
    ) -> None:
        """Note what a source says, in the ledger alone; nothing is merged.

        It is added to what the source said before. Entities with such observations are taken to
        be made by the caller: `remove_source` rebuilds them from the ledger alone.

        Args:
            source_id: The source.
            raw_items: Its observations, as `model_dump()` gives them; a value that equals its
                default counts as not observed. An empty dict says nothing, and is kept.
            content_hash: A hash of the source's content; None leaves what is known.

        Raises:
            RuntimeError: The memory keeps no ledger.
            ValueError: An observation does not fit the model; nothing was noted.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Person(BaseModel):
            ...     name: str
            ...     skills: list[str] = []
            >>> memory = OMem(Person, "name", track_sources=True)
            >>> memory.record_source("letter", [{"name": "Ada", "skills": ["math"]}])
            >>> memory.empty(), memory.sources()
            (True, {'letter': {'raw_items': 1, 'content_hash': None}})
        """
        ledger = self._need_ledger()
        check_source_id(source_id)
        if content_hash is not None:
            string("content_hash", content_hash)
        with self._lock:
            lines = ledger.record(source_id, self._store.encode([]), content_hash)
            note(ledger, lines, self._store, source_id, raw_items, self._observation)
            self._apply(self._nothing(), lines)

    def tag_source(
        self,
        source_id: str,
        *,
        add: Iterable[str] | None = None,
        remove: Iterable[str] | None = None,
    ) -> list[str]:
        """Change the tags of a source, by which `search(tags=)` finds what it said.

        Args:
            source_id: The source.
            add: Tags to add; those that it has are passed over.
            remove: Tags to remove; those that it has not are passed over.

        Returns:
            Its tags now, in order.

        Raises:
            RuntimeError: The memory keeps no ledger.
            KeyError: There is no such source.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Person(BaseModel):
            ...     name: str
            ...     skills: list[str] = []
            >>> memory = OMem(Person, "name", track_sources=True)
            >>> _ = memory.add(Person(name="Ada"), source_id="letter")
            >>> memory.tag_source("letter", add=["trusted"])
            ['trusted']
            >>> memory.source_tags("letter")
            ['trusted']
        """
        ledger = self._need_ledger()
        string("source_id", source_id)
        adding, removing = strings("add", add), set(strings("remove", remove))
        with self._lock:
            about = ledger.about(source_id)
            if about is None:
                raise SourceNotFoundError(
                    f"there is no source {source_id!r}; sources() has those there are"
                )
            tags = [tag for tag in dict.fromkeys([*about[1], *adding]) if tag not in removing]
            self._apply(self._nothing(), ledger.describe(source_id, about[0], tags))
        return tags

    def source_tags(self, source_id: str) -> list[str]:
        """The tags of a source.

        Args:
            source_id: The source.

        Returns:
            Its tags, in order; none for a source that is not there.

        Raises:
            RuntimeError: The memory keeps no ledger.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", track_sources=True)
            >>> _ = memory.add(Tag(name="a"), source_id="letter")
            >>> _ = memory.tag_source("letter", add=["trusted"])
            >>> memory.source_tags("letter")
            ['trusted']
        """
        ledger = self._need_ledger()
        string("source_id", source_id)
        about = ledger.about(source_id)
        return [] if about is None else about[1]

    def dump_sources(self, file_path: StrPath) -> None:
        """Save the ledger to one file, atomically and durably.

        The file is a JSON array with one object for each source: `source_id`, `content_hash`,
        `tags`, `raw_items`. `dump` saves more than that: the order of all observations, those
        without a source included.

        Args:
            file_path: The file; missing parent folders are created.

        Raises:
            RuntimeError: The memory keeps no ledger.
            OSError: The file could not be written; what was there is untouched.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", track_sources=True)
            >>> _ = memory.add(Tag(name="a"), source_id="letter")
            >>> file = Path(tempfile.mkdtemp()) / "sources.json"
            >>> memory.dump_sources(file)
            >>> print(file.read_text(), end='')
            [
            {"source_id":"letter","content_hash":null,"tags":[],"raw_items":[{"name":"a"}]}
            ]
        """
        ledger = self._need_ledger()
        with self._lock:
            content = source_files.to_json(ledger)
        _omem.write_file(Path(file_path), content)

    def load_sources(self, file_path: StrPath) -> None:
        """Replace the ledger by that of a file; entities do not change.

        What it holds counts as recorded by `record_source`.

        Args:
            file_path: A file that `dump_sources` or ontomem wrote, or a folder's `sources.json`.

        Raises:
            RuntimeError: The memory keeps no ledger.
            FileNotFoundError: There is no such file.
            LoadError: It holds something else; the ledger is as it was.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", track_sources=True)
            >>> _ = memory.add(Tag(name="a"), source_id="letter")
            >>> file = Path(tempfile.mkdtemp()) / "sources.json"
            >>> memory.dump_sources(file)
            >>> fresh = OMem(Tag, "name", track_sources=True)
            >>> fresh.load_sources(file)
            >>> list(fresh.ledger), fresh.size
            (['letter'], 0)
        """
        ledger = self._need_ledger()
        path = Path(file_path)
        with self._lock:
            entities = self._store.snapshot()
            prepared, _ = source_files.read(
                ledger, path, entities, self._store, Restorer(self.memory_schema)
            )
            other = _omem.Ledger(self._store)
            other.swap(prepared)
            recorded = other.restart(entities)
            with self._gate:
                ledger.swap(recorded)

    def _nothing(self) -> _omem.Change:
        """A change in which the store does not change."""
        return self._store.removal([])[2]

    def _observation(self, raw: Mapping[str, Any]) -> T:
        """A model of what a caller says that a source says."""
        schema = self.memory_schema
        given = {name: raw[name] for name in raw if name not in schema.model_computed_fields}
        try:
            return schema.model_validate(given, extra="forbid", by_alias=True, by_name=True)
        except ValidationError:
            # A strict model takes some of what was JSON from JSON alone.
            return Restorer(schema)(to_text(given))

    def _read_source(self, source_id: str) -> SourceRecord:
        ledger = self._need_ledger()
        with self._gate:
            about = ledger.about(source_id) if isinstance(source_id, str) else None
            items = [] if about is None else ledger.items(source_id)
        if about is None:
            raise KeyError(source_id)
        return SourceRecord(
            source_id=source_id,
            content_hash=about[0],
            tags=about[1],
            raw_items=[self._raw_item(record) for record in items],
        )

    def _raw_item(self, record: bytes) -> dict[str, Any]:
        if record == b"{}":  # what says nothing
            return {}
        return self._schema.decode(record).model_dump(round_trip=True, warnings="none")

    def _assign_source(self, source_id: str, record: SourceRecord) -> None:
        ledger = self._need_ledger()
        check_source_id(source_id)
        with self._lock:
            lines = ledger.detach(source_id, (record.content_hash, record.tags))
            note(ledger, lines, self._store, source_id, record.raw_items, self._observation)
            self._apply(self._nothing(), lines)

    def _detach_source(self, source_id: str) -> None:
        ledger = self._need_ledger()
        with self._lock:
            if not (isinstance(source_id, str) and ledger.contains(source_id)):
                raise KeyError(source_id)
            self._apply(self._nothing(), ledger.detach(source_id))

    def _empty_ledger(self) -> None:
        ledger = self._need_ledger()
        with self._lock:
            prepared = ledger.fresh(self._store.snapshot())
            with self._gate:
                ledger.swap(prepared)
