"""Soft tree splits: sigmoids, so that thresholds train and gradients reach the input.

The straight-through mode uses hard splits in the forward pass and sigmoid gradients in the backward
pass: Bengio, Léonard and Courville, *Estimating or propagating gradients through stochastic neurons
for conditional computation*, 2013.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .._base import parameter
from .._sparse import Block
from .relaxation import SplitMode
from .routing import _ALMOST_ZERO, ZERO, Routing

if TYPE_CHECKING:
    from typing import Self

_SOFT_CELLS = 1 << 25
# Unit of threshold shifts, as a share of the spread: it scales the effective learning rate.
_UNIT = 0.3
# In columns of at most this many distinct values, a sigmoid is at most this share of a gap wide.
_FEW, _SHARE = 128, 0.1
# A threshold that is this close to a value, as a share of the gap, counts as lying on it.
_EDGE = 0.1


class SoftTrees(Routing):
    """Trees whose splits can be relaxed; subclasses define the values of leaves."""

    unit: Tensor
    spread: Tensor
    widest: Tensor
    shift: Tensor | None
    tree_output: Tensor | None
    linear_feature: Tensor | None
    linear_constant: Tensor | None
    linear_weight: Tensor | None
    way: SplitMode = "leaves"
    temperature: float = 0.005

    def _assignment(self, like: Tensor) -> Tensor:
        raise NotImplementedError

    def soften(
        self, way: SplitMode, temperature: float = 0.005, spread: Tensor | None = None
    ) -> Self:
        """Set how the trees train; in evaluation mode, splits are always hard.

        Parameters
        ----------
        way : {"leaves", "soft", "straight-through"}
            "leaves": only leaf values train. "soft": each split is a sigmoid, so that thresholds
            train and gradients reach the input. "straight-through": hard forward pass, soft
            backward pass.
        temperature : float
            Width of the sigmoids, as a share of the spread of their feature.
        spread : Tensor, optional
            Spread of each column of the input; the spread of its thresholds by default.

        Returns
        -------
        SoftTrees
            The module itself.
        """
        self.way, self.temperature = way, temperature
        self.threshold = self.thresholds().detach().clone()
        del self.shift
        self.shift = None
        if way == "leaves":
            return self
        # In units of the thresholds' spread, one learning rate suits all features.
        self._buffer("spread", self._threshold_spread())
        self._buffer("unit", _UNIT * self.spread)
        self._buffer("widest", torch.full_like(self.threshold, torch.inf))
        self.shift = parameter(torch.zeros_like(self.threshold))
        if spread is not None:
            self.spread_over(spread)
        return self

    def spread_over(self, spread: Tensor) -> None:
        """Set the spread of each input column; constant columns keep that of their thresholds."""
        known = spread[: self.spread.shape[0]].to(self.spread)
        self.spread = torch.where(known > 0, known, self.unit / _UNIT)

    def keep_apart(self, x: Tensor) -> None:
        """Limit sigmoids to the gaps between values of columns with few distinct values.

        Parameters
        ----------
        x : Tensor, shape (n, features)
            Representative rows.
        """
        low, high, few = self._neighbours(x)
        limit = torch.where(few, _SHARE * (high - low), torch.inf)
        self.widest = torch.where(limit > 0, limit, torch.inf).to(self.widest)

    def centre(self, x: Tensor) -> None:
        """Move thresholds that lie on a value of their column to the midpoint of two values.

        The routing of ``x`` does not change, and a sigmoid does not divide rows of equal value.

        Parameters
        ----------
        x : Tensor, shape (n, features)
            Representative rows.
        """
        assert self.shift is not None
        now = self.thresholds().detach()
        low, high, _ = self._neighbours(x)
        share = (now - low) / (high - low)
        off = torch.isfinite(share) & ((share < _EDGE) | (share > 1 - _EDGE))
        move = ((low + high) / 2 - now) / self.unit[self.feature]
        with torch.no_grad():
            self.shift += torch.where(off, move, 0.0).to(self.shift)

    def _neighbours(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The values adjacent to each threshold (NaN if none), and whether its column has few."""
        now = self.thresholds().detach()
        low, high = torch.full_like(now, torch.nan), torch.full_like(now, torch.nan)
        few = torch.zeros_like(now, dtype=torch.bool)
        compares = ~_endless(now)
        if self.category_width is not None:
            compares &= self.category_width == 0
        for column in self.feature[compares].unique().tolist():
            values = x[:, column].to(now.dtype)
            values = values[torch.isfinite(values)].unique()
            if values.numel() < 2:
                continue
            nodes = torch.nonzero(compares & (self.feature == column))[:, 0]
            above = torch.searchsorted(values, now[nodes].contiguous(), right=not self.strict)
            inside = (above > 0) & (above < values.shape[0])
            nodes, above = nodes[inside], above[inside]
            low[nodes], high[nodes] = values[above - 1], values[above]
            few[nodes] = values.numel() <= _FEW
        return low, high, few

    def thresholds(self) -> Tensor:
        """The threshold of each node, shape (nodes,)."""
        if self.shift is None:
            return self.threshold
        # A split at infinity stays there: it separates missing values from all others.
        return self.threshold + self.shift * self.unit[self.feature]

    def _moving(self) -> bool:
        # Fused optimizers change parameters without a new version number.
        return self.shift is not None

    def moved_thresholds(self, before: Tensor) -> Tensor:
        """The thresholds; those that did not move keep the precision of ``before``."""
        now = self.thresholds().detach().to(before.device)
        same = self._narrow(before, now.dtype) == now
        return torch.where(same, before, self._narrow(now, before.dtype))

    def _threshold_spread(self) -> Tensor:
        """Standard deviation of each feature's thresholds; their size if all are equal."""
        width = int(self.feature.max()) + 1 if self.feature.numel() else 1
        t = self.thresholds().detach()
        here = ~_endless(t)
        t, f = t[here], self.feature[here]
        total = torch.zeros(width, dtype=t.dtype, device=t.device)
        count = total.index_add(0, f, torch.ones_like(t)).clamp(min=1)
        mean = total.index_add(0, f, t) / count
        variance = total.index_add(0, f, (t - mean[f]).square()) / count
        size = torch.where(mean == 0, torch.ones_like(mean), mean.abs())
        return torch.where(variance > 0, variance.sqrt(), size)

    def shares(self, x: Block) -> Tensor:
        """The share of each row that reaches each leaf.

        Parameters
        ----------
        x : Tensor or SparseRows, shape (n, features)
            The input.

        Returns
        -------
        Tensor, shape (n, leaves)
            Shares, which sum to one over the leaves of each tree. In straight-through mode, they
            are zeros and ones with the gradients of the soft shares.
        """
        x = self._numbers(x)
        reach, leaf = self._reach(x)
        soft = reach[:, leaf.argsort()]
        if self.way == "soft":
            return soft
        hard = torch.zeros_like(soft).scatter(1, self.leaves(x), 1.0)
        return hard + (soft - soft.detach())

    def _soft(self, x: Tensor, table: Tensor) -> Tensor:
        rows = max(1, _SOFT_CELLS // max(1, self._leaf_tree.shape[0]))
        if x.shape[0] <= rows:
            return self._soft_part(x, table)
        # Gradient checkpointing bounds the memory by the rows of a chunk.
        parts = [checkpoint(self._soft_part, p, table, use_reentrant=False) for p in x.split(rows)]
        return torch.cat(parts)

    def _soft_part(self, x: Tensor, table: Tensor) -> Tensor:
        reach, leaf = self._reach(x)
        tree = self._leaf_tree[leaf]
        if self.linear_weight is None:
            weight = self._assignment(table)[tree]
            return reach @ (
                table[leaf] * (weight if self.tree_output is not None else weight[:, :1])
            )
        return self._soft_linear(x, reach, leaf, table) @ self._assignment(table)[tree]

    def _soft_each(self, x: Tensor, table: Tensor) -> Tensor:
        """The output of each tree, shape (n, trees)."""
        reach, leaf = self._reach(x)
        if self.linear_weight is None:
            values = reach * table[leaf, 0]
        else:
            values = self._soft_linear(x, reach, leaf, table)
        out = values.new_zeros(x.shape[0], self.roots.shape[0])
        return out.index_add(1, self._leaf_tree[leaf], values)

    def _soft_linear(self, x: Tensor, reach: Tensor, leaf: Tensor, table: Tensor) -> Tensor:
        assert self.linear_weight is not None
        assert self.linear_feature is not None
        assert self.linear_constant is not None
        columns = self.linear_feature[leaf]
        used = columns >= 0
        weight = torch.where(used, self.linear_weight[leaf], 0.0)
        place = columns.clamp(min=0)
        dense = weight.new_zeros(leaf.shape[0], x.shape[1]).scatter_add(1, place, weight)
        needed = torch.zeros_like(dense).scatter_add(1, place, used.to(dense.dtype))
        missing = torch.isnan(x)
        inner = torch.where(missing, 0.0, x) @ dense.T + self.linear_constant[leaf]
        fallback = missing.to(dense.dtype) @ needed.T > 0
        return reach * torch.where(fallback, table[leaf, 0], inner)

    def _reach(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The share of each row that reaches each leaf, (n, leaves), and the leaf indices."""
        at = self.roots
        reach = torch.ones(x.shape[0], at.shape[0], dtype=x.dtype, device=x.device)
        arrived, leaf, first = [], [], 0
        for size in [*self.levels, 0]:
            done = at < 0
            if bool(done.any()):
                arrived.append(reach[:, done])
                leaf.append(~at[done])
                reach = reach[:, ~done]
            nodes = self._order[first : first + size]
            first += size
            if size:
                left = self._left_share(x, nodes)
                reach = torch.cat([reach * left, reach * (1 - left)], 1)
                at = torch.cat([self.left[nodes], self.right[nodes]])
        return torch.cat(arrived, 1), torch.cat(leaf)

    def _left_share(self, x: Tensor, nodes: Tensor) -> Tensor:
        """Share of each row that goes left, shape (n, nodes); hard for uncompared values."""
        feature = self.feature[nodes]
        value = x.index_select(1, feature)
        threshold = self.thresholds()[nodes]
        width = self.temperature * self.spread[feature]
        width = torch.minimum(width, self.widest[nodes]).to(x.dtype)
        hard = self._uncompared(value, threshold, nodes)
        if not bool(hard.any()):
            return torch.sigmoid((threshold - value) / width)
        gap = torch.where(hard, 0.0, threshold - value)
        soft = torch.sigmoid(torch.where(hard, 0.0, gap) / width)
        return torch.where(hard, self._left(x, nodes).to(x.dtype), soft)

    def _uncompared(self, value: Tensor, threshold: Tensor, nodes: Tensor) -> Tensor:
        """Entries whose direction does not depend on the distance from a threshold."""
        hard = ~torch.isfinite(value) | _endless(threshold)
        if self.category_width is not None:
            hard = hard | (self.category_width[nodes] > 0)
        return hard | ((self.missing[nodes] == ZERO) & (value.abs() <= _ALMOST_ZERO))

    def _left(self, x: Tensor, nodes: Tensor) -> Tensor:
        """Whether each row goes left, shape (n, nodes)."""
        with torch.no_grad():
            bounds = self._bounds(x)
            at = self._number[nodes]
            mine = self._columns(x, bounds.dtype).index_select(1, self._column[at])
            left = mine <= bounds[at]
            if self.category_width is None:
                return left
            chosen = self._category_width[at] > 0
            way = ~self._goes_right(at.expand(mine.shape), mine)
            return torch.where(chosen, way, left)


def _endless(t: Tensor) -> Tensor:
    """Which thresholds are infinite, NaN or at least the largest float32 number in size."""
    return ~(t.abs() < torch.finfo(torch.float32).max)
