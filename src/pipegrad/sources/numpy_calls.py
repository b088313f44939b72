"""Functions written for NumPy arrays, applied to tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy import special
from torch import Tensor
from torch.nn import functional


def cube_root(x: Tensor) -> Tensor:
    """Return the real cube root; the gradient at zero, which is infinite, is set to zero."""
    zero = x == 0
    size = x.abs().masked_fill(zero, 1.0) ** (1 / 3)
    return (torch.sign(x) * size).masked_fill(zero, 0.0)


def square_root(x: Tensor) -> Tensor:
    """Return the square root; the gradient at zero, which is infinite, is set to zero."""
    zero = x == 0
    return torch.sqrt(x.masked_fill(zero, 1.0)).masked_fill(zero, 0.0)


def positive(x: Tensor) -> Tensor:
    """Return a copy."""
    return x.clone()


def sign(x: Tensor) -> Tensor:
    """Return -1, 0 or 1; NaN stays NaN."""
    return torch.where(torch.isnan(x), x, torch.sign(x))


# Smooth elementwise functions of one argument.
ELEMENTWISE: Mapping[Any, Callable[..., Tensor]] = {
    np.absolute: torch.abs,
    np.fabs: torch.abs,
    np.negative: torch.neg,
    np.positive: positive,
    np.sign: sign,
    np.square: torch.square,
    np.sqrt: square_root,
    np.cbrt: cube_root,
    np.reciprocal: torch.reciprocal,
    np.exp: torch.exp,
    np.exp2: torch.exp2,
    np.expm1: torch.expm1,
    np.log: torch.log,
    np.log2: torch.log2,
    np.log10: torch.log10,
    np.log1p: torch.log1p,
    np.sin: torch.sin,
    np.cos: torch.cos,
    np.tan: torch.tan,
    np.arcsin: torch.asin,
    np.arccos: torch.acos,
    np.arctan: torch.atan,
    np.sinh: torch.sinh,
    np.cosh: torch.cosh,
    np.tanh: torch.tanh,
    np.arcsinh: torch.asinh,
    np.arccosh: torch.acosh,
    np.arctanh: torch.atanh,
    np.floor: torch.floor,
    np.ceil: torch.ceil,
    np.trunc: torch.trunc,
    np.rint: torch.round,
    np.deg2rad: torch.deg2rad,
    np.radians: torch.deg2rad,
    np.rad2deg: torch.rad2deg,
    np.degrees: torch.rad2deg,
    np.nan_to_num: torch.nan_to_num,
    np.sinc: torch.sinc,
    np.i0: torch.special.i0,
    special.i0: torch.special.i0,
    special.i0e: torch.special.i0e,
    special.i1: torch.special.i1,
    special.i1e: torch.special.i1e,
    special.entr: torch.special.entr,
    special.erfinv: torch.special.erfinv,
    special.digamma: torch.special.digamma,
    special.ndtri: torch.special.ndtri,
    special.log_expit: functional.logsigmoid,
    special.expit: torch.special.expit,
    special.logit: torch.special.logit,
    special.erf: torch.special.erf,
    special.erfc: torch.special.erfc,
    special.ndtr: torch.special.ndtr,
    special.log_ndtr: torch.special.log_ndtr,
    special.log1p: torch.log1p,
    special.expm1: torch.expm1,
    special.exp2: torch.exp2,
    special.cbrt: cube_root,
}

_OTHERS: Mapping[Any, Callable[..., Tensor]] = {
    np.add: torch.add,
    np.subtract: torch.sub,
    np.multiply: torch.mul,
    np.divide: torch.div,
    np.power: torch.pow,
    np.float_power: torch.pow,
    np.maximum: torch.maximum,
    np.minimum: torch.minimum,
    np.fmax: torch.fmax,
    np.fmin: torch.fmin,
    np.remainder: torch.remainder,
    np.floor_divide: torch.floor_divide,
    np.arctan2: torch.atan2,
    np.hypot: torch.hypot,
    np.logaddexp: torch.logaddexp,
    np.logaddexp2: torch.logaddexp2,
    np.fmod: torch.fmod,
    np.copysign: torch.copysign,
    np.heaviside: torch.heaviside,
    special.xlogy: torch.special.xlogy,
    special.xlog1py: torch.special.xlog1py,
    np.greater: torch.gt,
    np.greater_equal: torch.ge,
    np.less: torch.lt,
    np.less_equal: torch.le,
    np.equal: torch.eq,
    np.not_equal: torch.ne,
    np.logical_and: torch.logical_and,
    np.logical_or: torch.logical_or,
    np.bitwise_and: torch.bitwise_and,
    np.bitwise_or: torch.bitwise_or,
    np.invert: torch.bitwise_not,
    np.isnan: torch.isnan,
    np.isfinite: torch.isfinite,
    np.isinf: torch.isinf,
    np.logical_not: torch.logical_not,
    np.matmul: torch.matmul,
}


def _reduce(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduced(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        dims = tuple(range(x.ndim)) if axis is None else axis
        return function(x, dim=dims, keepdim=keepdims)

    return reduced


def _spread(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def spread(x: Tensor, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        dims = tuple(range(x.ndim)) if axis is None else axis
        return function(x, dim=dims, correction=ddof, keepdim=keepdims)

    return spread


def clip(x: Tensor, a_min: Any = None, a_max: Any = None, **bounds: Any) -> Tensor:
    """Clip to a range; the bounds may also be passed as ``min`` and ``max``, or be arrays."""
    low, high = bounds.pop("min", a_min), bounds.pop("max", a_max)
    if bounds:
        raise TypeError(f"{', '.join(bounds)} has no counterpart in torch")
    if np.ndim(low) or np.ndim(high):
        low, high = (None if b is None else torch.as_tensor(b).to(x) for b in (low, high))
    return torch.clamp(x, low, high)


def rounded(x: Tensor, decimals: int = 0) -> Tensor:
    """Round half to even."""
    return torch.round(x, decimals=decimals)


def _joined(x: Any, axis: int = 0) -> Tensor:
    return torch.cat(list(x), axis)


def _norm(x: Tensor, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:  # noqa: A002
    if axis is None:
        raise TypeError("the norm of the whole table mixes rows")
    return torch.linalg.vector_norm(x, 2 if ord is None else ord, dim=axis, keepdim=keepdims)


def _reshape(x: Tensor, *shape: Any, **options: Any) -> Tensor:
    shape = options.pop("shape", shape)
    whole = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    return torch.reshape(x, tuple(whole), **options)


_FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    np.clip: clip,
    np.round: rounded,
    np.where: torch.where,
    np.nan_to_num: torch.nan_to_num,
    np.sinc: torch.sinc,
    np.i0: torch.special.i0,
    np.sum: _reduce(torch.sum),
    np.mean: _reduce(torch.mean),
    np.max: _reduce(torch.amax),
    np.min: _reduce(torch.amin),
    np.std: _spread(torch.std),
    np.var: _spread(torch.var),
    np.concatenate: _joined,
    np.hstack: torch.hstack,
    np.column_stack: torch.column_stack,
    np.stack: lambda x, axis=0: torch.stack(list(x), axis),
    np.linalg.norm: _norm,
    np.reshape: _reshape,
    np.zeros_like: torch.zeros_like,
    np.ones_like: torch.ones_like,
    np.dot: torch.matmul,
    np.cumsum: lambda x, axis: torch.cumsum(x, axis),
    np.diff: lambda x, axis=-1: torch.diff(x, dim=axis),
    np.flip: lambda x, axis: torch.flip(x, (axis,)),
    np.expand_dims: torch.unsqueeze,
    np.copy: positive,
}


class _Array(NDArrayOperatorsMixin):
    """A tensor that supports NumPy's functions; unsupported ones raise TypeError."""

    # Equality is elementwise, so instances are not hashable.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        function = ELEMENTWISE.get(ufunc) or _OTHERS.get(ufunc)
        if function is None or method != "__call__" or options:
            raise TypeError(f"{ufunc.__name__} has no counterpart in torch")
        return _wrap(function(*[self._tensor(value) for value in inputs]))

    def __array_function__(self, func: Any, types: Any, args: Any, options: Any) -> Any:
        function = _FUNCTIONS.get(func)
        if function is None:
            raise TypeError(f"{func.__name__} has no counterpart in torch")
        arguments = {key: _unwrap(value) for key, value in options.items()}
        return _wrap(function(*[_unwrap(value) for value in args], **arguments))

    def _tensor(self, value: Any) -> Tensor:
        value = _unwrap(value)
        if isinstance(value, Tensor):
            return value.to(self.tensor.device)
        kind = None if isinstance(value, (bool, np.bool_)) else self.tensor.dtype
        return torch.as_tensor(value, dtype=kind, device=self.tensor.device)

    def __getitem__(self, key: Any) -> Any:
        return _wrap(self.tensor[_unwrap(key)])

    def __len__(self) -> int:
        return len(self.tensor)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        return self.tensor.ndim

    @property
    def T(self) -> Any:  # noqa: N802
        return _wrap(self.tensor.T)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        if np.dtype(dtype).kind == "f":
            floating = self.tensor.is_floating_point()
            return _wrap(self.tensor if floating else self.tensor.to(torch.get_default_dtype()))
        raise TypeError(f"{dtype} is not differentiable")

    def copy(self) -> Any:
        return _wrap(self.tensor.clone())

    def __getattr__(self, name: str) -> Any:
        function = _METHODS.get(name)
        if function is None:
            raise AttributeError(f"a tensor in place of an array has no {name!r}")

        def method(*args: Any, **options: Any) -> Any:
            arguments = {key: _unwrap(value) for key, value in options.items()}
            return _wrap(function(self.tensor, *[_unwrap(value) for value in args], **arguments))

        return method


