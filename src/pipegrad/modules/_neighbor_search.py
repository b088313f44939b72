"""Stored rows near the rows of the input, and what is computed from them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._answers import answered, is_exported
from ._base import Module, parameter
from ._metrics import Metric
from ._sparse import Block, SparseRows, dense

# The index of a place without a neighbor, where rows have different numbers of them.
NO_NEIGHBOR = -1


class NeighborSearch(Module):
    """The nearest stored rows of each row, or those within a radius.

    Which rows these are has no gradient; the distances to them have one.

    Parameters
    ----------
    points : Tensor, shape (stored, features)
        Stored rows, which do not train.
    metric : Metric
        Distance between rows.
    find : callable
        ``find(x)`` gives distances (n, k) and indices (n, k) of the neighbors as one tensor
        (n, 2 * k) of float64, without a gradient; `NO_NEIGHBOR` fills rows with fewer of them.
        Exported programs search without it.
    count : int, optional
        Number of neighbors.
    radius : float, optional
        Largest distance of a neighbor, without ``count``.
    """

    points: Tensor

    def __init__(
        self,
        points: Tensor,
        metric: Metric,
        find: Callable[[Block], Tensor],
        count: int | None = None,
        radius: float | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("points", points)
        self.metric, self.find = metric, find
        self.count, self.radius = count, radius

    def forward(self, x: Block) -> tuple[Tensor, Tensor]:
        """Map (n, features) to distances (n, k) and indices (n, k)."""
        if is_exported():
            return self._searched(x)
        gaps, index = _halves(answered(x, self.find), x.dtype)
        if torch.is_grad_enabled() and self.metric.smooth:
            near = self.metric.near(x, self.points, index.clamp(min=0))
            gaps = gaps + (near - near.detach()).masked_fill(index == NO_NEIGHBOR, 0.0)
        return gaps, index

    def _searched(self, x: Block) -> tuple[Tensor, Tensor]:
        gaps = self.metric(x, self.points)
        if self.count is not None:
            return gaps.topk(self.count, largest=False)
        assert self.radius is not None
        near, index = gaps.sort(1)
        return near, torch.where(near <= self.radius, index, NO_NEIGHBOR)


def _halves(both: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Numbers (n, k) and indices (n, k) that lie side by side."""
    middle = both.shape[1] // 2
    return both[:, :middle].to(dtype), both[:, middle:].long()


class NeighborDistances(Module):
    """Distances to the nearest stored rows.

    Parameters
    ----------
    search : NeighborSearch
        Finds the nearest rows.
    """

    def __init__(self, search: NeighborSearch) -> None:
        super().__init__()
        self.search = search

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, k)."""
        gaps: Tensor = self.search(x)[0]
        return gaps


class NeighborGraph(Module):
    """A sparse column for each stored row, with entries at the neighbors.

    Parameters
    ----------
    search : NeighborSearch
        Finds the neighbors.
    width : int
        Number of stored rows.
    connectivity : bool
        Whether entries are ones, not distances.
    """

    def __init__(self, search: NeighborSearch, width: int, connectivity: bool = False) -> None:
        super().__init__()
        self.search, self.width, self.connectivity = search, width, connectivity
        self.sparse = True
        """Whether the result is sparse; programs for dense rows only set it to False."""

    def forward(self, x: Block) -> Block:
        """Map (n, features) to rows (n, stored)."""
        gaps, index = self.search(x)
        present = index != NO_NEIGHBOR
        if not self.sparse:
            values = torch.ones_like(gaps) if self.connectivity else gaps
            # What is no neighbor goes to an extra column, which is removed.
            out = gaps.new_zeros(gaps.shape[0], self.width + 1)
            return out.scatter(1, torch.where(present, index, self.width), values)[:, :-1]
        starts = functional.pad(present.sum(1).cumsum(0), (1, 0))
        values = torch.ones_like(gaps) if self.connectivity else gaps
        return SparseRows(starts, index[present], values[present], self.width)


class BarycentricMap(Module):
    """Coordinates of the nearest stored rows, in the weights that reconstruct a row from them.

    This is locally linear embedding of new rows (Saul and Roweis, *Think globally, fit locally*,
    2003). The coordinates train.

    Parameters
    ----------
    search : NeighborSearch
        Finds the nearest rows.
    coordinates : Tensor, shape (stored, k)
        Coordinates of the stored rows.
    weigh : callable
        ``weigh(x, index)`` gives the weights (n, neighbors), without a gradient. Exported programs
        compute them without it.
    penalty : float
        Number, times the trace, that is added to the diagonal of the Gram matrix.
    """

    def __init__(
        self,
        search: NeighborSearch,
        coordinates: Tensor,
        weigh: Callable[[Block], Tensor],
        penalty: float,
    ) -> None:
        super().__init__()
        self.search, self.weigh, self.penalty = search, weigh, penalty
        self.coordinates = parameter(coordinates)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, k)."""
        x = dense(x)
        if is_exported():
            index = self.search(x)[1]
            weights = self._weights(x, index)
        else:
            weights, index = _halves(answered(x, self.weigh), x.dtype)
            if torch.is_grad_enabled():
                near = self._weights(x, index)
                weights = weights + (near - near.detach())
        return (weights[:, :, None] * self.coordinates[index]).sum(1)

    def _weights(self, x: Tensor, index: Tensor) -> Tensor:
        gaps = self.search.points[index] - x[:, None]
        gram = gaps @ gaps.mT
        trace = gram.diagonal(dim1=1, dim2=2).sum(1)
        added = torch.where(trace > 0, self.penalty * trace, self.penalty)
        size = gram.shape[1]
        unit = torch.eye(size, dtype=gram.dtype, device=gram.device)
        # Without a check of the result: the matrices are positive definite.
        shares, _ = torch.linalg.solve_ex(
            gram + added[:, None, None] * unit, gram.new_ones(gram.shape[0], size, 1)
        )
        shares = shares.squeeze(2)
        return shares / shares.sum(1, keepdim=True)

    def reset_parameters(self) -> None:
        """Draw standard normal coordinates."""
        nn.init.normal_(self.coordinates)


class ShortestPaths(Module):
    """Similarities to stored rows: minus half the squared length of the shortest path to each.

    A path leads from the row to one of its neighbors, and from there through the graph of the
    stored rows (Tenenbaum, de Silva and Langford, *A global geometric framework for nonlinear
    dimensionality reduction*, 2000).

    Parameters
    ----------
    search : NeighborSearch
        Finds the neighbors.
    paths : Tensor, shape (stored, stored)
        Lengths of the paths between stored rows, which do not train.
    """

    paths: Tensor

    def __init__(self, search: NeighborSearch, paths: Tensor) -> None:
        super().__init__()
        self.search = search
        self.register_buffer("paths", paths)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, stored)."""
        gaps, index = self.search(x)
        shortest = None
        # Neighbor by neighbor, because all paths at once take as many times the memory.
        for gap, place in zip(gaps.unbind(1), index.unbind(1), strict=True):
            here = self.paths[place.clamp(min=0)] + gap[:, None]
            here = here.masked_fill((place == NO_NEIGHBOR)[:, None], torch.inf)
            shortest = here if shortest is None else torch.minimum(shortest, here)
        assert shortest is not None
        return -0.5 * shortest.square()
