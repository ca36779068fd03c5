"""Saving to files and folders, and restoring from them."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel

from omem import _omem, metadata, quarantine
from omem.arguments import one_of
from omem.base import StrPath
from omem.embedding import signature
from omem.folder import existing_folder
from omem.keys import key_fields
from omem.memory._state import OnConflict, at_once
from omem.memory.reading import Migrate, OnError, Reading, Unknown, bad_records, set_aside
from omem.metadata import DATA, DOCSTORE, QUARANTINE, SOURCES, VECTORS
from omem.report import LoadReport, Progress, reporter
from omem.view import view

logger = logging.getLogger("omem")

T = TypeVar("T", bound=BaseModel)
Mode = Literal["replace", "merge"]


class Persistence(Reading[T]):
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

        Examples:
            >>> import tempfile
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> folder = tempfile.mkdtemp()
            >>> memory.dump(folder)
            >>> report = OMem(Tag, "name").load(folder)
            >>> report.entities, report.skipped, report.index
            (2, [], 'none')
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

    def dump_data(self, file_path: StrPath, *, progress: Progress = False) -> None:
        """Save the entities to one JSON file, atomically and durably.

        Args:
            file_path: The file; missing parent folders are created.
            progress: True to log progress, or a callable that gets bytes and records done.

        Raises:
            OSError: The file could not be written; what was there is untouched.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> file = Path(tempfile.mkdtemp()) / "tags.json"
            >>> memory.dump_data(file)
            >>> print(file.read_text(), end='')
            [
            {"name":"a"},
            {"name":"b"}
            ]
        """
        with self._gate:
            snapshot = self._store.snapshot()
        snapshot.write(Path(file_path), reporter(progress))

    def load_data(
        self,
        file_path: StrPath,
        *,
        mode: Mode = "replace",
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
        one_of("mode", mode, get_args(Mode))
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
                warnings += set_aside(change.refused)
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
        bad = bad_records(loaded.skipped, path.name)
        return self._report(path, loaded, restorer, merged, bad, warnings, schema_changed=False)

    def dump_metadata(self, file_path: StrPath) -> None:
        """Save the metadata to one JSON file, atomically.

        Args:
            file_path: The file; missing parent folders are created.

        Raises:
            OSError: The file could not be written; what was there is untouched.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> file = Path(tempfile.mkdtemp()) / "metadata.json"
            >>> memory.dump_metadata(file)
            >>> memory.load_metadata(file)["size"]
            2
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
