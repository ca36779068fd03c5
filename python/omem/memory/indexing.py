"""The vector index, kept up with what changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from omem import _omem
from omem.arguments import several
from omem.base import StrPath
from omem.embedding import Embedder, signature
from omem.errors import EmbedderError, IndexDamagedError, SearchError
from omem.index import VectorIndex, files
from omem.index.embed import embed_texts
from omem.index.text import texts
from omem.index.vectors import Pinned
from omem.memory._state import at_once
from omem.memory.entities import Entities
from omem.report import Progress, reporter
from omem.view import view

T = TypeVar("T", bound=BaseModel)
logger = logging.getLogger("omem")


class Indexing(Entities[T]):
    """Building, syncing, saving and restoring the index.

    What changed is taken from the store under `_gate`; `_index_lock` is held by the one caller who
    catches up, the embedder's time included. So nobody but another such caller waits for an
    embedder, and whoever replaces the index meanwhile just does.
    """

    def has_index(self) -> bool:
        """Whether there is a vector index, changes that it has yet to catch up with or not."""
        return self._index is not None

    @property
    def index_built(self) -> bool:
        """Whether there is a vector index; the same as `has_index()`."""
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
        """Drop the vector index; the entities stay."""
        self._set_index(None)

    @contextmanager
    def suspended_index(self) -> Generator[VectorIndex | None]:
        """A block of mutations after which the index catches up once.

        The index never drops out: it just is not brought up to date inside the block, unless a
        search asks for it.

        Yields:
            The index, or None where there is none.
        """
        yield self._index

    def dump_index(self, folder_path: StrPath) -> None:
        """Save the vector index to a folder; without an index nothing happens.

        Vectors of entities that are gone are left out, but where there are no entities at all.

        Args:
            folder_path: The folder; it is created where it is missing.

        Raises:
            OSError: The files could not be written; the folder is as it was.
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
        index, told = self._usable(saved, path)
        for what in told:
            logger.warning("%s: %s", path, what)
        self._set_index(index)

    @contextmanager
    def _alone(self, patience: float = -1) -> Generator[bool]:
        """Wait until nobody else catches up, for so many seconds; yields whether that is so."""
        if self._catching_up == threading.get_ident():
            if patience < 0:
                raise RuntimeError(
                    "the index is being brought up to date by the call that runs this embedder; "
                    "the embedder must not ask for that itself"
                )
            yield False
            return
        alone = self._index_lock.acquire(timeout=patience)
        try:
            if alone:
                self._catching_up = threading.get_ident()
            yield alone
        finally:
            if alone:
                self._catching_up = None
                self._index_lock.release()

    def _set_index(self, index: VectorIndex | None) -> None:
        """Put another index in the place of what is there."""
        with self._gate:
            at_once(*self._index_steps(index))

    def _index_steps(self, index: VectorIndex | None) -> Iterator[Callable[[], object]]:
        """What puts another index in the place of what is there, step by step."""
        yield partial(setattr, self, "_index", index)
        yield partial(setattr, self, "_unfinished", None)
        yield self._pending.clear
        yield partial(setattr, self, "_all_pending", index is not None)
        yield partial(self._store.track_changes, index is not None)

    def _refresh(self, progress: Progress, *, anew: bool = False) -> None:
        """Bring the index up to date, or make a new one beside it where it is of no use."""
        index = self._index
        if index is None or anew or self._unfinished is not None or not self._serves(index):
            if index is not None and not anew and self._unfinished is None:
                logger.warning(
                    "the index was made by the embedder %r, this memory has %r: everything is "
                    "embedded again",
                    index.embedder,
                    signature(self.embedder),
                )
            self._rebuild(index, progress, anew)
        else:
            self._catch_up(index, progress)

    def _serves(self, index: VectorIndex) -> bool:
        """Whether an index has vectors of this memory's embedder."""
        own = signature(self.embedder)
        return None in (own, index.embedder) or own == index.embedder

    def _rebuild(self, old: VectorIndex | None, progress: Progress, anew: bool) -> None:
        """Fill a new index, or go on with one that is unfinished, and put it in the place."""
        fresh = self._unfinished
        if fresh is None or not self._serves(fresh):
            fresh = VectorIndex(self._kind, signature(self.embedder), self.fields_for_index)
        with self._gate:
            self._unfinished = fresh
            self._store.track_changes(True)
            self._take_changes()
        # Another dimension than before is told, once one batch shows it, and not paid for.
        checked = None if anew or old is None or fresh.dimension is not None else old
        self._fill(fresh, None, progress, checked)
        with self._gate:
            if self._index is old and self._unfinished is fresh:
                self._index, self._unfinished = fresh, None
                self._all_pending = False
                self._pending.clear()

    def _catch_up(self, index: VectorIndex, progress: Progress) -> None:
        """Embed what changed; what fails stays pending."""
        with self._gate:
            self._take_changes()
            if index.fields != self.fields_for_index:
                index.fields, self._all_pending = list(self.fields_for_index), True
            keys = None if self._all_pending else list(self._pending)
            self._pending, self._all_pending = set(), False
        if keys == []:
            return
        try:
            self._fill(index, keys, progress)
        except BaseException:
            with self._gate:
                if self._index is index:
                    self._all_pending |= keys is None
                    self._pending.update(keys or ())
            raise

    def _take_over(self, index: VectorIndex) -> int:
        """Give the entities just loaded the vectors that fit them; how many texts have none.

        Where Pydantic would have to give the texts, that waits for a search, and 0 is returned.
        """
        given = self._texts(index.fields)
        if not given.fast and index.spare == 0:
            return 0
        stale = _omem.Stale(self._store, index.rows, given)
        index.take_over(stale)
        if len(stale) == 0:
            with self._gate:
                self._take_changes()
                self._all_pending = False
                self._pending.clear()
        return len(stale)

    def _take_changes(self) -> None:
        everything, upserted, removed = self._store.take_changes()
        self._all_pending |= everything
        self._pending.update(upserted, removed)

    def _fill(
        self,
        index: VectorIndex,
        keys: list[bytes] | None,
        progress: Progress,
        checked: VectorIndex | None = None,
    ) -> None:
        """Give the entities of these keys, or all, the vectors of their texts.

        Vectors have to be of the dimension of `checked`, where that is given.
        """
        report = reporter(progress)
        stale = _omem.Stale(self._store, index.rows, self._texts(index.fields), keys)
        index.take_over(stale)
        total, done = len(stale), 0
        if total == 0:
            return
        embedder = self._need_embedder(f"embed {total:,} texts that have no vector")
        index.embedder = index.embedder or signature(embedder)
        size = self.embed_batch_size
        for start in range(0, total, size):
            batch = stale.texts(start, size)
            vectors = embed_texts(embedder, batch, start)
            (checked or index).check(vectors)
            index.put(stale, start, vectors)
            done += sum(len(text.encode()) for text in batch)
            if report is not None:
                report(done, start + len(batch))

    def _texts(self, fields: list[str]) -> _omem.Texts:
        known = self._known_texts
        if known is None or known[0] != fields:
            given = texts(self._schema, self.memory_schema, fields)
            self._known_texts = known = (list(fields), given)
        return known[1]

    def _need_embedder(self, purpose: str) -> Embedder:
        if self.embedder is None:
            raise SearchError(
                f"cannot {purpose} without an embedder; give one to OMem(embedder=...), "
                "for example HashingEmbedder()"
            )
        return self.embedder

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

    def _usable(self, saved: files.Saved, path: Path) -> tuple[VectorIndex | None, list[str]]:
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
