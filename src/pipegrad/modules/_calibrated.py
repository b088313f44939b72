"""Calibrated probabilities of classifiers, averaged over several of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, Positive, parameter
from ._isotonic import MonotoneInterpolation

_TINY = 1e-12  # Added to probabilities before their logarithm.
_EXCESS = 1e-5  # Rounding by which a probability may exceed one.


class SigmoidColumns(Module):
    """Platt scaling of each column, ``1 / (1 + exp(slope * score + offset))``.

    See Platt, *Probabilistic outputs for support vector machines*, 1999.

    Parameters
    ----------
    slope, offset : Tensor, shape (k,)
        Coefficients of each column; with a negative slope, the probability increases with the
        score.
    """

    def __init__(self, slope: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.slope = parameter(slope)
        self.offset = parameter(offset)

    def forward(self, score: Tensor) -> Tensor:
        """Map (n, k) to (n, k)."""
        return torch.sigmoid(-(self.slope * score + self.offset))

    def reset_parameters(self) -> None:
        """Set the logistic function."""
        nn.init.constant_(self.slope, -1.0)
        nn.init.zeros_(self.offset)


class MonotoneColumns(Module):
    """A monotone function for each column.

    Parameters
    ----------
    parts : list of MonotoneInterpolation
        The function of each column.
    single : bool
        Whether scores are rounded to single precision first.
    """

    def __init__(self, parts: list[MonotoneInterpolation], single: bool = False) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.single = single

    def forward(self, score: Tensor) -> Tensor:
        """Map (n, k) to (n, k)."""
        if self.single:
            score = score.float().to(score.dtype)
        return torch.stack([part(score[:, i]) for i, part in enumerate(self.parts)], 1)


class NormalizedColumns(Module):
    """Class probabilities from a calibrated probability of each class.

    Parameters
    ----------
    calibration : torch.nn.Module
        Module from scores (n, k) to probabilities (n, k), one column for two classes.
    places : Tensor of int64, shape (k,)
        Class of each column.
    classes : int
        Number of classes.
    """

    places: Tensor

    def __init__(self, calibration: nn.Module, places: Tensor, classes: int) -> None:
        super().__init__()
        self.calibration = calibration
        self.classes = classes
        self.register_buffer("places", places)

    def forward(self, score: Tensor) -> Tensor:
        """Map (n,) or (n, k or more) to (n, classes); rows of zeros become uniform."""
        columns = score[:, None] if score.ndim == 1 else score[:, : self.places.shape[0]]
        found = self.calibration(columns)
        if self.classes == 2:
            return torch.cat([1 - found, found], 1)
        shares = found.new_zeros(found.shape[0], self.classes).index_copy(1, self.places, found)
        total = shares.sum(1, keepdim=True)
        zero = total == 0
        shares = torch.where(zero, 1 / self.classes, shares / torch.where(zero, 1.0, total))
        return torch.where((shares > 1) & (shares <= 1 + _EXCESS), 1.0, shares)


class TemperatureScaling(Module):
    """The softmax of scores or of log-probabilities, times an inverse temperature.

    See Guo, Pleiss, Sun and Weinberger, *On calibration of modern neural networks*, 2017.

    Parameters
    ----------
    beta : Tensor, shape ()
        Inverse temperature, which is positive.
    probabilities : bool
        Whether a single score is the probability of the second class.
    """

    def __init__(self, beta: Tensor, probabilities: bool = False) -> None:
        super().__init__()
        self.beta = Positive(beta)
        self.probabilities = probabilities

    def forward(self, score: Tensor) -> Tensor:
        """Map (n,), (n, 1) or (n, classes) to (n, classes)."""
        if score.ndim == 2 and score.shape[1] > 1:
            return torch.softmax(self.beta() * self._logits(score, True), 1)
        second = score.reshape(-1, 1)
        first = 1 - second if self.probabilities else -second
        both = self._logits(torch.cat([first, second], 1), self.probabilities)
        return torch.softmax(self.beta() * both, 1)

    def _logits(self, score: Tensor, perhaps: bool) -> Tensor:
        """Logarithms where all rows look like probabilities, and the scores themselves if not."""
        if not perhaps:
            return score
        total = score.sum(1)
        inside = ((score >= 0) & (score <= 1)).all()
        shares = inside & torch.isclose(total, torch.ones_like(total)).all()
        return torch.where(shares, torch.log(score.clamp(min=0) + _TINY), score)


class CalibratedMean(Module):
    """The mean of the calibrated probabilities of several classifiers.

    Parameters
    ----------
    parts : list of torch.nn.Module
        Module of each classifier, from its scores (n,) or (n, k) to probabilities (n, classes).
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, *scores: Tensor) -> Tensor:
        """Map the scores of each classifier to (n, classes)."""
        total = self.parts[0](scores[0])
        for part, score in zip(self.parts[1:], scores[1:], strict=True):
            total = total + part(score)
        return total / len(self.parts)
