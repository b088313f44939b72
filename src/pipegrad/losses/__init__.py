"""Losses by name, and losses that are composed of others."""

from .composition import Sum, Weighted
from .group_penalty import GroupPenalty
from .table import LOSSES, Loss, get_loss, named, signs

__all__ = ["LOSSES", "GroupPenalty", "Loss", "Sum", "Weighted", "get_loss", "named", "signs"]
