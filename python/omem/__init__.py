"""A self-consolidating memory for AI agents, with a Rust core."""

import warnings as _warnings

from omem import _omem
from omem.base import BaseMem
from omem.embedding import HashingEmbedder
from omem.errors import (
    EmbedderError,
    IndexDamagedError,
    KeyExtractionError,
    LoadError,
    LockedError,
    LookupNotFoundError,
    LossyError,
    LossyWarning,
    MergeError,
    OMemError,
    SchemaError,
    SourceNotFoundError,
)
from omem.folder import FolderInfo, inspect, verify
from omem.logging import configure_logging, get_logger, set_log_level
from omem.memory import OMem
from omem.merger import (
    BalancedMerger,
    BaseLLMMerger,
    BaseMerger,
    CustomRuleMerger,
    FieldMerger,
    KeepExistingMerger,
    KeepIncomingMerger,
    PreferExistingMerger,
    PreferIncomingMerger,
    create_merger,
)
from omem.quarantine import Quarantine, QuarantinedItem
from omem.report import AddReport, BadRecord, ForgetReport, LoadReport
from omem.sources import SourceLedger, SourceRecord
from omem.strategy import Merge, MergeStrategy
from omem.version import __version__

if _omem.DEBUG_BUILD:
    _warnings.warn(
        "this is a debug build of omem, many times slower than a release build; "
        "build it with `pip install .` or `maturin develop --release`",
        RuntimeWarning,
        stacklevel=2,
    )

__all__ = [
    "AddReport",
    "BadRecord",
    "BalancedMerger",
    "BaseLLMMerger",
    "BaseMem",
    "BaseMerger",
    "CustomRuleMerger",
    "EmbedderError",
    "FieldMerger",
    "FolderInfo",
    "ForgetReport",
    "HashingEmbedder",
    "IndexDamagedError",
    "KeepExistingMerger",
    "KeepIncomingMerger",
    "KeyExtractionError",
    "LoadError",
    "LoadReport",
    "LockedError",
    "LookupNotFoundError",
    "LossyError",
    "LossyWarning",
    "Merge",
    "MergeError",
    "MergeStrategy",
    "OMem",
    "OMemError",
    "PreferExistingMerger",
    "PreferIncomingMerger",
    "Quarantine",
    "QuarantinedItem",
    "SchemaError",
    "SourceLedger",
    "SourceNotFoundError",
    "SourceRecord",
    "__version__",
    "configure_logging",
    "create_merger",
    "get_logger",
    "inspect",
    "set_log_level",
    "verify",
]
