"""Operations of torch that its exporter does not know, on operators of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op
from onnxscript import opset_ai_onnx_ml5 as ml

from . import trees

INT64 = 7


def _searchsorted(
    sorted_sequence: Any,
    self: Any,
    out_int32: bool = False,
    right: bool = False,
    side: Any = None,
    sorter: Any = None,
) -> Any:
    """The number of entries of a sequence below each value (or not above); NaN is above all."""
    from_right = right or side == "right"
    # shape: (..., values, 1) and (..., 1, sequence)
    values, sequence = op.Unsqueeze(self, [-1]), op.Unsqueeze(sorted_sequence, [-2])
    beyond = op.Greater(sequence, values) if from_right else op.GreaterOrEqual(sequence, values)
    return op.ReduceSum(op.Cast(op.Not(beyond), to=INT64), [-1], keepdims=False)


def _bucketize(self: Any, boundaries: Any, out_int32: bool = False, right: bool = False) -> Any:
    return _searchsorted(boundaries, self, right=right)


def _tree_leaves(seen: Any, ensemble: int, trees_: int) -> Any:
    return op.Cast(ml.TreeEnsemble(seen, **trees.leaf_numbers(ensemble)), to=INT64)


def _tree_sums(seen: Any, ensemble: int, outputs: int) -> Any:
    return ml.TreeEnsemble(seen, **trees.leaf_values(ensemble))


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """By operation, a function that adds its operators to the graph."""
    aten = torch.ops.aten
    return {
        aten.searchsorted.Tensor: _searchsorted,
        aten.bucketize.Tensor: _bucketize,
        torch.ops.pipegrad.tree_leaves.default: _tree_leaves,
        torch.ops.pipegrad.tree_sums.default: _tree_sums,
    }
