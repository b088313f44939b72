"""Input checks of `FineTuner.partial_fit`, and the rows on which it measures forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils import indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples
from torch import Tensor

from ..errors import ArgumentError
from ..training.samples import Samples
from .pipeline import TunablePipeline, checked_weight, usable_rows
from .validation_splits import one_split

# The share of the fitted rows on which forgetting is measured, and the most and fewest of them.
_OLD_SHARE, _MOST_OLD, _FEWEST_OLD = 0.2, 1000, 30


@dataclass(frozen=True)
class OldSample:
    """A sample of the rows that a pipeline was fitted on.

    Parameters
    ----------
    samples : Samples
        The rows.
    score : Tensor of shape (n,) or (n, k)
        Their raw score by a clone of the pipeline that was fitted on the other rows.
    """

    samples: Samples
    score: Tensor


def sample_of_old_rows(
    pipeline: TunablePipeline, samples: Samples, seed: int
) -> OldSample | None:
    """Draw rows on which to measure forgetting, and fit the pipeline once without them.

    Parameters
    ----------
    pipeline : TunablePipeline
        The unfitted pipeline.
    samples : Samples
        The rows that the pipeline was fitted on.
    seed : int
        Seed for the draw, which is stratified by class for a classifier.

    Returns
    -------
    OldSample or None
        None if there are too few rows to measure anything.
    """
    rows, classes = usable_rows(pipeline.estimator, samples.X, samples.y, samples.weight)
    share = min(_OLD_SHARE, _MOST_OLD / len(rows))
    if share * len(rows) < _FEWEST_OLD:
        return None
    others, held = next(one_split(rows, classes, share, seed))
    old = samples.take(held)
    net = pipeline.translate(pipeline.fit(samples.take(others)))
    return OldSample(old, net.raw_score(old.X))


def weighted_samples(
    estimator: Any, X: Any, y: Any, classes: Any, weight: ArrayLike | None
) -> Samples:
    """Return the samples of a call that have a positive weight."""
    X, y = indexable(X, y)
    checked = checked_weight(weight, X)
    if classes is not None and not is_classifier(estimator):
        raise ArgumentError("classes= was given, but the pipeline is not a classifier.")
    samples = Samples(X, y, checked)
    rows = np.arange(_num_samples(X)) if checked is None else np.flatnonzero(checked > 0)
    return samples.take(rows) if len(rows) < _num_samples(X) else samples


def check_first_labels(estimator: Any, y: Any, classes: Any) -> None:
    """Reject unusable labels in a first call, or labels that lack some of ``classes``."""
    if classes is not None:
        _check_all_classes_present(classes, y)
    if is_classifier(estimator) and y is not None:
        check_classification_targets(y)


def _check_all_classes_present(classes: Any, y: Any) -> None:
    """Check that all classes are present: the first call fixes the classes of the pipeline."""
    from ..online.batches import columns_of

    for wanted, column in zip(_lists(classes), columns_of(y), strict=True):
        shown = np.unique(column)
        missing = [str(label) for label in wanted if label not in shown]
        if missing:
            raise ArgumentError(
                f"No row of the first call has the labels {', '.join(missing[:5])}, and the "
                "pipeline cannot add classes later.\nHint: include every label of classes= in the "
                "first call, or call fit first."
            )
        unknown = [str(label) for label in shown if label not in wanted]
        if unknown:
            raise ArgumentError(f"y has labels that classes= lacks: {', '.join(unknown[:5])}.")


def check_same_labels(classes: Any, known: Any) -> None:
    """Reject ``classes`` that differ from those of the fitted pipeline."""
    given, had = _lists(classes), _lists(known)
    if [sorted(g.tolist()) for g in given] != [sorted(h.tolist()) for h in had]:
        raise ArgumentError(
            f"classes={classes!r:.60} is not what the pipeline was fitted on, {known!r:.60}.\n"
            "Hint: omit classes, or call fit again."
        )


def _lists(classes: Any) -> list[NDArray[Any]]:
    """Return the labels of each target as a list, also for a single target."""
    several = isinstance(classes, list) and len(classes) and np.ndim(classes[0]) == 1
    return [np.asarray(one) for one in (classes if several else [classes])]
