"""The losses of the members of a composite, each with its own target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..typing import ClassWeight
from .loss_metric import LossMetric
from .table import LOSSES, Loss, find_loss, get_loss

Codes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Part:
    """A member of a composite, as its loss sees it.

    Parameters
    ----------
    name : str, optional
        The loss of the member; a member without one does not count.
    options : mapping
        Numbers of that loss.
    width : int
        Number of columns of the member's score; 0 means (n,).
    labels : tuple
        The labels of the member's classes, as class weights name them.
    """

    name: str | None = "log_loss"
    options: Mapping[str, Any] = field(default_factory=dict)
    width: int = 0
    labels: tuple[Any, ...] = (0, 1)

    def terms(self, score: Tensor, target: Tensor) -> Tensor:
        """The loss of each row (n,)."""
        if self.name is None:
            return score.new_zeros(len(score))
        loss = get_loss(self.name)
        options = {name: value for name, value in self.options.items() if name != "weigh"}
        values = target.to(score.dtype) if loss.target == "value" else target.long()
        return loss(score if self.width else score[:, 0], values, **options)


def _shown(parts: tuple[Part, ...] = (), **_: object) -> LossMetric:
    """The metric of the members, where it is the same for all."""
    names = {part.name for part in parts or (Part(),)} - {None}
    loss = find_loss(names.pop()) if len(names) == 1 else None
    metric = LossMetric("losses") if loss is None else loss.metric(**_first_options(parts))
    return LossMetric(f"sum of {metric.name} over members", metric.factor)


def _first_options(parts: tuple[Part, ...]) -> dict[str, Any]:
    known = [dict(part.options) for part in parts if part.name is not None]
    return {name: value for name, value in (known or [{}])[0].items() if name != "weigh"}


def member_losses(
    score: Tensor, target: Tensor, parts: tuple[Part, ...] = (), codes: Codes | None = None
) -> Tensor:
    """The loss of each member, (n, members).

    The target of a member is a column of ``target`` (n, members); or, for classes (n,), the entry
    of ``codes`` for the class and the member, where -1 leaves the row out. By default, each column
    of the score is a member that tells one class from all others, with the log loss.
    """
    parts = parts or (Part(),) * score.shape[1]
    if target.ndim == 1:
        target = _table(len(parts), codes, target)[target]
    columns = score.reshape(len(score), -1).split([max(part.width, 1) for part in parts], 1)
    counted = None if codes is None else (target >= 0).to(score.dtype)
    targets = (target if codes is None else target.clamp(min=0)).unbind(1)
    members = zip(parts, columns, targets, strict=True)
    out = torch.stack([part.terms(own, wanted) for part, own, wanted in members], 1)
    return out if counted is None else out * counted


def _table(members: int, codes: Codes | None, like: Tensor) -> Tensor:
    """The target of each member (column) for each class; a single member has the second class."""
    if codes is not None:
        return torch.tensor(codes, device=like.device)
    if members == 1:
        return torch.arange(2, device=like.device)[:, None]
    return torch.eye(members, dtype=torch.long, device=like.device)


LOSSES["member_losses"] = Loss(
    "member_losses", member_losses, "class", {"parts": (), "codes": None}, shown=_shown
)


def member_weights(
    spec: ClassWeight, target: Tensor, parts: tuple[Part, ...], codes: Codes | None
) -> Tensor:
    """What ``class_weight`` of the members means: a weight by class of the target, and by member.

    Parameters
    ----------
    spec : mapping or "balanced"
        Weights of the members' own labels.
    target : Tensor, shape (n,) or (n, members)
        Targets that "balanced" counts.
    parts, codes
        See `member_losses`.

    Returns
    -------
    Tensor, shape (classes, members)
        Its rows are classes of the composite, or those of each member where targets are columns.
    """
    if target.ndim == 1:
        table = _table(len(parts), codes, target)
        columns = table[target].unbind(1)
    else:
        most = max(len(part.labels) for part in parts)
        table = torch.arange(most, device=target.device)[:, None].expand(-1, len(parts))
        columns = target.long().unbind(1)
    weights = [_own_weights(spec, part, own) for part, own in zip(parts, columns, strict=True)]
    out = torch.ones(table.shape, dtype=torch.float64, device=target.device)
    for place, own in enumerate(weights):
        known = (table[:, place] >= 0) & (table[:, place] < len(own))
        out[known, place] = own[table[known, place]]
    return out


def _own_weights(spec: ClassWeight, part: Part, target: Tensor) -> Tensor:
    """The weight of each class of a member."""
    if spec == "balanced":
        counts = torch.bincount(target[target >= 0], minlength=len(part.labels)).double()
        return counts.sum() / (len(part.labels) * counts.clamp(min=1))
    assert isinstance(spec, Mapping)
    values = [float(spec.get(label, 1.0)) for label in part.labels]
    return torch.tensor(values, dtype=torch.float64, device=target.device)
