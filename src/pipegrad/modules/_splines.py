"""Bases of B-splines."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ._base import Module, Positive, parameter
from ._sparse import Block, SparseRows, dense

Extrapolation = Literal["error", "constant", "linear", "continue", "periodic"]


class SplineBasis(Module):
    """B-splines of each column, side by side.

    The knots stay in their order while they train: a shift of all knots of a column, in units of
    their range, and relative changes of the gaps between them. Knots beyond the range of the spline
    follow, at the distances of the outermost gaps, or periodically.

    Parameters
    ----------
    knots : Tensor, shape (features, knots + 2 * degree)
        Initial non-decreasing knots of each column; ``degree`` of them on each side are beyond the
        range of the spline.
    degree : int
        Degree of the polynomials.
    extrapolation : str
        What follows beyond the range: the value at its end ("constant"), the slope there
        ("linear"), the same polynomial ("continue"), the spline again ("periodic"), or NaN
        beyond the initial range ("error").
    bias : bool
        Whether the last spline of each column is kept; all of them add to one.
    zeros : bool
        Whether the splines of a missing entry are zero, instead of NaN.
    sparse : bool
        Whether to return `SparseRows`.
    """

    initial: Tensor
    before: Tensor

    def __init__(
        self,
        knots: Tensor,
        degree: int,
        extrapolation: Extrapolation = "constant",
        bias: bool = True,
        zeros: bool = False,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.degree, self.extrapolation = degree, extrapolation
        self.bias, self.zeros, self.sparse = bias, zeros, sparse
        self.register_buffer("initial", knots.clone())
        self.shift = parameter(torch.zeros_like(knots[:, :1]))
        self.gaps = Positive(self._inner(knots).diff(dim=1))
        self.register_buffer("before", self._placed().detach())

    def forward(self, x: Block) -> Block:
        """Map (n, features) to (n, features * splines)."""
        x, knots = dense(x), self.knots()
        missing = torch.isnan(x)
        low, high = knots[:, self.degree], knots[:, -self.degree - 1]
        outside = (x < self.initial[:, self.degree]) | (x > self.initial[:, -self.degree - 1])
        x = torch.where(missing, low, x)
        near = self._within(x, low, high)
        place = self._interval(near, knots)
        values = self._values(near, knots, place)
        splines = knots.shape[1] - self.degree - 1
        if self.extrapolation == "linear" and self.degree:
            values = values + (x - near)[..., None] * self._slopes(near, knots, place)
        if self.extrapolation in ("constant", "linear"):
            values = values.masked_fill(~self._continued(x, low, high, place, splines), 0.0)
        if self.extrapolation == "error":
            values = values.masked_fill(outside[..., None], torch.nan)
        values = values.masked_fill(missing[..., None], 0.0 if self.zeros else torch.nan)
        columns = self._columns(values, place, splines)
        return SparseRows.from_dense(columns) if self.sparse else columns

    def _within(self, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Where in the range the splines of each entry are taken from."""
        if self.extrapolation in ("constant", "linear"):
            return torch.minimum(torch.maximum(x, low), high)
        if self.extrapolation == "periodic":
            period = high - low
            # The knots of a constant column coincide.
            turned = torch.remainder(x - low, torch.where(period > 0, period, 1.0))
            return torch.where(period > 0, low + turned, low)
        return x

    def knots(self) -> Tensor:
        """The current knots, with the shape of the initial ones."""
        if not self.degree:
            # Steps have no gradient. At the ends, they would notice the rounding of float32.
            return self.initial
        # Relative to the initial knots, so that those that do not change are bit-identical.
        return self.initial + (self._placed() - self.before)

    def _inner(self, knots: Tensor) -> Tensor:
        return knots[:, self.degree : knots.shape[1] - self.degree]

    def _placed(self) -> Tensor:
        gaps, degree = self.gaps(), self.degree
        first = self.initial[:, degree, None] + self.shift * self.gaps.initial.sum(1, keepdim=True)
        inner = torch.cat([first, first + gaps.cumsum(1)], 1)
        if self.extrapolation == "periodic":
            period = inner[:, -1:] - inner[:, :1]
            left = inner[:, inner.shape[1] - degree - 1 : -1] - period
            return torch.cat([left, inner, inner[:, 1 : degree + 1] + period], 1)
        steps = torch.arange(1, degree + 1, dtype=gaps.dtype, device=gaps.device)
        left = inner[:, :1] - steps.flip(0) * gaps[:, :1]
        return torch.cat([left, inner, inner[:, -1:] + steps * gaps[:, -1:]], 1)

    def _interval(self, x: Tensor, knots: Tensor) -> Tensor:
        """The index (n, features) of the last knot that is not above each entry."""
        inner = self._inner(knots).detach().contiguous()
        found = torch.searchsorted(inner, x.detach().T.contiguous(), right=True).T
        return (found - 1).clamp(0, inner.shape[1] - 2) + self.degree

    def _values(self, x: Tensor, knots: Tensor, place: Tensor, degree: int | None = None) -> Tensor:
        """The splines (n, features, degree + 1) that are not zero, by de Boor's recursion."""
        values = [torch.ones_like(x)]
        for order in range(1, (self.degree if degree is None else degree) + 1):
            lower, values = values, [torch.zeros_like(x)]
            for i in range(1, order + 1):
                right, left = _at(knots, place + i), _at(knots, place + i - order)
                share = _divide(lower[i - 1], right - left)
                values[i - 1] = values[i - 1] + share * (right - x)
                values.append(share * (x - left))
        return torch.stack(values, 2)

    def _slopes(self, x: Tensor, knots: Tensor, place: Tensor) -> Tensor:
        """The derivatives (n, features, degree + 1) of the splines that are not zero."""
        lower = self._values(x, knots, place, self.degree - 1).unbind(2)
        slopes = [torch.zeros_like(x)]
        for i in range(1, self.degree + 1):
            width = _at(knots, place + i) - _at(knots, place + i - self.degree)
            share = self.degree * _divide(lower[i - 1], width)
            slopes[i - 1] = slopes[i - 1] - share
            slopes.append(share)
        return torch.stack(slopes, 2)

    def _continued(
        self, x: Tensor, low: Tensor, high: Tensor, place: Tensor, splines: int
    ) -> Tensor:
        """Which splines (n, features, degree + 1) are not zero by definition beyond the range.

        Beyond an end, only the outermost splines continue, as many as are not zero there when its
        knots are distinct. With knots that coincide, others are not zero at the end itself.
        """
        outermost = self.degree + (self.extrapolation == "linear" and self.degree <= 1)
        columns = self._places_of_splines(place)
        below, above = (x < low)[..., None], (x > high)[..., None]
        return ~(below & (columns >= outermost)) & ~(above & (columns < splines - outermost))

    def _places_of_splines(self, place: Tensor) -> Tensor:
        offsets = torch.arange(self.degree + 1, device=place.device)
        return (place - self.degree)[..., None] + offsets

    def _columns(self, values: Tensor, place: Tensor, splines: int) -> Tensor:
        columns = self._places_of_splines(place)
        out = values.new_zeros(*place.shape, splines).scatter(2, columns, values)
        if self.extrapolation == "periodic" and self.degree:
            head, tail = out[..., : -self.degree], out[..., -self.degree :]
            first = head[..., : self.degree] + tail
            out = torch.cat([first, head[..., self.degree :]], 2)
        return (out if self.bias else out[..., :-1]).flatten(1)

    def reset_parameters(self) -> None:
        """Spread the knots evenly over the initial range of each column."""
        with torch.no_grad():
            self.shift.zero_()
            even = self.gaps.initial.mean(1, keepdim=True).expand_as(self.gaps.initial)
            used = self.gaps.initial > 0
            ratio = torch.where(used, even / torch.where(used, self.gaps.initial, 1.0), 1.0)
            nn.init.zeros_(self.gaps.log_ratio)
            self.gaps.log_ratio.add_(torch.log(ratio))


def _at(knots: Tensor, place: Tensor) -> Tensor:
    """The knots (n, features) with these indices."""
    return knots.gather(1, place.T).T


def _divide(value: Tensor, width: Tensor) -> Tensor:
    empty = width == 0
    return torch.where(empty, 0.0, value / torch.where(empty, 1.0, width))
