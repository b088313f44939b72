"""From an objective to one number: terms, class weights, row weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError
from ..losses.composition import Composed, LossLike
from ..losses.group_penalty import Groups
from ..losses.loss_metric import LossMetric
from ..losses.members import member_weights
from ..losses.table import Loss, find_loss, get_loss
from ..modules import Head
from ..registry import Objective
from ..typing import ClassLabels, ClassWeight, IntArray, Label, LossFunction

if TYPE_CHECKING:
    from ..network import PipelineNetwork

_TASKS = {
    "value": ("regression",),
    "class": ("classification", "multilabel", "several"),
    "none": ("clustering",),
}
# The largest negative log-likelihood of one sample where losses are compared: scikit-learn's
# log_loss clips probabilities at the smallest step of a number, too. Diverged scores (boosting has
# some, on rare classes) would otherwise dominate the comparison.
_MOST = -float(np.log(np.finfo(np.float64).eps))


class Criterion:
    """The loss of a batch.

    Parameters
    ----------
    function : callable
        ``function(score, target)``: loss of each row, or one number for all.
    table : Tensor, shape (classes, classes), optional
        Weight of each term of a one-vs-rest loss: row by the class of the target, column by the
        class that the term is about. Where targets are columns, each term has its own.
    name : str
        Name of the loss; by default that of the function.
    metric : LossMetric, optional
        What histories and reports show; by default the loss itself.
    """

    def __init__(
        self,
        function: LossFunction,
        table: Tensor | None = None,
        name: str = "",
        metric: LossMetric | None = None,
    ) -> None:
        self.function = function
        self.table = table
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.metric = metric or LossMetric("loss")
        # What is no mean over rows, and needs their groups.
        self.penalty = getattr(function, "penalty", None)

    def rows(self, score: Tensor, target: Tensor | None) -> Tensor:
        """Loss of each row (n,), or one number where the user's function reduces itself."""
        out = self.function(score, target)
        if self.table is not None and target is not None:
            own = self.table.gather(0, target.long()) if target.ndim > 1 else self.table[target]
            out = out * own
        return out if out.ndim < 2 else out.flatten(1).sum(1)

    def terms(
        self,
        score: Tensor,
        target: Tensor | None,
        weight: Tensor | None,
        groups: Groups | None = None,
    ) -> Tensor:
        """What each row adds to the loss, weighted; of groups, where the rows are a whole part."""
        rows = self.rows(score, target)
        terms = rows.reshape(-1) if weight is None else rows * weight
        return terms if self.penalty is None else terms + self.penalty.rows(score, rows, groups)

    def compared(
        self,
        score: Tensor,
        target: Tensor | None,
        weight: Tensor | None,
        groups: Groups | None = None,
    ) -> Tensor:
        """As `terms`, where no likelihood of a row is taken for less than can be told from zero."""
        terms = self.terms(score, target, weight, groups)
        known = find_loss(self.name)
        if known is None or not known.likelihood or self.penalty is not None:
            return terms
        return terms.clamp(max=_MOST) if weight is None else terms.minimum(_MOST * weight)

    def __call__(
        self,
        score: Tensor,
        target: Tensor | None,
        weight: Tensor | None,
        groups: Groups | None = None,
    ) -> Tensor:
        """Weighted mean; weights have mean one over the whole part, not over the batch."""
        rows = self.rows(score, target)
        loss = (rows if weight is None else rows * weight).mean()
        return loss if self.penalty is None else loss + self.penalty(score, rows, groups)

    def check(self, score: Tensor, target: Tensor | None, weight: Tensor | None) -> None:
        """Refuse what is no loss, before any work is done."""
        out = self.function(score, target)
        if not isinstance(out, Tensor):
            raise ArgumentError(
                f"loss={self.name} gave {type(out).__name__}, not a tensor.\n"
                "Hint: loss= takes a name or a function (score, y) -> tensor."
            )
        if out.is_complex():
            raise ArgumentError(
                f"loss={self.name} must give real numbers, got {out.dtype}.\n"
                "Hint: take the absolute value."
            )
        if out.ndim and out.shape[0] != score.shape[0]:
            raise ArgumentError(
                f"loss={self.name} gave shape {tuple(out.shape)} for {score.shape[0]} rows.\n"
                "Hint: give one value for each row, or one number."
            )
        if out.ndim > 1 and out.shape[1] == len(out) and out.numel() != score.numel():
            raise ArgumentError(
                f"loss={self.name} compares each row with all others: it gave shape "
                f"{tuple(out.shape)} for scores of shape {tuple(score.shape)}.\n"
                "Hint: bring score and y to one shape: y.reshape(score.shape)."
            )
        if out.ndim == 0 and self.penalty is not None:
            raise ArgumentError(
                f"loss={self.name} gives one number, so groups cannot be compared beside it.\n"
                "Hint: give one value for each row (reduction='none')."
            )
        if out.ndim == 0 and weight is not None:
            raise ArgumentError(
                f"loss={self.name} gives one number, so rows cannot be weighted.\n"
                "Hint: give one value for each row (reduction='none')."
            )
        if not out.requires_grad:
            raise ArgumentError(
                f"loss={self.name} does not depend on any trainable parameter.\n"
                "Hint: see pipegrad.inspect for what is trainable, and whether a later step "
                "stops the gradients."
            )


