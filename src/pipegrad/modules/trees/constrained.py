"""Trees that stay monotone in some of their features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .adjacency import Splits, adjacent_leaves
from .order import LeafOrder
from .routing import AS_ZERO, _captured
from .soft import SoftTrees

if TYPE_CHECKING:
    from typing import Self


class MonotoneTrees(SoftTrees):
    """Trees whose leaf values respect monotone constraints; subclasses define the values.

    Each tree is monotone by itself, whatever the values that the optimizer reaches: `LeafOrder`
    maps them to the table in use. Hard splits use the order of the leaves at the present
    thresholds, soft ones in training the order at the fitted thresholds.
    """

    monotone: Tensor | None
    _ordered_at: Tensor
    _violated: Tensor
    _direction: Tensor | None
    order: LeafOrder | None
    _latest: Latest
    mode_is_flag = True
    """Setting evaluation mode computes in advance what is computed on demand, too."""

    def _constrain(
        self, monotone: Tensor | None, table: Tensor, direction: Tensor | None = None
    ) -> None:
        """Set the constraint of each node; pairs of leaves that ``table`` violates stay free."""
        self._latest, self.order = Latest(), None
        constrained = monotone is not None and bool((monotone != 0).any())
        self._optional("monotone", monotone if constrained else None)
        if not constrained:
            return
        now = self.thresholds().detach()
        self._buffer("_violated", self.roots.new_empty(0))
        if direction is None:
            self._direction = None
        else:
            self._buffer("_direction", direction)
        order = self._order_for(now)
        seen = table.detach() if direction is None else table.detach() * direction
        violated = (seen[order.lower] > seen[order.upper]).any(1)
        self._buffer("_violated", self._key(order.lower, order.upper)[violated])
        self.order = self._order_for(now) if bool(violated.any()) else order
        self._buffer("_ordered_at", now.clone())

    @property
    def free_pairs(self) -> int:
        """Number of pairs of leaves that stay free, as the fitted values violate their order."""
        return 0 if self.order is None else len(self._violated)

    def monotone_values(self, table: Tensor, thresholds: Tensor | None = None) -> Tensor:
        """The values that respect the constraints, close to those given.

        Parameters
        ----------
        table : Tensor, shape (leaves, k)
            Leaf values. If they respect the constraints, they do not change.
        thresholds : Tensor, shape (nodes,), optional
            Thresholds of the splits; the present ones by default.

        Returns
        -------
        Tensor, shape (leaves, k)
            The values on the device of ``table``.
        """
        if self.order is None:
            return table
        now = self.thresholds().detach() if thresholds is None else thresholds
        order = self._order_at(now)
        return order(table.to(order.lower.device)).to(table.device)

    def _fitted_values(self, table: Tensor) -> Tensor:
        """The values that respect the constraints at the fitted thresholds."""
        return table if self.order is None else self.order(table)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode."""
        super().train(mode)
        if not mode and self.order is not None and not _captured():
            self._order_at(self.thresholds().detach())  # a traced graph cannot compute it
        return self

    def _order_at(self, thresholds: Tensor) -> LeafOrder:
        """The order of the leaves; computed anew only if the thresholds differ."""
        assert self.order is not None
        latest = self._latest.entry
        if _captured():
            return self.order if latest is None else latest[1]
        if _identical(self._ordered_at, thresholds):
            return self.order
        if latest is None or not _identical(latest[0], thresholds):
            latest = thresholds.clone(), self._order_for(thresholds)
            self._latest.entry = latest
        return latest[1]

    def _order_for(self, thresholds: Tensor) -> LeafOrder:
        lower, upper = self._pairs(thresholds)
        kept = ~torch.isin(self._key(lower, upper), self._violated)
        return LeafOrder(lower[kept], upper[kept], self._leaf_tree.shape[0], self._direction)

    def _pairs(self, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """The leaves of each pair: the one with the lower value comes first."""
        return adjacent_leaves(self._splits(thresholds.to(self.feature.device)))

    def _key(self, lower: Tensor, upper: Tensor) -> Tensor:
        """One number for each pair of leaves."""
        return lower * self._leaf_tree.shape[0] + upper

    def _splits(self, thresholds: Tensor) -> Splits:
        assert self.monotone is not None
        default, column = self.default_left, self.feature
        if default is None:
            default = torch.zeros_like(self.feature, dtype=torch.bool)
        zero_left = (thresholds > 0) if self.strict else (thresholds >= 0)
        default = torch.where(self.missing == AS_ZERO, zero_left, default)
        monotone = self.monotone
        if self.category_width is not None:
            chosen = self.category_width > 0
            column = torch.where(chosen, self._category_columns(), column)
            thresholds = torch.where(chosen, 0.0, thresholds)
            if self.default_left is not None:
                default = torch.where(chosen, self.default_left, default)
            monotone = torch.where(chosen, 0, monotone)
        return Splits(
            self.roots,
            self.left,
            self.right,
            self.node_trees(),
            column,
            thresholds.double(),
            default,
            monotone,
        )

    def _category_columns(self) -> Tensor:
        """A column for each set of categories that goes left, after the columns of the input."""
        assert self.category_width is not None
        assert self.category_left is not None
        width = self.category_width.cpu()
        sets = self.category_left.cpu().split(width.tolist())
        flags = [
            torch.zeros_like(width, dtype=torch.bool) if flag is None else flag.cpu()
            for flag in (self.unknown_left, self.default_left)
        ]
        first = int(self.feature.max()) + 1
        known: dict[Any, int] = {}
        column = torch.zeros_like(width)
        for node in torch.nonzero(width)[:, 0].tolist():
            others = tuple(bool(flag[node]) for flag in flags)
            key = int(self.feature[node]), sets[node].numpy().tobytes(), others
            column[node] = first + known.setdefault(key, len(known))
        return column.to(self.feature.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        fixed = self.order is not None and _identical(self._ordered_at, self.thresholds().detach())
        super()._apply(fn, recurse)
        self._latest = Latest()
        if fixed:  # Thresholds that rounding makes equal separate leaves in the source.
            self._ordered_at = self.thresholds().detach().clone()
        return self


class Latest:
    """The latest thresholds with the order of the leaves at them.

    Views of a module share it; copies and pickles start with an empty one. Threads may use it at
    the same time, since an entry is replaced as a whole.
    """

    def __init__(self) -> None:
        self.entry: tuple[Tensor, LeafOrder] | None = None

    def __reduce__(self) -> tuple[type[Latest], tuple[()]]:
        return Latest, ()


def _identical(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
