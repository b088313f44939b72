"""Transformers without learned parameters: functions, thresholds, products of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from ...modules import Elementwise, Monomials, Threshold
from ...registry import Example, register
from ...warning_filters import ignored_warnings
from ..arrays import to_tensor
from ..numpy_calls import ELEMENTWISE, NumpyCall, clip, rounded
from ._base import (
    SklearnTranslation,
    as_float,
    reject_entries_stored_twice,
    validate,
)

# Supported elementwise functions.
_KNOWN: Mapping[Any, Callable[..., torch.Tensor]] = {
    **ELEMENTWISE,
    np.clip: clip,
    np.round: rounded,
}
_SAME = (np.asarray, np.array, np.ascontiguousarray, np.asfortranarray)
_PROBE_ROWS = 6


class _Fixed(SklearnTranslation):
    def trainable(self, operator: Any) -> bool:
        return False

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass


def _bent(X: Any) -> Any:
    return X**2 / (1 + abs(X))


def _above(X: Any, limit: float) -> Any:
    return limit < X


def _ratio(X: Any, first: int, second: int) -> Any:
    return np.column_stack([X, X[:, first] / (1 + np.exp(X[:, second]))])


@register("sklearn.preprocessing.FunctionTransformer")
class FunctionTransformer(_Fixed):
    """A known NumPy function, or a callable with equal results on tensors and arrays."""

    examples: ClassVar[Any] = (
        {"validate": True},
        Example({"func": np.log1p}, data="positive"),
        Example({"func": np.log1p, "inverse_func": np.expm1, "validate": True}, data="positive"),
        {"func": np.tanh},
        {"func": np.clip, "kw_args": {"a_min": -0.5, "a_max": 1.0}},
        {"func": _bent},
        {"func": _ratio, "kw_args": {"first": 1, "second": 0}, "validate": True},
        Example({}, data="sparse"),
        Example({"func": np.sqrt, "validate": True, "accept_sparse": True}, data="counts"),
        Example({"func": np.abs}, data="missing"),
        Example({"func": np.isnan}, data="missing"),
        {"func": _above, "kw_args": {"limit": 0.5}, "validate": True},
    )
    sparse = True
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "the function is applied to each of them"
    }
    missing = True
    keeps_integers = True

    def refuse(self, operator: Any) -> str | None:
        found = _translate(operator, operator.func, operator.kw_args)
        return found if isinstance(found, str) else None

    def is_differentiable(self, operator: Any) -> bool:
        """Comparisons and counts of the user's own have no gradient."""
        found = _translate(operator, operator.func, operator.kw_args)
        return isinstance(found, str) or found.smooth

    def encode(self, operator: Any, X: Any) -> Any:
        if operator.validate:
            X = validate(operator, X, sparse=operator.accept_sparse)
        else:
            # Invalid input is left for the function itself to reject.
            operator.transform(X[:1])
        if not sparse.issparse(X):
            X = np.asarray(X)
        if sparse.issparse(X) and not self.to_torch(operator).keeps_zero():
            raise TypeError(f"func={_name(operator.func)} does not keep sparse input sparse.")
        out = as_float(X)
        reject_entries_stored_twice(operator, out)
        return out

    def to_torch(self, operator: Any) -> Elementwise:
        found = _translate(operator, operator.func, operator.kw_args)
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def inverse(self, operator: Any) -> nn.Module | None:
        found = _translate(operator, operator.inverse_func, operator.inv_kw_args)
        return None if isinstance(found, str) else found


@register("sklearn.preprocessing.PolynomialFeatures")
class PolynomialFeatures(_Fixed):
    """Products of columns. Nothing is trainable; gradients pass through."""

    examples: ClassVar[Any] = (
        {},
        {"degree": 3, "interaction_only": True},
        {"degree": 3, "include_bias": False, "order": "F"},
        {"degree": (2, 3)},
        {"degree": (3, 3), "include_bias": False},
        {"degree": (0, 1)},
        {"degree": 0},
        Example({"degree": 3}, data="sparse"),
        Example({"degree": (2, 3), "interaction_only": True}, data="sparse"),
    )
    adds_entries = False
    sparse = True
    stored_twice = "rejected"
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "scikit-learn multiplies only some of the pairs"
    }

    def to_torch(self, operator: Any) -> nn.Module:
        return Monomials(
            operator.n_features_in_,
            operator._min_degree,
            operator._max_degree,
            repeat=not operator.interaction_only,
            constant=operator.include_bias,
        )


