"""Decision trees, many at once: exact and hard, or softened for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ._base import Module, Positive, parameter
from ._sparse import Block, SparseRows

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
_SOFT_CELLS = 1 << 25

Way = Literal["leaves", "soft", "straight-through"]


class Simplex(Module):
    """Rows of probabilities, which stay probabilities while they train.

    Weights below zero count as zero, and each row is divided by its sum. A weight at zero still
    feels a pull upwards, so that an outcome that never occurred can become possible.

    Parameters
    ----------
    initial : Tensor, shape (rows, outcomes)
        Probabilities.
    groups : tuple of int, optional
        Numbers of outcomes of several distributions side by side; one by default.
    """

    def __init__(self, initial: Tensor, groups: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.groups = groups or (initial.shape[1],)
        self.weight = parameter(initial)

    def forward(self) -> Tensor:
        """The present probabilities, with the shape of ``initial``."""
        parts = _ClampAtZero.apply(self.weight).split(self.groups, 1)
        return torch.cat([_normalised(part) for part in parts], 1)

    def reset_parameters(self) -> None:
        """Almost the same for each outcome."""
        with torch.no_grad():
            self.weight.uniform_(0.9, 1.1)
            self.weight.copy_(self())


def _normalised(part: Tensor) -> Tensor:
    total = part.sum(1, keepdim=True)
    # What sums to one but for rounding stays as it is, to the last bit.
    near = (total - 1).abs() < 8 * torch.finfo(part.dtype).eps
    total = total + torch.where(near, 1 - total, 0.0).detach()
    empty = total == 0
    part = torch.where(empty, torch.ones_like(part), part)
    return part / torch.where(empty, float(part.shape[1]), total)


class _ClampAtZero(torch.autograd.Function):
    """max(x, 0) whose gradient passes below zero where a descent would lead upwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) | (grad < 0), grad, torch.zeros_like(grad))


