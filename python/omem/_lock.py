"""One mutator at a time."""

from __future__ import annotations

import os
import threading
import weakref
from contextvars import ContextVar
from types import TracebackType

from omem.errors import ReentryError

_mutating: ContextVar[frozenset[int]] = ContextVar("omem_mutating", default=frozenset())
_locks: weakref.WeakSet[MutationLock] = weakref.WeakSet()


class MutationLock:
    """The lock that every mutation of one memory holds from its first step to its last.

    Readers do not take it: they work on snapshots. A callback of a mutation (a merger, an
    embedder, a progress function) that tries to mutate the same memory gets a RuntimeError
    instead of a deadlock; it is recognised by its context, so that worker threads which were
    given a copy of the mutator's context are recognised too.

    Examples:
        >>> lock = MutationLock()
        >>> with lock:
        ...     with lock:
        ...         pass
        Traceback (most recent call last):
        ...
        omem.errors.ReentryError: this memory is being changed by the call that runs this ...
    """

    __slots__ = ("__weakref__", "_lock", "_outer")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outer: frozenset[int] = frozenset()
        _locks.add(self)

    def __enter__(self) -> None:
        outer = _mutating.get()
        if id(self) in outer:
            raise ReentryError(
                "this memory is being changed by the call that runs this callback; "
                "return what should change instead of changing it from inside"
            )
        self._lock.acquire()
        self._outer = outer
        _mutating.set(outer | {id(self)})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _mutating.set(self._outer)
        if self._lock.locked():  # a fork inside the mutation gave the child a new lock
            self._lock.release()

    def reset(self) -> None:
        """Forget a holder that does not exist in this process (after a fork)."""
        self._lock = threading.Lock()


def _reset_all() -> None:
    for lock in list(_locks):
        lock.reset()
    _mutating.set(frozenset())


os.register_at_fork(after_in_child=_reset_all)
