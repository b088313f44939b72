"""Power transforms with a trainable exponent for each column, and their inverses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._scaling import put_missing_back, set_missing_aside

# Quotients that tend to 0/0 are computed from their series below this distance from zero.
_SERIES = 1e-3


def _expm1_over(z: Tensor) -> Tensor:
    """``expm1(z) / z``, smooth through zero."""
    small = z.abs() < _SERIES
    series = 1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5)))
    safe = z.masked_fill(small, 1.0)
    return torch.where(small, series, torch.expm1(safe) / safe)


def _log1p_over(z: Tensor) -> Tensor:
    """``log1p(z) / z``, smooth through zero; NaN below -1."""
    small = z.abs() < _SERIES
    series = 1 - z * (1 / 2 - z * (1 / 3 - z * (1 / 4 - z * (1 / 5 - z / 6))))
    outside = z < -1
    safe = z.masked_fill(small | outside, 1.0)
    quotient = torch.where(small, series, torch.log1p(safe) / safe)
    return quotient.masked_fill(outside, torch.nan)


class _Power(Module):
    """A transform with one exponent for each column.

    Parameters
    ----------
    power : Tensor, shape (features,)
        Exponents, which may be any real numbers.
    """

    def __init__(self, power: Tensor) -> None:
        super().__init__()
        self.power = parameter(power)

    def reset_parameters(self) -> None:
        """Set exponents of one, which make the transform linear."""
        nn.init.ones_(self.power)


class BoxCox(_Power):
    """``(x**power - 1) / power``, or ``log(x)`` if the power is zero; NaN unless ``x > 0``.

    See Box and Cox, *An analysis of transformations*, 1964.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        outside = ~(x > 0)
        size = torch.log(x.masked_fill(outside, 1.0))
        return (size * _expm1_over(self.power * size)).masked_fill(outside, torch.nan)


class InverseBoxCox(_Power):
    """The inverse of `BoxCox`."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        missing, x = set_missing_aside(x)
        return put_missing_back(missing, torch.exp(x * _log1p_over(self.power * x)))


class YeoJohnson(_Power):
    """Box-Cox of ``1 + x`` for non-negative values, mirrored with ``2 - power`` for negative ones.

    See Yeo and Johnson, *A new family of power transformations to improve normality or symmetry*,
    2000.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; NaN passes."""
        missing, x = set_missing_aside(x)
        positive = x >= 0
        # Not abs, whose gradient vanishes at zero, unlike that of the transform.
        size = torch.log1p(torch.where(positive, x, -x))
        power = torch.where(positive, self.power, 2 - self.power)
        size = size * _expm1_over(power * size)
        return put_missing_back(missing, torch.where(positive, size, -size))


class InverseYeoJohnson(_Power):
    """The inverse of `YeoJohnson`."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; NaN passes."""
        missing, x = set_missing_aside(x)
        positive = x >= 0
        size = torch.where(positive, x, -x)
        power = torch.where(positive, self.power, 2 - self.power)
        size = torch.expm1(size * _log1p_over(power * size))
        return put_missing_back(missing, torch.where(positive, size, -size))