_METHODS: Mapping[str, Callable[..., Any]] = {
    "sum": _FUNCTIONS[np.sum],
    "mean": _FUNCTIONS[np.mean],
    "max": _FUNCTIONS[np.max],
    "min": _FUNCTIONS[np.min],
    "std": _FUNCTIONS[np.std],
    "var": _FUNCTIONS[np.var],
    "clip": clip,
    "round": rounded,
    "reshape": _reshape,
    "dot": torch.matmul,
}


def _wrap(value: Any) -> Any:
    return _Array(value) if isinstance(value, Tensor) else value


def _unwrap(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.tensor
    if isinstance(value, tuple):
        return tuple(_unwrap(part) for part in value)
    if isinstance(value, list) and any(isinstance(part, _Array) for part in value):
        return [_unwrap(part) for part in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(value.copy())
    return value


class NumpyCall:
    """A function written for NumPy arrays, applied to tensors.

    Parameters
    ----------
    function : callable
        Applies NumPy's functions and operators to its argument.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, x: Tensor, **options: Any) -> Tensor:
        """Return the result; raise TypeError or AttributeError if torch has no counterpart."""
        out = _unwrap(self.function(_Array(x), **options))
        if not isinstance(out, Tensor):
            raise TypeError("the result is not an array")
        return out
