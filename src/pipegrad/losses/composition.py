"""Losses composed of other losses: target weights and sums."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError
from ..modules import Head
from ..registry import Objective
from ..typing import LossFunction, Targets


class Composed:
    """A loss composed of other losses; `bind` adapts it to a pipeline."""

    @property
    def parts(self) -> tuple[LossLike | None, ...]:
        """The component losses."""
        raise NotImplementedError

    def bind(self, make: Make, head: Head | None) -> tuple[LossFunction, Objective]:
        """The function ``(score, target) -> (n,)`` for a pipeline, and its objective."""
        raise NotImplementedError

    def check(self, y: Targets) -> None:
        """Reject targets that do not suit the loss, before anything is fitted."""


# Type of the ``loss`` argument; None, where allowed, means the objective of the last operator.
LossLike: TypeAlias = str | Objective | Composed | LossFunction
# Maps a component loss to its function and its objective for the given pipeline.
Make: TypeAlias = Callable[[LossLike | None], tuple[LossFunction, Objective]]


@dataclass(frozen=True)
class Weighted(Composed):
    """Weights the targets of a pipeline that predicts several.

    The per-sample loss is the weighted mean over targets in regression (the sum of weight times
    loss, divided by the number of targets), and the weighted sum in classification. With unit
    weights it equals the unweighted loss.

    Parameters
    ----------
    loss : str, Objective, callable, None or list of these
        The loss of every target, or a list with one loss per target. A callable takes the scores
        and values of one target, (n,) each, and returns (n,). None means the objective of the
        last operator.
    weights : sequence of float, shape (k,)
        Non-negative, not all zero.

    Raises
    ------
    ArgumentError
        If a weight is invalid, or the lengths of losses and weights differ.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> import pipegrad as pg
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> y = np.c_[3 * X, X**2]
    >>> loss = pg.finetune.losses.Weighted("squared_error", [1.0, 5.0])
    >>> tuner = pg.FineTuner(Ridge(alpha=30), loss=loss, random_state=0).fit(X, y)
    >>> tuner.improved_
    True
    """

    loss: LossLike | list[LossLike | None] | tuple[LossLike | None, ...] | None
    weights: Sequence[float]

    def __post_init__(self) -> None:
        weights = tuple(_weight("weights", w) for w in self.weights)
        if not any(weights):
            raise ArgumentError(
                f"weights must contain a positive number, got {list(self.weights)}."
            )
        object.__setattr__(self, "weights", weights)
        if isinstance(self.loss, list | tuple):
            object.__setattr__(self, "loss", tuple(self.loss))
            if len(self.loss) != len(weights):
                raise ArgumentError(
                    f"Weighted got {len(self.loss)} losses and {len(weights)} weights."
                )

    @property
    def parts(self) -> tuple[LossLike | None, ...]:
        return tuple(self.loss) if isinstance(self.loss, list | tuple) else (self.loss,)

    def check(self, y: Targets) -> None:
        shape: tuple[int, ...] = () if y is None or isinstance(y, str) else np.shape(y)
        count = 1 if len(shape) == 1 else shape[1] if len(shape) == 2 else None
        if count not in (None, len(self.weights)):
            raise self._unsuited(f"y has {count}")

    def bind(self, make: Make, head: Head | None) -> tuple[LossFunction, Objective]:
        if head is not None and head.task in ("classification", "clustering"):
            raise ArgumentError(
                "Weighted needs several targets, but the pipeline has one.\n"
                "Hint: class_weight= of its last step weights classes, sample_weight= rows."
            )
        if head is not None and head.joined:
            raise ArgumentError(
                "Weighted needs one score for each class of each target, but the members of the "
                "pipeline have scores of their own.\nHint: loss=None adds up their losses."
            )
        made = [make(_of_one_target(part, head)) for part in self.parts]
        functions = [function for function, _ in made] * (1 if len(made) > 1 else len(self.weights))
        mean = head is not None and head.task == "regression"
        scale = 1 / len(self.weights) if mean else 1.0

        def weighted(score: Tensor, target: Tensor) -> Tensor:
            scores, targets = _columns(score, head), _columns(target, None)
            for found, what in ((scores, "the pipeline predicts"), (targets, "y has")):
                if len(found) != len(self.weights):
                    raise self._unsuited(f"{what} {len(found)}")
            terms = zip(self.weights, functions, scores, targets, strict=True)
            rows = [scale * w * row_losses(f, s, t) for w, f, s, t in terms]
            return torch.stack(rows).sum(0)

        weighted.__name__ = "Weighted"
        return weighted, Objective("", {}, made[0][1].class_weight)

    def _unsuited(self, found: str) -> ArgumentError:
        return ArgumentError(
            f"loss=Weighted has {len(self.weights)} weights, {found} targets.\n"
            "Hint: give one weight for each target."
        )


class Sum(Composed):
    """A weighted sum of losses of the same prediction.

    Parameters
    ----------
    *terms : (loss, factor) or loss
        A loss is a name, an Objective, a callable that returns one value per row, or None for
        the objective of the last operator; the default factor is 1.

    Raises
    ------
    ArgumentError
        If there are no terms, or a factor is invalid.

    Examples
    --------
    >>> from pipegrad.finetune import losses
    >>> losses.Sum("log_loss", ("focal", 0.3))
    Sum(('log_loss', 1.0), ('focal', 0.3))
    """

    def __init__(self, *terms: LossLike | tuple[LossLike | None, float] | None) -> None:
        self.terms = tuple(t if isinstance(t, tuple) else (t, 1.0) for t in terms)
        if any(len(term) != 2 for term in self.terms):
            raise ArgumentError("Sum takes losses, or pairs (loss, factor).")
        if not any(_weight("factor", factor) for _, factor in self.terms):
            raise ArgumentError("Sum needs a loss with a positive factor.")

    @property
    def parts(self) -> tuple[LossLike | None, ...]:
        return tuple(loss for loss, _ in self.terms)

    def __repr__(self) -> str:
        return f"Sum({', '.join(map(repr, self.terms))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(repr(self))

    def bind(self, make: Make, head: Head | None) -> tuple[LossFunction, Objective]:
        made = [make(loss) for loss in self.parts]
        factors = [factor for _, factor in self.terms]

        def added(score: Tensor, target: Tensor | None) -> Tensor:
            terms = zip(factors, made, strict=True)
            return torch.stack([a * row_losses(f, score, target) for a, (f, _) in terms]).sum(0)

        added.__name__ = "Sum"
        return added, Objective("", {}, made[0][1].class_weight)


def row_losses(function: LossFunction, score: Tensor, target: Tensor | None) -> Tensor:
    """Return the per-sample losses (n,); reject functions that reduce over rows."""
    out = function(score, target)
    if not isinstance(out, Tensor) or out.ndim == 0 or out.shape[0] != score.shape[0]:
        name = getattr(function, "__name__", type(function).__name__)
        found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise ArgumentError(
            f"loss={name} gave {found} for {score.shape[0]} rows.\n"
            "Hint: a component of another loss must return one value per row (reduction='none')."
        )
    return out if out.ndim == 1 else out.flatten(1).sum(1)


def _columns(values: Tensor, head: Head | None) -> list[Tensor]:
    """Split scores by target: one column each, or one column per class of the target."""
    if values.ndim == 1:
        return [values]
    counts = getattr(head, "counts", None)
    return list(values.unbind(1) if counts is None else values.split(counts, 1))


def _of_one_target(loss: LossLike | None, head: Head | None) -> LossLike | None:
    if head is None or head.task != "several" or not (loss is None or isinstance(loss, str)):
        return loss
    if not hasattr(head, "counts"):
        return loss  # Each target has a score of its own.
    # The operator's objective holds the class counts of all targets; here there is only one target.
    return Objective("negative_log_likelihood" if loss is None else loss)


def _weight(name: str, value: object) -> float:
    if isinstance(value, numbers.Real) and math.isfinite(float(value)) and float(value) >= 0:
        return float(value)
    raise ArgumentError(f"{name} must be finite and non-negative, got {value!r}.")
