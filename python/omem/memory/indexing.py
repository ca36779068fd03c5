"""The vector index: build, sync, clear, dump, load."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from omem import _omem
from omem.arguments import several
from omem.base import StrPath
from omem.embedding import signature
from omem.errors import EmbedderError, IndexDamagedError
from omem.index import VectorIndex, files
from omem.index.vectors import Pinned
from omem.memory.catch_up import CatchUp
from omem.report import Progress
from omem.view import view

T = TypeVar("T", bound=BaseModel)
logger = logging.getLogger("omem")


class Indexing(CatchUp[T]):
    """Building, syncing, saving and restoring the index."""

    def has_index(self) -> bool:
        """Whether there is a vector index, changes that it has yet to catch up with or not.

        Returns:
            True as soon as one was built or loaded, until `clear_index`.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", embedder=HashingEmbedder())
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.has_index()
            False
            >>> memory.build_index()
            >>> memory.has_index()
            True
        """
        return self._index is not None

    @property
    def index_built(self) -> bool:
        """Whether there is a vector index; the same as `has_index()`.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> memory.index_built
            False
        """
        return self.has_index()

    def build_index(self, force: bool = False, *, progress: Progress = False) -> None:
        """Build the vector index, or bring it up to date: only new texts are embedded.

        Args:
            force: Embed everything again. Searches use the old index until the new one is done.
            progress: True to log progress, or a callable that gets bytes and texts embedded.

        Raises:
            RuntimeError: There is no embedder.
            EmbedderError: The embedder failed; what was embedded before is kept, and the next call
                goes on from there.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", embedder=HashingEmbedder())
            >>> _ = memory.add([Tag(name="red"), Tag(name="blue")])
            >>> memory.build_index()
            >>> memory.has_index()
            True
        """
        self._need_embedder("build the index")
        with self._alone():
            if force:
                self._unfinished = None
            self._refresh(progress, anew=force)

    def sync_index(
        self,
        *,
        removed_keys: Iterable[Any] | None = None,
        upserted_keys: Iterable[Any] | None = None,
    ) -> bool:
        """Bring the vector index up to date with all changes.

        Args:
            removed_keys: Keys to look at in any case.
            upserted_keys: Keys to look at in any case.

        Returns:
            True if the index is up to date; False if there is none, or the embedder failed. Then
            vectors and pending changes are kept, and the next call goes on from there.

        Raises:
            TypeError: `removed_keys` or `upserted_keys` is a single str or bytes.
            KeyExtractionError: One of them holds what cannot be a key.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", embedder=HashingEmbedder())
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.build_index()
            >>> _ = memory.add(Tag(name="c"))
            >>> memory.sync_index()
            True
        """
        given = (several("removed_keys", removed_keys), several("upserted_keys", upserted_keys))
        named = {_omem.key_text(key) for keys in given for key in keys}
        with self._gate:
            if self._index is None or self.embedder is None:
                return False
            self._pending |= named
        with self._alone():
            try:
                self._refresh(False)
            except EmbedderError as error:
                logger.warning("the index is not up to date: %s", error)
                return False
        return True

    def clear_index(self) -> None:
        """Drop the vector index; the entities stay.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", embedder=HashingEmbedder())
            >>> memory.build_index()
            >>> memory.clear_index()
            >>> memory.has_index()
            False
        """
        self._set_index(None)

    @contextmanager
    def suspended_index(self) -> Generator[VectorIndex | None]:
        """A block of mutations that the index catches up with in one go.

        It does so when the next search or `sync_index` asks for it, as it always does: the block
        says to the reader what the mutations of several lines have in common.

        Yields:
            The index, or None where there is none.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", embedder=HashingEmbedder())
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.build_index()
            >>> with memory.suspended_index():
            ...     _ = memory.add(Tag(name="c"))
            ...     _ = memory.remove("a")
            >>> memory.sync_index()
            True
        """
        yield self._index

    def dump_index(self, folder_path: StrPath) -> None:
        """Save the vector index to a folder; without an index nothing happens.

        Vectors of entities that are gone are left out, but where there are no entities at all.

        Args:
            folder_path: The folder; it is created where it is missing.

        Raises:
            OSError: The files could not be written; the folder is as it was.

        Examples:
            >>> import tempfile
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", embedder=HashingEmbedder())
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.build_index()
            >>> folder = tempfile.mkdtemp()
            >>> memory.dump_index(folder)
            >>> fresh = OMem(Tag, "name", embedder=HashingEmbedder())
            >>> fresh.load_index(folder)
            >>> fresh.has_index()
            True
        """
        with self._gate:
            snapshot, pinned = self._store.snapshot(), self._pin_index()
        if pinned is None:
            logger.debug("there is no index to dump")
            return
        kept = snapshot if len(snapshot) else None
        with pinned, _omem.FolderWriter(Path(folder_path), "index") as folder:
            _, docstore = self._write_index(folder, pinned, kept, files.VECTORS)
            folder.commit(docstore)

    def load_index(self, folder_path: StrPath) -> None:
        """Restore the vector index from a folder, ours or one that LangChain wrote.

        What no longer fits the entities is embedded again when it is needed; as long as there are
        no entities, all vectors wait for them. A missing folder is no error; one that holds no
        index is told in the log. Either way the index is as it was.

        Args:
            folder_path: The folder.

        Raises:
            NotADirectoryError: It is a file.
            IndexDamagedError: The files are damaged; the index is as it was. So it is, with a
                warning in the log, where the files are of another embedder.

        Examples:
            >>> import tempfile
            >>> from pydantic import BaseModel
            >>> from omem import HashingEmbedder, OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name", embedder=HashingEmbedder())
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.build_index()
            >>> folder = tempfile.mkdtemp()
            >>> memory.dump(folder)
            >>> memory.clear_index()
            >>> memory.load_index(f"{folder}/faiss_index")
            >>> memory.has_index()
            True
        """
        path = Path(folder_path)
        if not path.exists():
            logger.debug("there is no index folder %s", path)
            return
        saved = view(
            path,
            lambda folder: files.read(
                path, folder.path(files.VECTORS), folder.path(files.DOCSTORE)
            ),
            "index",
        )
        if saved is None:
            logger.warning("%s holds no index; dump() writes it to its folder faiss_index", path)
            return
        index, told = self._usable(saved)
        for what in told:
            logger.warning("%s: %s", path, what)
        self._set_index(index)

    def _pin_index(self) -> Pinned | None:
        return None if self._index is None else self._index.pin()

    def _write_index(
        self,
        folder: _omem.FolderWriter,
        pinned: Pinned,
        snapshot: _omem.Snapshot | None,
        name: str,
    ) -> tuple[tuple[int, str], bytes]:
        """Stage `index.faiss`, without entities that a snapshot has not.

        Returns size and checksum of it, and the content of `docstore.pkl`.
        """
        index = pinned.without([] if snapshot is None else pinned.index.rows.gone(snapshot))
        facts = files.write(folder, name, index)
        return facts, files.docstore(index, facts)

    def _usable(self, saved: files.Saved) -> tuple[VectorIndex | None, list[str]]:
        """A saved index as this memory can use it, if it can, and what about it does not fit."""
        own = signature(self.embedder)
        if own is not None and saved.embedder not in (None, own):
            return None, [
                f"the index was made by the embedder {saved.embedder!r}, this memory has {own!r}; "
                "build_index() embeds everything with the latter"
            ]
        told: list[str] = []
        if saved.fields is not None and saved.fields != self.fields_for_index:
            told.append(
                f"the index is of the fields {saved.fields}, this memory embeds "
                f"{self.fields_for_index}: texts that differ are embedded again"
            )
        if saved.kind != self._kind:
            told.append(
                f"the index is {saved.kind.name} with the metric {saved.kind.metric.name!r}, this "
                f"memory has {self._kind.name} with {self._kind.metric.name!r}: the vectors are "
                "arranged anew"
            )
        try:
            return files.usable(saved, self._kind, self.fields_for_index), told
        except IndexDamagedError as error:
            return None, [str(error)]
