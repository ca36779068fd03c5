"""Entities in and out: add, upsert, remove, clear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel

from omem import _omem
from omem.arguments import one_of, several
from omem.errors import MergeError
from omem.keys import key_function
from omem.memory._state import OnConflict, at_once
from omem.memory.views import Views
from omem.merger.base import BaseMerger
from omem.merger.classic import ClassicMerger, merge_error
from omem.merger.tournament import play, reason
from omem.report import AddReport, Progress, reporter
from omem.sources import check_source_id

T = TypeVar("T", bound=BaseModel)
Refused = tuple[bytes, bytes, bytes, str]
"""Key text, existing record, incoming record and reason of what was not merged."""


class Entities(Views[T]):
    """Changing what is there, all at once or not at all."""

    def add(
        self,
        items: T | Iterable[T],
        *,
        source_id: str | None = None,
        progress: Progress = False,
        on_conflict: OnConflict | None = None,
    ) -> AddReport:
        """Merge observations into the memory, all of them or none.

        Observations of a new key become an entity; observations of a known key are merged into
        it by the memory's strategy, in the order given. A field that was not set explicitly, or
        is None, is no observation and changes nothing.

        Args:
            items: One entity or an iterable of them; a generator is consumed as it goes.
            source_id: The source they come from, for the source ledger.
            progress: True to log progress, or a callable that gets bytes and records done.
            on_conflict: "raise" or "quarantine", for this call; the memory's own by default.

        Returns:
            How many observations were added, merged, found unchanged, set aside.

        Raises:
            TypeError: An item is not of the memory's schema.
            LossyError: An item holds a value that would not survive saving.
            KeyExtractionError: An item has no usable key.
            MergeError: A merge failed; nothing was added.
            RuntimeError: A `source_id` without a ledger, or a call from inside a callback of a
                mutation of this memory.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Airport(BaseModel):
            ...     icao: str
            ...     name: str | None = None
            ...     aliases: list[str] = []
            >>> memory = OMem(Airport, "icao")
            >>> report = memory.add([
            ...     Airport(icao="EDDF", name="Frankfurt", aliases=["FRA"]),
            ...     Airport(icao="EDDF", aliases=["Rhein-Main"]),
            ... ])
            >>> memory.get("EDDF").aliases
            ['FRA', 'Rhein-Main']
        """
        if source_id is not None:
            self._need_ledger()
            check_source_id(source_id)
        with self._lock:
            batch = self._store.encode(self._one_or_many(items), reporter(progress))
            calls = self._merger.llm_calls
            lines = self._observe(batch, source_id)
            change = self._merge(batch, on_conflict=on_conflict)
            self._apply(change, lines, source_id=source_id)
            calls = self._merger.llm_calls - calls
        return AddReport(
            added=change.added,
            merged=change.merged,
            unchanged=change.unchanged,
            quarantined=len(change.refused),
            llm_calls=calls,
        )

    def upsert(self, items: T | Iterable[T]) -> AddReport:
        """Replace entities by key, without merging, all of them or none.

        Args:
            items: One entity or an iterable of them; of several with the same key the last counts.

        Returns:
            How many entities were added, replaced (`merged`), found unchanged.

        Raises:
            TypeError: An item is not of the memory's schema.
            LossyError: An item holds a value that would not survive saving.
            KeyExtractionError: An item has no usable key.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            ...     notes: list[str] = []
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add(Tag(name="a", notes=["old"]))
            >>> _ = memory.upsert(Tag(name="a", notes=["new"]))
            >>> memory.get("a").notes
            ['new']
        """
        with self._lock:
            batch = self._store.encode(self._one_or_many(items), None)
            lines = None if self._ledger is None else self._ledger.replace(batch, rewritten=False)
            change = self._store.fold(batch, "keep_incoming", "union")
            self._apply(change, lines)
        return AddReport(added=change.added, merged=change.merged, unchanged=change.unchanged)

    def remove(self, key: Any) -> bool:
        """Remove one entity.

        Args:
            key: Its key.

        Returns:
            Whether it was there.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.remove("a"), memory.remove("a")
            (True, False)
        """
        removed, _ = self.remove_many([key])
        return bool(removed)

    def remove_many(self, keys: Iterable[Any]) -> tuple[list[Any], list[Any]]:
        """Remove entities by key, in one step.

        Args:
            keys: Their keys; a key named twice counts once.

        Returns:
            The keys removed, and the keys that were not there.

        Raises:
            TypeError: `keys` is a single str or bytes.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.remove_many(["a", "z"])
            (['a'], ['z'])
        """
        with self._lock:
            removed, missing, change = self._store.removal(several("keys", keys))
            lines = None if self._ledger is None else self._ledger.remove(change)
            self._apply(change, lines)
        return removed, missing

    def clear(self, *, sources: bool = False) -> None:
        """Remove all entities, and what was set aside.

        What sources said is kept in the ledger, as if it had come by `record_source`: so a memory
        can be rebuilt from it.

        Args:
            sources: Empty the source ledger too.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> _ = memory.add([Tag(name="a"), Tag(name="b")])
            >>> memory.clear()
            >>> memory.size
            0
        """
        with self._lock:
            ledger = None
            if self._ledger is not None:
                ledger = self._ledger.fresh() if sources else self._ledger.restart()
            with self._gate:
                at_once(
                    self._store.clear,
                    partial(setattr, self._quarantine, "_entries", {}),
                    *self._ledger_steps(ledger),
                )

    def _merge(
        self,
        batch: _omem.Batch,
        *,
        defaults_unset: bool = False,
        on_conflict: OnConflict | None = None,
        store: _omem.Store | None = None,
        merger: BaseMerger[T] | None = None,
    ) -> _omem.Change:
        """The change that merging a batch makes, not yet applied; what it refuses is set aside."""
        store = self._store if store is None else store  # an empty store is false
        merger = merger or self._merger
        on_conflict = on_conflict or self.on_conflict
        one_of("on_conflict", on_conflict, get_args(OnConflict))
        if isinstance(merger, ClassicMerger) and merger.runs_in_rust:
            change = store.fold(batch, merger.engine or "", merger.lists, defaults_unset)
            if change.refused and on_conflict == "raise":
                text, existing, incoming, why = change.refused[0]
                key = _omem.key_from_text(text)
                raise merge_error(self._schema, key, existing, incoming, why) from change.cause
            return change
        groups = cast("list[list[T]]", store.groups(batch))
        played = play(merger, groups, check=self._check, keep_going=on_conflict == "quarantine")
        failed = [(group, place, reason(why)) for group, place, why in played.failed]
        return store.fold_merged(batch, played.merged, failed)

    def _check(self, existing: T, incoming: T, merged: T) -> None:
        """Refuse what a merger made of a pair, where the store would not take it for the key."""
        cause: Exception | None = None
        try:
            key, before = (self._store.encode([item]).keys()[0] for item in (merged, existing))
            if key == before:
                return
            why = f"the merger changed the key to {_omem.key_from_text(key)!r}"
        except (TypeError, ValueError) as error:
            why, cause = str(error), error
        known = key_function(self.key_extractor)(existing)
        raise MergeError(
            f"{known!r} cannot be merged: {why}; nothing was added",
            key=known,
            existing=existing,
            incoming=incoming,
            reason=why,
        ) from cause

    def _need_ledger(self) -> _omem.Ledger:
        if self._ledger is None:
            raise RuntimeError(
                "this memory keeps no source ledger; build it with OMem(..., track_sources=True)"
            )
        return self._ledger

    def _observe(
        self, batch: _omem.Batch, source_id: str | None, *, defaults_unset: bool = False
    ) -> _omem.Lines | None:
        """What the ledger notes of observations that are about to be merged."""
        if self._ledger is None:
            return None
        return self._ledger.observe(batch, source_id, defaults_unset)

    def _apply(
        self,
        change: _omem.Change,
        lines: _omem.Lines | None,
        *,
        source_id: str | None = None,
        refused: Sequence[Refused] = (),
        dealt_with: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Put a change in place: store, lookups, ledger and quarantine at once, or nothing.

        Args:
            change: What changes in the store.
            lines: What changes in the ledger; None without one.
            source_id: The source of what `change` refused.
            refused: What else is set aside.
            dealt_with: Key text and record of what is no longer set aside.
        """
        self._store.fill_lookups(change)
        refused = [*change.refused, *refused]
        if self._ledger is not None and lines is not None:
            self._ledger.set_aside(lines, source_id, change.refused)
        with self._gate:
            if self._ledger is not None and lines is not None:
                self._ledger.apply(change, lines)
            else:
                self._store.apply(change)
            self._quarantine._drop(dealt_with)
            self._quarantine._put(refused)

    def _ledger_steps(
        self, prepared: _omem.PreparedLedger | None
    ) -> Iterator[Callable[[], object]]:
        """What puts a prepared ledger in the place of what is there, if there is one."""
        if self._ledger is not None and prepared is not None:
            yield partial(self._ledger.swap, prepared)
