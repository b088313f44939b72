"""Splits that are sigmoids, so that thresholds and the input train."""

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
# A step of an optimizer is that much smaller for thresholds than for numbers of their spread.
_UNIT = 0.3
# Columns of so many values have gaps, of which a sigmoid is at most this share wide.
_FEW, _SHARE = 128, 0.1
# A threshold so near to a value, as a share of the gap, lies on it.
_EDGE = 0.1


class SoftTrees(Routing):
    """Trees whose splits can be softened; what their leaves add is a subclass's matter."""

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
        """Choose how the trees train; in `eval` they are hard whatever was chosen.

        Parameters
        ----------
        way : {"leaves", "soft", "straight-through"}
            "leaves": leaf values alone. "soft": a sigmoid at each split, so that thresholds train
            and gradients reach the input. "straight-through": hard forward, soft backward.
        temperature : float
            Width of the sigmoids, as a share of the spread of their feature.
        spread : Tensor, optional
            Spread of each column of the input; of its thresholds if not given.

        Returns
        -------
        SoftTrees
            Itself.
        """
        self.way, self.temperature = way, temperature
        self.threshold = self.thresholds().detach().clone()
        del self.shift
        self.shift = None
        if way == "leaves":
            return self
        # Relative to the thresholds' own spread, one rate suits all features.
        self._buffer("spread", self._threshold_spread())
        self._buffer("unit", _UNIT * self.spread)
        self._buffer("widest", torch.full_like(self.threshold, torch.inf))
        self.shift = parameter(torch.zeros_like(self.threshold))
        if spread is not None:
            self.spread_over(spread)
        return self

    def spread_over(self, spread: Tensor) -> None:
        """Say how wide each column of the input is spread; where it is not, thresholds tell."""
        known = spread[: self.spread.shape[0]].to(self.spread)
        self.spread = torch.where(known > 0, known, self.unit / _UNIT)

    def keep_apart(self, x: Tensor) -> None:
        """Keep sigmoids between the values of columns that have few.

        Parameters
        ----------
        x : Tensor, shape (n, features)
            Typical rows.
        """
        low, high, few = self._neighbours(x)
        limit = torch.where(few, _SHARE * (high - low), torch.inf)
        self.widest = torch.where(limit > 0, limit, torch.inf).to(self.widest)

    def centre(self, x: Tensor) -> None:
        """Move thresholds that lie on a value of their column to the middle between two values.

        No row of ``x`` changes its way, and a sigmoid does not divide rows that a split does not.

        Parameters
        ----------
        x : Tensor, shape (n, features)
            Typical rows.
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
        """The values beside each threshold, and whether its column has few; NaN where none."""
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
        """What each node compares with, shape (nodes,)."""
        if self.shift is None:
            return self.threshold
        # A split at infinity stays there: it tells what is missing from what is not.
        return self.threshold + self.shift * self.unit[self.feature]

    def _moving(self) -> bool:
        # Fused optimizers change parameters without counting it.
        return self.shift is not None

    def moved_thresholds(self, before: Tensor) -> Tensor:
        """The thresholds, in the precision that ``before`` had where they did not move."""
        now = self.thresholds().detach().to(before.device)
        same = self._narrow(before, now.dtype) == now
        return torch.where(same, before, self._narrow(now, before.dtype))

    def _threshold_spread(self) -> Tensor:
        """Standard deviation of each feature's thresholds; their size where there is but one."""
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
        """How much of each row arrives at each leaf.

        Parameters
        ----------
        x : Tensor or SparseRows, shape (n, features)
            The input.

        Returns
        -------
        Tensor, shape (n, leaves)
            They sum to one over the leaves of each tree. Zeros and ones, with the gradients of
            the shares, where the way is "straight-through".
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
        # Recomputed in the backward pass: what is kept grows with the rows of a part.
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
        """What each tree gives alone, shape (n, trees)."""
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
        """How much of each row arrives at each leaf, (n, leaves), and which leaves these are."""
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
        """Share of each row that goes left, shape (n, nodes): hard where nothing is compared."""
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
        """Where no distance from a threshold decides."""
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
    """Which thresholds stand beyond all numbers, or at the last one of float32."""
    return ~(t.abs() < torch.finfo(torch.float32).max)