def make_criterion(
    loss: LossLike | None, objective: Objective | None, head: Head | None
) -> tuple[LossFunction, Objective]:
    """The function ``(score, target) -> loss`` and the objective behind it.

    Returns
    -------
    function : callable
        Terms (n,) or (n, k), see `losses.Loss`, averaged over outputs of a regression.
    objective : Objective
        With the class weights of the last operator, also where the user names another loss.
    """
    if loss is None:
        if objective is None:
            raise ArgumentError(
                "The last step has no loss of its own (it is no predictor).\n"
                "Hint: give one: loss=lambda score, y: ... (a tensor)."
            )
        return _terms(objective, head), objective
    weights = None if objective is None else objective.class_weight
    if isinstance(loss, str):
        own = objective is not None and objective.name == loss
        options = dict(objective.options) if own and objective is not None else {}
        return _named(loss, options, head, own), Objective(loss, options, weights)
    if isinstance(loss, Objective):
        own_weights = weights if loss.class_weight is None else loss.class_weight
        function = _named(loss.name, dict(loss.options), head, False)
        return function, replace(loss, class_weight=own_weights)
    if isinstance(loss, Composed):
        return loss.bind(lambda part: make_criterion(part, objective, head), head)
    if isinstance(loss, type):
        raise ArgumentError(f"loss={loss.__name__} is a class.\nHint: give an instance of it.")
    if callable(loss):
        return loss, Objective("", {}, weights)
    raise ArgumentError(f"loss={loss!r} is neither a name nor a callable (score, y) -> tensor.")


def metric_of(function: LossFunction, objective: Objective) -> LossMetric:
    """The metric to show for a loss that `make_criterion` made."""
    if getattr(function, "penalty", None) is not None:
        return LossMetric("loss with group penalty")
    known = find_loss(objective.name)
    if known is not None:
        return known.metric(**objective.options)
    name = getattr(function, "__name__", type(function).__name__)
    return LossMetric(f"loss ({name})" if name.isidentifier() else "loss")


def shrinking_steps(net: PipelineNetwork, objective: Objective | None) -> list[str]:
    """Steps that could lower the loss by making columns smaller, and do nothing else.

    The loss of centers is a distance between columns. Where a step before them trains, it is
    lowest when all columns are the same number.
    """
    if objective is None or objective.name != "inertia":
        return []
    return [s.name for s in net.graph if s.status == "trainable" and s.name != net.graph.output]


def check_shrinking(net: PipelineNetwork, objective: Objective) -> None:
    """Refuse to train such steps."""
    found = shrinking_steps(net, objective)
    if found:
        raise ArgumentError(
            f"The distance to centers is least where {', '.join(found)} make all columns the same, "
            "so nothing would be learned.\n"
            f"Hint: to_torch(pipeline, freeze={found}), or another loss=."
        )


def class_weights(
    objective: Objective,
    target: Tensor,
    part: IntArray,
    classes: ClassLabels | None,
    task: str | None,
) -> tuple[Tensor | None, Tensor | None]:
    """What ``class_weight`` of an objective means for the rows.

    Parameters
    ----------
    objective : Objective
        With ``class_weight`` and the option ``weigh``.
    target : Tensor
        Class indices (n,), or labels (n, k) of zeros and ones.
    part : array of int64
        The rows that "balanced" counts: those that train.
    classes : array
        The labels.
    task : str
        Task of the head.

    Returns
    -------
    rows : Tensor, shape (n,), optional
        A weight for each row.
    table : Tensor, shape (classes, classes), optional
        A weight for each term, see `Criterion`.
    """
    spec = objective.class_weight
    if spec is None:
        return None, None
    if objective.name == "member_losses":
        parts, codes = objective.options["parts"], objective.options["codes"]
        return None, member_weights(spec, target[part], parts, codes)
    if task == "multilabel":
        classes = [np.arange(2)] * target.shape[1]
    if classes is None or task not in ("classification", "multilabel", "several"):
        raise ArgumentError(f"class_weight={spec!r} needs a classifier.")
    if task != "classification":
        return _label_weights(spec, target, part, classes), None
    counts = torch.bincount(target[part], minlength=len(classes)).double().clamp(min=1)
    weigh = objective.options.get("weigh")
    if spec == "balanced":
        weights = len(part) / (len(classes) * counts)
    else:
        weights = torch.tensor([float(spec.get(label, 1.0)) for label in _plain(classes)])
    if weigh is None or len(classes) < 3:
        return weights.to(target.device)[target], None
    if weigh == "each":
        table = (len(part) / (2 * (len(part) - counts))).repeat(len(classes), 1)
        weights = len(part) / (2 * counts)
    else:
        table = torch.ones(len(classes), len(classes), dtype=torch.float64)
    table.diagonal().copy_(weights)
    return None, table.to(target.device)


