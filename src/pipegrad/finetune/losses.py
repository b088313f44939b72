"""Losses for the ``loss`` argument; `pipegrad.losses` defines them."""

from typing import Any

from ..losses import LOSSES, GroupPenalty, Loss, Sum, Weighted, get_loss, named, signs, table

__all__ = ["LOSSES", "GroupPenalty", "Loss", "Sum", "Weighted", "get_loss", "named", "signs"]


def __getattr__(name: str) -> Any:
    # The loss functions of the table under their own names.
    return getattr(table, name)
