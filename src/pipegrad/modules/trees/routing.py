"""Exact routing: the leaf that a row reaches in each of many trees."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from .._base import Module
from .._sparse import Block, SparseRows
from .._threads import map_in_threads, threads_for
from .bitvectors import Scan, Shape, even_trees, small_trees
from .cache import Cache
from .relaxation import LeafIndices

if TYPE_CHECKING:
    from typing import Self

NAN = 0
"""NaN goes in the default direction."""
AS_ZERO = 1
"""NaN counts as zero."""
ZERO = 2
"""NaN and zeros go in the default direction."""
_ALMOST_ZERO = 1.0000000180025095e-35  # the float32 number next to 1e-35
_CELLS = 1 << 18
# Rows times trees up to which rows count as few, and rows times nodes of a level that cost less
# than a step of the walk.
_FEW, _NARROW = 1 << 12, 1 << 13
_LARGE = 1 << 31
# NaN right, NaN left, NaN is zero, NaN and zeros right, both left.
_INSTEAD = (torch.nan, -torch.inf, 0.0, torch.nan, -torch.inf)


class Routing(Module):
    """The splits of many trees; see `TreeEnsemble` for the arguments.

    Three algorithms find the same leaves: a walk from node to node (`_walk`), an evaluation of all
    top nodes followed by look-ups along the paths (`_leap`), and bit vectors (`_scan`). Which one
    is fastest depends on the number of rows and on the size of the trees.
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
    _column: Tensor
    _column_feature: Tensor
    _column_seen: Tensor
    _category_start: Tensor
    _category_width: Tensor
    _unknown_left: Tensor
    _default_left: Tensor
    _scan: Scan | None

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
        self._known = Cache()
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
        """Move or cast; thresholds are rounded so that they split numbers of lower precision alike.

        Rounding to the nearest number could move a threshold across a row.
        """
        before = self.threshold.detach()
        super()._apply(fn, recurse)
        if self.threshold.dtype.itemsize < before.dtype.itemsize:
            rounded = self._narrow(before, self.threshold.dtype)
            with torch.no_grad():
                self.threshold.copy_(rounded)
        return self

    def thresholds(self) -> Tensor:
        """The threshold of each node, shape (nodes,)."""
        return self.threshold

    def _narrow(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """Thresholds of another dtype that split its numbers as ``t`` does."""
        return -_round_down(-t, dtype, False) if self.strict else _round_down(t, dtype, False)

    # -- precomputed structure -----------------------------------------------------------------

    def _plan(self) -> None:
        """Compute the depth, the tree of each leaf, and the columns that nodes test."""
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
        # Nodes are numbered by level, from the top.
        self._tops = [trees + 2 * sum(self.levels[:level]) for level in range(self.depth)]
        wider = (b - a for a, b in pairwise([0, *self._tops]))
        self._widest = list(accumulate(wider, max))
        nodes = torch.cat(order) if order else torch.zeros(0, dtype=torch.int64)
        self._buffer("_order", nodes)
        self._buffer("_leaf_tree", owner)
        self._plan_walk(nodes, count, leaves)
        self._plan_columns(count)
        self._scan = self._planned_scan(nodes.split(self.levels))

    def _planned_scan(self, levels: Sequence[Tensor]) -> Scan | None:
        if self.category_width is not None:
            return None
        roots, left, right = (self._ends(code) for code in (self.roots, self.left, self.right))
        shape, number = Shape(roots, left, right, levels), self._number
        turns = even_trees(shape, self._column[number], self.threshold) or small_trees(shape)
        return None if turns is None else Scan(turns, number, self._column, self._leaf_tree)

    def _ends(self, code: Tensor) -> Tensor:
        """Child codes with leaves numbered after the nodes."""
        return torch.where(code < 0, self.feature.shape[0] + ~code, code)

    def _plan_walk(self, nodes: Tensor, count: int, leaves: int) -> None:
        """Renumber nodes and leaves so that the two children of a node are adjacent."""
        pairs = torch.stack([self.right, self.left], 1)[nodes].flatten()
        place = self._ends(torch.cat([self.roots, pairs]))
        number = torch.empty(count + leaves, dtype=torch.int64)
        number[place] = torch.arange(count + leaves)
        right = torch.cat([number[self._ends(self.right)], number[count:]])
        kind = torch.int32 if count + leaves < _LARGE else torch.int64
        self._buffer("_place", place.to(kind))
        self._buffer("_number", number.to(kind))
        self._buffer("_start", number[self._ends(self.roots)].to(kind))
        self._buffer("_right", right[place].to(kind))
        self._buffer("_leaf_at", (place - count).to(kind))

    def _plan_columns(self, count: int) -> None:
        # A column is a feature under one of five treatments of missing values, which replace them
        # by a value that goes in the default direction, so that the walk needs comparisons only.
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
        self._kinds: list[int] = (keys % 5).unique().tolist()
        self._buffer("_column", self._renumbered(column.to(self._right.dtype)))
        if self.category_width is not None:
            width = self.category_width
            unknown = torch.zeros_like(default)
            unknown = unknown if self.unknown_left is None else self.unknown_left
            self._buffer("_category_start", self._renumbered(width.cumsum(0) - width))
            self._buffer("_category_width", self._renumbered(width))
            self._buffer("_unknown_left", self._renumbered(unknown))
            self._buffer("_default_left", self._renumbered(default))

    def _renumbered(self, values: Tensor) -> Tensor:
        """Values of nodes in the order of the walk, with zeros at leaves."""
        return functional.pad(values, (0, self._leaf_tree.shape[0]))[self._place]

    # -- from rows to leaves -------------------------------------------------------------------

    def leaves(self, x: Block | LeafIndices, dtype: torch.dtype = torch.int64) -> Tensor:
        """The leaf of each row in each tree.

        Parameters
        ----------
        x : Tensor, SparseRows or LeafIndices, shape (n, features)
            The input.
        dtype : torch.dtype
            Type of the result; int32 takes half the memory.

        Returns
        -------
        Tensor, shape (n, trees)
            Row indices of `leaf_table`.
        """
        if isinstance(x, LeafIndices):
            return x.leaves.to(dtype)
        x = self._numbers(x)
        bounds = self._bounds(x)
        if _captured():
            return self._route(x, bounds).to(dtype)
        out = torch.empty(x.shape[0], self.roots.shape[0], dtype=dtype, device=x.device)
        threads = threads_for(x, bounds)
        rows = self._rows(x, threads)
        parts = list(zip(x.split(rows), out.split(rows), strict=True))
        map_in_threads(lambda part, ends: ends.copy_(self._route(part, bounds)), parts, threads)
        return out

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
        """Dense rows with NaN for missing values."""
        if isinstance(x, SparseRows):
            x = x.to_dense(self.absent)
        if self.missing_value is None:
            return x
        low = torch.float32 if self.single else x.dtype
        mark = torch.tensor(self.missing_value, dtype=low, device=x.device)
        return torch.where(x.to(low) == mark, torch.nan, x)

    def _rows(self, x: Tensor, threads: int) -> int:
        """Number of rows of a chunk, so that intermediate results fit into the processor cache."""
        cells = max(1, x.shape[0] * self.roots.shape[0])
        parts = -(-cells // _CELLS)
        if cells > _CELLS // 4:
            parts = -(-parts // threads) * threads
        return max(1, -(-x.shape[0] // parts))

    def _route(self, x: Tensor, bounds: Tensor) -> Tensor:
        with torch.no_grad():
            seen = self._columns(x.detach(), bounds.dtype)
            if _captured():
                return self._walk(seen, bounds, self._begin(seen), self.depth)
            if seen.shape[0] * self.roots.shape[0] <= _FEW:
                steps = bisect_right(self._widest, _NARROW // max(1, seen.shape[0]))
                return self._walk(seen, bounds, self._leap(seen, bounds, steps), self.depth - steps)
            if self._scan is not None and self._scan.fits(bounds):
                return self._scan(seen, bounds)
            return self._walk(seen, bounds, self._begin(seen), self.depth)

    def _bounds(self, x: Tensor) -> Tensor:
        """Bounds with ``x <= bound`` for rows that go left, in the dtype of the comparison."""
        # A float32 number is below a threshold if it is below the next float32 beneath that.
        low = torch.float32 if self.single else x.dtype
        if _captured() or self._moving():
            return self._rounded(low)
        # Cached, so that a single row does not cost a pass over all nodes.
        now = self.threshold
        if now.is_inference():  # without a version number
            return self._rounded(low)
        key = (low, now.device, now.dtype, now.data_ptr(), now._version)
        return self._known.value(now, key, lambda: self._rounded(low))

    def _moving(self) -> bool:
        """Whether thresholds may change without a new version number."""
        return False

    def _rounded(self, low: torch.dtype) -> Tensor:
        """Bounds of nodes in the order of the walk; NaN at leaves, where no comparison holds."""
        with torch.no_grad():
            bounds = _round_down(self.thresholds().detach(), low, self.strict)
            walls = bounds.new_full(self._leaf_tree.shape, torch.nan)
            return torch.cat([bounds, walls])[self._place]

    def _columns(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The columns that nodes test, with missing values replaced."""
        x = x.to(dtype).index_select(1, self._column_feature)
        missing = torch.isnan(x) if any(self._kinds) else x
        for kind in self._kinds:
            if kind:
                gone = missing | (x.abs() <= _ALMOST_ZERO) if kind > 2 else missing
                mine = gone if len(self._kinds) == 1 else gone & (self._column_seen == kind)
                x = torch.where(mine, _INSTEAD[kind], x)
        return x

    def _begin(self, x: Tensor) -> Tensor:
        return self._start.expand(x.shape[0], -1).reshape(-1)

    def _walk(self, x: Tensor, bounds: Tensor, at: Tensor, steps: int) -> Tensor:
        """Walk from node to node in all trees at once; rows that reached a leaf stay there."""
        rows, trees = x.shape[0], self._start.shape[0]
        if not steps:
            return self._leaf_at.index_select(0, at).view(rows, trees)
        cells, offset = x.reshape(-1), None
        if _captured() or rows != 1:
            short = not _captured() and x.numel() < _LARGE
            offset = torch.arange(rows, device=x.device) * x.shape[1]
            offset = offset.to(torch.int32 if short else torch.int64)[:, None]
            offset = offset.expand(rows, trees).reshape(-1)
        for _ in range(steps):
            cell = self._column.index_select(0, at)
            value = cells.index_select(0, cell if offset is None else cell + offset)
            left = value <= bounds.index_select(0, at)
            if self.category_width is not None:
                chosen = self._category_width.index_select(0, at) > 0
                left = torch.where(chosen, ~self._goes_right(at, value), left)
            # The children of a node are neighbors, the right one first.
            at = self._right.index_select(0, at) + left
        return self._leaf_at.index_select(0, at).view(rows, trees)

    def _leap(self, x: Tensor, bounds: Tensor, steps: int) -> Tensor:
        """For few rows: compute the successor of every top node, then follow the paths."""
        rows, size = x.shape[0], self._tops[steps - 1] if steps else 0
        column = self._column[:size]
        # Of a flat row, this takes a fourth of the time.
        value = x.view(-1).index_select(0, column) if rows == 1 else x.index_select(1, column)
        left = value <= bounds[:size]
        if self.category_width is not None:
            at = torch.arange(size, device=x.device).expand(value.shape)
            chosen = self._category_width[:size] > 0
            left = torch.where(chosen, ~self._goes_right(at, value), left)
        after = (self._right[:size] + left).view(-1)
        at = self._begin(x)
        if rows == 1:
            for _ in range(steps):
                at = after.index_select(0, at)
            return at
        # A flat table for all rows, so that each step is a single look-up.
        offset = (torch.arange(rows, device=x.device) * size).to(after.dtype)
        offset = offset[:, None].expand(rows, self._start.shape[0]).reshape(-1)
        for _ in range(steps):
            at = after.index_select(0, at + offset)
        return at

    def _goes_right(self, at: Tensor, value: Tensor) -> Tensor:
        """The direction at categorical nodes; arbitrary at others."""
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


def _round_down(t: Tensor, dtype: torch.dtype, strict: bool) -> Tensor:
    """The largest number of a dtype that is at most ``t``, or less than ``t`` if ``strict``."""
    rounded = t.to(dtype)
    again = rounded.to(t.dtype)
    over = (again >= t) if strict else (again > t)
    lower = torch.nextafter(rounded, torch.full_like(rounded, -torch.inf))
    if strict:  # nothing is below minus infinity
        lower = torch.where(t == -torch.inf, torch.full_like(lower, torch.nan), lower)
    return torch.where(over, lower, rounded)


def _captured() -> bool:
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()
