"""Comparison of the inference methods of a module with those of an operator."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from ..module import PipelineModule
from ..source_methods import INFERENCE_METHODS
from .comparison import assert_close, identical

_ATTRIBUTES = ("classes_", "n_features_in_", "feature_names_in_")


def assert_same_methods(
    net: PipelineModule, operator: Any, X: Any, y: Any, tolerance: float
) -> None:
    """Assert that a module has the inference methods of an operator, with the same results.

    Parameters
    ----------
    net : PipelineModule
        The module.
    operator : object
        The fitted operator.
    X, y : array, DataFrame or sparse matrix
        Rows and targets to call the methods with.
    tolerance : float
        Largest difference, relative to the largest absolute value of the column.

    Raises
    ------
    AssertionError
        When a method is missing or has no counterpart, or results differ.
    """
    for name in INFERENCE_METHODS:
        own = hasattr(operator, name)
        # Modules of torch always have a method of this name, which takes a function.
        assert name == "apply" or hasattr(net, name) == own, f"{name}: the operator has it: {own}"
        if own:
            ours, theirs = _result(net, name, operator, X, y), _result(operator, name, None, X, y)
            _assert_same(ours, theirs, tolerance, name)
    for name in _ATTRIBUTES:
        assert hasattr(net, name) == hasattr(operator, name), name
        if hasattr(operator, name):
            same = identical(_listed(getattr(net, name)), _listed(getattr(operator, name)))
            assert same, f"{name} differs"
    assert net.apply(lambda _: None) is net


def _result(owner: Any, name: str, operator: Any, X: Any, y: Any) -> Any:
    """What a method returns, or the exception that it raises."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = getattr(owner, name)(*_arguments(operator or owner, name, X, y))
            return list(found) if isinstance(found, Iterator) else found
    except Exception as error:  # compared by its type
        return error


def _arguments(operator: Any, name: str, X: Any, y: Any) -> tuple[Any, ...]:
    if name.startswith("get_") or name == "log_marginal_likelihood":
        return ()
    if name == "sample":
        return 3, 0
    if name in ("score", "staged_score"):
        return X, y
    if name == "inverse_transform" and hasattr(operator, "transform"):
        return (operator.transform(X),)
    return (X,)


def _assert_same(actual: Any, desired: Any, tolerance: float, what: str) -> None:
    same_kind = type(actual) is type(desired) or (
        sparse.issparse(actual) and sparse.issparse(desired)
    )
    assert same_kind, f"{what}: {actual!r:.200}, not {desired!r:.200}"
    if isinstance(desired, list | tuple):
        assert len(actual) == len(desired), f"{what}: {len(actual)} parts, not {len(desired)}"
        for one, other in zip(actual, desired, strict=True):
            _assert_same(one, other, tolerance, what)
    elif isinstance(desired, Exception):
        return
    elif sparse.issparse(desired) or np.asarray(desired).dtype.kind in "fiub":
        assert_close(actual, desired, tolerance, what)
    else:
        assert identical(actual, desired), f"{what}: values differ"


def _listed(value: Any) -> Any:
    return [np.asarray(part) for part in value] if isinstance(value, list) else np.asarray(value)
