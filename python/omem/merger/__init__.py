"""Mergers: how observations with the same key become one entity."""

from omem.errors import KeyExtractionError
from omem.merger.base import BaseMerger
from omem.merger.classic import FieldMerger, KeepExistingMerger, KeepIncomingMerger
from omem.merger.factory import create_merger
from omem.strategy import MergeStrategy

__all__ = [
    "BaseMerger",
    "FieldMerger",
    "KeepExistingMerger",
    "KeepIncomingMerger",
    "KeyExtractionError",
    "MergeStrategy",
    "create_merger",
]
