"""The metric of scikit-learn that a loss amounts to: its name, its factor and its offset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossMetric:
    """What people know a loss as: ``factor * (loss + offset(target))``.

    Training minimizes losses without what depends on the target alone, and half of a square;
    histories and reports show the metric.

    Attributes
    ----------
    name : str
        Name of the metric, such as "mean squared error".
    factor : float
        Factor from the loss to the metric.
    offset : callable, optional
        Part of the metric that depends on the target alone, per element, before the factor.
    """

    name: str
    factor: float = 1.0
    offset: Callable[[Tensor], Tensor] | None = None

    def value(self, loss: float, shift: float = 0.0) -> float:
        """The metric for a mean loss, given the mean offset of the same rows."""
        return self.factor * (loss + shift)

    def offsets(self, target: Tensor | None, weight: Tensor | None) -> Tensor | None:
        """The weighted offset of each row (n,); None if there is none."""
        if self.offset is None or target is None:
            return None
        rows = self.offset(target).reshape(len(target), -1).mean(1)
        return rows if weight is None else rows * weight


def tweedie_deviance(power: float = 1.5, **_: object) -> LossMetric:
    """The mean deviance of the Tweedie family with that variance power."""
    if power == 0:
        return LossMetric("mean squared error", 2.0)
    if power == 1:
        return LossMetric("mean Poisson deviance", 2.0, _poisson_offset)
    if power == 2:
        return LossMetric("mean gamma deviance", 2.0, _gamma_offset)
    return LossMetric("mean Tweedie deviance", 2.0)


def _poisson_offset(target: Tensor) -> Tensor:
    # The deviance is undefined for a negative target: its loss stays as it is.
    above = target.clamp(min=0)
    return torch.xlogy(above, above) - above


def _gamma_offset(target: Tensor) -> Tensor:
    # The deviance of a target of zero is infinite for every prediction: its loss stays as it is.
    return torch.where(target > 0, -torch.log(target) - 1, torch.zeros_like(target))
