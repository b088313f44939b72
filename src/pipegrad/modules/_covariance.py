"""Squared distances from the mean of a normal law, and its log-density."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._base import Module, Positive, parameter
from ._sparse import Block, dense

_LOG_TWO_PI = math.log(2 * math.pi)
# How far matrices stay from one that has no inverse.
_MARGIN = 1e-9


class FactoredPrecision(Module):
    """A precision matrix ``G @ G.T`` with ``G = factor @ change``, which is positive whatever G is.

    The change trains in the coordinates of the initial factor, so that columns of any unit, and
    correlated ones, train alike. A precision without full rank keeps its range.

    Parameters
    ----------
    factor : Tensor, shape (features, rank)
        Initial factor.
    """

    factor: Tensor

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor.clone())
        self.change = parameter(torch.eye(factor.shape[1], dtype=factor.dtype))

    def forward(self) -> Tensor:
        """The current matrix, (features, features)."""
        current = self.factor @ self.change
        return current @ current.T

    def squares(self, deviations: Tensor) -> Tensor:
        """Squared lengths (n,) of deviations (n, features) from the mean."""
        return (deviations @ self.factor @ self.change).square().sum(1)

    def log_volume(self) -> Tensor:
        """Logarithm of the root of the determinant, in the range of the matrix."""
        initial = 0.5 * torch.linalg.slogdet(self.factor.T @ self.factor)[1]
        return initial + torch.linalg.slogdet(self.change)[1]

    def reset_parameters(self) -> None:
        """Set the initial matrix."""
        nn.init.eye_(self.change)


class PatternedPrecision(Module):
    """A positive precision matrix that keeps its zeros.

    Entries beside the diagonal train in units of the diagonal. Where they would make the matrix
    indefinite, all of them shrink.

    Parameters
    ----------
    initial : Tensor, shape (features, features)
        Initial matrix, which is symmetric and positive.
    """

    initial: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.register_buffer("initial", initial.clone())
        rows, columns = torch.triu(initial, 1).nonzero(as_tuple=True)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        self.diagonal = Positive(initial.diagonal())
        root = initial.diagonal().sqrt()
        self.entries = parameter(initial[rows, columns] / (root[rows] * root[columns]))

    def forward(self) -> Tensor:
        """The current matrix, (features, features)."""
        diagonal = self.diagonal()
        upper = torch.zeros_like(self.initial).index_put((self.rows, self.columns), self.entries)
        beside = upper + upper.T
        if self.entries.shape[0]:
            beside = beside * self._share(beside)
        root = diagonal.sqrt()
        return torch.diag(diagonal) + beside * root[:, None] * root

    @staticmethod
    def _share(beside: Tensor) -> Tensor:
        """How much of the entries beside a diagonal of ones keeps the matrix positive."""
        # Without its own gradient, which would not lead back from where all entries shrink.
        depth = -torch.linalg.eigvalsh(beside.detach())[0]
        room = 1 - _MARGIN
        return torch.where(depth > room, room / depth.clamp(min=room), 1.0)

    def squares(self, deviations: Tensor) -> Tensor:
        """Squared lengths (n,) of deviations (n, features) from the mean."""
        return ((deviations @ self()) * deviations).sum(1)

    def log_volume(self) -> Tensor:
        """Logarithm of the root of the determinant."""
        return 0.5 * torch.linalg.slogdet(self())[1]

    def reset_parameters(self) -> None:
        """Set the unit matrix."""
        self.diagonal.reset_parameters()
        nn.init.zeros_(self.entries)


class NormalLaw(Module):
    """Log-density and squared Mahalanobis distance of a normal law.

    Parameters
    ----------
    mean : Tensor, shape (features,)
        Initial mean.
    precision : FactoredPrecision or PatternedPrecision
        Inverse of the covariance.
    unit : Tensor, shape (features,)
        Units in which the mean trains, such as standard deviations.
    train_mean : bool
        Whether the mean trains.
    """

    initial: Tensor
    unit: Tensor

    def __init__(
        self,
        mean: Tensor,
        precision: FactoredPrecision | PatternedPrecision,
        unit: Tensor,
        train_mean: bool = True,
    ) -> None:
        super().__init__()
        self.register_buffer("initial", mean.clone())
        self.register_buffer("unit", unit.clone())
        self.shift = parameter(torch.zeros_like(mean)) if train_mean else None
        self.precision = precision

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, 2)."""
        squares = self.distances(x)
        constant = self.precision.log_volume() - 0.5 * self.initial.shape[0] * _LOG_TWO_PI
        return torch.stack([constant - 0.5 * squares, squares], 1)

    def distances(self, x: Block) -> Tensor:
        """Squared distances (n,) of rows (n, features)."""
        return self.precision.squares(dense(x) - self.mean())

    def mean(self) -> Tensor:
        """The current mean, (features,)."""
        return self.initial if self.shift is None else self.initial + self.shift * self.unit

    def reset_parameters(self) -> None:
        """Draw a standard normal mean."""
        super().reset_parameters()
        if self.shift is not None:
            nn.init.normal_(self.shift)


class DistanceOutliers(Module):
    """How much closer rows are to the mean of a normal law than outliers.

    Parameters
    ----------
    law : NormalLaw
        The law.
    offset : Tensor, shape ()
        Minus the squared distance of the nearest outlier.
    """

    def __init__(self, law: NormalLaw, offset: Tensor) -> None:
        super().__init__()
        self.law = law
        self.offset = parameter(offset)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n,): negative for outliers."""
        return -self.law.distances(x) - self.offset

    def reset_parameters(self) -> None:
        """Draw a standard normal mean; set the mean squared distance as the offset."""
        super().reset_parameters()
        nn.init.constant_(self.offset, -float(self.law.initial.shape[0]))
