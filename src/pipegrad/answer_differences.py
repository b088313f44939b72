"""How far the answers of two pipelines are apart."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

_METHODS = ("predict", "predict_proba", "decision_function", "transform")


def largest_differences(new: Any, old: Any, rows: Any) -> dict[str, float]:
    """How far the answers of two modules are apart, by method.

    Parameters
    ----------
    new, old : PipelineModule
        Modules of the same pipeline.
    rows : array, DataFrame, sparse matrix or list
        Rows in the format of the pipeline.

    Returns
    -------
    dict of str to float
        The largest difference relative to the largest entry of a column; for labels, the share of
        rows with another one.
    """
    found = {}
    for method in _METHODS:
        if hasattr(old, method):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # The caller knows what the source warns of.
                ours, theirs = (_array(getattr(net, method)(rows)) for net in (new, old))
            found[method] = difference(ours, theirs)
    return found


def _array(answer: Any) -> Any:
    answer = answer.toarray() if hasattr(answer, "toarray") else answer
    return np.hstack([np.asarray(part) for part in answer]) if isinstance(answer, list) else answer


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference, relative to a column's size; a share for what is no number."""
    theirs = np.asarray(theirs)
    if theirs.dtype.kind not in "f":
        return (
            float(np.mean(np.asarray(ours, dtype=theirs.dtype) != theirs)) if theirs.size else 0.0
        )
    ours, theirs = (np.asarray(one, dtype=np.float64) for one in (ours, theirs))
    finite = np.isfinite(theirs)
    if not np.array_equal(np.where(finite, 0, ours), np.where(finite, 0, theirs), equal_nan=True):
        return float("inf")
    size = np.abs(np.where(finite, theirs, 0)).max(axis=0, initial=1e-300)
    gap = np.abs(np.where(finite, ours, 0) - np.where(finite, theirs, 0))
    return float((gap / size).max(initial=0))
