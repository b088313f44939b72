"""Calibration: maps from raw scores to probabilities, and combinations of binary classifiers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, parameter

_ROUNDING = 1e-13


class LogOdds(Module):
    """The log-odds of Platt scaling, ``-(slope * score + offset)``.

    See Platt, *Probabilistic outputs for support vector machines*, 1999.

    Parameters
    ----------
    slope, offset : Tensor, shape ()
        Coefficients; with a negative slope, the odds increase with the score.
    """

    def __init__(self, slope: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.slope = parameter(slope)
        self.offset = parameter(offset)

    def forward(self, score: Tensor) -> Tensor:
        """Same shape out as in."""
        return -(self.slope * score + self.offset)

    def reset_parameters(self) -> None:
        """Set the identity."""
        nn.init.constant_(self.slope, -1.0)
        nn.init.zeros_(self.offset)


class PiecewiseLinear(Module):
    """Linear interpolation between knots, constant beyond them, clipped to a range.

    Parameters
    ----------
    knots : Tensor, shape (knots,)
        Positions of the knots, non-decreasing.
    values : Tensor, shape (knots,)
        Values of the function at the knots.
    bounds : (float, float)
        Range to which the output is clipped.
    at : Tensor, shape (knots,), optional
        The values for numbers that are knots up to rounding; where several knots coincide, the
        function jumps. The first value of those by default, and without rounding.
    """

    knots: Tensor
    values: Tensor
    at: Tensor | None

    def __init__(
        self,
        knots: Tensor,
        values: Tensor,
        bounds: tuple[float, float] = (0.0, 1.0),
        at: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("knots", knots.clone())
        self.register_buffer("values", values.clone())
        if at is None:
            self.at = None
        else:
            self.register_buffer("at", at.clone())
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        last = self.knots.shape[0] - 1
        inside = torch.minimum(torch.maximum(x, self.knots[0]), self.knots[last])
        right = torch.searchsorted(self.knots, inside.contiguous()).clamp(1, max(1, last))
        right = right.clamp(max=last)
        left = (right - 1).clamp(min=0)
        width = self.knots[right] - self.knots[left]
        flat = width == 0
        share = (inside - self.knots[left]) / torch.where(flat, 1.0, width)
        share = torch.where(flat, 1.0, share)
        out = self.values[left] + share * (self.values[right] - self.values[left])
        if self.at is not None:
            for side in (left, right):
                knot = self.knots[side]
                out = torch.where((inside - knot).abs() <= _ROUNDING * knot, self.at[side], out)
        return torch.clamp(out, *self.bounds)


class StepFunction(Module):
    """A step function with bins of equal width; the outer bins extend to infinity.

    Parameters
    ----------
    values : Tensor, shape (bins,)
        Value of each bin.
    start, width : float
        Left edge of the first bin, and width of each bin.
    """

    values: Tensor

    def __init__(self, values: Tensor, start: float, width: float) -> None:
        super().__init__()
        self.register_buffer("values", values.clone())
        self.start, self.width = start, width

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; gradients do not pass."""
        place = torch.trunc((x.detach() - self.start) / self.width)
        missing = torch.isnan(place)
        # Values outside the range of int32 fall into the first bin.
        place = torch.where(missing | (place.abs() >= 2.0**31), 0.0, place)
        place = place.clamp(0, self.values.shape[0] - 1)
        return self.values[place.long()].masked_fill(missing, torch.nan)


class OneVersusRest(Module):
    """One-versus-rest classification: a separate module for each class.

    Parameters
    ----------
    *parts : torch.nn.Module
        Modules of the classes, each from (n, features) to (n,).
    normalize : bool
        Whether the outputs of a row are divided by their sum.
    """

    def __init__(self, *parts: nn.Module, normalize: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.normalize = normalize

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, features) to (n, classes)."""
        out = torch.stack([part(x) for part in self.parts], 1)
        if not self.normalize:
            return out
        total = out.sum(1, keepdim=True)
        return out / torch.where(total > 0, total, 1.0)


class PairwiseCoupling(Module):
    """Class probabilities from the probabilities of single classes and of pairs of classes.

    See Price, Knerr, Personnaz and Dreyfus, *Pairwise neural network classifiers with probabilistic
    outputs*, NIPS 1994.

    Parameters
    ----------
    *parts : torch.nn.Module
        Modules in the order of the lower triangle, row by row, each from (n, features) to a
        probability (n,). The diagonal is for single classes.
    classes : int
        Number of classes.
    """

    def __init__(self, *parts: nn.Module, classes: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, features) to (n, classes)."""
        answers = [part(x) for part in self.parts]
        place = {}
        for i in range(self.classes):
            for j in range(i + 1):
                place[i, j] = place[j, i] = answers[i * (i + 1) // 2 + j]
        own = [place[i, i] for i in range(self.classes)]
        columns = []
        for i in range(self.classes):
            columns.append(self._one(i, own, place))
        out = torch.stack(columns, 1)
        total = out.sum(1, keepdim=True)
        return out / torch.where(total > 0, total, 1.0)

    def _one(self, i: int, own: list[Tensor], place: dict[tuple[int, int], Tensor]) -> Tensor:
        # The pair is at least as likely as either of its classes.
        total = torch.zeros_like(own[i])
        for j in range(self.classes):
            if j != i:
                pair = torch.maximum(place[i, j], torch.maximum(own[i], own[j]))
                total = total + torch.where(torch.isnan(pair), 0.0, pair)
        never = ~(own[i] > 0)  # NaN as well
        inverse = total / torch.where(never, 1.0, own[i]) - (self.classes - 2)
        return torch.where(never, 0.0, 1 / inverse.clamp(min=1))
