"""Mergers: how observations with the same key become one entity."""

from omem.errors import KeyExtractionError
from omem.merger.base import BaseMerger
from omem.merger.classic import FieldMerger, KeepExistingMerger, KeepIncomingMerger
from omem.merger.factory import create_merger
from omem.merger.llm import (
    BalancedMerger,
    BaseLLMMerger,
    CustomRuleMerger,
    PreferExistingMerger,
    PreferIncomingMerger,
)
from omem.strategy import MergeStrategy

__all__ = [
    "BalancedMerger",
    "BaseLLMMerger",
    "BaseMerger",
    "CustomRuleMerger",
    "FieldMerger",
    "KeepExistingMerger",
    "KeepIncomingMerger",
    "KeyExtractionError",
    "MergeStrategy",
    "PreferExistingMerger",
    "PreferIncomingMerger",
    "create_merger",
]
