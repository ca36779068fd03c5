"""A self-consolidating memory for AI agents, with a Rust core."""

from omem.base import BaseMem
from omem.embedding import HashingEmbedder
from omem.errors import (
    KeyExtractionError,
    LoadError,
    LockedError,
    LossyError,
    LossyWarning,
    MergeError,
    OMemError,
    SchemaError,
)
from omem.logging import configure_logging, get_logger, set_log_level
from omem.memory import OMem
from omem.merger import (
    BaseMerger,
    FieldMerger,
    KeepExistingMerger,
    KeepIncomingMerger,
    create_merger,
)
from omem.report import AddReport, BadRecord, LoadReport
from omem.strategy import Merge, MergeStrategy
from omem.version import __version__

__all__ = [
    "AddReport",
    "BadRecord",
    "BaseMem",
    "BaseMerger",
    "FieldMerger",
    "HashingEmbedder",
    "KeepExistingMerger",
    "KeepIncomingMerger",
    "KeyExtractionError",
    "LoadError",
    "LoadReport",
    "LockedError",
    "LossyError",
    "LossyWarning",
    "Merge",
    "MergeError",
    "MergeStrategy",
    "OMem",
    "OMemError",
    "SchemaError",
    "__version__",
    "configure_logging",
    "create_merger",
    "get_logger",
    "set_log_level",
]
