"""Operations of torch that its exporter does not know, on operators of ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset18 as op
from onnxscript import opset_ai_onnx_ml5 as ml

from . import trees

INT64 = 7
_UINT64 = 13
_END = 2**31  # of a slice to the last entry


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


def _cdist(x1: Any, x2: Any, p: float, compute_mode: Any = None) -> Any:
    """Minkowski distances (n, m) by differences, so that equal rows have none at all."""
    width = x2.shape[-1]
    total = None
    for place in range(width):
        # shape: (n, 1) and (1, m)
        left = op.Slice(x1, [place], [place + 1], [-1])
        right = op.Transpose(op.Slice(x2, [place], [place + 1], [-1]), perm=[1, 0])
        gap = op.Abs(op.Sub(left, right))
        power = gap if p in (1, math.inf) else _power(gap, p)
        if total is None:
            total = power
        else:
            total = op.Max(total, power) if p == math.inf else op.Add(total, power)
    if p in (1, math.inf):
        return total
    return op.Sqrt(total) if p == 2 else op.Pow(total, _like(1 / p, total))


def _power(gap: Any, p: float) -> Any:
    return op.Mul(gap, gap) if p == 2 else op.Pow(gap, _like(p, gap))


def _like(number: float, value: Any) -> Any:
    """A number as a tensor in the type of a value."""
    return op.Constant(value=ir.tensor(np.array(number, dtype=_real(value))))


def _real(value: Any) -> Any:
    return np.float64 if value.dtype is None else value.dtype.numpy()


# W. J. Cody, *Rational Chebyshev approximations for the error function*, 1969: numerators and
# denominators below 0.46875, and of the complement above it.
_ERF = (
    (
        0.18577770618460315,
        3.1611237438705655,
        113.86415415105016,
        377.485237685302,
        3209.3775891384694,
    ),
    (
        1.0,
        23.601290952344122,
        244.02463793444417,
        1282.6165260773723,
        2844.236833439171,
    ),
)
_ERFC = (
    (
        2.1531153547440383e-08,
        0.5641884969886701,
        8.883149794388377,
        66.11919063714163,
        298.6351381974001,
        881.952221241769,
        1712.0476126340707,
        2051.0783778260716,
        1230.3393547979972,
    ),
    (
        1.0,
        15.744926110709835,
        117.6939508913125,
        537.1811018620099,
        1621.3895745666903,
        3290.7992357334597,
        4362.619090143247,
        3439.3676741437216,
        1230.3393548037495,
    ),
)


def _erf(self: Any) -> Any:
    """The error function; the operator of ONNX Runtime has no double precision."""
    if _real(self) != np.float64:
        return op.Erf(self)
    size = op.Min(op.Abs(self), _like(7.0, self))  # where it is one
    square = op.Mul(size, size)
    near = op.Mul(size, op.Div(*(_polynomial(square, terms) for terms in _ERF)))
    rest = op.Div(*(_polynomial(size, terms) for terms in _ERFC))
    far = op.Sub(_like(1.0, self), op.Mul(op.Exp(op.Neg(square)), rest))
    value = op.Where(op.LessOrEqual(size, _like(0.46875, self)), near, far)
    value = op.Where(op.IsNaN(self), self, value)
    return op.Where(op.Less(self, _like(0.0, self)), op.Neg(value), value)


def _polynomial(x: Any, terms: tuple[float, ...]) -> Any:
    value = _like(terms[0], x)
    for term in terms[1:]:
        value = op.Add(op.Mul(value, x), _like(term, x))
    return value


# The best rational approximation of (atan(x) / x - 1) / x**2 in x**2, for x below 0.67.
_ATAN = (
    (
        -0.8743535828283032,
        -15.979241004568888,
        -73.6173919813165,
        -119.91466680344226,
        -63.00041130647656,
    ),
    (
        1.0,
        24.632920178047467,
        162.40491176877856,
        423.7384915793777,
        473.144740761975,
        189.0012339194297,
    ),
)


def _atan(self: Any) -> Any:
    """The arc tangent; this and the next operators of ONNX Runtime have no double precision."""
    if _real(self) != np.float64:
        return op.Atan(self)
    size, one = op.Abs(self), _like(1.0, self)
    large = op.Greater(size, _like(1 + math.sqrt(2), self))
    small = op.LessOrEqual(size, _like(0.66, self))
    middle = op.Div(op.Sub(size, one), op.Add(size, one))
    x = op.Where(large, op.Div(_like(-1.0, self), size), op.Where(small, size, middle))
    square = op.Mul(x, x)
    rest = op.Mul(square, op.Div(*(_polynomial(square, terms) for terms in _ATAN)))
    start = op.Where(
        large,
        _like(math.pi / 2, self),
        op.Where(small, _like(0.0, self), _like(math.pi / 4, self)),
    )
    value = op.Add(start, op.Add(op.Mul(x, rest), x))
    return op.Where(op.Less(self, _like(0.0, self)), op.Neg(value), value)


def _asin(self: Any) -> Any:
    if _real(self) != np.float64:
        return op.Asin(self)
    one = _like(1.0, self)
    return _atan(op.Div(self, op.Sqrt(op.Mul(op.Sub(one, self), op.Add(one, self)))))


def _acos(self: Any) -> Any:
    if _real(self) != np.float64:
        return op.Acos(self)
    one = _like(1.0, self)
    half = _atan(op.Sqrt(op.Div(op.Sub(one, self), op.Add(one, self))))
    return op.Mul(_like(2.0, self), half)


def _tan(self: Any) -> Any:
    return op.Tan(self) if _real(self) != np.float64 else op.Div(op.Sin(self), op.Cos(self))


def _cosh(self: Any) -> Any:
    if _real(self) != np.float64:
        return op.Cosh(self)
    rise, fall = _halves_of_exponentials(self)
    return op.Add(rise, fall)


def _sinh(self: Any) -> Any:
    if _real(self) != np.float64:
        return op.Sinh(self)
    rise, fall = _halves_of_exponentials(self)
    far = op.Mul(op.Sign(self), op.Sub(rise, fall))
    square = op.Mul(self, self)
    terms = tuple(1 / math.factorial(n) for n in range(19, 0, -2))
    near = op.Mul(self, _polynomial(square, terms))
    return op.Where(op.Less(op.Abs(self), _like(1.0, self)), near, far)


def _halves_of_exponentials(self: Any) -> tuple[Any, Any]:
    """Half of the exponential of the size of numbers, and of its negative."""
    root = op.Exp(op.Mul(_like(0.5, self), op.Abs(self)))  # whose square may be beyond the largest
    half = op.Mul(_like(0.5, self), root)
    return op.Mul(half, root), op.Div(op.Div(_like(0.5, self), root), root)


def _right_shift(self: Any, other: Any) -> Any:
    """Whole numbers without their last binary digits, rounded down as in torch."""
    places = op.Cast(other, to=_UINT64) if isinstance(other, ir.Value) else _whole(other)
    by = op.Cast(op.BitShift(_whole(1), places, direction="LEFT"), to=INT64)
    zero, one = (op.Constant(value=ir.tensor(np.array(n, dtype=np.int64))) for n in (0, 1))
    down = op.Where(op.Less(self, zero), op.Sub(by, one), zero)
    return op.Div(op.Sub(self, down), by)


def _whole(number: int) -> Any:
    return op.Constant(value=ir.tensor(np.array(number, dtype=np.uint64)))


def _where(condition: Any, self: Any, other: Any) -> Any:
    """One of two values; the operator of ONNX Runtime takes no truth values."""
    if self.dtype != ir.DataType.BOOL:
        return op.Where(condition, self, other)
    chosen = op.And(condition, self)
    return op.Or(chosen, op.And(op.Not(condition), other))


def _solve(
    A: Any, B: Any, left: bool = True, check_errors: bool = False
) -> tuple[Any, Any, Any, Any]:
    """Solutions of small systems of equations, without an exchange of rows (Gauss and Jordan)."""
    size = A.shape[-1]
    table = op.Concat(A, B, axis=-1)
    for place in range(size):
        row = op.Slice(table, [place], [place + 1], [-2])
        column = op.Slice(table, [place], [place + 1], [-1])
        row = op.Div(row, op.Slice(row, [place], [place + 1], [-1]))
        unit = np.eye(size)[:, place : place + 1].astype(_real(A))
        change = op.Sub(column, op.Constant(value=ir.tensor(unit)))
        table = op.Sub(table, op.MatMul(change, row))
    solved = op.Slice(table, [size], [_END], [-1])
    return solved, op.Identity(A), op.Identity(A), op.Identity(A)


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
        aten.erf.default: _erf,
        aten.atan.default: _atan,
        aten.asin.default: _asin,
        aten.acos.default: _acos,
        aten.tan.default: _tan,
        aten.cosh.default: _cosh,
        aten.sinh.default: _sinh,
        aten.__rshift__.Scalar: _right_shift,
        aten.__rshift__.Tensor: _right_shift,
        aten.where.self: _where,
        aten._linalg_solve_ex.default: _solve,
        aten._cdist_forward.default: _cdist,
        aten.cdist.default: _cdist,
        torch.ops.pipegrad.tree_leaves.default: _tree_leaves,
        torch.ops.pipegrad.tree_sums.default: _tree_sums,
    }