class TreeEnsemble(Module):
    """The sum (or mean) of many decision trees.

    All trees share flat arrays. ``left`` and ``right`` name the child of each node: a number
    ``c >= 0`` is the node ``c``, a negative one the leaf ``~c`` (so -1 is leaf 0). ``roots`` is
    coded alike: a tree may be a single leaf. Every node and every leaf belongs to one tree.

    A row goes left where ``x[feature] <= threshold`` (or ``<``, see ``strict``).

    Parameters
    ----------
    roots : Tensor of int64, shape (trees,)
        Where each tree begins.
    feature : Tensor of int64, shape (nodes,)
        Column that each node looks at.
    threshold : Tensor, shape (nodes,)
        What it is compared with; ignored at categorical nodes.
    left, right : Tensor of int64, shape (nodes,)
        Children, see above.
    leaf_values : Tensor, shape (leaves, k)
        What each leaf adds. These train.
    strict : bool
        Whether equality goes right.
    single : bool
        Whether ``x`` is rounded to float32 before it is compared.
    default_left : Tensor of bool, shape (nodes,), optional
        The default way of each node is left; right everywhere if not given.
    missing : int or Tensor of int64, shape (nodes,)
        What goes the default way: `NAN`, `ZERO` (zeros as well), or nothing (`AS_ZERO`: NaN counts
        as zero). At categorical nodes NaN goes the default way whatever this says.
    category_width : Tensor of int64, shape (nodes,), optional
        Number of categories that a categorical node knows; 0 for a node that compares.
    category_left : Tensor of bool, shape (sum of category_width,), optional
        For each category of each categorical node, node by node, whether it goes left. ``x`` is
        cut to an integer first.
    unknown_left : Tensor of bool, shape (nodes,), optional
        The way of categories outside of the known ones, negative ones too; right if not given.
    tree_weights : Tensor, shape (trees,), optional
        A factor for each tree; it does not train unless ``train_weights``.
    train_weights : bool
        Whether the factors train and the leaves stay.
    tree_output : Tensor of int64, shape (trees,), optional
        The output to which each tree adds; ``leaf_values`` has one column then.
    outputs : int, optional
        Number of outputs where ``tree_output`` is given.
    average : bool
        Whether the sum is divided by the number of trees, or the sum of ``tree_weights``.
    base : Tensor, shape (outputs,), optional
        Added to the sum.
    train_base : bool
        Whether ``base`` trains.
    positive : bool
        Whether leaf values that are above zero stay there.
    probabilities : tuple of int, optional
        The leaves hold distributions over so many outcomes, one after the other, and stay such;
        see `Simplex`.
    linear : tuple of Tensor, optional
        Linear functions in the leaves: constants (leaves,), columns (leaves, m) of int64 with -1
        where there are fewer, coefficients (leaves, m). ``leaf_values`` holds where one of the
        columns is NaN.
    squeeze : bool
        Give (n,) instead of (n, 1).
    missing_value : float, optional
        A number that counts as NaN.
    absent : float
        What entries count that sparse rows do not hold.
    whole : bool
        Whether categories between -1 and 0 are outside of the known ones, not category 0.
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
    tree_weights: Tensor | None
    tree_output: Tensor | None
    linear_feature: Tensor | None
    linear_constant: Tensor | None
    linear_weight: Tensor | None
    leaf_values: Any
    base: Tensor | None
    spread: Tensor
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
        leaf_values: Tensor,
        *,
        strict: bool = False,
        single: bool = False,
        default_left: Tensor | None = None,
        missing: int | Tensor = NAN,
        category_width: Tensor | None = None,
        category_left: Tensor | None = None,
        unknown_left: Tensor | None = None,
        tree_weights: Tensor | None = None,
        train_weights: bool = False,
        tree_output: Tensor | None = None,
        outputs: int | None = None,
        average: bool = False,
        base: Tensor | None = None,
        train_base: bool = True,
        positive: bool = False,
        probabilities: tuple[int, ...] | None = None,
        linear: tuple[Tensor, Tensor, Tensor] | None = None,
        squeeze: bool = False,
        missing_value: float | None = None,
        absent: float = 0.0,
        whole: bool = False,
    ) -> None:
        super().__init__()
        self.strict, self.single = strict, single
        self.missing_value, self.absent, self.whole = missing_value, absent, whole
        self.average, self.squeeze = average, squeeze
        self.way: Way = "leaves"
        self.temperature = 0.02
        self._fixed: Tensor | None = None
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
        self._set_values(leaf_values, positive, probabilities, train_weights)
        self._set_weights(tree_weights, train_weights, linear)
        self._set_outputs(tree_output, outputs, base, train_base)
        self._plan()

    def _set_values(
        self, values: Tensor, positive: bool, outcomes: tuple[int, ...] | None, fixed: bool
    ) -> None:
        if fixed:
            self.register_buffer("leaf_values", values.clone())
        elif outcomes is not None:
            self.leaf_values = Simplex(values, outcomes)
        elif positive:
            self.leaf_values = Positive(values)
        else:
            self.leaf_values = parameter(values)

    def _set_weights(
        self,
        tree_weights: Tensor | None,
        train: bool,
        linear: tuple[Tensor, Tensor, Tensor] | None,
    ) -> None:
        if tree_weights is not None and train:
            self.tree_weights = parameter(tree_weights)
        else:
            self._optional("tree_weights", tree_weights)
        self.linear_constant = self.linear_weight = None
        if linear is not None:
            self.linear_constant, self.linear_weight = parameter(linear[0]), parameter(linear[2])
        self._optional("linear_feature", None if linear is None else linear[1])

    def _set_outputs(
        self, tree_output: Tensor | None, outputs: int | None, base: Tensor | None, train: bool
    ) -> None:
        self._optional("tree_output", tree_output)
        if tree_output is None:
            self.outputs = int(self.leaf_table().shape[1])
        else:
            self.outputs = int(tree_output.max()) + 1 if outputs is None else outputs
        if base is not None and train:
            self.base = parameter(base)
        else:
            self._optional("base", None if base is None else base.clone())

    # -- what was derived from the structure --------------------------------------------------

    def _plan(self) -> None:
        """Find the depth, the tree of each leaf, and the columns that nodes look at."""
        count, leaves = self.feature.shape[0], int(self.leaf_table().shape[0])
        self.levels: list[int] = []
        order, trees = [], torch.zeros(leaves, dtype=torch.int64)
        at, tree = self.roots, torch.arange(self.roots.shape[0])
        while at.numel():
            done = at < 0
            trees[~at[done]] = tree[done]
            at, tree = at[~done], tree[~done]
            if at.numel():
                order.append(at)
                self.levels.append(int(at.shape[0]))
                at = torch.cat([self.left[at], self.right[at]])
                tree = tree.repeat(2)
        self.depth = len(order)
        nodes = torch.cat(order) if order else torch.zeros(0, dtype=torch.int64)
        self._buffer("_order", nodes)
        self._buffer("_leaf_tree", trees)
        self._plan_walk(nodes, count, leaves)
        self._plan_columns(count)
        self._scan_sizes: list[int] = []
        most = int(torch.bincount(trees, minlength=1).max())
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

    def _optional(self, name: str, values: Tensor | None) -> None:
        if values is None:
            setattr(self, name, None)  # torch.export miscounts buffers that are None
        else:
            self.register_buffer(name, values)

    def _buffer(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TreeEnsemble:
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

    # -- how it trains -------------------------------------------------------------------------

    def soften(
        self, way: Way, temperature: float = 0.02, spread: Tensor | None = None
    ) -> TreeEnsemble:
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
        TreeEnsemble
            Itself.
        """
        self.way, self.temperature = way, temperature
        values = self.thresholds().detach()
        for known in (self._parameters, self._buffers):
            known.pop("threshold", None)
        if way == "leaves":
            self._fixed = None
            self.register_buffer("threshold", values.clone())
        else:
            # A split at infinity stays there: it tells what is missing from what is not.
            fixed = _endless(values)
            self._fixed = torch.where(fixed, values, 0.0) if bool(fixed.any()) else None
            self.threshold = parameter(torch.where(fixed, 0.0, values))
            spread = self._threshold_spread() if spread is None else spread.to(values)
            self._buffer("spread", spread.clone())
        return self

    def thresholds(self) -> Tensor:
        """What each node compares with, shape (nodes,)."""
        if self._fixed is None:
            return self.threshold
        return torch.where(self._fixed == 0, self.threshold, self._fixed)

    def moved_thresholds(self, before: Tensor) -> Tensor:
        """The thresholds, in the precision that ``before`` had where they did not move."""
        now = self.thresholds().detach().to(before.device)
        same = self._narrow(before, now.dtype) == now
        return torch.where(same, before, self._narrow(now, before.dtype))

    def _narrow(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """Thresholds of another type that split its numbers as ``t`` does."""
        return -_round_down(-t, dtype, False) if self.strict else _round_down(t, dtype, False)

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

    # -- the forward pass ----------------------------------------------------------------------

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, outputs), or to (n,)."""
        x = self._numbers(x)
        if not self.training or self.way == "leaves":
            return self._hard(x)
        if self.way == "soft":
            return self._finish(self._soft(x, self.leaf_table()))
        hard = self._hard(x)
        soft = self._finish(self._soft(x, self.leaf_table().detach()))
        return hard + (soft - soft.detach())

    def leaves(self, x: Block) -> Tensor:
        """The leaf of each row in each tree.

        Parameters
        ----------
        x : Tensor or SparseRows, shape (n, features)
            The input.

        Returns
        -------
        Tensor of int64, shape (n, trees)
            Rows of `leaf_table`.
        """
        x = self._numbers(x)
        bounds = self._bounds(x)
        if _captured():
            return self._route(x, bounds)
        return torch.cat([self._route(part, bounds) for part in x.split(self._rows())])

    def score(self, leaves: Tensor, x: Tensor | None = None) -> Tensor:
        """What the trees give once the leaves are known.

        Parameters
        ----------
        leaves : Tensor of int64, shape (n, trees)
            See `leaves`.
        x : Tensor, shape (n, features), optional
            The input; needed for linear functions in the leaves alone.

        Returns
        -------
        Tensor
            (n, outputs) or (n,).
        """
        return self._finish(self._total(leaves, x, self.leaf_table()))

    def each(self, x: Block) -> Tensor:
        """What each tree gives alone, by hard splits; shape (n, trees)."""
        x = self._numbers(x)
        return self._leaf_outputs(self.leaves(x), x, self.leaf_table())

    def leaf_table(self) -> Tensor:
        """What each leaf adds, before the factor of its tree; shape (leaves, k)."""
        values = self.leaf_values
        return values() if isinstance(values, Module) else values

    def reset_parameters(self) -> None:
        """Small random leaf values; the structure stays."""
        with torch.no_grad():
            if isinstance(self.leaf_values, Module):
                self.leaf_values.reset_parameters()
            elif isinstance(self.leaf_values, nn.Parameter):
                self.leaf_values.normal_(0, 0.1)
            if isinstance(self.tree_weights, nn.Parameter):
                self.tree_weights.fill_(1.0)
            if isinstance(self.base, nn.Parameter):
                self.base.zero_()
            if self.linear_constant is not None and self.linear_weight is not None:
                self.linear_constant.normal_(0, 0.1)
                self.linear_weight.zero_()

    def _finish(self, total: Tensor) -> Tensor:
        if self.average:
            weights = self.tree_weights
            total = total / (self.roots.shape[0] if weights is None else weights.sum())
        if self.base is not None:
            total = total + self.base
        return total.squeeze(1) if self.squeeze else total

    def _total(self, leaves: Tensor, x: Tensor | None, table: Tensor) -> Tensor:
        if self.tree_output is None and self.linear_weight is None and self.outputs > 1:
            weights = self.tree_weights
            shares = None if weights is None else weights.expand(leaves.shape)
            return functional.embedding_bag(leaves, table, mode="sum", per_sample_weights=shares)
        values = self._leaf_outputs(leaves, x, table)
        return values @ self._assignment(values)

    def _leaf_outputs(self, leaves: Tensor, x: Tensor | None, table: Tensor) -> Tensor:
        """The number that each tree gives, shape (n, trees)."""
        # The scan gives leaves tree by tree.
        flat = leaves.T.reshape(-1)
        values = table.squeeze(1).index_select(0, flat).view(leaves.shape[::-1]).T
        if self.linear_weight is None:
            return values
        assert x is not None
        assert self.linear_feature is not None
        assert self.linear_constant is not None
        columns, weight = self.linear_feature[leaves], self.linear_weight[leaves]
        used = columns >= 0
        rows = torch.arange(x.shape[0], device=x.device)[:, None, None]
        x = x.to(values.dtype)
        seen = torch.where(used, x[rows, columns.clamp(min=0)], 0.0)
        known = torch.isfinite(seen) | torch.isinf(seen)
        inner = (torch.where(known, seen, 0.0) * weight).sum(2) + self.linear_constant[leaves]
        return torch.where(known.all(2), inner, values)

    def _assignment(self, like: Tensor) -> Tensor:
        """The output of each tree with its factor, shape (trees, outputs)."""
        trees = self.roots.shape[0]
        weights = self.tree_weights
        if weights is None:
            weights = torch.ones(trees, dtype=like.dtype, device=like.device)
        if self.tree_output is None:
            return weights[:, None]
        return functional.one_hot(self.tree_output, self.outputs).to(like.dtype) * weights[:, None]

    def _numbers(self, x: Block) -> Tensor:
        """Dense rows with NaN for all that is missing."""
        if isinstance(x, SparseRows):
            x = x.to_dense(self.absent)
        if self.missing_value is None:
            return x
        low = torch.float32 if self.single else x.dtype
        mark = torch.tensor(self.missing_value, dtype=low, device=x.device)
        return torch.where(x.to(low) == mark, torch.nan, x)

    # -- hard ----------------------------------------------------------------------------------

    def _hard(self, x: Tensor) -> Tensor:
        bounds, table = self._bounds(x), self.leaf_table()
        if _captured():
            return self._finish(self._total(self._route(x, bounds), x, table))
        # A part at a time, so that what lies between fits into the processor's cache.
        parts = x.split(self._rows())
        totals = [self._total(self._route(part, bounds), part, table) for part in parts]
        return self._finish(torch.cat(totals))

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
        now = self.threshold
        if _captured() or isinstance(now, nn.Parameter):
            return self._rounded(low)
        # One row should not cost a pass over all nodes.
        key = (low, now.device, now.dtype, now.data_ptr(), now._version)
        if self._known is None or self._known[0] != key:
            self._known = key, self._rounded(low)
        return self._known[1]

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

    # -- soft ----------------------------------------------------------------------------------

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
        hard = torch.isnan(value) | torch.isinf(value) | _endless(threshold)
        if self.category_width is not None:
            hard = hard | (self.category_width[nodes] > 0)
        hard = hard | ((self.missing[nodes] == ZERO) & (value.abs() <= _ALMOST_ZERO))
        gap = torch.where(hard, 0.0, threshold - value)
        width = (self.temperature * self.spread[feature]).to(x.dtype)
        soft = torch.sigmoid(torch.where(hard, 0.0, gap) / width)
        with torch.no_grad():
            bounds = self._bounds(x)
            at = self._number[nodes]
            mine = self._columns(x, bounds.dtype).index_select(1, self._column[at])
            left = mine <= bounds[at]
            if self.category_width is not None:
                chosen = self._category_width[at] > 0
                way = ~self._goes_right(at.expand(mine.shape), mine)
                left = torch.where(chosen, way, left)
        return torch.where(hard, left.to(x.dtype), soft)


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


def _endless(t: Tensor) -> Tensor:
    """Which thresholds stand beyond all numbers, or at the last one of float32."""
    return ~(t.abs() < torch.finfo(torch.float32).max)


def _captured() -> bool:
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()


def _exponent(powers: Tensor) -> Tensor:
    """The place of the single bit of each number."""
    if powers.dtype == torch.int32:
        return ((powers.to(torch.float32).view(torch.int32) >> 23) & 255) - 127
    return ((powers.to(torch.float64).view(torch.int64) >> 52) & 2047) - 1023
