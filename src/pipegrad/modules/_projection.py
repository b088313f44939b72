"""Projections onto directions, with or without whitening."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Module, Positive, parameter
from ._distances import safe_sqrt
from ._linear import Deferred, Linear
from ._sparse import Block, SparseRows, dense

# Singular values up to this size count as zero.
_SMALLEST = 1e-15


class Projection(Linear):
    """``(x - shift) @ weight``, optionally divided by a standard deviation for each direction.

    Parameters
    ----------
    weight : Tensor, shape (features, directions)
        Directions as columns.
    shift : Tensor, shape (features,), optional
        Origin of the projection.
    variance : Tensor, shape (directions,), optional
        Non-negative variance of each direction, for whitening; none by default.
    """

    def __init__(
        self, weight: Tensor, shift: Tensor | None = None, variance: Tensor | None = None
    ) -> None:
        super().__init__(weight, shift=shift)
        self.variance = None if variance is None else Positive(variance)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, directions)."""
        out = super().forward(x)
        return out if self.variance is None else out / self._deviation(self.variance())

    def deferred(self, x: Block) -> Deferred:
        """The unevaluated output (n, directions), for the next linear map."""
        out = super().deferred(x)
        if self.variance is None:
            return out
        deviation = self._deviation(self.variance())
        added = None if out.added is None else out.added / deviation
        return Deferred(x, out.weight / deviation, added)

    @staticmethod
    def _deviation(variance: Tensor) -> Tensor:
        # Clamped before the root, so that a direction without variance has a zero gradient.
        smallest = torch.finfo(variance.dtype).eps ** 2
        return torch.sqrt(torch.clamp(variance, min=smallest))

    def reset_parameters(self) -> None:
        """Draw random directions; set zero shift and unit variance."""
        super().reset_parameters()
        if self.variance is not None:
            self.variance.reset_parameters()


class FactorScores(Module):
    """Posterior means of the factors of a factor analysis.

    Parameters
    ----------
    loadings : Tensor, shape (factors, features)
        Loadings of the factors.
    noise : Tensor, shape (features,)
        Positive variance of the noise of each column.
    mean : Tensor, shape (features,)
        Mean, which is subtracted from each row.
    """

    def __init__(self, loadings: Tensor, noise: Tensor, mean: Tensor) -> None:
        super().__init__()
        self.loadings, self.mean = parameter(loadings), parameter(mean)
        self.noise = Positive(noise)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, factors)."""
        weighted = self.loadings / self.noise()
        identity = torch.eye(len(self.loadings), dtype=weighted.dtype, device=weighted.device)
        precision = identity + weighted @ self.loadings.T
        return torch.linalg.solve_ex(precision, ((dense(x) - self.mean) @ weighted.T).T)[0].T

    def reset_parameters(self) -> None:
        """Draw random loadings; set zero mean and unit variances."""
        torch.nn.init.normal_(self.loadings)
        torch.nn.init.zeros_(self.mean)
        self.noise.reset_parameters()


class SparseParameter(Module):
    """A matrix with a fixed sparsity pattern; only its stored entries train.

    Parameters
    ----------
    values : Tensor, shape (entries,)
        Stored entries.
    rows, columns : Tensor of int64, shape (entries,)
        Row and column of each entry.
    shape : (int, int)
        Number of rows and columns of the matrix.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self, values: Tensor, rows: Tensor, columns: Tensor, shape: tuple[int, int]
    ) -> None:
        super().__init__()
        self.shape = shape
        self.values = parameter(values)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def forward(self) -> Tensor:
        """The matrix as a dense tensor."""
        zeros = self.values.new_zeros(self.shape)
        return zeros.index_put((self.rows, self.columns), self.values, accumulate=True)

    def reset_parameters(self) -> None:
        """Draw standard normal entries."""
        torch.nn.init.normal_(self.values)