@register("sklearn.preprocessing.Binarizer")
class Binarizer(_Fixed):
    """Zeros and ones. Nothing is trainable; gradients stop here."""

    examples = ({}, {"threshold": 0.7}, Example({"threshold": 0.2}, data="sparse"))
    differentiable = False
    sparse = True

    def encode(self, operator: Any, X: Any) -> Any:
        if sparse.issparse(X) and operator.threshold < 0:
            raise ValueError("Cannot binarize a sparse matrix with threshold < 0")
        return super().encode(operator, X)

    def to_torch(self, operator: Any) -> nn.Module:
        return Threshold(float(operator.threshold))


def _translate(
    operator: Any, function: Any, options: Mapping[str, Any] | None
) -> Elementwise | str:
    """Return a module for the function, or the reason why there is none."""
    options = dict(options or {})
    if function is None or (not options and any(function is same for same in _SAME)):
        return Elementwise()
    name = f"func={_name(function)}"
    width = getattr(operator, "n_features_in_", None) or _width_of(options)
    known = next((torch_fn for fn, torch_fn in _KNOWN.items() if fn is function), None)
    if known is not None:
        if not options:
            return Elementwise(known)
        found = _try_out(function, options, width or 3, [Elementwise(known, options)])
        if isinstance(found, Elementwise):
            return found
        return f"{name} with kw_args {sorted(options)} has no module"
    if width is None:
        return f"{name} can only be checked on a fitted operator"
    candidates = [
        Elementwise(one, options, elementwise=False) for one in (function, NumpyCall(function))
    ]
    return _try_out(function, options, width, candidates)


def _width_of(options: Mapping[str, Any]) -> int | None:
    """The number of columns for which the options have a value each, if any do."""
    shapes = [np.shape(value) for value in options.values()]
    return next((shape[-1] for shape in shapes if shape and shape[-1] > 1), None)


def _try_out(
    function: Callable[..., Any],
    options: dict[str, Any],
    width: int,
    candidates: Sequence[Elementwise],
) -> Elementwise | str:
    """Return the first candidate that gives what the function gives row by row, or the reason."""
    name = f"func={_name(function)}"
    numbers = np.random.default_rng(0).normal(size=(_PROBE_ROWS, width)) * 2
    numbers[: _PROBE_ROWS // 2] = np.abs(numbers[: _PROBE_ROWS // 2])
    try:
        with _quiet():
            expected = np.asarray(function(numbers.copy(), **options), dtype=np.float64)
            part = np.asarray(function(numbers[1:3].copy(), **options), dtype=np.float64)
    except Exception as error:
        return f"{name} fails on an array of numbers ({type(error).__name__}: {error})"
    if expected.ndim != 2 or len(expected) != _PROBE_ROWS:
        return f"{name} does not return one row per input row"
    if not _same(part, expected[1:3]):
        return f"{name} mixes rows or is not deterministic"
    for module in candidates:
        given = _answer(module, numbers)
        if given is not None and _same(given.detach().numpy(), expected):
            module.smooth = given.requires_grad
            return module
    return f"{name} is Python code that torch cannot differentiate"


@contextmanager
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"), ignored_warnings():
        yield


def _answer(module: Elementwise, numbers: NDArray[np.float64]) -> torch.Tensor | None:
    probe = to_tensor(numbers).requires_grad_()
    try:
        with _quiet():
            out = module(probe)
    except Exception:
        return None
    return out if isinstance(out, torch.Tensor) else None


def _same(given: NDArray[Any], expected: NDArray[Any]) -> bool:
    return given.shape == expected.shape and np.allclose(
        given, expected, rtol=1e-9, atol=1e-12, equal_nan=True
    )


def _name(function: Any) -> str:
    names = (getattr(function, key, None) for key in ("__qualname__", "__name__"))
    return str(next(filter(None, names), type(function).__name__))
