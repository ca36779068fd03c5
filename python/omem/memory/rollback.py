"""Taking back what a source said, and forgetting what all of them said of an entity."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel

from omem import _omem
from omem.arguments import one_of, string
from omem.errors import SourceNotFoundError
from omem.keys import key_function
from omem.memory.entities import Refused
from omem.memory.sources import Sources
from omem.merger.classic import ClassicMerger, FieldMerger
from omem.merger.llm import BaseLLMMerger
from omem.report import ForgetReport
from omem.sources import check_source_id

T = TypeVar("T", bound=BaseModel)
Strategy = Literal["exact", "touched"]
Remerge = Literal["auto", "llm", "mechanical"]

logger = logging.getLogger("omem")


class Rollback(Sources[T]):
    """What the memory would be had a source never been added."""

    mechanical_remerge_threshold = 12
    """With `remerge="auto"`, entities of more observations than this are merged again by rule."""

    def upsert_source(
        self,
        source_id: str,
        items: T | Iterable[T],
        *,
        content_hash: str | None = None,
        strategy: Strategy = "exact",
        remerge: Remerge = "auto",
    ) -> dict[str, Any]:
        """Replace what a source said: take the old back and add the new, in one step.

        Args:
            source_id: The source; a new one is added. Its tags stay.
            items: What it says now.
            content_hash: A hash of its content now.
            strategy: How the old is taken back, as in `remove_source`.
            remerge: How entities are merged again, as in `remove_source`.

        Returns:
            As `remove_source`; `removed_keys` are those that are not there any more, `added_keys`
            those of `items`.

        Raises:
            RuntimeError: The memory keeps no ledger.
            TypeError: An item is not of the memory's schema.
            MergeError: A merge failed. Whatever is raised, nothing has changed.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Person(BaseModel):
            ...     name: str
            ...     skills: list[str] = []
            >>> memory = OMem(Person, "name", track_sources=True)
            >>> _ = memory.add(Person(name="Ada", skills=["math"]), source_id="letter")
            >>> report = memory.upsert_source("letter", Person(name="Ada", skills=["poetry"]))
            >>> memory.get("Ada").skills
            ['poetry']
        """
        ledger = self._need_ledger()
        check_source_id(source_id)
        if content_hash is not None:
            string("content_hash", content_hash)
        one_of("strategy", strategy, get_args(Strategy))
        one_of("remerge", remerge, get_args(Remerge))
        with self._lock:
            batch = self._store.encode(self._one_or_many(items))
            texts = list(dict.fromkeys(batch.keys()))
            back = ledger.rollback(source_id, strategy == "touched", batch, content_hash)
            if back is None:
                lines = ledger.observe(batch, source_id, content_hash=content_hash)
                self._apply(self._merge(batch), lines, source_id=source_id)
            else:
                lines = ledger.observe(batch, source_id, back=back)
                scratch, refused = self._remerge(back, remerge)
                changed = {text for text, _, stays in back.rebuilt if not stays}
                scratch.borrow([text for text in texts if text not in changed], self._store)
                merged = self._merge(batch, store=scratch)
                refused_now = merged.refused
                ledger.set_aside(lines, source_id, refused_now)
                scratch.apply(merged)
                gone = [text for text, _, _ in back.rebuilt if text not in set(texts)]
                change = self._store.transplant([*gone, *texts], scratch, back)
                self._apply(change, lines, refused=[*refused, *refused_now], dealt_with=back.asides)
        added = [_omem.key_from_text(text) for text in texts]
        return self._source_report(source_id, strategy, back, set(texts), {"added_keys": added})

    def remove_source(
        self,
        source_id: str,
        *,
        strategy: Strategy = "exact",
        remerge: Remerge = "auto",
    ) -> dict[str, Any]:
        """Take back everything that a source said, and forget the source.

        What it added is taken back exactly: the entities are what they would be had it never been
        added. Those that others observed too are merged again from the observations that survive,
        in their order; the rest go. An entity of which some observation came by `record_source`, by
        assignment to `ledger` or by `load_sources` is merged again from the ledger's surviving
        records alone. An entity that `upsert` replaced since stays as it is; one that `edit`
        rewrote since loses the rewrite, which was made of what the source said.

        Args:
            source_id: The source.
            strategy: "exact", or "touched": every entity of which the source said something goes.
            remerge: How a memory with a merger of its own, a model for instance, merges again:
                "llm" with that merger, "mechanical" field by field, "auto" with the merger up to
                `mechanical_remerge_threshold` observations of an entity. The strategies that run
                in Rust are always followed.

        Returns:
            `source_id`, `strategy`, `removed_keys`, `remerged_keys`, `edits_dropped` (the keys of
            entities that lost a rewrite), and `index_patched` (whether there is an index and it is
            up to date).

        Raises:
            RuntimeError: The memory keeps no ledger.
            KeyError: There is no such source.
            MergeError: What survives cannot be merged; nothing has changed.

        Examples:
            >>> from pydantic import BaseModel, ValidationError
            >>> from omem import OMem
            >>> class Person(BaseModel):
            ...     name: str
            ...     skills: list[str] = []
            >>> memory = OMem(Person, "name", track_sources=True)
            >>> _ = memory.add(Person(name="Ada", skills=["math"]), source_id="letter")
            >>> _ = memory.add(Person(name="Ada", skills=["poetry"]), source_id="rumour")
            >>> memory.remove_source("rumour")["remerged_keys"]
            ['Ada']
            >>> memory.get("Ada").skills
            ['math']
        """
        ledger = self._need_ledger()
        string("source_id", source_id)
        one_of("strategy", strategy, get_args(Strategy))
        one_of("remerge", remerge, get_args(Remerge))
        with self._lock:
            back = ledger.rollback(source_id, strategy == "touched")
            if back is None:
                raise SourceNotFoundError(
                    f"there is no source {source_id!r}; sources() has those there are"
                )
            scratch, refused = self._remerge(back, remerge)
            change = self._store.transplant([text for text, _, _ in back.rebuilt], scratch, back)
            self._apply(change, back.lines, refused=refused, dealt_with=back.asides)
        return self._source_report(source_id, strategy, back, set(), {})

    def forget(self, key: Any) -> ForgetReport:
        """Erase an entity and every trace of it.

        From the memory, its lookups, the index, the ledger (what every source said of it) and
        from what was set aside. `remove` keeps what sources said. Folders that were saved before
        keep what they hold until the next `dump` to them.

        Args:
            key: The key of the entity.

        Returns:
            What was erased; it is false where there was nothing.

        Raises:
            KeyExtractionError: This cannot be a key.

        Examples:
            >>> from pydantic import BaseModel, ValidationError
            >>> from omem import OMem
            >>> class Person(BaseModel):
            ...     name: str
            >>> memory = OMem(Person, "name", track_sources=True)
            >>> _ = memory.add(Person(name="Ada"), source_id="letter")
            >>> memory.forget("Ada").sources
            ['letter']
            >>> memory.ledger["letter"].raw_items
            []
        """
        text = _omem.key_text(key)
        with self._lock:
            removed, _, change = self._store.removal([key], erase=True)
            lookups = self._store.lookups_of(text)
            noted = None if self._ledger is None else self._ledger.forget(text)
            lines, observations, found = noted or (None, 0, [])
            self._apply(change, lines)
            aside = self._quarantine.pop(key) if key in self._quarantine else []
        return ForgetReport(
            entity=bool(removed),
            lookups=lookups,
            indexed=self._unindex([text]) > 0,
            observations=observations,
            sources=found,
            quarantined=len(aside),
        )

    def _remerge(self, back: _omem.Rollback, remerge: Remerge) -> tuple[_omem.Store, list[Refused]]:
        """The entities that a rollback leaves to be merged again, and what was refused."""
        ledger = self._need_ledger()
        scratch = _omem.Store(self._schema, self._key, self._lossy)
        refused: list[Refused] = []

        def merge(batch: _omem.Batch, by_rule: bool) -> None:
            change = self._merge(batch, store=scratch, merger=ruled if by_rule else None)
            refused.extend(change.refused)
            scratch.apply(change)

        classic = isinstance(self._merger, ClassicMerger)
        ruled = self._merger if classic else FieldMerger(key_function(self.key_extractor))
        limit = {"llm": None, "mechanical": 0, "auto": self.mechanical_remerge_threshold}[remerge]
        by_rule: list[int] = []
        by_merger: list[int] = []
        for place, (_, survivors, stays) in enumerate(back.rebuilt):
            if survivors and not stays:
                rule = classic or (limit is not None and survivors > limit)
                (by_rule if rule else by_merger).append(place)
        merge(ledger.survivors(back, by_rule), True)
        if isinstance(self._merger, BaseLLMMerger):
            merge(ledger.survivors(back, by_merger), False)
        elif by_merger:
            # Call by call, as the observations came: a merger need not be associative.
            for call in range(max(back.rebuilt[place][1] for place in by_merger)):
                batch = ledger.survivors(back, by_merger, call)
                if not len(batch):
                    break
                merge(batch, False)
        return scratch, refused

    def _source_report(
        self,
        source_id: str,
        strategy: Strategy,
        back: _omem.Rollback | None,
        kept: set[bytes],
        more: dict[str, Any],
    ) -> dict[str, Any]:
        """What became of the entities, once the index has been told."""
        rebuilt = [] if back is None else [entry for entry in back.rebuilt if not entry[2]]
        gone = [text for text, survivors, _ in rebuilt if not survivors and text not in kept]
        remerged = [_omem.key_from_text(text) for text, survivors, _ in rebuilt if survivors]
        removed = [_omem.key_from_text(text) for text in gone]
        self._unindex(gone)
        dropped = [] if back is None else [_omem.key_from_text(text) for text in back.unedited]
        if dropped:
            logger.warning(
                "the rewrites of %d entities were made of what source %r said, and are dropped",
                len(dropped),
                source_id,
            )
        report = {
            "source_id": source_id,
            "strategy": strategy,
            "removed_keys": removed,
            "remerged_keys": remerged,
            **more,
            "edits_dropped": dropped,
        }
        changed = [*remerged, *more.get("added_keys", ())]
        report["index_patched"] = self.sync_index(removed_keys=removed, upserted_keys=changed)
        return report

    def _unindex(self, texts: list[bytes]) -> int:
        """Drop the vectors of entities that are gone, at once; how many there were."""
        with self._alone():
            index = self._index
            if index is None or not texts:
                return 0
            before = len(index)
            stale = _omem.Stale(self._store, index.rows, self._texts(index.fields), texts)
            index.take_over(stale)
            return before - len(index)
