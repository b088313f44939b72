"""Distances between rows and points."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._sparse import Block, SparseRows


class Distances(Module):
    """Euclidean distance of each row to each center.

    Parameters
    ----------
    centers : Tensor, shape (centers, features)
        Coordinates of the centers.
    squared : bool
        Whether to return squared distances.
    """

    def __init__(self, centers: Tensor, squared: bool = False) -> None:
        super().__init__()
        self.centers = parameter(centers)
        self.squared = squared

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, centers)."""
        return squared_distances(x, self.centers) if self.squared else distances(x, self.centers)

    def reset_parameters(self) -> None:
        """Draw standard normal centers."""
        nn.init.normal_(self.centers)


class MixedDistances(Module):
    """Squared distance of each row to each center; a category that differs counts as one.

    Missing entries count as much as the mean of the others. Without other entries, all distances
    are zero.

    Parameters
    ----------
    centers : Tensor, shape (centers, numbers)
        Coordinates of the centers in the columns of numbers, which come last.
    categories : Tensor, shape (centers, categories)
        Categories of the centers.
    """

    categories: Tensor

    def __init__(self, centers: Tensor, categories: Tensor) -> None:
        super().__init__()
        self.centers = parameter(centers)
        self.register_buffer("categories", categories.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(n, categories + numbers) to (n, centers)."""
        missing = torch.isnan(x)
        count = self.categories.shape[1]
        codes, numbers = x[:, :count], x[:, count:].masked_fill(missing[:, count:], 0.0)
        far = [
            # A difference of its own keeps the digits that an expanded square cancels.
            ((numbers - center).masked_fill(missing[:, count:], 0.0).square()).sum(1)
            + ((codes != category) & ~missing[:, :count]).sum(1)
            for center, category in zip(self.centers, self.categories, strict=True)
        ]
        known = (~missing).sum(1).to(x.dtype)
        share = torch.where(known > 0, x.shape[1] / known.clamp(min=1), 1.0)
        return torch.stack(far, 1) * share[:, None]

    def reset_parameters(self) -> None:
        """Draw standard normal coordinates."""
        nn.init.normal_(self.centers)


class NearestDescent(Module):
    """The leaf that each row reaches in a tree of points, through the nearest child of each.

    Parameters
    ----------
    points : Tensor, shape (nodes, features)
        Coordinates of the nodes.
    children : Tensor of int64, shape (nodes, k)
        Children of each node, padded with -1; leaves have none.
    numbers : Tensor of int64, shape (nodes,)
        Number of each leaf.
    root : int
        The first node.
    depth : int
        Most steps from the root to a leaf.
    """

    points: Tensor
    children_of: Tensor
    numbers: Tensor

    def __init__(
        self, points: Tensor, children: Tensor, numbers: Tensor, root: int, depth: int
    ) -> None:
        super().__init__()
        self.register_buffer("points", points.clone())
        self.register_buffer("children_of", children)
        self.register_buffer("numbers", numbers)
        self.root, self.depth = root, depth

    def forward(self, x: Block) -> Tensor:
        """(n, features) to numbers of leaves (n,)."""
        far = squared_distances(x, self.points)
        at = torch.full((far.shape[0],), self.root, dtype=torch.int64, device=far.device)
        for _ in range(self.depth):
            below = self.children_of[at]
            known = below >= 0
            cost = far.gather(1, below.clamp(min=0)).masked_fill(~known, torch.inf)
            nearest = below.gather(1, cost.argmin(1, keepdim=True)).squeeze(1)
            at = torch.where(known.any(1), nearest, at)
        return self.numbers[at].to(far.dtype)


def squared_distances(x: Block, points: Tensor) -> Tensor:
    """Squared Euclidean distances (n, points), never negative.

    Expanding the square cancels digits for nearby points, so it is computed in double precision.
    """
    if not isinstance(x, SparseRows) and _trains(x, points):
        return cast("Tensor", _DenseDistances.apply(x, points, False))
    return _expanded_squares(x, points)


def distances(x: Block, points: Tensor) -> Tensor:
    """Euclidean distances (n, points), with a zero gradient at zero."""
    if not isinstance(x, SparseRows) and _trains(x, points):
        return cast("Tensor", _DenseDistances.apply(x, points, True))
    return safe_sqrt(_expanded_squares(x, points))


def _expanded_squares(x: Block, points: Tensor) -> Tensor:
    wide, centers = x.to(torch.float64), points.to(torch.float64)
    # In place, because these passes over memory cost as much as the product.
    out = product(wide, -2 * centers)
    out += squares(wide)[:, None]
    out += squares(centers)
    return torch.relu_(out.to(x.dtype))


def _trains(x: Tensor, points: Tensor) -> bool:
    """Whether gradients will be computed; exported programs need elementary operations."""
    exported = torch.jit.is_tracing() or torch.compiler.is_compiling()
    return torch.is_grad_enabled() and not exported and (x.requires_grad or points.requires_grad)


class _DenseDistances(torch.autograd.Function):
    """Distances whose gradient costs a product for each input and two passes over memory.

    The gradient of the elementary operations takes about ten passes, each as long as a product with
    a hundred columns.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, points: Tensor, root: bool) -> Tensor:
        squares = _expanded_squares(x, points)
        return squares.sqrt_() if root else squares

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        x, points, ctx.root = inputs
        ctx.save_for_backward(x, points, output)
        ctx.save_for_forward(x, points, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, points, out = ctx.saved_tensors
        # At zero, the root has no gradient, and the squares have one of zero and a curvature.
        pull = (grad / out).masked_fill(out == 0, 0.0) if ctx.root else 2 * grad
        pull = pull.to(torch.float64)
        wide, centers = x.to(torch.float64), points.to(torch.float64)
        to_x = to_points = None
        if ctx.needs_input_grad[0]:
            to_x = (pull.sum(1)[:, None] * wide - pull @ centers).to(x.dtype)
        if ctx.needs_input_grad[1]:
            to_points = (pull.sum(0)[:, None] * centers - pull.T @ wide).to(points.dtype)
        return to_x, to_points, None

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor | None, of_points: Tensor | None, _: None = None) -> Tensor:
        x, points, out = ctx.saved_tensors
        wide, centers = x.to(torch.float64), points.to(torch.float64)
        change = torch.zeros_like(out, dtype=torch.float64)
        if of_x is not None:
            there = of_x.to(torch.float64)
            change = change + (wide * there).sum(1)[:, None] - there @ centers.T
        if of_points is not None:
            there = of_points.to(torch.float64)
            change = change + (centers * there).sum(1) - wide @ there.T
        change = (change / out).masked_fill(out == 0, 0.0) if ctx.root else 2 * change
        return change.to(out.dtype)


def city_block_distances(x: Block, points: Tensor) -> Tensor:
    """Sums of absolute differences (n, points), in double precision."""
    points = points.to(torch.float64)
    if not isinstance(x, SparseRows):
        return torch.cdist(x.to(torch.float64), points, p=1)
    x = x.to(torch.float64)
    # The distance of the origin to each point, corrected for the stored entries of a row.
    there = points.T[x.columns]
    change = (x.values[:, None] - there).abs() - there.abs()
    start = points.abs().sum(1).expand(x.shape[0], -1)
    return start.index_add(0, x.rows(), change)


def product(x: Block, points: Tensor) -> Tensor:
    """Inner products (n, points)."""
    return x.matmul(points.T.contiguous() if isinstance(x, SparseRows) else points.T)


def squares(x: Block) -> Tensor:
    """Squared length of each row, shape (n,)."""
    return x.row_sums(x.values * x.values) if isinstance(x, SparseRows) else (x * x).sum(1)


def safe_sqrt(values: Tensor) -> Tensor:
    """Square root with a zero gradient at zero."""
    zero = values == 0
    return torch.where(zero, values, torch.sqrt(torch.where(zero, 1.0, values)))
