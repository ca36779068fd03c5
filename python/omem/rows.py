"""Small files of JSON objects that are no entities, read one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from omem import _omem
from omem.keys import key_spec
from omem.schema import compile_schema

Skipped = tuple[int, int, int, str, str]
"""What was left out: record, line, offset, path, reason."""


class _Row(BaseModel):
    """Stands in the store for an object that was read."""

    number: int


def read_rows(path: Path, take: Callable[[bytes], None], *, skip: bool) -> _omem.Loaded:
    """Read a JSON array of objects.

    Args:
        path: The file.
        take: Called with the JSON text of each object; a ValueError of its refuses it.
        skip: Leave out what is refused or no JSON, instead of raising.

    Returns:
        Size and checksum of the file, and what was left out.

    Raises:
        FileNotFoundError: There is no such file.
        LoadError: An object is refused, or the file is no such array.
    """
    count = 0

    def row(raw: bytes) -> _Row:
        nonlocal count
        take(raw)
        count += 1
        return _Row(number=count)

    rows = _omem.Store(compile_schema(_Row), key_spec(_Row, "number"), "error")
    return rows.read(path, row, True, skip)
