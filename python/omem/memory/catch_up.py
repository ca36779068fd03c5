"""How the vector index catches up with the entities: what changed is embedded, nothing else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from pydantic import BaseModel

from omem import _omem
from omem.arguments import whole
from omem.embedding import Embedder, signature
from omem.errors import SearchError
from omem.index import VectorIndex
from omem.index.embed import embed_texts
from omem.index.text import check_fields, texts
from omem.memory._state import at_once
from omem.memory.entities import Entities
from omem.report import Progress, reporter

T = TypeVar("T", bound=BaseModel)
logger = logging.getLogger("omem")


class CatchUp(Entities[T]):
    """An index that may lag behind.

    What changed is taken from the store under `_gate`; `_index_lock` is held by the one caller who
    catches up, the embedder's time included. So nobody but another such caller waits for an
    embedder, and whoever replaces the index meanwhile just does.
    """

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
        fresh.fields = list(self.fields_for_index)  # which may be others since it was begun
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
        size = whole("embed_batch_size", self.embed_batch_size, least=1)
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
            check_fields(self.memory_schema, fields)
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
