"""What `FineTuner` is given: checked before any work is done, and cut into parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, _num_samples, has_fit_parameter

from ..errors import ArgumentError, UntranslatableError
from ..registry import Expansion, Translation, dotted_name, lookup, why_missing
from ..typing import (
    Estimator,
    FloatArray,
    IntArray,
    Operator,
    Samples,
    SampleSet,
    SampleWeight,
    Targets,
)


def checked_weight(weight: SampleWeight, X: Samples) -> FloatArray | None:
    """The weight of each row of ``X`` (n,), none of them negative."""
    if weight is None:
        return None
    checked = np.asarray(_check_sample_weight(weight, X, dtype=np.float64))
    if (checked < 0).any():
        raise ArgumentError(
            "sample_weight must not be negative.\nHint: rows of weight 0 are left out."
        )
    return checked


def usable_rows(
    estimator: Estimator, X: Samples, y: Targets, weight: FloatArray | None
) -> tuple[IntArray, IntArray | None]:
    """The rows that weigh something, and the class of each where there are classes."""
    rows = np.arange(_num_samples(X))
    if weight is not None:
        rows = rows[weight > 0]
    if len(rows) < 2:
        raise ValueError(
            f"Found array with {len(rows)} sample(s) (n_samples={len(rows)}) while a minimum "
            "of 2 is required: some rows train, the others validate."
        )
    classes = None
    if y is not None and is_classifier(estimator):
        check_classification_targets(y)
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim == 1:
            classes = np.unique(labels[rows], return_inverse=True)[1]
    return rows, classes


def part_of(given: SampleSet, rows: IntArray) -> SampleSet:
    """Some rows of each of ``given``: X, y, weights and groups, which may be None."""
    return tuple(None if part is None else _safe_indexing(part, rows) for part in given)


def weight_argument(estimator: Estimator, weight: SampleWeight) -> dict[str, ArrayLike]:
    """Under which name the estimator's ``fit`` takes the weights."""
    if weight is None:
        return {}
    from sklearn import get_config
    from sklearn.pipeline import Pipeline

    prefix, last = "", estimator
    if not get_config().get("enable_metadata_routing"):
        while isinstance(last, Pipeline):
            name, last = [s for s in last.steps if s[1] not in (None, "passthrough")][-1]
            prefix += f"{name}__"
    inner = getattr(last, "estimator", getattr(last, "regressor", last))
    if not isinstance(last, Pipeline) and not has_fit_parameter(inner, "sample_weight"):
        raise ArgumentError(
            f"sample_weight was given, but {type(last).__name__}.fit does not take it.\n"
            "Hint: leave it out, or end the pipeline in a step that weighs rows."
        )
    return {f"{prefix}sample_weight": weight}


def check_last_step(estimator: Estimator) -> None:
    """Refuse, before anything is fitted, what could not be translated afterwards."""
    from sklearn.pipeline import Pipeline  # loads rich, which waits until it is needed

    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise ArgumentError(f"FineTuner takes an estimator, not {estimator!r:.60}.")
    path, last, steps = "", estimator, 1
    while isinstance(last, Pipeline) and last.steps:
        steps = len(last.steps)
        name, last = last.steps[-1]
        path = f"{path}/{name}" if path else name
    if last is None or isinstance(last, str):
        return
    row = lookup(type(last))
    reason = why_missing(type(last)) if row is None else _refusal(row, last)
    if reason is not None:
        name = path or type(last).__name__.lower()
        raise UntranslatableError(
            [(name, dotted_name(type(last)), reason)], steps, "nothing was fitted yet."
        )


def _refusal(row: Translation | Expansion, operator: Operator) -> str | None:
    try:
        return row.refuse(operator)
    except Exception:
        return None  # It asks for what only a fitted operator has.
