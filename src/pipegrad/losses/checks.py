"""Checks of the loss before anything is fitted."""

from __future__ import annotations

import inspect

from torch import Tensor, nn

from ..errors import ArgumentError
from ..registry import Objective
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
    _check_function(loss)
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


def _check_function(loss: object) -> None:
    """Reject what is neither a loss of the package nor a function of score and y."""
    if loss is None or isinstance(loss, str | Objective | Composed):
        return
    if isinstance(loss, type):
        raise ArgumentError(f"loss={loss.__name__} is a class.\nHint: give an instance of it.")
    if not callable(loss):
        raise ArgumentError(
            f"loss={loss!r:.60} is neither a name nor a callable (score, y) -> tensor."
        )
    try:
        # The call of a torch module itself takes anything.
        signature = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
    except (TypeError, ValueError):
        return  # Functions written in C do not tell.
    try:
        signature.bind(None, None)
    except TypeError:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise ArgumentError(
            f"loss={name} must take the two arguments (score, y), but its arguments are "
            f"{signature}.\nHint: loss=lambda score, y: ... (a tensor)."
        ) from None


def check_targets(
    loss: LossLike | None, own: Objective | None, target: Tensor | None, name: str = ""
) -> None:
    """Reject targets outside of the range of a loss, before anything is trained.

    Parameters
    ----------
    loss : str, Objective, Composed, callable or None
        The loss; None means ``own``, the objective of the last operator.
    own : Objective, optional
        The objective of the last operator.
    target : Tensor, shape (n,) or (n, k), optional
        Targets on the scale of the last operator; class indices are in range.
    name : str
        What precedes ``y`` in the message.
    """
    from .table import find_loss

    if target is None or not target.is_floating_point():
        return
    if isinstance(loss, Composed):
        columns = [target] * len(loss.parts)
        if isinstance(loss, Weighted) and len(loss.parts) > 1:
            columns = list(target.reshape(len(target), -1).unbind(1))
        for part, column in zip(loss.parts, columns, strict=False):
            check_targets(part, own, column, name)
        return
    objective = Objective(loss) if isinstance(loss, str) else own if loss is None else loss
    if not isinstance(objective, Objective):
        return
    known = find_loss(objective.name)
    where = None if known is None else known.range_with(**objective.options)
    if known is None or where is None or objective.any_target:
        return
    outside = where.outside(target)
    if objective.zeros:
        outside &= target != 0
    if bool(outside.any()):
        raise ArgumentError(
            f"{name}y must be {where.words} with the loss {known.name!r}, got "
            f"{float(target[outside][0]):g}."
        )
