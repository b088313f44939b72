"""Ensembles of decision trees, evaluated together: exact and hard, or relaxed for training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .._base import Module, NonNegative, Positive, parameter
from .._sparse import Block
from .._threads import map_in_threads, threads_for
from .constrained import MonotoneTrees
from .relaxation import LeafIndices
from .routing import NAN, _captured
from .simplex import Simplex

_FEW_OUTPUTS = 32


class TreeEnsemble(MonotoneTrees):
    """The sum (or mean) of many decision trees.

    All trees share flat arrays. ``left`` and ``right`` encode the children of each node: a code
    ``c >= 0`` is the node ``c``, a negative one the leaf ``~c`` (so -1 is leaf 0). ``roots`` uses
    the same codes: a tree may be a single leaf. Every node and every leaf belongs to one tree.

    A row goes left if ``x[feature] <= threshold`` (or ``<``, see ``strict``).

    Parameters
    ----------
    roots : Tensor of int64, shape (trees,)
        Code of the root of each tree.
    feature : Tensor of int64, shape (nodes,)
        Column that each node tests.
    threshold : Tensor, shape (nodes,)
        Threshold of each node; ignored at categorical nodes.
    left, right : Tensor of int64, shape (nodes,)
        Codes of the children.
    leaf_values : Tensor, shape (leaves, k)
        Value of each leaf. These train.
    strict : bool
        Whether a row goes right if it equals the threshold.
    single : bool
        Whether ``x`` is rounded to float32 before the comparison.
    default_left : Tensor of bool, shape (nodes,), optional
        Whether the default direction of each node is left; right everywhere by default.
    missing : int or Tensor of int64, shape (nodes,)
        Values that go in the default direction: NaN (`NAN`), NaN and zeros (`ZERO`), or none
        (`AS_ZERO`: NaN counts as zero). At categorical nodes, NaN always goes in the default
        direction.
    category_width : Tensor of int64, shape (nodes,), optional
        Number of categories known to a categorical node; 0 for a numerical node.
    category_left : Tensor of bool, shape (sum of category_width,), optional
        Whether each category of each categorical node goes left, node by node. ``x`` is truncated
        to an integer first.
    unknown_left : Tensor of bool, shape (nodes,), optional
        Whether unknown categories, including negative ones, go left; right by default.
    tree_weights : Tensor, shape (trees,), optional
        Factor of each tree, which trains only with ``train_weights``.
    train_weights : bool
        Whether the factors train instead of the leaf values.
    tree_output : Tensor of int64, shape (trees,), optional
        Output to which each tree contributes; ``leaf_values`` has one column then.
    outputs : int, optional
        Number of outputs, with ``tree_output``.
    average : bool
        Whether the sum is divided by the number of trees, or by the sum of ``tree_weights``.
    base : Tensor, shape (outputs,), optional
        Constant that is added to the sum.
    train_base : bool
        Whether ``base`` trains.
    positive : bool
        Whether positive leaf values stay positive.
    probabilities : tuple of int, optional
        Numbers of outcomes, if leaf values are probability distributions side by side and remain
        so; see `Simplex`.
    linear : tuple of Tensor, optional
        Linear models in the leaves: intercepts (leaves,), columns (leaves, m) of int64, padded with
        -1, and coefficients (leaves, m). If a column is NaN, ``leaf_values`` applies.
    squeeze : bool
        Whether to return (n,) instead of (n, 1).
    missing_value : float, optional
        A number that counts as NaN.
    absent : float
        Value of entries that sparse rows do not store.
    whole : bool
        Whether categories between -1 and 0 are unknown instead of category 0.
    monotone : Tensor of int64, shape (nodes,), optional
        Constraint of each node's feature: 1 if the output must not decrease in it, -1 if it must
        not increase, 0 if it is free. All are free by default. With probabilities, the constraint
        is on the second of two. Each tree keeps it by itself.
    """

    tree_weights: Any
    leaf_values: Any
    base: Tensor | None

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
        monotone: Tensor | None = None,
    ) -> None:
        tables = (roots, feature, threshold, left, right)
        super().__init__(
            *tables,
            strict=strict,
            single=single,
            default_left=default_left,
            missing=missing,
            category_width=category_width,
            category_left=category_left,
            unknown_left=unknown_left,
            missing_value=missing_value,
            absent=absent,
            whole=whole,
        )
        self.average, self.squeeze = average, squeeze
        self.shift = None
        self._set_values(leaf_values, positive, probabilities, train_weights)
        self._set_constraints(monotone, probabilities)
        self._set_weights(tree_weights, train_weights, linear)
        self._set_outputs(tree_output, outputs, base, train_base)

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
            # The sum of monotone trees is monotone if no weight is negative.
            made = parameter if self.monotone is None else NonNegative
            self.tree_weights = made(tree_weights)
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
            self.outputs = int(self._free_table().shape[1])
        else:
            self.outputs = int(tree_output.max()) + 1 if outputs is None else outputs
        self.in_rounds = tree_output is not None and not self.average and self._is_cyclic()
        if base is not None and train:
            self.base = parameter(base)
        else:
            self._optional("base", None if base is None else base.clone())

    def _is_cyclic(self) -> bool:
        """Whether trees are in rounds of one tree for each output."""
        assert self.tree_output is not None
        order = torch.arange(len(self.tree_output), device=self.tree_output.device) % self.outputs
        return len(order) % self.outputs == 0 and bool((self.tree_output == order).all())

    def _set_constraints(self, monotone: Tensor | None, outcomes: tuple[int, ...] | None) -> None:
        table = self._free_table().detach()
        direction = None
        if outcomes is not None:
            direction = torch.where(torch.arange(table.shape[1]) == 1, 1, -1).to(table)
        self._constrain(monotone, table, direction)

    @property
    def rescalable(self) -> tuple[bool, bool]:
        """Whether a change of the parameters can scale, and shift, the output."""
        plain = isinstance(self.leaf_values, nn.Parameter)
        return plain, plain

    @torch.no_grad()
    def rescale_(self, scale: float, shift: Tensor) -> None:
        """Change the parameters so that the output becomes ``scale * output + shift``.

        ``shift`` has the shape () or (outputs,).
        """
        for values in (self.leaf_values, self.linear_constant, self.linear_weight):
            if values is not None:
                values.mul_(scale)
        if isinstance(self.base, nn.Parameter):
            self.base.mul_(scale).add_(shift)
            return
        missing = shift if self.base is None else shift + (scale - 1) * self.base
        added = self._added(missing.expand(self.outputs))
        self.leaf_values += added
        if self.linear_constant is not None:
            self.linear_constant += added[:, 0]

    def _added(self, shift: Tensor) -> Tensor:
        """What to add to leaf values for a shift of the output.

        A sum is shifted through the first tree of each output, an average through all trees.
        """
        tree = self._leaf_tree
        if self.tree_output is None:
            output = torch.zeros_like(self.roots)
            table = shift.expand(len(tree), -1)
        else:
            output = self.tree_output
            table = shift[output[tree]][:, None]
        if self.average:
            return table
        number = torch.arange(len(output), device=output.device)
        start = torch.full_like(shift, len(output), dtype=torch.int64)
        start = start.scatter_reduce(0, output, number, "amin")
        first = torch.isin(number, start).to(shift)
        weights = self.tree_factors()
        factor = first if weights is None else first / weights
        return table * factor[tree][:, None]

    # -- the forward pass ----------------------------------------------------------------------

    def forward(self, x: Block | LeafIndices) -> Tensor:
        """Map (n, features) to (n, outputs), or to (n,)."""
        if isinstance(x, LeafIndices):
            return self.score(x.leaves, x.rest)
        x = self._numbers(x)
        if not self.training or self.way == "leaves":
            return self._hard(x)
        if self.way == "soft":
            return self._finish(self._soft(x, self._fitted_values(self._free_table())))
        hard = self._hard(x)
        soft = self._finish(self._soft(x, self.leaf_table().detach()))
        return hard + (soft - soft.detach())

    def _hard(self, x: Tensor) -> Tensor:
        bounds, table, ordered = self._bounds(x), self.leaf_table(), self._adds_in_order()
        if _captured() or x.shape[0] == 1:
            return self._finish(self._total(self._route(x, bounds), x, table, ordered), ordered)
        threads = threads_for(x, bounds, table)
        parts = [(part,) for part in x.split(self._rows(x, threads))]
        totals = map_in_threads(
            lambda part: self._total(self._route(part, bounds), part, table, ordered),
            parts,
            threads,
        )
        return self._finish(torch.cat(totals), ordered)

    def score(self, leaves: Tensor, x: Tensor | None = None) -> Tensor:
        """The output for precomputed leaves.

        Parameters
        ----------
        leaves : Tensor of int64 or int32, shape (n, trees)
            Leaf of each row in each tree, as `leaves` returns it.
        x : Tensor, shape (n, features), optional
            The input, which only linear models in the leaves need.

        Returns
        -------
        Tensor
            Output (n, outputs) or (n,).
        """
        table, ordered = self.leaf_table(), self._adds_in_order()
        if _captured():
            return self._finish(self._total(leaves, x, table, ordered), ordered)
        threads = threads_for(leaves, table)
        rows = self._rows(leaves, threads)
        ends = leaves.split(rows)
        seen = [None] * len(ends) if x is None else x.split(rows)
        parts = list(zip(ends, seen, strict=True))
        totals = map_in_threads(
            lambda part, x: self._total(part, x, table, ordered), parts, threads
        )
        return self._finish(torch.cat(totals), ordered)

    def route(self, x: Block) -> LeafIndices:
        """The rows with precomputed leaves, which the forward pass accepts as well."""
        rest = None if self.linear_weight is None else self._numbers(x)
        return LeafIndices(self.leaves(x, torch.int32), rest)

    def each(self, x: Block | LeafIndices) -> Tensor:
        """The output of each tree, shape (n, trees); soft splits count in training mode only."""
        if isinstance(x, LeafIndices):
            return self._leaf_outputs(x.leaves, x.rest, self.leaf_table())
        x = self._numbers(x)
        if self.training and self.way == "soft":
            return self._soft_each(x, self._fitted_values(self._free_table()))
        table = self.leaf_table()
        if not self.training or self.way == "leaves":
            return self._leaf_outputs(self.leaves(x), x, table)
        soft = self._soft_each(x, table.detach())
        return self._leaf_outputs(self.leaves(x), x, table) + (soft - soft.detach())

    def leaf_parameters(self) -> list[nn.Parameter]:
        """The parameters that have a row for each leaf."""
        values = self.leaf_values
        if isinstance(values, Module):
            own = list(values.parameters())
        else:
            own = [values] if isinstance(values, nn.Parameter) else []
        linear = (self.linear_constant, self.linear_weight)
        return own + [p for p in linear if isinstance(p, nn.Parameter)]

    def leaf_table(self) -> Tensor:
        """The value of each leaf before the factor of its tree, shape (leaves, k)."""
        return self.monotone_values(self._free_table())

    def tree_factors(self) -> Tensor | None:
        """The factor of each tree, shape (trees,); None if all are one."""
        weights = self.tree_weights
        return weights() if isinstance(weights, Module) else weights

    def _free_table(self) -> Tensor:
        """The table before the constraints."""
        values = self.leaf_values
        return values() if isinstance(values, Module) else values

    def reset_parameters(self) -> None:
        """Small random leaf values; the structure does not change."""
        with torch.no_grad():
            if isinstance(self.leaf_values, Module):
                self.leaf_values.reset_parameters()
            elif isinstance(self.leaf_values, nn.Parameter):
                self.leaf_values.normal_(0, 0.1)
            if isinstance(self.tree_weights, NonNegative):
                self.tree_weights.reset_parameters()
            elif isinstance(self.tree_weights, nn.Parameter):
                self.tree_weights.fill_(1.0)
            if isinstance(self.base, nn.Parameter):
                self.base.zero_()
            if self.linear_constant is not None and self.linear_weight is not None:
                self.linear_constant.normal_(0, 0.1)
                self.linear_weight.zero_()

    def _finish(self, total: Tensor, based: bool = False) -> Tensor:
        if self.average:
            weights = self.tree_factors()
            total = total / (self.roots.shape[0] if weights is None else weights.sum())
        if self.base is not None and not based:
            total = total + self.base
        return total.squeeze(1) if self.squeeze else total

    def _adds_in_order(self) -> bool:
        """Whether trees are added one after the other, as sources do, so that ties stay ties.

        It is for the outputs of several classes, from round to round, where no gradient is wanted.
        """
        return self.in_rounds and not torch.is_grad_enabled() and not _captured()

    def _in_order(self, values: Tensor) -> Tensor:
        """The base and all rounds added from the first to the last, (n, outputs)."""
        weights = self.tree_factors()
        weighted = values if weights is None else values * weights
        rounds = values.shape[1] // self.outputs
        terms = weighted.reshape(values.shape[0], rounds, self.outputs)
        if self.base is not None:
            base = self.base.to(terms.dtype).expand(values.shape[0], 1, self.outputs)
            terms = torch.cat([base, terms], 1)
        return terms.cumsum(1)[:, -1]

    def _total(
        self, leaves: Tensor, x: Tensor | None, table: Tensor, ordered: bool = False
    ) -> Tensor:
        weights = self.tree_factors()
        if self.tree_output is None and self.linear_weight is None and self.outputs > 1:
            if self.outputs > _FEW_OUTPUTS:
                shares = None if weights is None else weights.expand(leaves.shape)
                return functional.embedding_bag(
                    leaves, table, mode="sum", per_sample_weights=shares
                )
            flat = _flat(leaves)
            columns = [_taken(column, leaves, flat) for column in table.unbind(1)]
            return torch.stack([_summed(values, weights) for values in columns], 1)
        values = self._leaf_outputs(leaves, x, table)
        if self.tree_output is None:
            return _summed(values, weights)[:, None]
        return self._in_order(values) if ordered else values @ self._assignment(values)

    def _leaf_outputs(self, leaves: Tensor, x: Tensor | None, table: Tensor) -> Tensor:
        """The output of each tree, shape (n, trees)."""
        values = _taken(table.squeeze(1), leaves, _flat(leaves))
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
        """The one-hot output index of each tree times its factor, shape (trees, outputs)."""
        trees = self.roots.shape[0]
        weights = self.tree_factors()
        if weights is None:
            weights = torch.ones(trees, dtype=like.dtype, device=like.device)
        if self.tree_output is None:
            return weights[:, None]
        return functional.one_hot(self.tree_output, self.outputs).to(like.dtype) * weights[:, None]


def _flat(leaves: Tensor) -> Tensor:
    """All leaves in memory order: row by row, or tree by tree."""
    return (leaves if leaves.is_contiguous() else leaves.T).reshape(-1)


def _taken(column: Tensor, leaves: Tensor, flat: Tensor) -> Tensor:
    values = column.index_select(0, flat)
    return (
        values.view(leaves.shape) if leaves.is_contiguous() else values.view(leaves.shape[::-1]).T
    )


def _summed(values: Tensor, weights: Tensor | None) -> Tensor:
    """Sum over trees, (n,)."""
    return values.sum(1) if weights is None else values @ weights
