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

    Parameters
    ----------
    mean : Tensor, shape (components, features)
        Means.
    variance : Tensor, shape (components, features) or (components, 1)
        Variances of the columns; one for all columns of a component.
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.mean = parameter(mean)
        self.variance = Positive(variance)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, components)."""
        x = dense(x)
        variances = self.variance().expand_as(self.mean)
        volumes = torch.log(2 * math.pi * variances).sum(1)
        # One component at a time: all together would need memory for n * components * features.
        squares = [
            ((x - mean).square() / variance).sum(1)
            for mean, variance in zip(self.mean, variances, strict=True)
        ]
        return -0.5 * (volumes + torch.stack(squares, 1))

    def reset_parameters(self) -> None:
        """Draw standard normal means; set unit variances."""
        nn.init.normal_(self.mean)
        self.variance.reset_parameters()


class FullGaussians(Module):
    """Log-densities of normal distributions with any covariance.

    The covariance is ``inverse(factor @ factor.T)``, and so positive whatever the factor becomes.

    Parameters
    ----------
    mean : Tensor, shape (components, features)
        Means.
    factor : Tensor, shape (components, features, features) or (1, features, features)
        Maps that turn deviations from the mean into independent ones of variance one; a single one
        if all components share it.
    """

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.mean = parameter(mean)
        self.factor = parameter(factor)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, components)."""
        x = dense(x)
        factors = self.factor.expand(self.mean.shape[0], -1, -1)
        squares = [
            ((x - mean) @ factor).square().sum(1)
            for mean, factor in zip(self.mean, factors, strict=True)
        ]
        volume = torch.linalg.slogdet(self.factor)[1]
        constant = self.mean.shape[1] * _LOG_TWO_PI
        return volume - 0.5 * (constant + torch.stack(squares, 1))

    def reset_parameters(self) -> None:
        """Draw standard normal means; set unit covariances."""
        nn.init.normal_(self.mean)
        with torch.no_grad():
            self.factor.copy_(torch.eye(self.mean.shape[1]).expand_as(self.factor))
