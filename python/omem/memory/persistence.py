"""Saving to files and folders, and restoring from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

from pydantic import BaseModel

from omem import _omem, metadata, quarantine, sources
from omem.base import StrPath
from omem.embedding import signature
from omem.errors import FolderNotFoundError, IndexDamagedError, LoadError
from omem.folder import existing_folder
from omem.index import VectorIndex
from omem.index import files as index_files
from omem.keys import key_fields
from omem.memory._state import OnConflict, at_once, one_of
from omem.memory.entities import Refused
from omem.memory.search import Search
from omem.merger.classic import ClassicMerger, FieldMerger
from omem.metadata import DATA, DOCSTORE, INDEX_FOLDER, METADATA, QUARANTINE, SOURCES, VECTORS
from omem.report import BadRecord, LoadReport, Progress, reporter
from omem.restore import Restorer
from omem.view import view

logger = logging.getLogger("omem")

T = TypeVar("T", bound=BaseModel)
OnError = Literal["raise", "skip"]
Unknown = Literal["error", "drop"]
Migrate = Callable[[dict[str, Any]], dict[str, Any]]


class _Read(NamedTuple, Generic[T]):
    """What was read from a folder."""

    loaded: _omem.Loaded
    restorer: Restorer[T]
    prepared: _omem.Prepared
    merged: int
    aside: quarantine.Entries
    ledger: _omem.PreparedLedger | None
    vectors: VectorIndex | None
    told: str
    bad: list[BadRecord]
    warnings: list[str]
    schema_changed: bool


class Persistence(Search[T]):
    """Dump and load, whole or in parts."""

    def dump(self, folder_path: StrPath, *, progress: Progress = False) -> None:
        """Save everything to a folder: data, metadata, index, source ledger.

        The folder is created where it is missing. Whatever happens meanwhile (a crash, a full
        disk, Ctrl-C), the folder holds the complete old memory or the complete new one; when
        this returns, the new one is on the disk.

        Args:
            folder_path: The folder.
            progress: True to log progress, or a callable that gets bytes and records done.

        Raises:
            OSError: The files could not be written; the folder is as it was.
            LockedError: Another process kept the folder locked for 60 s.

        Examples:
            >>> import tempfile
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add(Tag(name="a"))
            >>> folder = tempfile.mkdtemp()
            >>> memory.dump(folder)
            >>> fresh = OMem(Tag, "name")
            >>> fresh.load(folder).entities
            1
        """
        with self._gate:
            snapshot, pinned = self._store.snapshot(), self._pin_index()
            ledger = (
                self._ledger.snapshot() if self._ledger is not None and len(self._ledger) else None
            )
            aside = quarantine.to_json(self._quarantine) if self._quarantine else None
        with pinned or nullcontext(), _omem.FolderWriter(Path(folder_path)) as folder:
            files = {DATA: folder.write_records(DATA, snapshot, reporter(progress))}
            if ledger is not None:
                files[SOURCES] = folder.write_records(SOURCES, ledger)
            if aside is not None:
                files[QUARANTINE] = folder.write_bytes(QUARANTINE, aside)
            if pinned is not None:
                facts, docstore = self._write_index(folder, pinned, snapshot, VECTORS)
                files[VECTORS] = facts
                files[DOCSTORE] = folder.write_bytes(DOCSTORE, docstore)
            unfinished = folder.commit(self._describe(len(snapshot), files))
        if unfinished is not None:
            logger.warning("the dump is safe, but not all files are in place: %s", unfinished)

    def load(
        self,
        folder_path: StrPath,
        *,
        verify: bool = True,
        on_error: OnError = "raise",
        unknown: Unknown = "error",
        migrate: Migrate | None = None,
        progress: Progress = False,
    ) -> LoadReport:
        """Restore everything from a folder; what was in memory is replaced.

        Args:
            folder_path: A folder that `dump` wrote, or one written by ontomem.
            verify: Compare size and checksum of the data with the metadata.
            on_error: "raise", or "skip" to leave bad records out and list them in the report.
            unknown: "error" where the file has fields that the model does not have, or "drop".
            migrate: Converts a record of an older schema; called with each record as a dict.
            progress: True to log progress, or a callable that gets bytes and records done.

        Returns:
            What was loaded, skipped, filled in.

        Raises:
            FileNotFoundError: There is no such folder, or no data in it.
            LoadError: The data are damaged or do not fit; memory is as it was.
        """
        path = existing_folder(folder_path)
        options = {"on_error": on_error, "unknown": unknown, "migrate": migrate}
        with self._lock:
            read = view(
                path, lambda folder: self._read_folder(folder, path, verify, progress, options)
            )
            with self._gate:
                at_once(
                    partial(self._store.swap, read.prepared),
                    partial(setattr, self._quarantine, "_entries", read.aside),
                    *self._ledger_steps(read.ledger),
                    *self._index_steps(read.vectors),
                )
            told = read.told
            if read.vectors is not None:
                told = self._adopt(read.vectors, read.warnings)
        return self._report(
            path,
            read.loaded,
            read.restorer,
            read.merged,
            read.bad,
            read.warnings,
            schema_changed=read.schema_changed,
            index=told,
        )

    def _read_folder(
        self,
        folder: _omem.FolderReader,
        path: Path,
        verify: bool,
        progress: Progress,
        options: dict[str, Any],
    ) -> _Read[T]:
        """Everything in a folder, ready to be put in place."""
        found, warnings = self._metadata_of(folder, path)
        data = folder.path(DATA)
        if data is None:
            raise FolderNotFoundError(f"there is no {DATA} in {path}; dump() writes one")
        loaded, restorer = self._read(data, replace=True, progress=progress, **options)
        if verify:
            _verify(path / DATA, (loaded.size, loaded.checksum), found)
        size = found.get("size")
        if size not in (None, loaded.records):
            warnings.append(f"{METADATA} says {size} entities, {DATA} has {loaded.records}")
        skip, bad = options["on_error"] == "skip", _bad(loaded.skipped, DATA)
        prepared, merged, refused = self._prepare(loaded, skip, warnings)
        known = found if verify else {}
        aside = self._read_quarantine(folder, path, known, restorer.fresh(), skip, bad)
        aside = quarantine.joined(aside, refused)
        ledger = self._read_ledger(
            folder,
            path,
            known,
            prepared,
            restorer.fresh(),
            all_records=options["migrate"] is not None,
            skip=skip,
            bad=bad,
            warnings=warnings,
        )
        if self._ledger is None and folder.path(SOURCES) is not None:
            warnings.append(
                f"{SOURCES} is not loaded, and dump() here would drop it, since this memory "
                "was built without track_sources=True"
            )
        index, told = self._read_index(folder, path, warnings)
        for name in (SOURCES, QUARANTINE, VECTORS, DOCSTORE):
            with suppress(OSError):  # what is there and no file was told of above
                if metadata.facts_of(found, name) is not None and folder.path(name) is None:
                    warnings.append(f"{name} is missing, though {METADATA} lists it")
        changed = found.get("schema_fingerprint") not in (None, self._schema.fingerprint)
        return _Read(
            loaded, restorer, prepared, merged, aside, ledger, index, told, bad, warnings, changed
        )

    def dump_data(self, file_path: StrPath, *, progress: Progress = False) -> None:
        """Save the entities to one JSON file, atomically and durably.

        Args:
            file_path: The file; missing parent folders are created.
            progress: True to log progress, or a callable that gets bytes and records done.

        Raises:
            OSError: The file could not be written; what was there is untouched.
        """
        with self._gate:
            snapshot = self._store.snapshot()
        snapshot.write(Path(file_path), reporter(progress))

    def load_data(
        self,
        file_path: StrPath,
        *,
        mode: Literal["replace", "merge"] = "replace",
        on_error: OnError = "raise",
        unknown: Unknown = "error",
        migrate: Migrate | None = None,
        progress: Progress = False,
    ) -> LoadReport:
        """Restore the entities from one JSON file: any array of objects that fits the model.

        Args:
            file_path: The file.
            mode: "replace" what is in memory, or "merge" the file's records into it.
            on_error: "raise", or "skip" to leave bad records out and list them in the report.
            unknown: "error" where the file has fields that the model does not have, or "drop".
            migrate: Converts a record of an older schema; called with each record as a dict.
            progress: True to log progress, or a callable that gets bytes and records done.

        Returns:
            What was loaded, skipped, filled in.

        Raises:
            FileNotFoundError: There is no such file.
            LoadError: The file is damaged or does not fit; memory is as it was.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add(Tag(name="old"))
            >>> file = Path(tempfile.mkdtemp()) / "tags.json"
            >>> _ = file.write_text('[{"name": "new"}]')
            >>> memory.load_data(file, mode="merge").entities
            2
            >>> memory.load_data(file).entities
            1
        """
        if mode not in ("replace", "merge"):
            raise ValueError(f"mode must be 'replace' or 'merge', not {mode!r}")
        path = Path(file_path)
        warnings: list[str] = []
        with self._lock:
            loaded, restorer = self._read(
                path,
                replace=mode == "replace",
                on_error=on_error,
                unknown=unknown,
                migrate=migrate,
                progress=progress,
            )
            if mode == "merge":
                batch = loaded.batch()
                lines = self._observe(batch, None, defaults_unset=True)
                conflict: OnConflict | None = "quarantine" if on_error == "skip" else None
                change = self._merge(batch, defaults_unset=True, on_conflict=conflict)
                merged = change.merged + change.unchanged
                warnings += _set_aside(change.refused)
                self._apply(change, lines)
            else:
                prepared, merged, refused = self._prepare(loaded, on_error == "skip", warnings)
                aside = quarantine.joined(self._quarantine._entries, refused)
                ledger = None
                if self._ledger is not None:
                    ledger = self._ledger.restart(self._store.preview(prepared))
                with self._gate:
                    at_once(
                        partial(self._store.swap, prepared),
                        partial(setattr, self._quarantine, "_entries", aside),
                        *self._ledger_steps(ledger),
                    )
        bad = _bad(loaded.skipped, path.name)
        return self._report(path, loaded, restorer, merged, bad, warnings, schema_changed=False)

    def dump_metadata(self, file_path: StrPath) -> None:
        """Save the metadata to one JSON file, atomically.

        Args:
            file_path: The file; missing parent folders are created.

        Raises:
            OSError: The file could not be written; what was there is untouched.
        """
        _omem.write_file(Path(file_path), self._describe(self.size, {}))

    def load_metadata(self, file_path: StrPath) -> dict[str, Any]:
        """Read metadata and say what does not fit; the memory does not change.

        Args:
            file_path: The file.

        Returns:
            The content of the file, and under "mismatches" what does not fit this memory.

        Raises:
            FileNotFoundError: There is no such file.
            LoadError: The file holds no metadata.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> file = Path(tempfile.mkdtemp()) / "metadata.json"
            >>> OMem(Tag, "name").dump_metadata(file)
            >>> found = OMem(Tag, "name").load_metadata(file)
            >>> found["schema_name"], found["mismatches"]
            ('Tag', [])
        """
        path = Path(file_path)
        found = metadata.read(path)
        mismatches = self._mismatches(found)
        for mismatch in mismatches:
            logger.warning("%s: %s", path, mismatch)
        return {**found, "mismatches": mismatches}

    def _read(
        self,
        path: Path,
        *,
        replace: bool,
        on_error: OnError,
        unknown: Unknown,
        migrate: Migrate | None,
        progress: Progress,
    ) -> tuple[_omem.Loaded, Restorer[T]]:
        one_of("on_error", on_error, get_args(OnError))
        one_of("unknown", unknown, get_args(Unknown))
        if migrate is not None and not callable(migrate):
            raise TypeError(f"migrate must be a callable, not {type(migrate).__name__}")
        restorer = Restorer(self.memory_schema, drop_unknown=unknown == "drop", migrate=migrate)
        loaded = self._store.read(
            path,
            restorer,
            all_records=migrate is not None,
            skip=on_error == "skip",
            replace=replace,
            progress=reporter(progress),
        )
        return loaded, restorer

    def _prepare(
        self, loaded: _omem.Loaded, skip: bool, warnings: list[str]
    ) -> tuple[_omem.Prepared, int, list[Refused]]:
        """A store of what was read; records of one key are merged without asking any model."""
        engine = self._merger.engine or FieldMerger.engine or ""
        lists = self._merger.lists if isinstance(self._merger, ClassicMerger) else "union"
        aside = skip or self.on_conflict == "quarantine"
        prepared, merged, refused = self._store.prepare(loaded, engine, lists, aside)
        warnings += _set_aside(refused)
        return prepared, merged, refused

    def _report(
        self,
        path: Path,
        loaded: _omem.Loaded,
        restorer: Restorer[T],
        merged: int,
        skipped: list[BadRecord],
        warnings: list[str],
        *,
        schema_changed: bool,
        index: str = "none",
    ) -> LoadReport:
        for warning in warnings:
            logger.warning("%s: %s", path, warning)
        return LoadReport(
            path=path,
            records=loaded.records,
            entities=self.size,
            merged=merged,
            skipped=skipped,
            defaults_filled=restorer.defaults_filled,
            unknown_dropped=restorer.unknown_dropped,
            schema_changed=schema_changed,
            index=index,
            warnings=warnings,
        )

    def _read_quarantine(
        self,
        folder: _omem.FolderReader,
        path: Path,
        found: dict[str, Any],
        restorer: Restorer[T],
        skip: bool,
        bad: list[BadRecord],
    ) -> quarantine.Entries:
        place = path / QUARANTINE
        file = _existing(folder.path(QUARANTINE), place, found)
        if file is None:
            return {}
        entries, read = quarantine.read(file, restorer, self._store, skip=skip)
        _verify(place, (read.size, read.checksum), found)
        bad += _bad(read.skipped, QUARANTINE)
        return entries

    def _read_ledger(
        self,
        folder: _omem.FolderReader,
        path: Path,
        found: dict[str, Any],
        prepared: _omem.Prepared,
        restorer: Restorer[T],
        *,
        all_records: bool,
        skip: bool,
        bad: list[BadRecord],
        warnings: list[str],
    ) -> _omem.PreparedLedger | None:
        """The ledger of a folder; an empty one where it has none."""
        if self._ledger is None:
            return None
        place = path / SOURCES
        file = _existing(folder.path(SOURCES), place, found)
        entities = self._store.preview(prepared)
        if file is None:
            return self._ledger.fresh(entities)
        ledger, skipped = sources.read(
            self._ledger, file, entities, self._store, restorer, all_records=all_records, skip=skip
        )
        if ledger.facts is not None:
            _verify(place, ledger.facts, found)
        bad += _bad(skipped, SOURCES)
        if skipped:
            warnings.append(
                f"{len(skipped):,} lines of {SOURCES} are left out: where another source of the "
                "same entity is taken back, it is merged again without what they said"
            )
        if ledger.introduced:
            names = ", ".join(map(repr, ledger.introduced[:3]))
            warnings.append(
                f"{SOURCES} does not introduce {len(ledger.introduced):,} sources ({names}), so "
                "their content hash and tags are not known"
            )
        return ledger

    def _read_index(
        self, folder: _omem.FolderReader, path: Path, warnings: list[str]
    ) -> tuple[VectorIndex | None, str]:
        """The index of a folder, or why there is none: a damaged one never stops a load."""
        try:
            saved = index_files.read(
                path / INDEX_FOLDER, folder.path(VECTORS), folder.path(DOCSTORE)
            )
        except (IndexDamagedError, OSError) as error:
            index, told = None, [str(error)]
        else:
            if saved is None:
                return None, "none"
            index, told = self._usable(saved, path / INDEX_FOLDER)
        if index is None:
            warnings.append(f"the index is rejected and will be built anew: {told[0]}")
            return None, f"rejected: {told[0]}"
        warnings += told
        return index, "loaded"

    def _adopt(self, index: VectorIndex, warnings: list[str]) -> str:
        """Give the entities just loaded the vectors that fit them; what came of it."""
        missing = self._take_over(index)
        if missing == 0:
            return "loaded"
        warnings.append(f"{missing:,} texts have to be embedded again")
        return "partial"

    def _describe(self, size: int, files: dict[str, tuple[int, str]]) -> bytes:
        return metadata.describe(
            schema_name=self.memory_schema.__name__,
            fingerprint=self._schema.fingerprint,
            size=size,
            fields_for_index=self.fields_for_index,
            key_fields=key_fields(self.memory_schema, self.key_extractor),
            strategy=self._merger.name,
            embedder=signature(self.embedder),
            files={
                name: {"size": length, "checksum": checksum}
                for name, (length, checksum) in files.items()
            },
        )

    def _metadata_of(
        self, folder: _omem.FolderReader, path: Path
    ) -> tuple[dict[str, Any], list[str]]:
        """The metadata of a folder and what does not fit; another schema is an error."""
        file = folder.path(METADATA)
        if file is None:
            return {}, [f"there is no {METADATA}, so nothing can be verified"]
        found = metadata.read(file)
        name = found.get("schema_name")
        if name not in (None, self.memory_schema.__name__):
            raise LoadError(
                f"{path} holds {name} entities, this memory is of {self.memory_schema.__name__}; "
                f"if they fit all the same, load the data alone: load_data({str(path / DATA)!r})",
                file=str(file),
            )
        return found, self._mismatches(found)

    def _mismatches(self, found: dict[str, Any]) -> list[str]:
        """What in the metadata does not fit this memory."""
        own: dict[str, Any] = {
            "schema_name": self.memory_schema.__name__,
            "schema_fingerprint": self._schema.fingerprint,
            "fields_for_index": self.fields_for_index,
            "key_fields": key_fields(self.memory_schema, self.key_extractor),
            "embedder": signature(self.embedder),
        }
        return [
            f"{name} is {found[name]!r} in the metadata, {value!r} here"
            for name, value in own.items()
            if name in found and found[name] != value
        ]


def _set_aside(refused: Sequence[Refused]) -> list[str]:
    if not refused:
        return []
    first = _omem.key_from_text(refused[0][0])
    return [
        f"{len(refused):,} records cannot be merged with others of their key and are set aside in "
        f"the quarantine, first one of key {first!r}: {refused[0][3]}"
    ]


def _bad(skipped: list[tuple[int, int, int, str, str]], file: str) -> list[BadRecord]:
    return [BadRecord(*told, file) for told in skipped]


def _existing(file: Path | None, path: Path, found: dict[str, Any]) -> Path | None:
    """A file of the folder, None where there is none and none should be."""
    if file is None and metadata.facts_of(found, path.name) is not None:
        raise LoadError(
            f"{path} is missing, though {METADATA} lists it. Restore a backup, or load what "
            "there is with load(verify=False)",
            file=str(path),
        )
    return file


def _verify(path: Path, seen: tuple[int, str], found: dict[str, Any]) -> None:
    """Refuse a file that is not the one which the metadata describe."""
    facts = metadata.facts_of(found, path.name)
    if facts is None and found.get("files"):
        raise LoadError(
            f"{path} is not listed in {METADATA}, so it is of another dump; restore a backup, or "
            "load it as it is with load(verify=False)",
            file=str(path),
        )
    if facts is not None and facts != seen:
        size, checksum = facts
        raise LoadError(
            f"{path} is not the file that {METADATA} describes: {seen[0]} bytes with checksum "
            f"{seen[1]} instead of {size} with {checksum}. It was changed or damaged "
            "after the dump; restore a backup, or load it as it is with load(verify=False)",
            file=str(path),
        )