def _label_weights(
    spec: ClassWeight, target: Tensor, part: IntArray, classes: ClassLabels
) -> Tensor:
    # A row weighs the product over its labels, as in compute_sample_weight.
    weights = torch.ones(target.shape[0], dtype=torch.float64, device=target.device)
    for column in range(target.shape[1]):
        labels = target[:, column].long()
        known = _plain(classes[column])
        if spec == "balanced":
            counts = torch.bincount(labels[part], minlength=len(known)).double().clamp(min=1)
            own = len(part) / (len(known) * counts)
        else:
            here = spec[column] if isinstance(spec, list) else spec
            own = torch.tensor([float(here.get(label, 1.0)) for label in known])
        weights = weights * own.to(target.device)[labels]
    return weights


def _plain(classes: ClassLabels) -> list[Label]:
    return np.asarray(classes).tolist()


def _named(name: str, options: Mapping[str, object], head: Head | None, own: bool) -> LossFunction:
    loss = get_loss(name)
    task = None if head is None else head.task
    if task not in _TASKS[loss.target]:
        raise ArgumentError(
            f"loss={name!r} is for {' or '.join(_TASKS[loss.target])}, and the pipeline ends in "
            f"{task or 'a transformer'}."
        )
    _check_columns(loss, head)
    link = getattr(head, "link", "identity")
    if own or loss.target != "value":
        return _terms(Objective(name, options), head)
    if loss.tweedie_power is not None:
        return _terms(Objective("tweedie", {"power": loss.tweedie_power, "link": link}), head)
    if name == "tweedie":
        return _terms(Objective(name, {"link": link, **options}), head)
    terms = _terms(Objective(name, options), head)
    if link == "identity" or head is None:
        return terms
    # A loss on predictions, and the score is their logarithm.
    return lambda score, target: terms(head.predict(score), target)


def _check_columns(loss: Loss, head: Head | None) -> None:
    """Refuse a loss of classes for other scores: of pairs of classes, of members."""
    if head is not None and head.joined and loss.target != "none" and loss.name != "member_losses":
        raise ArgumentError(
            f"loss={loss.name!r} needs a score for each class, and the pipeline has the scores of "
            "several members.\nHint: loss=None takes the losses of the members; a callable "
            "(score, y) -> tensor may use net.head.predict_proba(score)."
        )
    pairwise = head is not None and head.pairwise
    if loss.pairwise == pairwise:
        return
    wanted, found = ("pair of classes", "class")[:: 1 if loss.pairwise else -1]
    hint = (
        "loss='one_vs_one_hinge' compares pairs; a callable (score, y) -> tensor may use "
        "net.head.predict_proba(score) or net.head.decision_function(score)"
        if pairwise
        else "loss='hinge' compares classes"
    )
    raise ArgumentError(
        f"loss={loss.name!r} needs a score for each {wanted}, and the pipeline has one for each "
        f"{found}.\nHint: {hint}."
    )


def _terms(objective: Objective, head: Head | None) -> LossFunction:
    loss = get_loss(objective.name)
    options = {**loss.options, **objective.options}
    options.pop("weigh", None)
    unknown = set(options) - set(loss.options)
    if unknown:
        raise ArgumentError(f"loss {loss.name!r} has no option {', '.join(sorted(unknown))}.")

    def terms(score: Tensor, target: Tensor | None) -> Tensor:
        out = loss.terms(score, target, **options)
        return out.mean(1) if loss.target == "value" and out.ndim > 1 else out

    terms.__name__ = loss.name
    if loss.target != "value":
        return terms

    def compared(score: Tensor, target: Tensor) -> Tensor:
        if score.shape[0] == target.shape[0] and score.numel() == target.numel():
            target = target.reshape(score.shape)  # (n,) for (n, 1), and the other way round
        if score.shape != target.shape:
            raise ArgumentError(
                f"y has shape {tuple(target.shape[1:])} for each row, the pipeline predicts "
                f"{tuple(score.shape[1:])}."
            )
        return terms(score, target)

    compared.__name__ = loss.name
    return compared
