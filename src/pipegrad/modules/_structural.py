"""Modules without parameters that combine others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from ._base import Module
from ._heads import Head
from ._side_by_side import ScaledParts, SideBySide
from ._sparse import Block, SparseRows, dense
from .trees.relaxation import LeafIndices


class Concatenate(Module):
    """Horizontal concatenation of blocks, with optional factors.

    Modules with ``takes_side_by_side`` take several inputs side by side, too: outputs of "any" or
    of "alike" widths.

    Parameters
    ----------
    sparse : bool, optional
        Whether the result is `SparseRows`. By default, it is if any of the blocks is.
    weights : tuple of float, optional
        A factor for each block; a block with None is not scaled.
    """

    takes_side_by_side: ClassVar[str] = "any"

    def __init__(
        self, sparse: bool | None = None, weights: tuple[float | None, ...] | None = None
    ) -> None:
        super().__init__()
        self.sparse = sparse
        self.weights = weights

    def forward(self, *blocks: Any) -> Block:
        """Blocks (n, d_i) or (n,), or all of them side by side, to (n, sum of d_i)."""
        if len(blocks) == 1 and isinstance(blocks[0], ScaledParts):
            return blocks[0]  # type: ignore[return-value]
        if len(blocks) == 1 and isinstance(blocks[0], SideBySide):
            if not self.sparse:
                return self._scaled(blocks[0])
            blocks = blocks[0].parts
        columns = [_weighted(b, w) for b, w in zip(blocks, self._factors(blocks), strict=True)]
        any_sparse = any(isinstance(b, SparseRows) for b in columns)
        if any_sparse if self.sparse is None else self.sparse:
            return SparseRows.concatenate(columns)
        return torch.cat([dense(b) for b in columns], 1)

    def _scaled(self, blocks: SideBySide) -> Tensor:
        if self.weights is None:
            return blocks.columns
        factors = [1.0 if factor is None else factor for factor in self.weights]
        pairs = zip(factors, blocks.widths, strict=True)
        each = [factor for factor, width in pairs for _ in range(width)]
        return blocks.columns * blocks.columns.new_tensor(each)

    def _factors(self, blocks: tuple[Block, ...]) -> tuple[float | None, ...]:
        return (None,) * len(blocks) if self.weights is None else self.weights


def _weighted(block: Block, factor: float | None) -> Block:
    if isinstance(block, Tensor) and block.ndim == 1:
        block = block[:, None]
    if factor is None:
        return block
    if isinstance(block, SparseRows):
        return block.with_values(block.values * factor)
    return block * factor


class Average(Module):
    """Weighted mean of several inputs of the same shape.

    Parameters
    ----------
    weights : tuple of float, optional
        Weight of each input; equal weights by default.
    places : tuple of tuple of int, optional
        Columns of the mean that the columns of each input are; all others of that input are zero.
    width : int
        Number of columns of the mean, with ``places``.
    """

    takes_side_by_side: ClassVar[str] = "alike"

    def __init__(
        self,
        weights: tuple[float, ...] | None = None,
        places: tuple[tuple[int, ...], ...] | None = None,
        width: int = 0,
    ) -> None:
        super().__init__()
        self.weights = weights
        self.places, self.width = places, width

    def forward(self, *values: Any) -> Tensor:
        """The mean, with the shape of each input, or (n, width); inputs may be side by side."""
        if len(values) == 1 and isinstance(values[0], SideBySide):
            if self.places is None:
                return self._of_members(values[0])
            values = values[0].parts
        if self.places is not None:
            pairs = zip(values, self.places, strict=True)
            values = tuple(_spread(value, place, self.width) for value, place in pairs)
        if self.weights is None:
            return torch.stack(values).mean(0)
        weights = torch.tensor(self.weights, dtype=values[0].dtype, device=values[0].device)
        stacked = torch.stack(values)
        weights = weights.reshape(-1, *[1] * values[0].ndim)
        return (stacked * weights).sum(0) / weights.sum()

    def _of_members(self, values: SideBySide) -> Tensor:
        stacked = values.columns if values.flat else values.stacked()
        if self.weights is None:
            # The gradient of a mean would be divided for each member.
            return stacked.sum(1) / stacked.shape[1]
        weights = stacked.new_tensor(self.weights)
        return weighted_sum(stacked, weights) / weights.sum()


def _spread(value: Tensor, places: tuple[int, ...], width: int) -> Tensor:
    if places == tuple(range(width)) and value.shape[1] == width:
        return value
    out = value.new_zeros(value.shape[0], width)
    index = torch.tensor(places, device=value.device)
    return out.index_copy(1, index, value[:, : len(places)])


class Vote(Module):
    """Weighted sum of one-hot votes.

    Parameters
    ----------
    weights : tuple of float, optional
        Weight of each input; ones by default.
    """

    takes_side_by_side: ClassVar[str] = "alike"

    def __init__(self, weights: tuple[float, ...] | None = None) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, *votes: Any) -> Tensor:
        """Counts (n, classes); the votes may be side by side."""
        if len(votes) == 1 and isinstance(votes[0], SideBySide):
            stacked = votes[0].stacked()
            each = self.weights or (1.0,) * len(votes[0])
            return weighted_sum(stacked, stacked.new_tensor(each))
        weights = self.weights or (1.0,) * len(votes)
        total = votes[0] * weights[0]
        for vote, weight in zip(votes[1:], weights[1:], strict=True):
            total = total + vote * weight
        return total


class Median(Module):
    """The weighted median of several inputs.

    AdaBoost.R2 predicts in this way: Drucker, *Improving regressors using boosting techniques*,
    ICML 1997.

    Parameters
    ----------
    weights : Tensor, shape (inputs,)
        Weight of each input.
    """

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights)

    def forward(self, *values: Tensor) -> Tensor:
        """The median, with the shape (n,) of each input."""
        ordered, order = torch.stack(values, 1).sort(1)
        reached = self.weights[order].cumsum(1)
        half = (reached >= 0.5 * reached[:, -1:]).to(torch.uint8)
        return ordered.gather(1, half.argmax(1, keepdim=True)).squeeze(1)


class BoostedVotes(Module):
    """The weighted mean of votes: 1 for the chosen class, and for others what adds up to zero.

    AdaBoost decides in this way: Zhu, Zou, Rosset, Hastie, *Multi-class AdaBoost*, 2009.

    Parameters
    ----------
    weights : tuple of float
        Weight of each input.
    total : float
        Sum of the weights.
    """

    def __init__(self, weights: tuple[float, ...], total: float) -> None:
        super().__init__()
        self.weights, self.total = weights, total

    def forward(self, *votes: Tensor) -> Tensor:
        """One-hot votes (n, classes) to values (n, classes), or to (n,) for two classes."""
        rest = -1 / (votes[0].shape[1] - 1)
        out = torch.zeros_like(votes[0])
        for vote, weight in zip(votes, self.weights, strict=True):
            out = out + (vote + rest * (1 - vote)) * weight
        out = out / self.total
        return out[:, 1] - out[:, 0] if out.shape[1] == 2 else out


def weighted_sum(stacked: Tensor, weights: Tensor) -> Tensor:
    """The sum of values (n, members) or (n, members, k) over members, with a weight for each."""
    return torch.tensordot(stacked, weights, ([1], [0]))


class Labels(Module):
    """Class indices mapped to numeric labels.

    Parameters
    ----------
    labels : Tensor, shape (classes,) or (targets, classes)
        Numeric label of each class, or of each target's; its rows may be longer than needed.
    """

    labels: Tensor

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.register_buffer("labels", labels)

    def forward(self, indices: Tensor) -> Tensor:
        """Indices (n,) or (n, targets) to labels of the same shape."""
        if self.labels.ndim == 1:
            return self.labels[indices.long()]
        return self.labels.gather(1, indices.long().T).T


class Inverse(Module):
    """A module applied to predictions, which may be one-dimensional.

    Parameters
    ----------
    inner : Module
        Module from (n, k) to (n, k).
    squeeze : bool
        Whether to return (n,) instead of (n, 1).
    """

    def __init__(self, inner: torch.nn.Module, squeeze: bool = True) -> None:
        super().__init__()
        self.inner = inner
        self.squeeze = squeeze

    def forward(self, prediction: Tensor) -> Tensor:
        """Map predictions (n,) or (n, k) to the same shape."""
        out = self.inner(prediction[:, None] if prediction.ndim == 1 else prediction)
        return out.squeeze(1) if self.squeeze and out.shape[1] == 1 else out


class Predictor(Module):
    """A module of raw scores with a head that maps them to the requested output.

    Parameters
    ----------
    body : Module
        Module that computes the raw score.
    head : Head
        Head that maps the score to predictions.
    method : str
        Requested output; "score" for the raw score itself.
    classes : Tensor, optional
        Numeric labels of the classes, for ``method="predict"`` between steps.
    """

    classes: Tensor | None

    def __init__(
        self, body: torch.nn.Module, head: Head, method: str, classes: Tensor | None = None
    ) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.method = method
        self.register_buffer("classes", classes)

    def forward(self, *inputs: Any) -> Tensor:
        """Compute the requested output; see `Head.respond`."""
        out = self.head.respond(self.body(*inputs), self.method)
        if self.method == "predict" and self.classes is not None:
            return self.classes[out]
        return out

    @property
    def route(self) -> Callable[[Block], LeafIndices] | None:
        """The function that computes the leaves of rows in advance, if the body has one."""
        return getattr(self.body, "route", None)


def unwrap_head(module: torch.nn.Module) -> torch.nn.Module:
    """The module of a step without its head."""
    return module.body if isinstance(module, Predictor) else module
