"""Which leaf a row reaches in each of many trees, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from ._base import Module
from ._sparse import Block, SparseRows
from ._splits import Routed

if TYPE_CHECKING:
    from typing import Self

NAN = 0
"""NaN goes the default way."""
AS_ZERO = 1
"""NaN counts as zero."""
ZERO = 2
"""NaN and zeros go the default way."""
_ALMOST_ZERO = 1.0000000180025095e-35  # the float32 number next to 1e-35
_CELLS = 1 << 17
_FEW = 1 << 15
_BITS = 64


class Routing(Module):
    """The splits of many trees; see `TreeEnsemble` for the arguments.

    There are several ways to the same leaves: from node to node (`_walk`), every node at once and
    then along the paths (`_leap`), and every node at once in bits (`_scan`). Which one is quickest
    depends on the number of rows and on the size of the trees.
    """

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    default_left: Tensor | None
    missing: Tensor
    category_width: Tensor | None
    category_left: Tensor | None
    unknown_left: Tensor | None
    _order: Tensor
    _leaf_tree: Tensor
    _start: Tensor
    _place: Tensor
    _number: Tensor
    _right: Tensor
    _leaf_at: Tensor
    _scan_node: Tensor
    _scan_column: Tensor
    _scan_mask: Tensor
    _scan_start: Tensor
    _scan_leaf: Tensor
    _scan_tree: Tensor
    _column: Tensor
    _column_feature: Tensor
    _column_seen: Tensor
    _category_start: Tensor
    _category_width: Tensor
    _unknown_left: Tensor
    _default_left: Tensor

    def __init__(
        self,
        roots: Tensor,
        feature: Tensor,
        threshold: Tensor,
        left: Tensor,
        right: Tensor,
        *,
        strict: bool,
        single: bool,
        default_left: Tensor | None,
        missing: int | Tensor,
        category_width: Tensor | None,
        category_left: Tensor | None,
        unknown_left: Tensor | None,
        missing_value: float | None,
        absent: float,
        whole: bool,
    ) -> None:
        super().__init__()
        self.strict, self.single = strict, single
        self.missing_value, self.absent, self.whole = missing_value, absent, whole
        self._known: Any = None
        if isinstance(missing, int):
            missing = torch.full_like(feature, missing)
        categorical = category_width is not None and bool((category_width > 0).any())
        self.register_buffer("roots", roots)
        self.register_buffer("feature", feature)
        self.register_buffer("threshold", threshold.clone())
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self._optional("default_left", default_left)
        self.register_buffer("missing", missing)
        self._optional("category_width", category_width if categorical else None)
        self._optional("category_left", category_left if categorical else None)
        self._optional("unknown_left", unknown_left if categorical else None)
        self._plan()

    def _optional(self, name: str, values: Tensor | None) -> None:
        if values is None:
            setattr(self, name, None)  # torch.export miscounts buffers that are None
        else:
            self.register_buffer(name, values)

    def _buffer(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast; a threshold that loses digits keeps its side of what has fewer digits.

        Rounding it to the nearest number could put it on the other side of a row.
        """
        before = self.threshold.detach()
        self._known = None
        super()._apply(fn, recurse)
        if self.threshold.dtype.itemsize < before.dtype.itemsize:
            rounded = self._narrow(before, self.threshold.dtype)
            with torch.no_grad():
                self.threshold.copy_(rounded)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

    def thresholds(self) -> Tensor:
        """What each node compares with, shape (nodes,)."""
        return self.threshold

    def _narrow(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """Thresholds of another type that split its numbers as ``t`` does."""
        return -_round_down(-t, dtype, False) if self.strict else _round_down(t, dtype, False)

    # -- what follows from the structure -------------------------------------------------------

    def _plan(self) -> None:
        """Find the depth, the tree of each leaf, and the columns that nodes look at."""
        count, trees = self.feature.shape[0], self.roots.shape[0]
        self.levels: list[int] = []
        leaves = count + trees  # each node divides one of them
        order, owner = [], torch.zeros(leaves, dtype=torch.int64)
        at, tree = self.roots, torch.arange(trees)
        while at.numel():
            done = at < 0
            owner[~at[done]] = tree[done]
            at, tree = at[~done], tree[~done]
            if at.numel():
                order.append(at)
                self.levels.append(int(at.shape[0]))
                at = torch.cat([self.left[at], self.right[at]])
                tree = tree.repeat(2)
        self.depth = len(order)
        nodes = torch.cat(order) if order else torch.zeros(0, dtype=torch.int64)
        self._buffer("_order", nodes)
        self._buffer("_leaf_tree", owner)
        self._plan_walk(nodes, count, leaves)
        self._plan_columns(count)
        self._scan_sizes: list[int] = []
        most = int(torch.bincount(owner, minlength=1).max())
        if self.category_width is None and 1 < most <= _BITS:
            self._plan_scan(nodes, most)

    def _ends(self, code: Tensor) -> Tensor:
        """Leaves numbered after the nodes."""
        return torch.where(code < 0, self.feature.shape[0] + ~code, code)

    def _plan_walk(self, nodes: Tensor, count: int, leaves: int) -> None:
        """Number nodes and leaves anew, so that the two children of a node are neighbors."""
        pairs = torch.stack([self.right, self.left], 1)[nodes].flatten()
        place = self._ends(torch.cat([self.roots, pairs]))
        number = torch.empty(count + leaves, dtype=torch.int64)
        number[place] = torch.arange(count + leaves)
        right = torch.cat([number[self._ends(self.right)], number[count:]])
        self._buffer("_place", place)
        self._buffer("_number", number)
        self._buffer("_start", number[self._ends(self.roots)])
        self._buffer("_right", right[place])
        self._buffer("_leaf_at", place - count)

    def _plan_columns(self, count: int) -> None:
        # A column is a feature seen in one of five ways: what is missing is put at the end of the
        # line that leads the default way, so that the walk itself compares and nothing else.
        default = torch.zeros(count, dtype=torch.bool)
        if self.default_left is not None:
            default = self.default_left
        seen = torch.where(self.missing == NAN, default.long(), 2)
        seen = torch.where(self.missing == ZERO, 3 + default.long(), seen)
        if self.category_width is not None:
            seen = torch.where(self.category_width > 0, 0, seen)
        keys, column = torch.unique(self.feature * 5 + seen, return_inverse=True)
        if not keys.numel():
            keys = torch.zeros(1, dtype=torch.int64)
        self._buffer("_column_feature", keys // 5)
        self._buffer("_column_seen", keys % 5)
        self._plain = not bool((keys % 5).any())
        self._buffer("_column", self._renumbered(column))
        if self.category_width is not None:
            width = self.category_width
            unknown = torch.zeros_like(default)
            unknown = unknown if self.unknown_left is None else self.unknown_left
            self._buffer("_category_start", self._renumbered(width.cumsum(0) - width))
            self._buffer("_category_width", self._renumbered(width))
            self._buffer("_unknown_left", self._renumbered(unknown))
            self._buffer("_default_left", self._renumbered(default))

    def _renumbered(self, values: Tensor) -> Tensor:
        """What nodes have, in the order of the walk; nothing at leaves."""
        return functional.pad(values, (0, self._leaf_tree.shape[0]))[self._place]

    def _plan_scan(self, nodes: Tensor, most: int) -> None:
        """Which leaves each node rules out, as bits; nodes in turns, one of each tree a turn."""
        count, trees = self.feature.shape[0], self.roots.shape[0]
        right, tree, bit = self._bits(nodes)
        mask = ((1 << right) - 1) << bit[:count]
        held = torch.bincount(tree, minlength=trees)
        order = torch.argsort(held, descending=True, stable=True)
        rank = torch.argsort(order)
        held = held[order]
        by_tree = torch.argsort(rank[tree], stable=True)
        turn = torch.arange(count) - (held.cumsum(0) - held)[rank[tree[by_tree]]]
        by_turn = by_tree[torch.argsort(turn, stable=True)]
        self._scan_sizes = torch.bincount(turn).tolist()
        kind = torch.int32 if most <= 32 else torch.int64
        leaf = torch.zeros(trees * _BITS, dtype=torch.int64)
        leaf[rank[self._leaf_tree] * _BITS + bit[count:]] = torch.arange(len(self._leaf_tree))
        self._buffer("_scan_node", self._number[by_turn])
        self._buffer("_scan_column", self._column[self._scan_node])
        self._buffer("_scan_mask", mask[by_turn].to(kind))
        self._buffer("_scan_start", (torch.arange(trees) * _BITS).to(kind))
        self._buffer("_scan_leaf", leaf)
        self._buffer("_scan_tree", rank)

    def _bits(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Leaves to the right of each node, its tree, and the first bit of nodes and leaves."""
        count, leaves = self.feature.shape[0], self._leaf_tree.shape[0]
        left, right = self._ends(self.left), self._ends(self.right)
        size = torch.ones(count + leaves, dtype=torch.int64)
        bit = torch.zeros(count + leaves, dtype=torch.int64)
        tree = torch.zeros(count + leaves, dtype=torch.int64)
        tree[self._ends(self.roots)] = torch.arange(self.roots.shape[0])
        levels = nodes.split(self.levels)
        for level in reversed(levels):
            size[level] = size[left[level]] + size[right[level]]
        # Bits count leaves from the right.
        for level in levels:
            bit[right[level]] = bit[level]
            bit[left[level]] = bit[level] + size[right[level]]
            tree[right[level]] = tree[left[level]] = tree[level]
        return size[right], tree[:count], bit

    # -- from rows to leaves -------------------------------------------------------------------

    def leaves(self, x: Block | Routed) -> Tensor:
        """The leaf of each row in each tree.

        Parameters
        ----------
        x : Tensor, SparseRows or Routed, shape (n, features)
            The input.

        Returns
        -------
        Tensor of int64 or int32, shape (n, trees)
            Rows of `leaf_table`.
        """
        if isinstance(x, Routed):
            return x.leaves
        x = self._numbers(x)
        bounds = self._bounds(x)
        if _captured():
            return self._route(x, bounds)
        return torch.cat([self._route(part, bounds) for part in x.split(self._rows())])

    def node_trees(self) -> Tensor:
        """The tree of each node, shape (nodes,)."""
        tree = torch.empty_like(self.feature)
        for level in reversed(self._order.split(self.levels)):
            child = self.left[level]
            inner = child >= 0
            below = self._leaf_tree[torch.where(inner, 0, ~child)]
            tree[level] = torch.where(inner, tree[child.clamp(min=0)], below)
        return tree

    def _numbers(self, x: Block) -> Tensor:
        """Dense rows with NaN for all that is missing."""
        if isinstance(x, SparseRows):
            x = x.to_dense(self.absent)
        if self.missing_value is None:
            return x
        low = torch.float32 if self.single else x.dtype
        mark = torch.tensor(self.missing_value, dtype=low, device=x.device)
        return torch.where(x.to(low) == mark, torch.nan, x)

    def _rows(self) -> int:
        return max(1, _CELLS // max(1, self.roots.shape[0]))

    def _route(self, x: Tensor, bounds: Tensor) -> Tensor:
        with torch.no_grad():
            seen = self._columns(x.detach(), bounds.dtype)
            if _captured():
                return self._walk(seen, bounds)
            if seen.shape[0] * bounds.shape[0] <= _FEW:
                return self._leap(seen, bounds)
            return self._scan(seen, bounds) if self._scan_sizes else self._walk(seen, bounds)

    def _bounds(self, x: Tensor) -> Tensor:
        """Bounds with ``x <= bound`` for all that go left, in the type that is compared."""
        # A float32 number is below a threshold if it is below the next float32 beneath that.
        low = torch.float32 if self.single else x.dtype
        if _captured() or self._moving():
            return self._rounded(low)
        # One row should not cost a pass over all nodes.
        now = self.threshold
        key = (low, now.device, now.dtype, now.data_ptr(), now._version)
        if self._known is None or self._known[0] != key:
            self._known = key, self._rounded(low)
        return self._known[1]

    def _moving(self) -> bool:
        """Whether thresholds may change unnoticed."""
        return False

    def _rounded(self, low: torch.dtype) -> Tensor:
        """Bounds of nodes in the order of the walk; at leaves no comparison holds."""
        with torch.no_grad():
            bounds = _round_down(self.thresholds().detach(), low, self.strict)
            walls = bounds.new_full(self._leaf_tree.shape, torch.nan)
            return torch.cat([bounds, walls])[self._place]

    def _columns(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Columns as the nodes see them."""
        x = x.to(dtype).index_select(1, self._column_feature)
        return x if self._plain else _seen(x, self._column_seen)

    def _walk(self, x: Tensor, bounds: Tensor) -> Tensor:
        """From node to node, all trees at once; at a leaf nothing compares and all stay."""
        rows, trees = x.shape[0], self._start.shape[0]
        offset = torch.arange(rows, device=x.device)[:, None] * x.shape[1]
        offset = offset.expand(rows, trees).reshape(-1)
        at, cells = self._start.expand(rows, trees).reshape(-1), x.reshape(-1)
        for _ in range(self.depth):
            value = cells.index_select(0, self._column.index_select(0, at) + offset)
            left = value <= bounds.index_select(0, at)
            if self.category_width is not None:
                chosen = self._category_width.index_select(0, at) > 0
                left = torch.where(chosen, ~self._goes_right(at, value), left)
            # The children of a node are neighbors, the right one first.
            at = self._right.index_select(0, at) + left
        return self._leaf_at.index_select(0, at).view(rows, trees)

    def _leap(self, x: Tensor, bounds: Tensor) -> Tensor:
        """For few rows: what follows on every node, and then along the paths."""
        rows = x.shape[0]
        value = x.index_select(1, self._column)
        left = value <= bounds
        if self.category_width is not None:
            at = torch.arange(bounds.shape[0], device=x.device).expand(value.shape)
            left = torch.where(self._category_width > 0, ~self._goes_right(at, value), left)
        after = self._right + left
        at = self._start.expand(rows, -1)
        for _ in range(self.depth):
            at = after.gather(1, at)
        return self._leaf_at.index_select(0, at.reshape(-1)).view(at.shape)

    def _scan(self, x: Tensor, bounds: Tensor) -> Tensor:
        """Every node of small trees at once, in bits.

        A node whose comparison holds rules out the leaves to its right; the rightmost that is
        left over is the one. Looking at all nodes in a row is quicker than at few here and there.
        """
        rows, trees = x.shape[0], self._start.shape[0]
        lines = x.T.contiguous()
        bounds = bounds.index_select(0, self._scan_node)[:, None]
        mask, kind = self._scan_mask[:, None], self._scan_mask.dtype
        ruled_out = torch.zeros(trees, rows, dtype=kind, device=x.device)
        seen = torch.empty(trees, rows, dtype=x.dtype, device=x.device)
        held = torch.empty(trees, rows, dtype=kind, device=x.device)
        first = 0
        for size in self._scan_sizes:
            here = slice(first, first + size)
            first += size
            line, holds = seen[:size], held[:size]
            torch.index_select(lines, 0, self._scan_column[here], out=line)
            torch.le(line, bounds[here], out=holds)
            ruled_out[:size].bitwise_or_(holds.mul_(mask[here]))
        left_over = ruled_out.bitwise_not_()
        place = _exponent(left_over & left_over.neg())
        place += self._scan_start[:, None]
        leaves = self._scan_leaf.index_select(0, place.view(-1)).view(trees, rows)
        return leaves.index_select(0, self._scan_tree).T

    def _goes_right(self, at: Tensor, value: Tensor) -> Tensor:
        """The way at categorical nodes; anything at others."""
        assert self.category_left is not None
        width = self._category_width[at]
        missing = torch.isnan(value)
        code = torch.where(missing, -1.0, value)
        code = (code.floor() if self.whole else code.trunc()).clamp(-2.0, 2.0**31)
        known = (code > -1) & (code < width)
        code = torch.where(known, code, 0.0).long()
        entry = (self._category_start[at] + code).clamp(max=self.category_left.shape[0] - 1)
        left = torch.where(known, self.category_left[entry], self._unknown_left[at])
        return ~torch.where(missing, self._default_left[at], left)


def _seen(x: Tensor, how: Tensor) -> Tensor:
    """What is missing, moved to where a comparison leads the default way."""
    missing = torch.isnan(x)
    zero = missing | (x.abs() <= _ALMOST_ZERO)
    # 0: NaN right, 1: NaN left, 2: NaN is zero, 3: NaN and zeros right, 4: both left.
    x = torch.where((how == 2) & missing, 0.0, x)
    x = torch.where(((how == 1) & missing) | ((how == 4) & zero), -torch.inf, x)
    return torch.where((how == 3) & zero, torch.nan, x)


def _round_down(t: Tensor, dtype: torch.dtype, strict: bool) -> Tensor:
    """The largest number of a type that is not above ``t``; below it if ``strict``."""
    rounded = t.to(dtype)
    again = rounded.to(t.dtype)
    over = (again >= t) if strict else (again > t)
    lower = torch.nextafter(rounded, torch.full_like(rounded, -torch.inf))
    if strict:  # nothing is below minus infinity
        lower = torch.where(t == -torch.inf, torch.full_like(lower, torch.nan), lower)
    return torch.where(over, lower, rounded)


def _captured() -> bool:
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()


def _exponent(powers: Tensor) -> Tensor:
    """The place of the single bit of each number."""
    if powers.dtype == torch.int32:
        return ((powers.to(torch.float32).view(torch.int32) >> 23) & 255) - 127
    return ((powers.to(torch.float64).view(torch.int64) >> 52) & 2047) - 1023
