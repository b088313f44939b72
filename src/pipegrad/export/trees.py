"""Tree ensembles as single operations, which become `ai.onnx.ml.TreeEnsemble`.

Rows reach the same leaves as in the modules: what a module does to missing values and categories
comes before the operation, and each node compares a number with a bound in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from ..modules import TreeEnsemble

# Ensembles that are being exported, by the number that stands for them in the graph.
_OPEN: dict[int, TreeEnsemble] = {}


@torch.library.custom_op("pipegrad::tree_leaves", mutates_args=())
def tree_leaves(seen: Tensor, ensemble: int, trees: int) -> Tensor:
    """The leaf of each row in each tree, shape (n, trees)."""
    raise NotImplementedError


@torch.library.custom_op("pipegrad::tree_sums", mutates_args=())
def tree_sums(seen: Tensor, ensemble: int, outputs: int) -> Tensor:
    """The sum of the values of all leaves that a row reaches, shape (n, outputs)."""
    raise NotImplementedError


@tree_leaves.register_fake
def _(seen: Tensor, ensemble: int, trees: int) -> Tensor:
    return seen.new_empty((seen.shape[0], trees), dtype=torch.int64)


@tree_sums.register_fake
def _(seen: Tensor, ensemble: int, outputs: int) -> Tensor:
    return seen.new_empty((seen.shape[0], outputs))


@contextmanager
def trees_as_operations(module: nn.Module) -> Iterator[None]:
    """Context in which the tree ensembles of a module, which is a copy, are single operations."""
    own = []
    for part in module.modules():
        if isinstance(part, TreeEnsemble) and len(part.levels):
            number = max(_OPEN, default=-1) + 1
            _OPEN[number] = part
            chosen = _categorical(part)  # Not in a trace, which could not ask how many there are.
            own.append(number)
            vars(part)["_route"] = partial(_leaves, part, number, chosen)
            if part.linear_weight is None and part.leaf_table().shape[1] == 1:
                vars(part)["_hard"] = partial(_sums, part, number, chosen)
    try:
        yield
    finally:
        for number in own:
            vars(_OPEN[number]).pop("_route", None)
            vars(_OPEN[number]).pop("_hard", None)
            del _OPEN[number]


def _leaves(
    part: TreeEnsemble, number: int, chosen: list[int], x: Tensor, bounds: Tensor
) -> Tensor:
    return tree_leaves(_seen(part, chosen, x, bounds.dtype), number, part.roots.shape[0])


def _sums(part: TreeEnsemble, number: int, chosen: list[int], x: Tensor) -> Tensor:
    low = torch.float32 if part.single else x.dtype
    return part._finish(tree_sums(_seen(part, chosen, x, low), number, part.outputs))


def _seen(part: TreeEnsemble, chosen: list[int], x: Tensor, low: torch.dtype) -> Tensor:
    """The columns that nodes test, with -1 or 1 for each categorical node that sends left or right.

    They have the type of the leaf values.
    """
    real = part.leaf_table().dtype
    columns = part._columns(x, low)
    if not chosen:
        return columns.to(real)
    at = torch.tensor(chosen)
    values = columns.index_select(1, part._column[at].long())
    right = part._goes_right(at.expand(values.shape), values)
    return torch.cat([columns.to(real), torch.where(right, 1.0, -1.0).to(real)], 1)


def _categorical(part: TreeEnsemble) -> list[int]:
    """The categorical nodes, in the order of the walk."""
    if part.category_width is None:
        return []
    return np.flatnonzero(_array(part._category_width)).tolist()


def leaf_numbers(ensemble: int) -> dict[str, Any]:
    """Attributes of an operator whose sums are the leaves of `tree_leaves`."""
    part = _OPEN[ensemble]
    leaves = np.arange(len(part._leaf_tree))
    return _attributes(part, _array(part._leaf_tree), leaves, part.roots.shape[0])


def leaf_values(ensemble: int) -> dict[str, Any]:
    """Attributes of an operator that computes `tree_sums`."""
    part = _OPEN[ensemble]
    tree = _array(part._leaf_tree)
    values = _array(part.leaf_table())[:, 0]
    factors = part.tree_factors()
    if factors is not None:
        values = values * _array(factors)[tree]
    output = np.zeros(len(tree), dtype=int)
    if part.tree_output is not None:
        output = _array(part.tree_output)[tree]
    return _attributes(part, output, values, part.outputs)


def _attributes(
    part: TreeEnsemble, targets: NDArray[Any], weights: NDArray[Any], count: int
) -> dict[str, Any]:
    real = _array(part.leaf_table()).dtype
    low = torch.float32 if part.single else part.threshold.dtype
    bounds, column, right, leaf = (
        _array(one) for one in (part._rounded(low), part._column, part._right, part._leaf_at)
    )
    chosen = _categorical(part)
    column, bounds = column.copy(), bounds.astype(real)
    column[chosen] = len(part._column_feature) + np.arange(len(chosen))
    bounds[chosen] = 0
    inner = np.flatnonzero(leaf < 0)
    place = np.cumsum(leaf < 0) - 1  # of each node among those that are no leaves
    go = {"true": right[inner] + 1, "false": right[inner]}
    start = _array(part._start)
    # A tree that is a single leaf gets a node both of whose children are that leaf.
    alone = np.flatnonzero(leaf[start] >= 0)
    roots = place[start]
    roots[alone] = len(inner) + np.arange(len(alone))
    found: dict[str, Any] = {"tree_roots": roots.tolist(), "n_targets": count}
    for name, at in go.items():
        at = np.append(at, start[alone])
        ends = leaf[at] >= 0
        found[f"nodes_{name}leafs"] = ends.astype(int).tolist()
        found[f"nodes_{name}nodeids"] = np.where(ends, leaf[at], place[at]).tolist()
    none = np.zeros(len(alone))
    modes = np.zeros(len(inner) + len(alone), dtype=np.uint8)  # x <= bound goes to "true"
    splits = np.append(bounds[inner], none).astype(real)
    return {
        **found,
        "nodes_featureids": np.append(column[inner], none).astype(int).tolist(),
        "nodes_modes": numpy_helper.from_array(modes),
        "nodes_splits": numpy_helper.from_array(splits),
        "nodes_missing_value_tracks_true": [0] * len(modes),
        "leaf_targetids": targets.tolist(),
        "leaf_weights": numpy_helper.from_array(weights.astype(real)),
        "aggregate_function": 1,
        "post_transform": 0,
    }


def _array(values: Tensor) -> NDArray[Any]:
    return values.detach().cpu().numpy()
