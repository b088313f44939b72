"""Distances by name between rows and stored rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ._distances import city_block_distances, distances, safe_sqrt, squared_distances
from ._kernels import Kernel
from ._sparse import Block, SparseRows, dense

_BY_DIFFERENCES = "donot_use_mm_for_euclid_dist"
# Differences of all pairs of rows are computed for no more numbers than this at a time.
_MOST_NUMBERS = 1 << 24


@dataclass(frozen=True, eq=False)
class Metric:
    """A distance by name.

    Parameters
    ----------
    name : str
        One of `METRICS`, or "precomputed"; the rows of the latter are distances to all stored rows,
        and entries that sparse rows do not store are infinite.
    power : float
        Power of the Minkowski distance.
    weights : Tensor, shape (features,), optional
        Weights of the features in the Minkowski distance; one by default.
    matrix : Tensor, shape (features, features), optional
        Matrix of the Mahalanobis distance.
    missing : float
        Marker of a missing entry for "nan_euclidean", NaN or a number.
    """

    name: str = "minkowski"
    power: float = 2.0
    weights: Tensor | None = None
    matrix: Tensor | None = None
    missing: float = math.nan

    @property
    def smooth(self) -> bool:
        """Whether distances have a gradient; those of truth values and of equality have none."""
        return self.name not in _OF_TRUTH_VALUES and self.name != "hamming"

    def __call__(self, x: Block, points: Tensor) -> Tensor:
        """Distances (n, points)."""
        if self.name == "precomputed":
            return given(x)
        if self.name == "cosine":
            return 1 - Kernel("cosine")(x, points)
        if self.name == "nan_euclidean":
            return nan_euclidean(dense(x), points, self.missing)
        if self.name == "sqeuclidean":
            return squared_distances(x, points)
        power = math.inf if self.name == "chebyshev" else self.power
        if self.name not in ("minkowski", "chebyshev") or self.weights is not None:
            return self._by_pairs(dense(x), points)
        if isinstance(x, SparseRows) and power in (1, 2):
            find = distances if power == 2 else city_block_distances
            return find(x, points).to(points.dtype)
        # Not by an expanded square: the distance of a row to itself is zero.
        return torch.cdist(dense(x), points, p=power, compute_mode=_BY_DIFFERENCES)

    def _by_pairs(self, x: Tensor, points: Tensor) -> Tensor:
        rows = max(_MOST_NUMBERS // max(points.numel(), 1), 1)
        if x.shape[0] <= rows or torch.compiler.is_compiling():
            return self.between(x[:, None], points)
        return torch.cat([self.between(part[:, None], points) for part in x.split(rows)])

    def near(self, x: Block, points: Tensor, index: Tensor) -> Tensor:
        """Distances (n, k) of rows (n, features) to some stored rows each, by their index."""
        if self.name == "precomputed":
            return given(x).gather(1, index)
        return self.between(dense(x)[:, None], points[index])

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (...) between vectors (..., features)."""
        if self.name in _OF_TRUTH_VALUES:
            return _of_truth_values(self.name, a, b)
        return _FORMULAS[self.name](self, a, b)


def given(x: Block) -> Tensor:
    """Distances that are given; infinite where sparse rows store none."""
    return x.to_dense(math.inf) if isinstance(x, SparseRows) else x


def nan_euclidean(x: Tensor, points: Tensor, missing: float = math.nan) -> Tensor:
    """Euclidean distances (n, points) in the entries that both have, times the missing share.

    They are NaN between rows that have no entry in common.
    """
    here, there = _present(x, missing), _present(points, missing)
    a, b = torch.where(here, x, 0.0), torch.where(there, points, 0.0)
    known, kept = here.to(x.dtype), there.to(x.dtype)
    squares = (a * a) @ kept.T + known @ (b * b).T - 2 * a @ b.T
    return _scaled(squares, known @ kept.T, x.shape[1])


def _present(x: Tensor, missing: float) -> Tensor:
    return ~torch.isnan(x) if math.isnan(missing) else x != missing


def _scaled(squares: Tensor, count: Tensor, width: int) -> Tensor:
    roots = safe_sqrt(torch.relu(squares) / count.clamp(min=1) * width)
    return torch.where(count > 0, roots, math.nan)


