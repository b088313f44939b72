"""The samples and labels that `FineTuner.partial_fit` is given, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils import indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples

from ..errors import ArgumentError
from ..training.samples import Samples
from .pipeline import checked_weight


def weighted_samples(
    estimator: Any, X: Any, y: Any, classes: Any, weight: ArrayLike | None
) -> Samples:
    """The samples of a call, without those that weigh nothing."""
    X, y = indexable(X, y)
    checked = checked_weight(weight, X)
    if classes is not None and not is_classifier(estimator):
        raise ArgumentError("classes= was given, and the pipeline is no classifier.")
    samples = Samples(X, y, checked)
    rows = np.arange(_num_samples(X)) if checked is None else np.flatnonzero(checked > 0)
    return samples.take(rows) if len(rows) < _num_samples(X) else samples


def check_first_labels(estimator: Any, y: Any, classes: Any) -> None:
    """Refuse labels of a first call that could not be learned, or lack some of ``classes``."""
    if classes is not None:
        _check_all_classes_present(classes, y)
    if is_classifier(estimator) and y is not None:
        check_classification_targets(y)


def _check_all_classes_present(classes: Any, y: Any) -> None:
    """The pipeline is fitted on these rows and knows their labels for ever."""
    from ..online.batches import columns_of

    for wanted, column in zip(_lists(classes), columns_of(y), strict=True):
        shown = np.unique(column)
        missing = [str(label) for label in wanted if label not in shown]
        if missing:
            raise ArgumentError(
                f"No row of the first call has the labels {', '.join(missing[:5])}, and the "
                "pipeline cannot grow classes.\nHint: let the first rows show every label of "
                "classes=, or fit on rows that do."
            )
        unknown = [str(label) for label in shown if label not in wanted]
        if unknown:
            raise ArgumentError(f"y has labels that classes= lacks: {', '.join(unknown[:5])}.")


def check_same_labels(classes: Any, known: Any) -> None:
    given, had = _lists(classes), _lists(known)
    if [sorted(g.tolist()) for g in given] != [sorted(h.tolist()) for h in had]:
        raise ArgumentError(
            f"classes={classes!r:.60} is not what the pipeline was fitted on, {known!r:.60}.\n"
            "Hint: leave classes out, or fit anew."
        )


def _lists(classes: Any) -> list[NDArray[Any]]:
    """Labels of each target, also where there is but one."""
    several = isinstance(classes, list) and len(classes) and np.ndim(classes[0]) == 1
    return [np.asarray(one) for one in (classes if several else [classes])]
