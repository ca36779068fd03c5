"""Reading what was saved, ready to be put in place: nothing in memory changes here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EISDIR
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

from pydantic import BaseModel

from omem import _omem, metadata, quarantine, source_files
from omem.arguments import one_of
from omem.embedding import signature
from omem.errors import FolderNotFoundError, IndexDamagedError, LoadError
from omem.index import VectorIndex
from omem.index import files as index_files
from omem.keys import key_fields
from omem.memory.entities import Refused
from omem.memory.search import Search
from omem.merger.classic import ClassicMerger, FieldMerger
from omem.metadata import DATA, DOCSTORE, INDEX_FOLDER, METADATA, QUARANTINE, SOURCES, VECTORS
from omem.report import BadRecord, LoadReport, Progress, reporter
from omem.restore import Restorer

logger = logging.getLogger("omem")

T = TypeVar("T", bound=BaseModel)
OnError = Literal["raise", "skip"]
Unknown = Literal["error", "drop"]
Migrate = Callable[[dict[str, Any]], dict[str, Any]]


class FolderContent(NamedTuple, Generic[T]):
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


class Reading(Search[T]):
    """What dump and its kin have written, read and checked."""

    def _read_folder(
        self,
        folder: _omem.FolderReader,
        path: Path,
        verify: bool,
        progress: Progress,
        options: dict[str, Any],
    ) -> FolderContent[T]:
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
        skip, bad = options["on_error"] == "skip", bad_records(loaded.skipped, DATA)
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
        return FolderContent(
            loaded, restorer, prepared, merged, aside, ledger, index, told, bad, warnings, changed
        )

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
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "a folder; load() restores those", str(path))
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
        warnings += set_aside(refused)
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
            defaults_filled=loaded.defaults_filled + restorer.defaults_filled,
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
        bad += bad_records(read.skipped, QUARANTINE)
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
        ledger, skipped = source_files.read(
            self._ledger, file, entities, self._store, restorer, all_records=all_records, skip=skip
        )
        if ledger.facts is not None:
            _verify(place, ledger.facts, found)
        bad += bad_records(skipped, SOURCES)
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
            index, told = self._usable(saved)
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


def set_aside(refused: Sequence[Refused]) -> list[str]:
    """A warning of records that are set aside, where there are such."""
    if not refused:
        return []
    first = _omem.key_from_text(refused[0][0])
    return [
        f"{len(refused):,} records cannot be merged with others of their key and are set aside in "
        f"the quarantine, first one of key {first!r}: {refused[0][3]}"
    ]


def bad_records(skipped: list[tuple[int, int, int, str, str]], file: str) -> list[BadRecord]:
    """What was skipped of a file, for a report."""
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
