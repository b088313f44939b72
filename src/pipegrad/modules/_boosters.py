"""Boosters computed in single precision, one term after the other, as XGBoost does."""

from __future__ import annotations

import torch
from torch import Tensor

from ._base import Module, parameter
from ._sparse import Block
from .trees.ensemble import TreeEnsemble


class BoosterColumns(Module):
    """Places of levels, and numbers in single precision.

    Parameters
    ----------
    sizes : list of int
        Number of places of each categorical column; these come first. The last one is for missing
        levels.
    shift : int
        What is subtracted from codes; a negative place is none.
    sparse : bool
        Whether zeros count as missing.
    """

    def __init__(self, sizes: list[int], shift: int, sparse: bool) -> None:
        super().__init__()
        self.sizes, self.shift, self.sparse = list(sizes), shift, sparse

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in: (n, columns)."""
        codes, numbers = x[:, : len(self.sizes)], x[:, len(self.sizes) :]
        last = torch.tensor([size - 1 for size in self.sizes], dtype=x.dtype, device=x.device)
        places = torch.where(torch.isnan(codes), last, torch.minimum(codes - self.shift, last))
        numbers = numbers.to(torch.float32).to(x.dtype)
        if self.sparse:
            numbers = torch.where(numbers == 0, torch.nan, numbers)
        return torch.cat([places, numbers], 1)


class BoosterSums(Module):
    """Sums of trees in single precision.

    Parameters
    ----------
    trees : TreeEnsemble
        The trees, with one output.
    outputs : list of int
        The output that each tree adds to.
    count : int
        Number of outputs.
    base : float
        What the sums begin with, unless the input says it.
    factors : Tensor, shape (trees,), optional
        Factor of each tree.
    base_last : bool
        Whether ``base`` is added last.
    squeeze : bool
        Whether to return (n,) instead of (n, 1).
    """

    factors: Tensor | None

    def __init__(
        self,
        trees: TreeEnsemble,
        outputs: list[int],
        count: int,
        base: float,
        factors: Tensor | None = None,
        base_last: bool = False,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        self.trees, self.outputs, self.count = trees, list(outputs), count
        self.base, self.base_last, self.squeeze = base, base_last, squeeze
        if factors is None:
            self.factors = None
        else:
            self.register_buffer("factors", factors.clone())

    def forward(self, x: Block, start: Tensor | None = None) -> Tensor:
        """(n, features), and (n,) for what the sums begin with, to (n, outputs) or (n,)."""
        values = self.trees.each(x).to(torch.float32)
        if self.factors is not None:
            values = values * self.factors.to(torch.float32)
        rows = values.shape[0]
        begin = values.new_full((rows,), self.base) if start is None else start.to(torch.float32)
        totals = [values.new_zeros(rows) if self.base_last else begin] * self.count
        for tree, output in enumerate(self.outputs):
            totals[output] = totals[output] + values[:, tree]
        if self.base_last:
            totals = [total + begin for total in totals]
        out = torch.stack(totals, 1).to(self.trees.threshold.dtype)
        return out.squeeze(1) if self.squeeze else out


class LinearBooster(Module):
    """A linear map of indicators and numbers in single precision; missing numbers count as zero.

    Parameters
    ----------
    weight : Tensor, shape (places + numbers, outputs)
        The coefficients.
    bias : Tensor, shape (outputs,)
        The bias.
    sizes : list of int
        Number of places of each categorical column; these come first.
    base : float
        What is added to the bias, unless the input says it.
    base_last : bool
        Whether ``base`` is added last.
    squeeze : bool
        Whether to return (n,) instead of (n, 1).
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        sizes: list[int],
        base: float,
        base_last: bool = False,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        self.weight, self.bias = parameter(weight), parameter(bias)
        self.sizes, self.base, self.base_last = list(sizes), base, base_last
        self.squeeze = squeeze

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """(n, columns), and (n,) for what is added to the bias, to (n, outputs) or (n,)."""
        weight, rows = self.weight.to(torch.float32), x.to(torch.float32)
        begin = rows.new_full((len(rows),), self.base) if start is None else start.to(torch.float32)
        total = self.bias.to(torch.float32).expand(len(rows), -1)
        if not self.base_last:
            total = total + begin[:, None]
        first = 0
        for column, size in enumerate(self.sizes):
            place = rows[:, column, None]
            # Places may be none of these.
            known = (place >= 0).to(torch.float32)
            total = total + weight[first + place[:, 0].clamp(min=0).long()] * known
            first += size
        for column in range(len(self.sizes), rows.shape[1]):
            values = rows[:, column, None]
            known = ~torch.isnan(values)
            total = (
                total + torch.where(known, values, 0.0) * weight[first + column - len(self.sizes)]
            )
        if self.base_last:
            total = total + begin[:, None]
        out = total.to(self.weight.dtype)
        return out.squeeze(1) if self.squeeze else out

    def reset_parameters(self) -> None:
        """Draw small coefficients."""
        with torch.no_grad():
            self.weight.normal_(0, 0.1)
            self.bias.zero_()


def single_exp(x: Tensor) -> Tensor:
    """Exponentials, rounded to single precision."""
    return torch.exp(x).to(torch.float32).to(x.dtype)


def single_sigmoid(x: Tensor) -> Tensor:
    """The logistic function in single precision."""
    odds = torch.exp(-x).to(torch.float32)
    return (1 / (1 + odds)).to(x.dtype)


def single_softmax(x: Tensor) -> Tensor:
    """Shares (n, k) of exponentials in single precision."""
    single = x.to(torch.float32)
    distance = (single - single.max(1, keepdim=True)[0]).to(torch.float64)
    weights = torch.exp(distance).to(torch.float32)
    total = weights.to(torch.float64).sum(1, keepdim=True).to(torch.float32)
    return (weights / total).to(x.dtype)


def single_two_shares(share: Tensor) -> Tensor:
    """The probabilities (n, 2) of both classes for that of the second (n,), in single precision."""
    second = share.to(torch.float32)
    return torch.stack([1 - second, second], 1).to(share.dtype)