class SparseProjection(Module):
    """``x @ weight`` with a sparse weight.

    Parameters
    ----------
    weight : SparseParameter, shape (features, outputs)
        The weight.
    keep_sparse : bool
        Whether sparse rows stay sparse.
    """

    def __init__(self, weight: SparseParameter, keep_sparse: bool = False) -> None:
        super().__init__()
        self.weight = weight
        self.keep_sparse = keep_sparse

    def forward(self, x: Block) -> Block:
        """Map (n, features) to (n, outputs)."""
        out = x.matmul(self.weight())
        return SparseRows.from_dense(out) if self.keep_sparse and isinstance(x, SparseRows) else out


class ReconstructionError(Module):
    """Relative reconstruction error of each row under a projection, between 0 and 1.

    Parameters
    ----------
    mean : Tensor, shape (features,), optional
        Mean, which is subtracted from each row.
    directions : Tensor, shape (directions, features)
        Orthonormal directions as rows.
    """

    mean: Tensor | None

    def __init__(self, mean: Tensor | None, directions: Tensor) -> None:
        super().__init__()
        self.mean = None if mean is None else parameter(mean)
        self.directions = parameter(directions)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n,)."""
        x = dense(x) if self.mean is None else dense(x) - self.mean
        total = (x * x).sum(1)
        explained = ((x @ self.directions.T) ** 2).sum(1)
        share = (total - explained) / torch.where(total > 0, total, 1.0)
        return safe_sqrt(share.clamp(min=0))

    def reset_parameters(self) -> None:
        """Set zero mean and random directions."""
        if self.mean is not None:
            torch.nn.init.zeros_(self.mean)
        torch.nn.init.normal_(self.directions)


class RidgeScores(Module):
    """Coefficients of a ridge regression of each row on components.

    Parameters
    ----------
    components : Tensor, shape (components, features)
        Components as rows.
    mean : Tensor, shape (features,)
        Mean, which is subtracted from each row.
    penalty : float
        Penalty of the squared coefficients, at least zero.
    """

    zeros: Tensor | None

    def __init__(self, components: Tensor, mean: Tensor, penalty: float) -> None:
        super().__init__()
        self.components, self.mean = parameter(components), parameter(mean)
        self.penalty = penalty
        self.zeros = None

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, components)."""
        components, rows = self.present_components(), dense(x) - self.mean
        if not self.penalty:
            return _least_squares(components, rows)
        if components.shape[0] <= components.shape[1]:
            inner = _with_diagonal(components @ components.T, self.penalty)
            return torch.linalg.solve_ex(inner, components @ rows.T)[0].T
        # The dual problem is smaller.
        gram = _with_diagonal(components.T @ components, self.penalty)
        return torch.linalg.solve_ex(gram, rows.T)[0].T @ components.T

    def fix_zeros(self) -> None:
        """Keep the entries of the components that are zero now at zero."""
        del self.zeros
        self.register_buffer("zeros", self.components.detach() == 0, persistent=False)
        if bool((self.components == 0).all()):
            self.components.requires_grad_(False)

    def present_components(self) -> Tensor:
        """The components with the entries that stay zero, shape (components, features)."""
        fixed = self.zeros
        return self.components if fixed is None else self.components.masked_fill(fixed, 0.0)

    def reset_parameters(self) -> None:
        """Draw random components; set zero mean."""
        torch.nn.init.normal_(self.components)
        torch.nn.init.zeros_(self.mean)


def _with_diagonal(gram: Tensor, value: float) -> Tensor:
    return gram + value * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)


def _least_squares(components: Tensor, rows: Tensor) -> Tensor:
    """Coefficients of least squares; the shortest ones if components depend on each other."""
    shortest = torch.linalg.pinv(components.T, atol=_SMALLEST, rtol=0.0) @ rows.T
    if components.shape[0] > components.shape[1]:
        return shortest.T
    gram = components @ components.T
    factor, info = torch.linalg.cholesky_ex(gram)
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    unique = torch.cholesky_solve(components @ rows.T, torch.where(info == 0, factor, identity))
    return torch.where(info == 0, unique, shortest).T
