"""Losses by name, and losses that are composed of others."""

from .composition import Sum, Weighted
from .group_penalty import GroupPenalty
from .members import Part
from .table import LOSSES, Loss, get_loss, named, signs

__all__ = [
    "LOSSES",
    "GroupPenalty",
    "Loss",
    "Part",
    "Sum",
    "Weighted",
    "get_loss",
    "named",
    "signs",
]
