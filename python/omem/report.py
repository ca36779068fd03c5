"""What mutating and loading tell the caller about what they did."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Progress = bool | Callable[[int, int], object]
"""`True` logs progress at INFO, which `configure_logging("INFO")` shows; a callable gets the bytes
and the records done."""


@dataclass(frozen=True, slots=True)
class AddReport:
    """What one `add` did.

    Attributes:
        added: Entities that are new.
        merged: Entities that changed by merging.
        unchanged: Entities that were observed again without any change.
        quarantined: Observations that could not be merged and were set aside.
        llm_calls: Calls made to the model.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import OMem
        >>> class Tag(BaseModel):
        ...     name: str
        >>> memory = OMem(Tag, "name")
        >>> memory.add([Tag(name="a"), Tag(name="b"), Tag(name="a")])
        AddReport(added=2, merged=0, unchanged=1, quarantined=0, llm_calls=0)
    """

    added: int = 0
    merged: int = 0
    unchanged: int = 0
    quarantined: int = 0
    llm_calls: int = 0


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What one `forget` erased.

    Attributes:
        entity: Whether there was an entity.
        lookups: The lookups in which it had a value.
        indexed: Whether it had a vector in the index.
        observations: How many observations of it the ledger had.
        sources: The sources that had made observations of it.
        quarantined: How many observations of it were set aside.

    Examples:
        >>> from pydantic import BaseModel
        >>> from omem import OMem
        >>> class Tag(BaseModel):
        ...     name: str
        >>> memory = OMem(Tag, "name")
        >>> _ = memory.add(Tag(name="a"))
        >>> report = memory.forget("a")
        >>> report.entity, bool(report), bool(memory.forget("a"))
        (True, True, False)
    """

    entity: bool = False
    lookups: list[str] = field(default_factory=list[str])
    indexed: bool = False
    observations: int = 0
    sources: list[str] = field(default_factory=list[str])
    quarantined: int = 0

    def __bool__(self) -> bool:
        """Whether anything was erased."""
        return bool(self.entity or self.indexed or self.sources or self.quarantined)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that `on_error="skip"` left out.

    Attributes:
        record: The record's number in the file, from 0.
        line: The line, from 1, of the fault where the text is no JSON, else of the record.
        offset: The byte, from 0, likewise.
        path: Where in the record the fault lies, as `$.field[3]`.
        reason: What is wrong.
        file: The name of the file: "memory.json", or "sources.json" for a line of the ledger.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from pydantic import BaseModel
        >>> from omem import OMem
        >>> class Tag(BaseModel):
        ...     name: str
        >>> memory = OMem(Tag, "name")
        >>> file = Path(tempfile.mkdtemp()) / "tags.json"
        >>> _ = file.write_text('[{"name": "a"}, {"name": 3}]')
        >>> report = memory.load_data(file, on_error="skip")
        >>> [(bad.record, bad.line, bad.path, bad.reason) for bad in report.skipped]
        [(1, 1, '$.name', 'Input should be a valid string')]
    """

    record: int
    line: int
    offset: int
    path: str
    reason: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What one `load` or `load_data` did.

    Attributes:
        path: The file or folder.
        records: Records read from the file, bad ones included.
        entities: Entities in memory afterwards.
        merged: Records that were merged with another one of the same key.
        skipped: Records left out by `on_error="skip"`, those of ledger and quarantine included.
        defaults_filled: Values that the file did not have and the model's defaults gave.
        unknown_dropped: Values of unknown fields left out by `unknown="drop"`.
        schema_changed: The file was written under another version of the model.
        index: What became of the vector index: "none", "loaded", "partial" (some texts have to
            be embedded again) or "rejected: …" with the reason.
        warnings: What does not fit but was no reason to stop.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from pydantic import BaseModel
        >>> from omem import OMem
        >>> class Tag(BaseModel):
        ...     name: str
        >>> memory = OMem(Tag, "name")
        >>> file = Path(tempfile.mkdtemp()) / "tags.json"
        >>> _ = file.write_text('[{"name": "a"}, {"name": 3}]')
        >>> report = memory.load_data(file, on_error="skip")
        >>> report.records, report.entities, len(report.skipped)
        (2, 1, 1)
    """

    path: Path
    records: int = 0
    entities: int = 0
    merged: int = 0
    skipped: list[BadRecord] = field(default_factory=list[BadRecord])
    defaults_filled: int = 0
    unknown_dropped: int = 0
    schema_changed: bool = False
    index: str = "none"
    warnings: list[str] = field(default_factory=list[str])


_logger = logging.getLogger("omem")


def reporter(progress: Progress) -> Callable[[int, int], object] | None:
    """The callback that a `progress=` argument asks for.

    Args:
        progress: As the caller gave it.

    Returns:
        What to call with bytes and records done, or None.

    Raises:
        TypeError: It is neither a bool nor callable.
    """
    if progress is False:
        return None
    if progress is True:
        return _log
    if not callable(progress):
        raise TypeError(
            f"progress must be True, False or a callable, not {type(progress).__name__}"
        )
    return progress


def _log(done_bytes: int, done_records: int) -> None:
    _logger.info("%d records, %.1f MB", done_records, done_bytes / 1e6)
