"""Comparison of predictions and of fitted attributes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse

from ..module import PipelineModule
from ..sources.arrays import without_tensors

METHODS = ("transform", "predict", "predict_proba", "predict_log_proba", "decision_function")
# Of estimators with none of these.
_OTHERS = ("score_samples", "mahalanobis", "kneighbors")


def assert_close(actual: Any, desired: Any, tolerance: float, what: str = "") -> None:
    """Assert equal shapes, types and values, up to a tolerance relative to each column's size.

    Parameters
    ----------
    actual, desired : array or sparse matrix
        Values to compare.
    tolerance : float
        Largest difference, relative to the largest absolute value of the column.
    what : str
        Description for the error message.

    Raises
    ------
    AssertionError
        When they differ.
    """
    assert sparse.issparse(actual) == sparse.issparse(desired), f"{what}: sparse and dense"
    if sparse.issparse(actual):
        actual, desired = actual.toarray(), desired.toarray()
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape, f"{what}: shape {actual.shape}, not {desired.shape}"
    if desired.dtype == object:
        actual, desired = _as_numbers(actual), _as_numbers(desired)
    if desired.dtype.kind not in "fiub":
        # Missing entries differ from themselves.
        missing = (actual != actual) & (desired != desired)
        assert ((actual == desired) | missing).all(), f"{what}: values differ"
        return
    actual, desired = actual.astype(float), desired.astype(float)
    finite = np.isfinite(desired)
    size = np.abs(np.where(finite, desired, 0)).max(axis=0, initial=1e-300)
    np.testing.assert_array_equal(np.isfinite(actual), finite, err_msg=what)
    gap = np.abs(np.where(finite, actual, 0) - np.where(finite, desired, 0))
    worst = float((gap / size).max(initial=0))
    assert worst <= tolerance, f"{what}: differs by {worst:.2e} of the column's size"


def _as_numbers(values: Any) -> Any:
    """Objects that are all numbers as an array of numbers; others as they are."""
    try:
        return values.astype(float)
    except (TypeError, ValueError):
        return values


def identical(a: Any, b: Any) -> bool:
    """Whether two fitted attributes are bit-identical."""
    if sparse.issparse(a) and sparse.issparse(b):
        return identical(a.toarray(), b.toarray())
    if hasattr(a, "equals") and type(a) is type(b):  # tables and their columns
        return bool(a.equals(b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype.kind == "O":
            return all(identical(x, y) for x, y in zip(a.ravel(), b.ravel(), strict=True))
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return identical(without_tensors(a), without_tensors(b))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(identical(a[k], b[k]) for k in a)
    if hasattr(a, "get_params") and type(a) is type(b):
        return identical(_state(a), _state(b))
    if type(a) is type(b) and _keeps_state(type(a)) and not np.isscalar(a):
        return identical(a.__getstate__(), b.__getstate__())
    if isinstance(a, float | np.floating) and isinstance(b, float | np.floating):
        return bool(a == b or (np.isnan(a) and np.isnan(b)))
    try:
        if type(a) is type(b) and type(a).__eq__ is object.__eq__ and a is not b:
            # Without an own comparison, the pickled content is compared.
            return _identical_content(a, b)
        return bool(a == b) or a is b
    except (TypeError, ValueError):
        return repr(a) == repr(b)


# Pairs of objects that are being compared; objects may refer to each other in a circle.
_OPEN: set[tuple[int, int]] = set()


def _identical_content(a: Any, b: Any) -> bool:
    pair = id(a), id(b)
    if pair in _OPEN:
        return True
    _OPEN.add(pair)
    try:
        return identical(a.__reduce_ex__(2), b.__reduce_ex__(2))
    finally:
        _OPEN.discard(pair)


def _keeps_state(kind: type) -> bool:
    """Whether a class defines its own ``__getstate__`` and ``__setstate__``."""
    told = getattr(kind, "__getstate__", None)
    return hasattr(kind, "__setstate__") and told is not getattr(object, "__getstate__", None)


def _state(operator: Any) -> dict[str, Any]:
    return {k: v for k, v in vars(operator).items() if not k.startswith("__")}


def learned(operator: Any) -> dict[str, Any]:
    """Public fitted attributes of an operator by name."""
    return {
        name: value
        for name, value in vars(operator).items()
        if name.endswith("_") and not name.startswith("_")
    }


def answers(operator: Any, X: Any) -> dict[str, Any]:
    """Outputs of all prediction methods of an operator or module.

    Parameters
    ----------
    operator : object
        A fitted operator, or a `PipelineModule`.
    X : array, DataFrame or sparse matrix
        Its input.

    Returns
    -------
    dict of str to array
        Outputs by the name of the method; lists of tables are concatenated horizontally.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        methods = [m for m in METHODS if hasattr(operator, m)]
        methods = methods or [m for m in _OTHERS if hasattr(operator, m)]
        found = {m: _answer(operator, m, X) for m in methods}
    told = {m: v for m, v in found.items() if v is not None}
    return {m: np.hstack(v) if isinstance(v, list | tuple) else v for m, v in told.items()}


def _answer(operator: Any, method: str, X: Any) -> Any:
    try:
        return getattr(operator, method)(X)
    except NotImplementedError:  # Some options leave a method out.
        return None


def assert_same_answers(net: PipelineModule, operator: Any, X: Any, tolerance: float) -> None:
    """Assert that module and operator have the same methods with the same outputs."""
    ours, theirs = answers(net, X), answers(operator, X)
    assert ours.keys() == theirs.keys(), f"methods {list(ours)}, not {list(theirs)}"
    for method, desired in theirs.items():
        assert_close(ours[method], desired, tolerance, method)


def perturb(net: PipelineModule, size: float = 0.05, seed: int = 0) -> None:
    """Add random noise to all trainable parameters.

    Parameters
    ----------
    net : PipelineModule
        Module to change in place.
    size : float
        Standard deviation of the noise, relative to the root mean square of each tensor.
    seed : int
        Seed of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.trainable_parameters().values():
            scale = p.square().mean().sqrt()
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.add_(noise * size * torch.where(scale > 0, scale, torch.ones_like(scale)))
