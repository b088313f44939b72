"""Bases of smooth functions: cubic regression splines, monotone splines and thin plates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ._base import Module


class CubicRegressionBasis(Module):
    """The values at knots that a natural cubic spline through them would have, as a linear map.

    See Wood, *Generalized Additive Models*, 2017, section 5.3.1.

    Parameters
    ----------
    knots : Tensor, shape (knots,)
        Increasing knots.
    curvature : Tensor, shape (knots - 2, knots)
        The second derivatives at the inner knots for the values at all of them.
    """

    knots: Tensor
    curvature: Tensor

    def __init__(self, knots: Tensor, curvature: Tensor) -> None:
        super().__init__()
        self.register_buffer("knots", knots.clone())
        # There is no curvature at the ends.
        self.register_buffer("curvature", torch.nn.functional.pad(curvature, (0, 0, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1) to (n, knots); the polynomials at the ends continue beyond them."""
        x = x[:, 0]
        inner = self.knots[1:-1].contiguous()
        place = torch.searchsorted(inner, x.detach().contiguous(), right=True)
        left, right = self.knots[place], self.knots[place + 1]
        width, before, after = right - left, x - left, right - x
        bent = _bend(after, width) * self.curvature[place]
        bent = bent + _bend(before, width) * self.curvature[place + 1]
        ends = torch.stack([place, place + 1], 1)
        return bent.scatter_add(1, ends, torch.stack([after / width, before / width], 1))


def _bend(distance: Tensor, width: Tensor) -> Tensor:
    return ((distance**3 / width - distance * width) / 6)[:, None]


class MonotoneSplineBasis(Module):
    """M-splines, which are densities on their knots, or I-splines, which are integrals of these.

    See Ramsay, *Monotone regression splines in action*, 1988.

    Parameters
    ----------
    knots : Tensor, shape (knots,)
        Increasing knots.
    order : int
        The order of the M-splines: the degree of their polynomials plus one.
    integrals : bool
        Whether the basis has I-splines.
    """

    knots: Tensor

    def __init__(self, knots: Tensor, order: int, integrals: bool) -> None:
        super().__init__()
        self.register_buffer("knots", knots.clone())
        self.order, self.integrals = order, integrals

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1) to (n, knots + order - 2)."""
        if self.integrals:
            return self._integrals(x)
        knots = self._repeated(self.order)
        values = self._b_splines(x, knots, self.order)
        return values * self.order / (knots[self.order :] - knots[: -self.order])

    def _integrals(self, x: Tensor) -> Tensor:
        order = self.order + 1
        knots = self._repeated(order)
        values = self._b_splines(x, knots, order)
        # Beyond the last knot, all B-splines vanish and all integrals are complete.
        passed = x >= self.knots[-1]
        sums = values.flip(1).cumsum(1).flip(1)[:, 1:]
        return torch.where(passed, 1.0, sums)

    def _repeated(self, order: int) -> Tensor:
        """The knots, with as many at each end as B-splines of an order need."""
        ends = order - 1
        return torch.cat([self.knots[:1].expand(ends), self.knots, self.knots[-1:].expand(ends)])

    def _b_splines(self, x: Tensor, knots: Tensor, order: int) -> Tensor:
        """B-splines by de Boor's recursion; zero beyond the knots, and at the last of them."""
        values = ((x >= knots[:-1]) & (x < knots[1:])).to(x.dtype)
        x = torch.minimum(torch.maximum(x, knots[0]), knots[-1])
        for width in range(1, order):
            gaps = knots[width:] - knots[:-width]
            share = torch.where(gaps > 0, 1 / torch.where(gaps > 0, gaps, 1.0), 0.0)
            left = (x - knots[: -width - 1]) * share[:-1] * values[:, :-1]
            right = (knots[width + 1 :] - x) * share[1:] * values[:, 1:]
            values = left + right
        return values


