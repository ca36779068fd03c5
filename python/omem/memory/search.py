"""Finding entities by meaning: the vector index, kept up with what changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from omem import _omem
from omem.base import StrPath
from omem.embedding import Embedder, signature
from omem.errors import EmbedderError, IndexDamagedError, SearchError
from omem.index import VectorIndex, files
from omem.index.vectors import Vectors, as_vectors, content_hash, embed
from omem.keys import key_text
from omem.memory.entities import Entities
from omem.report import Progress, reporter

T = TypeVar("T", bound=BaseModel)
logger = logging.getLogger("omem")


class Search(Entities[T]):
    """The vector index and what is asked of it."""

    embed_batch_size = 256
    """At most so many texts go into one call of the embedder."""

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
            force: Embed everything again.
            progress: True to log progress, or a callable that gets bytes and texts embedded.

        Raises:
            RuntimeError: There is no embedder.
            EmbedderError: The embedder failed; what was embedded before is kept.
        """
        self._need_embedder("build the index")
        with self._index_lock:
            if force:
                self.clear_index()
            if self._index is None:
                self._start_index(VectorIndex())
            self._catch_up(progress)

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
        """
        with self._index_lock:
            if self._index is None or self.embedder is None:
                return False
            self._pending.update(
                key_text(key) for key in (*(removed_keys or ()), *(upserted_keys or ()))
            )
            try:
                self._catch_up(False)
            except EmbedderError as error:
                logger.warning("the index is not up to date: %s", error)
                return False
        return True

    def clear_index(self) -> None:
        """Drop the vector index; the entities stay."""
        with self._index_lock:
            self._index = None
            self._pending.clear()
            self._store.track_changes(False)

    @contextmanager
    def suspended_index(self) -> Generator[VectorIndex | None]:
        """A block of mutations after which the index catches up once.

        The index never drops out: it just is not brought up to date inside the block, unless a
        search asks for it.

        Yields:
            The index, or None where there is none.
        """
        yield self._index

    def search(
        self,
        query: str,
        top_k: int = 5,
        *,
        source_ids: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
    ) -> list[T]:
        """The entities whose texts are nearest to a query, the nearest first.

        The index is built, or brought up to date, where that is needed.

        Args:
            query: The query.
            top_k: At most so many are returned.
            source_ids: Only entities to which one of these sources contributed.
            tags: Only entities to which a source with one of these tags contributed.

        Returns:
            The entities, each the caller's own copy.

        Raises:
            RuntimeError: There is no embedder.
            EmbedderError: The embedder failed.
            ValueError: `top_k` is negative.
        """
        embedder = self._need_embedder("search")
        if top_k < 0:
            raise ValueError(f"top_k must not be negative, got {top_k}")
        self.build_index()
        index = self._index
        if index is None or len(index) == 0 or top_k == 0:
            return []
        vector = as_vectors([embedder.embed_query(query)], 1, "the query")
        self._check_dimension(index, vector)
        within = self._scope(source_ids, tags)
        # An entity may go between index and store; so many more are asked for.
        found: list[T] = []
        for key, _ in index.search(vector, top_k, within)[0]:
            entity = cast("T | None", self._store.get_text(key))
            if entity is not None:
                found.append(entity)
        return found

    def _scope(
        self, source_ids: Iterable[str] | None, tags: Iterable[str] | None
    ) -> set[bytes] | None:
        """The key texts that a search is limited to, or None."""
        if source_ids is None and tags is None:
            return None
        raise RuntimeError("source_ids and tags need track_sources=True")

    def _need_embedder(self, purpose: str) -> Embedder:
        if self.embedder is None:
            raise SearchError(
                f"cannot {purpose} without an embedder; give one to OMem(embedder=...), "
                "for example HashingEmbedder()"
            )
        return self.embedder

    @staticmethod
    def _check_dimension(index: VectorIndex, vector: Vectors) -> None:
        if vector.shape[1] != index.dimension:
            raise EmbedderError(
                f"the embedder gives vectors of dimension {vector.shape[1]}, the index has "
                f"{index.dimension}; build_index(force=True) embeds everything again"
            )

    def _start_index(self, index: VectorIndex) -> None:
        self._index = index
        self._everything_pending = True
        self._store.track_changes(True)

    def _catch_up(self, progress: Progress) -> None:
        """Embed what changed; what fails stays pending."""
        index, embedder = self._index, self.embedder
        if index is None or embedder is None:
            return
        everything, snapshot, upserted, removed = self._store.take_changes()
        self._everything_pending |= everything
        self._pending.update(upserted, removed)
        if self._everything_pending:
            keys = snapshot.key_texts()
            index.keep_only(keys)
            entities: Iterable[tuple[bytes, Any]] = zip(keys, snapshot, strict=True)
        else:
            entities = ((key, self._store.get_text(key)) for key in self._pending)
        texts: dict[bytes, str] = {}
        wanted: list[tuple[bytes, bytes]] = []
        gone: list[bytes] = []
        for key, entity in entities:
            if entity is None:
                gone.append(key)
                continue
            text = self._text(entity)
            known = content_hash(text)
            wanted.append((key, known))
            texts.setdefault(known, text)
        index.remove(gone)
        self._embed(index, embedder, index.stale(wanted), texts, reporter(progress))
        self._everything_pending = False
        self._pending.clear()

    def _embed(
        self,
        index: VectorIndex,
        embedder: Embedder,
        stale: list[tuple[bytes, bytes]],
        texts: dict[bytes, str],
        report: Callable[[int, int], object] | None,
    ) -> None:
        """Give each of these entities the vector of its text, embedding each text once."""
        waiting: dict[bytes, list[bytes]] = {}
        for key, known in stale:
            vector = index.vector_of(known)
            if vector is not None:
                index.put([(key, known)], vector[None])
            else:
                waiting.setdefault(known, []).append(key)
        order = list(waiting)
        done = 0

        def keep(start: int, vectors: Vectors) -> None:
            nonlocal done
            for known, vector in zip(order[start : start + len(vectors)], vectors, strict=True):
                for key in waiting[known]:
                    index.put([(key, known)], vector[None])
                done += len(texts[known].encode("utf-8", "replace"))
            if report is not None:
                report(done, start + len(vectors))

        embed(
            embedder,
            [texts[known] for known in order],
            batch_size=self.embed_batch_size,
            keep=keep,
        )

    def _text(self, entity: BaseModel) -> str:
        """What of an entity is embedded, in the form that the peer's folders have too."""
        if not self.fields_for_index:
            return entity.model_dump_json(exclude_none=True)
        values = ((name, getattr(entity, name)) for name in self.fields_for_index)
        return "\n".join(f"{name}: {value}" for name, value in values if value is not None)

    def dump_index(self, folder_path: StrPath) -> None:
        """Save the vector index to a folder; without an index nothing happens.

        Args:
            folder_path: The folder; it is created where it is missing.

        Raises:
            OSError: The files could not be written; the folder is as it was.
        """
        index = self._index
        if index is None:
            logger.debug("there is no index to dump")
            return
        with _omem.FolderWriter(Path(folder_path), "index") as folder:
            vectors, docstore = self._index_files(index)
            folder.commit(docstore(folder.write_bytes(files.VECTORS, vectors)))

    def _index_files(self, index: VectorIndex) -> tuple[bytes, Callable[[tuple[int, str]], bytes]]:
        """The content of `index.faiss`, and of `docstore.pkl` once the former's facts are known."""
        keys, hashes, vectors = index.parts()

        def docstore(facts: tuple[int, str]) -> bytes:
            return files.docstore_bytes(
                keys,
                hashes,
                embedder=signature(self.embedder),
                fields=self.fields_for_index,
                vectors=facts,
            )

        return files.faiss_bytes(vectors), docstore

    def load_index(self, folder_path: StrPath) -> None:
        """Restore the vector index from a folder, ours or one that LangChain wrote.

        What no longer fits the entities is embedded again when it is needed. A missing folder is
        no error.

        Args:
            folder_path: The folder.

        Raises:
            IndexDamagedError: The files are damaged, or of another embedder or choice of fields;
                the index is as it was.
        """
        path = Path(folder_path)
        if not path.is_dir():
            logger.debug("there is no index folder %s", path)
            return
        with _omem.FolderReader(path, "index") as folder:
            saved = files.read(path, folder.path(files.VECTORS), folder.path(files.DOCSTORE))
        if saved is not None:
            self._take_saved(saved, path)

    def _take_saved(self, saved: files.Saved, path: Path) -> None:
        """Take a saved index; one of another embedder or choice of fields is refused."""
        own = signature(self.embedder)
        if own is not None and saved.embedder not in (None, own):
            raise IndexDamagedError(
                f"{path} was made by the embedder {saved.embedder!r}, this memory has {own!r}; "
                "build_index() embeds everything with the latter"
            )
        index = VectorIndex()
        index.restore(saved.keys, saved.hashes, saved.vectors)
        with self._index_lock:
            self._start_index(index)
