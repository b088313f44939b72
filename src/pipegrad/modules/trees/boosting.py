"""Models around trees: boosting from an initial predictor, medians, isolation forests."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .._base import Module
from .._sparse import Block, SparseRows
from .ensemble import TreeEnsemble
from .relaxation import LeafIndices

Link = Literal["identity", "logit", "half_logit", "multinomial_logit"]


class InitializedBoosting(Module):
    """Boosted trees added to the output of an initial predictor.

    Parameters
    ----------
    start : Module
        Initial predictor of means (n,) or (n, 1), or of class probabilities (n, classes).
    trees : TreeEnsemble
        Trees, which are added on the scale of the link.
    link : {"identity", "logit", "half_logit", "multinomial_logit"}
        Link from probabilities to raw scores; the logits use the second of two classes.
    smallest : float
        Smallest distance of probabilities from zero and one.
    single : bool
        Whether ``start``, like the trees, gets float32 numbers.
    """

    def __init__(
        self,
        start: nn.Module,
        trees: TreeEnsemble,
        link: Link = "identity",
        smallest: float = 0.0,
        single: bool = False,
    ) -> None:
        super().__init__()
        self.start, self.trees = start, trees
        self.link, self.smallest, self.single = link, smallest, single

    def forward(self, x: Block | LeafIndices) -> Tensor:
        """Map (n, features) to (n,) or (n, outputs)."""
        raw = x.rest if isinstance(x, LeafIndices) else x
        seen = raw.to(torch.float32).to(raw.dtype) if self.single else raw
        return self.trees(x) + self._begin(self.start(seen))

    def route(self, x: Block) -> LeafIndices:
        """The rows with precomputed leaves, which the forward pass accepts as well."""
        return LeafIndices(self.trees.route(x).leaves, x)

    def _begin(self, out: Tensor) -> Tensor:
        if self.link == "identity":
            return out.squeeze(1) if out.ndim > 1 and self.trees.squeeze else out
        p = out if self.link == "multinomial_logit" else out[:, 1]
        smallest = max(self.smallest, torch.finfo(p.dtype).eps)
        p = p.clamp(smallest, 1 - smallest)
        if self.link == "multinomial_logit":
            return torch.log(p) - torch.log(p).mean(1, keepdim=True)
        return torch.logit(p) * (0.5 if self.link == "half_logit" else 1.0)


class WeightedMedian(Module):
    """The weighted median of the outputs of trees.

    AdaBoost.R2 predicts in this way: Drucker, *Improving regressors using boosting techniques*,
    ICML 1997.

    Parameters
    ----------
    trees : TreeEnsemble
        Trees with one output.
    weights : Tensor, shape (trees,)
        Weight of each tree.
    """

    weights: Tensor

    def __init__(self, trees: TreeEnsemble, weights: Tensor) -> None:
        super().__init__()
        self.trees = trees
        self.register_buffer("weights", weights.clone())

    def forward(self, x: Block | LeafIndices) -> Tensor:
        """Map (n, features) to (n,)."""
        values, order = self.trees.each(x).sort(1)
        reached = self.weights[order].cumsum(1)
        half = (reached >= 0.5 * reached[:, -1:]).to(torch.uint8)
        return values.gather(1, half.argmax(1, keepdim=True)).squeeze(1)

    def route(self, x: Block) -> LeafIndices:
        """The rows with precomputed leaves, which the forward pass accepts as well."""
        return self.trees.route(x)


class Isolation(Module):
    """The decision value of an isolation forest: ``-2 ** (-path length / typical) - offset``.

    See Liu, Ting and Zhou, *Isolation forest*, ICDM 2008.

    Parameters
    ----------
    trees : TreeEnsemble
        Trees whose leaf values are path lengths; the ensemble returns their sum (n,).
    typical : float
        Sum of the expected path lengths.
    offset : Tensor, shape ()
        Offset, which is subtracted from the score.
    """

    offset: Tensor

    def __init__(self, trees: TreeEnsemble, typical: float, offset: Tensor) -> None:
        super().__init__()
        self.trees, self.typical = trees, typical
        self.register_buffer("offset", offset)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n,): negative for outliers."""
        length = self.trees(x)
        # A forest grown from a single row has no path lengths.
        share = length / self.typical if self.typical else torch.ones_like(length)
        return -torch.exp2(-share) - self.offset


def share_of_lengths(length: Tensor, shortest: int, longest: int) -> Tensor:
    """How near lengths (n,) are to the shortest of a range; 1 if the range is empty."""
    if longest <= shortest:
        return torch.ones_like(length)
    return (longest - length) / (longest - shortest)


def anomaly_score(length: Tensor, typical: float) -> Tensor:
    """Two to the negative ratio of lengths (n,) and a typical one."""
    return torch.exp2(-(length / typical))


class LeafIndicators(Module):
    """One-hot encoding of the leaf that a row reaches in each tree.

    Parameters
    ----------
    trees : TreeEnsemble
        The trees.
    column : Tensor of int64, shape (leaves,)
        Column of each leaf.
    width : int
        Number of columns.
    sparse : bool
        Whether the result is `SparseRows`.
    """

    column: Tensor

    def __init__(self, trees: TreeEnsemble, column: Tensor, width: int, sparse: bool) -> None:
        super().__init__()
        self.trees, self.width, self.sparse = trees, width, sparse
        self.register_buffer("column", column)

    def forward(self, x: Block) -> Block:
        """Map (n, features) to (n, width)."""
        if self.training and self.trees.way != "leaves":
            return self._shares(x)
        columns = self.column[self.trees.leaves(x)]
        rows, each = columns.shape
        ones = torch.ones(columns.shape, dtype=x.dtype, device=x.device)
        if not self.sparse:
            return ones.new_zeros(rows, self.width).scatter(1, columns, ones)
        starts = torch.arange(rows + 1, device=x.device) * each
        return SparseRows(starts, columns.flatten(), ones.flatten(), self.width)

    def _shares(self, x: Block) -> Block:
        """The share of each row that reaches each leaf."""
        shares = self.trees.shares(x)[:, self.column.argsort()]
        return SparseRows.from_dense(shares) if self.sparse else shares
