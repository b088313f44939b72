"""Normal densities of classes and of mixture components."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._base import Module, Positive, parameter
from ._sparse import Block, dense

_LOG_TWO_PI = math.log(2 * math.pi)


class DiagonalGaussians(Module):
    """Log-densities of normal distributions whose columns are independent.

    Means train in units of the initial standard deviations, and variances by relative amounts, so
    that columns of any unit train alike.

    Parameters
    ----------
    mean : Tensor, shape (components, features)
        Initial means.
    variance : Tensor, shape (components, features) or (components, 1)
        Initial variances of the columns; one for all columns of a component.
    """

    initial: Tensor

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.register_buffer("initial", mean.clone())
        self.shift = parameter(torch.zeros_like(mean))
        self.variance = Positive(variance)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, components)."""
        x, means = dense(x), self.mean()
        variances = self.variance().expand_as(means)
        volumes = torch.log(2 * math.pi * variances).sum(1)
        # One component at a time: all together would need memory for n * components * features.
        squares = [
            ((x - mean).square() / variance).sum(1)
            for mean, variance in zip(means, variances, strict=True)
        ]
        return -0.5 * (volumes + torch.stack(squares, 1))

    def mean(self) -> Tensor:
        """The current means (components, features)."""
        return self.initial + self.shift * torch.sqrt(self.variance.initial)

    def reset_parameters(self) -> None:
        """Draw standard normal means; set unit variances."""
        nn.init.normal_(self.shift)
        self.variance.reset_parameters()
        with torch.no_grad():
            self.initial.zero_()


class FullGaussians(Module):
    """Log-densities of normal distributions with any covariance.

    The covariance is ``inverse(factor @ factor.T)``, and so positive whatever the factor becomes.
    Means and factors train in the coordinates of the initial factor, in which the distributions
    are standard normal, so that columns of any unit, and correlated ones, train alike.

    Parameters
    ----------
    mean : Tensor, shape (components, features)
        Initial means.
    factor : Tensor, shape (components, features, features) or (1, features, features)
        Initial maps that turn deviations from the mean into independent ones of variance one; a
        single one if all components share it.
    """

    initial: Tensor
    factor: Tensor

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("initial", mean.clone())
        self.register_buffer("factor", factor.clone())
        self.shift = parameter(torch.zeros_like(mean))
        self.change = parameter(torch.eye(mean.shape[1], dtype=mean.dtype).expand_as(factor))

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, components)."""
        x = dense(x)
        count, width = self.initial.shape
        factors = self.factor.expand(count, -1, -1)
        changes = self.change.expand(count, -1, -1)
        squares = [
            (((x - mean) @ factor - shift) @ change).square().sum(1)
            for mean, factor, shift, change in zip(
                self.initial, factors, self.shift, changes, strict=True
            )
        ]
        volume = torch.linalg.slogdet(self.factor)[1] + torch.linalg.slogdet(self.change)[1]
        return volume - 0.5 * (width * _LOG_TWO_PI + torch.stack(squares, 1))

    def mean(self) -> Tensor:
        """The current means (components, features)."""
        moved = torch.linalg.solve(self.factor.mT, self.shift[..., None]).squeeze(-1)
        return self.initial + moved

    def unchanged(self) -> Tensor:
        """Which factors have not changed, of shape (components,) or (1,)."""
        same = self.change == torch.eye(self.initial.shape[1], device=self.change.device)
        return same.all(2).all(1)

    def current(self) -> Tensor:
        """The current factors, with the shape of the initial ones."""
        return self.factor @ self.change

    def reset_parameters(self) -> None:
        """Draw standard normal means; set unit covariances."""
        nn.init.normal_(self.shift)
        with torch.no_grad():
            unit = torch.eye(self.initial.shape[1]).expand_as(self.factor)
            self.initial.zero_()
            self.factor.copy_(unit)
            self.change.copy_(unit)
