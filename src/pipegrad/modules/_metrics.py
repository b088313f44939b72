"""Distances by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ._distances import city_block_distances, distances
from ._kernels import Kernel
from ._sparse import Block, SparseRows, dense

_BY_DIFFERENCES = "donot_use_mm_for_euclid_dist"


@dataclass(frozen=True)
class Metric:
    """A distance by name.

    Parameters
    ----------
    name : str
        One of "minkowski", "chebyshev", "cosine", "correlation", "sqeuclidean", "canberra",
        "braycurtis", "haversine" and "precomputed"; the rows of the latter are distances to all
        stored rows.
    power : float
        Power of the Minkowski distance.
    map : Tensor, shape (features, k), optional
        Linear map of rows before their distance.
    """

    name: str = "minkowski"
    power: float = 2.0
    map: Tensor | None = field(default=None, compare=False, repr=False)

    def __call__(self, x: Block, points: Tensor) -> Tensor:
        """Distances (n, points)."""
        if self.name == "precomputed":
            return dense(x)
        if self.name == "cosine":
            return 1 - Kernel("cosine")(x, points)
        if self.name in _OTHERS:
            return _OTHERS[self.name](dense(x), points)
        if self.map is not None:
            through = self.map.to(points)
            x, points = dense(x) @ through, points @ through
        power = float("inf") if self.name == "chebyshev" else self.power
        if isinstance(x, SparseRows) and power in (1, 2):
            find = distances if power == 2 else city_block_distances
            return find(x, points).to(points.dtype)
        # Not by an expanded square: the distance of a row to itself is zero.
        return torch.cdist(dense(x), points, p=power, compute_mode=_BY_DIFFERENCES)


def _correlation(x: Tensor, points: Tensor) -> Tensor:
    rows, others = (part - part.mean(1, keepdim=True) for part in (x, points))
    return 1 - Kernel("cosine")(rows, others)


def _squared(x: Tensor, points: Tensor) -> Tensor:
    return torch.cdist(x, points, compute_mode=_BY_DIFFERENCES).square()


def _canberra(x: Tensor, points: Tensor) -> Tensor:
    total = torch.zeros_like(x[:, :1] * points[:, 0])
    for one, other in _columns(x, points):
        size = one.abs() + other.abs()
        total = total + (one - other).abs() / torch.where(size > 0, size, 1.0)
    return total


def _bray_curtis(x: Tensor, points: Tensor) -> Tensor:
    """With absolute values of both numbers, as in scikit-learn's own search, not of their sum."""
    gap = size = torch.zeros_like(x[:, :1] * points[:, 0])
    for one, other in _columns(x, points):
        gap, size = gap + (one - other).abs(), size + one.abs() + other.abs()
    return gap / torch.where(size > 0, size, 1.0)


def _haversine(x: Tensor, points: Tensor) -> Tensor:
    """The angle between points of a sphere, from latitude and longitude."""
    (north, other), (east, place) = _columns(x, points)
    wave = torch.sin((north - other) / 2).square()
    wave = wave + torch.cos(north) * torch.cos(other) * torch.sin((east - place) / 2).square()
    same = wave <= 0
    return torch.where(same, 0.0, 2 * torch.asin(torch.where(same, 0.5, wave).sqrt().clamp(max=1)))


def _columns(x: Tensor, points: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each column of the rows, (n, 1), and of the points: all together would need more memory."""
    return list(zip(x.T[:, :, None].unbind(), points.T.unbind(), strict=True))


_OTHERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "correlation": _correlation,
    "sqeuclidean": _squared,
    "canberra": _canberra,
    "braycurtis": _bray_curtis,
    "haversine": _haversine,
}
