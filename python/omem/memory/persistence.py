"""Saving to files and folders, and restoring from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from omem import _omem, metadata
from omem.base import StrPath
from omem.errors import FolderNotFoundError, LoadError
from omem.memory.entities import Entities
from omem.metadata import DATA, METADATA
from omem.report import LoadReport, Progress, reporter

T = TypeVar("T", bound=BaseModel)
OnError = Literal["raise", "skip"]
Unknown = Literal["error", "drop"]
Migrate = Callable[[dict[str, Any]], dict[str, Any]]


class Persistence(Entities[T]):
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
            snapshot = self._store.snapshot()
        with _omem.FolderWriter(Path(folder_path)) as folder:
            files = {DATA: folder.write_records(DATA, snapshot, reporter(progress))}
            folder.commit(self._describe(len(snapshot), files))

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
        path = Path(folder_path)
        if not path.is_dir():
            raise FolderNotFoundError(f"there is no folder {path}; dump() writes one")
        with self._lock, _omem.FolderReader(path) as folder:
            found = metadata.read(folder.path(METADATA)) if folder.path(METADATA).exists() else {}
            warnings = self._compare(found, path)
            loaded = self._store.read(
                folder.path(DATA),
                expected=metadata.facts_of(found, DATA) if verify else None,
                on_error=on_error,
                unknown=unknown,
                migrate=migrate,
                progress=reporter(progress),
            )
            with self._gate:
                self._store.replace(loaded)
        return self._report(path, loaded, warnings)

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
        """
        if mode not in ("replace", "merge"):
            raise ValueError(f"mode must be 'replace' or 'merge', not {mode!r}")
        path = Path(file_path)
        with self._lock:
            loaded = self._store.read(
                path,
                expected=None,
                on_error=on_error,
                unknown=unknown,
                migrate=migrate,
                progress=reporter(progress),
            )
            if mode == "merge":
                self._apply(self._merge(loaded.batch()))
            else:
                with self._gate:
                    self._store.replace(loaded)
        return self._report(path, loaded, [])

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
        """
        path = Path(file_path)
        found = metadata.read(path)
        mismatches = [text for _, text in self._mismatches(found)]
        for mismatch in mismatches:
            logger.warning("%s: %s", path, mismatch)
        return {**found, "mismatches": mismatches}
