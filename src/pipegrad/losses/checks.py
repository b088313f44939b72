"""Losses are checked before anything is fitted."""

from __future__ import annotations

from ..errors import ArgumentError
from ..typing import GroupLabels, Targets
from .composition import Composed, LossLike, Weighted


def check_loss(
    loss: LossLike | None, y: Targets, groups: GroupLabels = None, inside: bool = False
) -> None:
    """Refuse a loss that suits neither targets nor groups, before anything is fitted."""
    from .group_penalty import GroupPenalty, group_codes
    from .table import get_loss

    if isinstance(loss, str):
        get_loss(loss)
    penalised = isinstance(loss, GroupPenalty)
    if penalised and inside:
        raise ArgumentError(
            "GroupPenalty stands inside another loss.\nHint: put it around the others: "
            "GroupPenalty(Sum(...))."
        )
    if isinstance(loss, Composed):
        loss.check(y)
        for part in loss.parts:
            check_loss(part, None if isinstance(loss, Weighted) else y, inside=True)
    if inside:
        return
    if penalised and groups is None:
        raise ArgumentError(
            "loss=GroupPenalty compares groups, and groups= is missing.\n"
            "Hint: fit(X, y, groups=...), a label for each row; race and partial_fit have none."
        )
    if groups is not None and not penalised:
        raise ArgumentError(
            "groups= is given, but the loss does not use groups.\n"
            "Hint: loss=pipegrad.finetune.losses.GroupPenalty(...)."
        )
    if groups is not None and len(set(group_codes(groups, None, "").tolist())) < 2:
        raise ArgumentError("groups: all rows are of one group, so there is nothing to compare.")