class ThinPlateBasis(Module):
    """Radial functions around knots, and polynomials.

    See Wood, *Thin plate regression splines*, 2003.

    Parameters
    ----------
    knots : Tensor, shape (features, knots)
        The knots.
    order : int
        The order of the derivatives that the penalty measures.
    powers : Tensor, shape (polynomials, features)
        Exponents of the polynomials.
    radial : Tensor, shape (functions, knots)
        Linear combinations of the radial functions.
    scale, shift : Tensor, shape (features,)
        Factor of the distances in each feature, and what is subtracted in polynomials.
    """

    knots: Tensor
    powers: Tensor
    radial: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        knots: Tensor,
        order: int,
        powers: Tensor,
        radial: Tensor,
        scale: Tensor,
        shift: Tensor,
    ) -> None:
        super().__init__()
        self.order, self.features = order, knots.shape[0]
        for name, value in (
            ("knots", knots), ("powers", powers), ("radial", radial), ("scale", scale),
            ("shift", shift),
        ):  # fmt: skip
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(n, features) to (n, functions + polynomials)."""
        gaps = (x[:, :, None] - self.knots) * self.scale[:, None]
        squares = gaps.square().sum(1)
        apart = squares > 0
        distance = torch.where(apart, squares, 1.0).sqrt() ** (2 * self.order - self.features)
        far = self._constant() * distance
        if self.features % 2 == 0:
            far = far * torch.log(distance)
        far = far.masked_fill(~apart, 0.0)
        polynomials = ((x - self.shift)[:, None, :] ** self.powers).prod(2)
        return torch.cat([product_in_order(far, self.radial), polynomials], 1)

    def _constant(self) -> float:
        m, d = self.order, self.features
        if d % 2:
            return (-1) ** m * m / (math.factorial(2 * m) * math.pi ** ((d - 1) / 2))
        below = 2 ** (2 * m - 1) * math.pi ** (d / 2)
        return (-1) ** (m + 1 + d // 2) / (
            below * math.factorial(m - 1) * math.factorial(m - d // 2)
        )


def product_in_order(x: Tensor, matrix: Tensor) -> Tensor:
    """``x @ matrix.T``, summed in order: far from knots, the sum is rounding alone."""
    out = x.new_zeros(len(x), len(matrix))
    for column, row in zip(x.unbind(1), matrix.unbind(1), strict=True):
        out = out + column[:, None] * row
    return out


class SmoothColumns(Module):
    """Bases of smooth functions of columns, written over each other where they overlap.

    Parameters
    ----------
    bases : sequence of Module
        Bases (n, inputs) to (n, k).
    maps : sequence of (Tensor or None)
        A matrix (outputs, k) that each basis is multiplied with; None for the basis itself.
    columns : sequence of (tuple of int)
        Columns that each basis reads.
    starts : sequence of int
        First output of each basis.
    kept : int
        Columns before them that pass through.
    width : int
        Number of outputs behind these. Those of no basis, and of a basis one of whose columns is
        missing, are missing.
    """

    def __init__(
        self,
        bases: Sequence[Module],
        maps: Sequence[Tensor | None],
        columns: Sequence[tuple[int, ...]],
        starts: Sequence[int],
        kept: int,
        width: int,
    ) -> None:
        super().__init__()
        self.bases = torch.nn.ModuleList(bases)
        self.columns, self.starts, self.kept, self.width = columns, starts, kept, width
        for number, matrix in enumerate(maps):
            self.register_buffer(f"map_{number}", matrix)

    def forward(self, x: Tensor) -> Tensor:
        """(n, columns) to (n, kept + width)."""
        out = x.new_full((len(x), self.width), torch.nan)
        parts = zip(self.bases, self.columns, self.starts, strict=True)
        for number, (basis, columns, start) in enumerate(parts):
            given = x[:, list(columns)]
            missing = torch.isnan(given).any(1, keepdim=True)
            values = basis(given.masked_fill(missing, 0.0))
            matrix = getattr(self, f"map_{number}")
            values = values if matrix is None else product_in_order(values, matrix)
            end = start + values.shape[1]
            values = torch.where(missing, out[:, start:end], values)
            out = torch.cat([out[:, :start], values, out[:, end:]], 1)
        return torch.cat([x[:, : self.kept], out], 1)
