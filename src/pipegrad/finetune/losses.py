"""The losses for ``loss=``; they are defined in `pipegrad.losses`."""

from typing import Any

from ..losses import LOSSES, GroupPenalty, Loss, Sum, Weighted, get_loss, named, signs, table

__all__ = ["LOSSES", "GroupPenalty", "Loss", "Sum", "Weighted", "get_loss", "named", "signs"]


def __getattr__(name: str) -> Any:
    # The functions of the table, each under its own name.
    return getattr(table, name)
