"""Monotone interpolation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._base import Module, clamp_at_zero, clamp_between, parameter
from ._sparse import Block, dense


class MonotoneInterpolation(Module):
    """Linear interpolation between knots of non-decreasing (or non-increasing) values.

    The values stay monotone, and in their range, while they train.

    Parameters
    ----------
    knots : Tensor, shape (knots,)
        Increasing positions of the knots, which do not train.
    values : Tensor, shape (knots,)
        Initial values at the knots.
    increasing : bool
        Whether the values are non-decreasing.
    bounds : (float, float)
        Range of the values.
    clip : bool
        Whether numbers beyond the knots get the value of the nearest knot, instead of NaN.
    """

    knots: Tensor
    initial: Tensor
    before: Tensor

    def __init__(
        self,
        knots: Tensor,
        values: Tensor,
        increasing: bool = True,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        clip: bool = False,
    ) -> None:
        super().__init__()
        self.sign = 1.0 if increasing else -1.0
        self.bounds, self.clip = bounds, clip
        rising = self.sign * values
        self.register_buffer("knots", knots.clone())
        self.register_buffer("initial", rising.clone())
        self.start = parameter(rising[:1])
        self.steps = parameter(rising.diff())
        self.register_buffer("before", self._sums().detach())

    def forward(self, x: Block) -> Tensor:
        """Map (n, 1) or (n,) to (n,)."""
        x, values, last = dense(x).reshape(-1), self.values(), self.knots.shape[0] - 1
        if last == 0:
            return values.expand(x.shape[0])
        inside = torch.minimum(torch.maximum(x, self.knots[0]), self.knots[last])
        right = torch.searchsorted(self.knots, inside.detach().contiguous()).clamp(1, last)
        left = right - 1
        slope = (values[right] - values[left]) / (self.knots[right] - self.knots[left])
        out = slope * (inside - self.knots[left]) + values[left]
        # At a knot its own value, without rounding.
        out = torch.where(inside == self.knots[right], values[right] + (out - out.detach()), out)
        if self.clip:
            return out
        return out.masked_fill((x < self.knots[0]) | (x > self.knots[last]), torch.nan)

    def values(self) -> Tensor:
        """The current values at the knots, shape (knots,)."""
        # Relative to the initial values, so that numbers that do not change are bit-identical.
        rising = self.initial + (self._sums() - self.before)
        values = self.sign * torch.cummax(rising, 0)[0]
        return clamp_between(values, *self.bounds)

    def _sums(self) -> Tensor:
        return torch.cat([self.start, clamp_at_zero(self.steps)]).cumsum(0)

    def reset_parameters(self) -> None:
        """Draw a start and rising steps."""
        nn.init.normal_(self.start)
        nn.init.uniform_(self.steps, 0.0, 2.0 / max(1, self.steps.shape[0]))
