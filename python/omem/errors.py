"""Every error that omem raises; each is also the builtin error that fits."""

from __future__ import annotations

from typing import Any


class OMemError(Exception):
    """The base of all errors of omem."""


class SchemaError(OMemError, ValueError):
    """The Pydantic model cannot be used as it is."""


class LossyError(OMemError, ValueError):
    """A value would not survive saving; nothing was stored.

    Attributes:
        key: The key of the entity, where it is known.
        field: The path of the value, as `$.field[3]`.
    """

    def __init__(self, message: str, key: Any = None, field: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.field = field


class LossyWarning(UserWarning):
    """A value that does not survive saving was stored all the same (`lossy="warn"`)."""


class KeyExtractionError(OMemError, ValueError):
    """An item has no usable key."""


class MergeError(OMemError, ValueError):
    """Two observations of one entity could not be merged; nothing was stored.

    Attributes:
        key: The key of both.
        existing: What is known.
        incoming: What came in.
        reason: What is wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        key: Any = None,
        existing: Any = None,
        incoming: Any = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.key = key
        self.existing = existing
        self.incoming = incoming
        self.reason = reason


class ReentryError(OMemError, RuntimeError):
    """A callback of a mutation tried to change the memory that is just being changed."""


class LoadError(OMemError, ValueError):
    """A file does not hold what it should; memory is as it was.

    Attributes:
        file: The file.
        record: The number of the record, from 0.
        line: The line, from 1.
        offset: The byte, from 0.
        path: Where in the record, as `$.field[3]`.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        record: int | None = None,
        line: int | None = None,
        offset: int | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.file = file
        self.record = record
        self.line = line
        self.offset = offset
        self.path = path


class FolderNotFoundError(OMemError, FileNotFoundError):
    """There is no such folder."""


class _NotFoundError(OMemError, KeyError):
    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message in quotes


class LookupNotFoundError(_NotFoundError):
    """There is no lookup of this name."""


class SourceNotFoundError(_NotFoundError):
    """The ledger knows no source of this id."""


class LockedError(OMemError, TimeoutError):
    """Another process or thread kept a file or folder locked for too long."""


class EmbedderError(OMemError, RuntimeError):
    """The embedder failed or gave vectors that cannot be used."""


class SearchError(OMemError, RuntimeError):
    """A search is not possible."""


class IndexDamagedError(OMemError, ValueError):
    """The files of a vector index are damaged or do not fit."""
