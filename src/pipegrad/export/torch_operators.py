"""Operations of torch that its exporter does not know, on operators of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op

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


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """By operation, a function that adds its operators to the graph."""
    aten = torch.ops.aten
    return {
        aten.searchsorted.Tensor: _searchsorted,
        aten.bucketize.Tensor: _bucketize,
    }
