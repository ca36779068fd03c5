"""A consistent view of a folder, also for who may not lock it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from omem import _omem

R = TypeVar("R")

PATIENCE = 60.0
"""For so many seconds a reader without a lock starts again when a dump came in between."""

logger = logging.getLogger("omem")


def view(path: Path, read: Callable[[_omem.FolderReader], R], kind: str = "memory") -> R:
    """Read a folder of which all files are of one dump.

    Who may not write in a folder cannot keep a dumper out of it that comes later. So where a dump
    came in between, all is read again.

    Args:
        path: The folder.
        read: Reads what it wants; it may be called several times.
        kind: The layout of the folder, "memory" or "index".

    Returns:
        What `read` returned.

    Raises:
        OSError: What `read` or the opening of the folder raised.
        LockedError: A dumper held the folder for 60 s.
    """
    end = time.monotonic() + PATIENCE
    while True:
        with _omem.FolderReader(path, kind) as folder:
            try:
                found = read(folder)
            except (OSError, ValueError):
                if folder.is_steady() or time.monotonic() > end:
                    raise
            else:
                if folder.is_steady() or time.monotonic() > end:
                    return found
        logger.debug("%s was dumped to while it was read; it is read again", path)
