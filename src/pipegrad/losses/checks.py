"""Checks of the loss before anything is fitted."""

from __future__ import annotations

from ..errors import ArgumentError
from ..typing import GroupLabels, Targets
from .composition import Composed, LossLike, Weighted


def check_loss(
    loss: LossLike | None, y: Targets, groups: GroupLabels = None, inside: bool = False
) -> None:
    """Reject a loss that does not suit the targets or the groups, before anything is fitted."""
    from .group_penalty import GroupPenalty, group_codes
    from .table import get_loss

    if isinstance(loss, str):
        get_loss(loss)
    penalised = isinstance(loss, GroupPenalty)
    if penalised and inside:
        raise ArgumentError(
            "GroupPenalty must be the outermost loss.\nHint: put it around the others: "
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
            "loss=GroupPenalty compares groups, but groups= is missing.\n"
            "Hint: fit(X, y, groups=...) takes a label for each row; race and partial_fit do not."
        )
    if groups is not None and not penalised:
        raise ArgumentError(
            "groups= was given, but the loss does not use groups.\n"
            "Hint: loss=pipegrad.finetune.losses.GroupPenalty(...), or validation_split='grouped'."
        )
    if groups is not None and len(set(group_codes(groups, None, "").tolist())) < 2:
        raise ArgumentError(
            "groups must contain at least two groups, but all rows are in one group."
        )