def _minkowski(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    terms = (a - b).abs()
    weights = None if metric.weights is None else metric.weights.to(a)
    if metric.power == math.inf:
        # A weight of zero takes a feature out, and others have no effect.
        return (terms if weights is None else terms * (weights != 0)).amax(-1)
    if metric.power != 1:
        # At zero, powers below two have no derivative.
        zero = terms == 0
        terms = torch.where(zero, 0.0, torch.where(zero, 1.0, terms) ** metric.power)
    total = (terms if weights is None else terms * weights).sum(-1)
    return total if metric.power == 1 else _safe_root(total, metric.power)


def _safe_root(values: Tensor, power: float) -> Tensor:
    zero = values == 0
    return torch.where(zero, values, torch.where(zero, 1.0, values) ** (1 / power))


def _mahalanobis(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    assert metric.matrix is not None
    gap = a - b
    return safe_sqrt(torch.relu(((gap @ metric.matrix.to(a)) * gap).sum(-1)))


def _nan_euclidean(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    both = _present(a, metric.missing) & _present(b, metric.missing)
    gap = torch.where(both, a, 0.0) - torch.where(both, b, 0.0)
    return _scaled(gap.square().sum(-1), both.to(a.dtype).sum(-1), a.shape[-1])


def _cosine(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    norms = safe_sqrt(a.square().sum(-1)) * safe_sqrt(b.square().sum(-1))
    # The source leaves rows of zeros as they are.
    return 1 - (a * b).sum(-1) / torch.where(norms == 0, 1.0, norms)


def _correlation(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    norms = safe_sqrt(a.square().sum(-1)) * safe_sqrt(b.square().sum(-1))
    return 1 - (a * b).sum(-1) / norms


def _bray_curtis(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    above, below = (a - b).abs().sum(-1), (a.abs() + b.abs()).sum(-1)
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)


def _canberra(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    below = a.abs() + b.abs()
    return ((a - b).abs() / torch.where(below > 0, below, 1.0)).sum(-1)


def _haversine(metric: Metric, a: Tensor, b: Tensor) -> Tensor:
    height, width = torch.sin((a - b) / 2).square().unbind(-1)
    share = height + torch.cos(a[..., 0]) * torch.cos(b[..., 0]) * width
    return 2 * torch.asin(safe_sqrt(share))


def _of_truth_values(name: str, a: Tensor, b: Tensor) -> Tensor:
    """Distances that count in which features both vectors, one or none of them are non-zero."""
    one, other = torch.broadcast_tensors(a != 0, b != 0)
    both = (one & other).sum(-1).to(a.dtype)
    left, right = (one & ~other).sum(-1).to(a.dtype), (~one & other).sum(-1).to(a.dtype)
    above, below = _OF_TRUTH_VALUES[name](both, left, right, one.shape[-1])
    return torch.where(below == 0, 0.0, above / torch.where(below == 0, 1.0, below))


def _yule(both: Tensor, left: Tensor, right: Tensor, width: int) -> tuple[Tensor, Tensor]:
    half = left * right
    none = width - both - left - right
    return 2 * half, torch.where(half == 0, 0.0, both * none + half)


# The numerator and the denominator of each, which are zero together.
_OF_TRUTH_VALUES: dict[str, Callable[[Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]] = {
    "dice": lambda both, left, right, width: (left + right, 2 * both + left + right),
    "jaccard": lambda both, left, right, width: (left + right, both + left + right),
    "rogerstanimoto": lambda both, left, right, width: (
        2 * (left + right),
        width + left + right,
    ),
    "russellrao": lambda both, left, right, width: (width - both, 0 * both + width),
    "sokalsneath": lambda both, left, right, width: (
        2 * (left + right),
        both + 2 * (left + right),
    ),
    "yule": _yule,
}
_OF_TRUTH_VALUES["sokalmichener"] = _OF_TRUTH_VALUES["rogerstanimoto"]

_FORMULAS: dict[str, Callable[[Metric, Tensor, Tensor], Tensor]] = {
    "minkowski": _minkowski,
    "chebyshev": lambda metric, a, b: (a - b).abs().amax(-1),
    "sqeuclidean": lambda metric, a, b: (a - b).square().sum(-1),
    "mahalanobis": _mahalanobis,
    "nan_euclidean": _nan_euclidean,
    "cosine": _cosine,
    "correlation": _correlation,
    "braycurtis": _bray_curtis,
    "canberra": _canberra,
    "haversine": _haversine,
    "hamming": lambda metric, a, b: (a != b).to(a.dtype).mean(-1),
}

METRICS: tuple[str, ...] = (*_FORMULAS, *_OF_TRUTH_VALUES)
"""Names of the distances that are computed from rows."""
