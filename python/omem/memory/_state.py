"""What a memory consists of, and how a change reaches all of it at once."""

from __future__ import annotations

import inspect
import logging
import operator
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, TypeVar, cast, get_args

from pydantic import BaseModel

from omem import _omem
from omem.arguments import one_of, strings, whole
from omem.base import BaseMem
from omem.embedding import Embedder
from omem.index import Kind, VectorIndex
from omem.index.text import check_fields
from omem.keys import KeyExtractor, key_function, key_spec
from omem.llm import check_client
from omem.merger import BaseLLMMerger, BaseMerger, create_merger
from omem.merger.factory import options_of
from omem.quarantine import Quarantine
from omem.schema import compile_schema
from omem.strategy import MergeStrategy

T = TypeVar("T", bound=BaseModel)
Lossy = Literal["error", "warn", "allow"]
OnConflict = Literal["raise", "quarantine"]

logger = logging.getLogger("omem")
_memories: weakref.WeakSet[MemoryState[Any]] = weakref.WeakSet()


class MemoryState(BaseMem[T]):
    """The parts of a memory and the locks that keep them together.

    `_lock` is held by a mutator from its first step to its last, and not taken by readers, who work
    on snapshots. A callback of a mutation that tries to mutate the same memory gets a RuntimeError
    instead of a deadlock, also in a worker thread that was given a copy of the mutator's context.
    `_gate` is held only while the finished change is put in place, or a consistent view of all
    parts is taken; `_index_lock` while the index catches up with the entities, which may be read
    and changed meanwhile. What the index has yet to catch up with, `_pending` and `_all_pending`,
    is guarded by `_gate`.
    """

    def __init__(
        self,
        memory_schema: type[T],
        key_extractor: KeyExtractor[T],
        llm_client: Any = None,
        embedder: Embedder | None = None,
        *,
        strategy_or_merger: MergeStrategy | str | BaseMerger[T] = MergeStrategy.MERGE_FIELD,
        fields_for_index: list[str] | None = None,
        index: str = "Flat",
        metric: str = "l2",
        embed_batch_size: int = 256,
        verbose: bool = False,
        track_sources: bool = False,
        lossy: Lossy = "error",
        on_conflict: OnConflict = "raise",
        **merger_options: Any,
    ) -> None:
        if not (isinstance(memory_schema, type) and issubclass(memory_schema, BaseModel)):
            raise TypeError(
                f"memory_schema must be a Pydantic model class, not {memory_schema!r}; "
                "define one with `class Profile(BaseModel): ...`"
            )
        one_of("lossy", lossy, get_args(Lossy))
        one_of("on_conflict", on_conflict, get_args(OnConflict))
        if embedder is not None and (
            isinstance(embedder, type)
            or not hasattr(embedder, "embed_documents")
            or not hasattr(embedder, "embed_query")
        ):
            raise TypeError(
                "embedder must be an object with embed_documents and embed_query, such as "
                f"HashingEmbedder(), not {embedder!r}"
            )
        if hasattr(llm_client, "embed_documents") and not hasattr(
            llm_client, "with_structured_output"
        ):
            raise TypeError("llm_client is an embedder; give it as embedder=")
        if llm_client is not None:
            check_client("llm_client", llm_client)
        self.fields_for_index = strings("fields_for_index", fields_for_index)
        check_fields(memory_schema, self.fields_for_index)
        if verbose:
            logger.setLevel(logging.DEBUG)

        self._schema = compile_schema(memory_schema)
        self._memory_schema = memory_schema
        self.key_extractor = key_extractor
        self._llm_client = llm_client
        self.embedder = embedder
        self._key = key_spec(memory_schema, key_extractor)
        self._lossy: Lossy = lossy
        self._store = _omem.Store(self._schema, self._key, lossy)
        self._ledger = _omem.Ledger(self._store) if track_sources else None
        self._owns_merger = not isinstance(strategy_or_merger, BaseMerger)
        self._merger = self._make_merger(strategy_or_merger, merger_options)
        self._quarantine = Quarantine[T](self._schema)
        self.on_conflict: OnConflict = on_conflict
        self._lock = _omem.MutationLock()
        self._gate = threading.Lock()
        self.embed_batch_size = whole("embed_batch_size", embed_batch_size, least=1)
        self._kind = Kind.of(index, metric)
        self._index: VectorIndex | None = None
        self._unfinished: VectorIndex | None = None
        self._index_lock = threading.Lock()
        self._catching_up: int | None = None
        self._pending: set[bytes] = set()
        self._all_pending = False
        self._known_texts: tuple[list[str], _omem.Texts] | None = None
        _memories.add(self)

    def _make_merger(
        self, strategy: MergeStrategy | str | BaseMerger[T], options: dict[str, Any]
    ) -> BaseMerger[T]:
        known = [] if isinstance(strategy, BaseMerger) else options_of(strategy)
        for name in options:
            if name not in known:
                raise TypeError(f"OMem() has no option {name!r}{_instead(name, known)}")
        if isinstance(strategy, BaseMerger):
            return cast(BaseMerger[T], strategy)
        return create_merger(
            strategy,
            key_function(self.key_extractor),
            llm_client=self._llm_client,
            item_schema=self.memory_schema,
            **options,
        )

    @property
    def llm_client(self) -> Any:
        """The model for LLM strategies and `edit`; another one can be put in its place.

        A merger that was made outside keeps its own.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> memory.llm_client = lambda system, user, schema: {"name": "a"}
            >>> callable(memory.llm_client)
            True
        """
        return self._llm_client

    @llm_client.setter
    def llm_client(self, client: Any) -> None:
        if self._owns_merger and isinstance(self._merger, BaseLLMMerger):
            self._merger.llm_client = client
        self._llm_client = client

    @property
    def track_sources(self) -> bool:
        """Whether the memory keeps a source ledger; fixed for its life.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> memory.track_sources
            False
        """
        return self._ledger is not None

    @property
    def memory_schema(self) -> type[T]:
        """The Pydantic model of the entities; fixed for the life of the memory.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Tag(BaseModel):
            ...     name: str
            >>> memory = OMem(Tag, "name")
            >>> memory.memory_schema is Tag
            True
        """
        return self._memory_schema

    def _one_or_many(self, items: T | Iterable[T]) -> Iterable[T]:
        if isinstance(items, BaseModel):
            return [cast(T, items)]
        if isinstance(items, (str, bytes, dict)) or not isinstance(items, Iterable):
            name, kind = self.memory_schema.__name__, type(cast(object, items)).__name__
            raise TypeError(
                f"expected {name} objects, one or an iterable, got {kind}"
                + (f"; {name}.model_validate(…) makes one of it" if isinstance(items, dict) else "")
            )
        return items

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "a memory cannot be pickled or copied; save it with dump() and restore it with load()"
        )

    def __copy__(self) -> NoReturn:
        self.__getstate__()

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__getstate__()

    def __repr__(self) -> str:
        index = ", indexed" if self.has_index() else ""
        return (
            f"<{type(self).__name__} of {self.size:,} {self.memory_schema.__name__} entities, "
            f"{self._merger.name}{index}>"
        )


def at_once(*steps: Callable[[], object]) -> None:
    """Take several steps of which Ctrl-C leaves all undone or none.

    Python looks for signals between its own instructions; here it runs none between two steps.

    Args:
        steps: Calls of what is written in C or Rust, as `functools.partial` makes them.
    """
    deque(map(operator.call, steps), maxlen=0)


def _instead(name: str, known: list[str]) -> str:
    """What to give in the place of an option that there is not."""
    own = [*inspect.signature(cast(Any, MemoryState).__init__).parameters][1:-1]
    words = {word: option for option in own for word in option.split("_")}
    words |= {option: option for option in (*own, *known)}
    similar = get_close_matches(name, words, 1, 0.75)
    if similar:
        return f"; did you mean {words[similar[0]]!r}?"
    if not known:
        return "; what is for a ready-made merger, give to the merger itself"
    return f", and this strategy has only {', '.join(known)}"


def _reset_locks() -> None:
    for memory in list(_memories):
        memory._lock.reset()
        memory._gate = threading.Lock()
        memory._index_lock = threading.Lock()
        memory._catching_up = None
        # What a thread of the parent was catching up with is no longer noted as pending.
        memory._all_pending = memory._index is not None


os.register_at_fork(after_in_child=_reset_locks)
