"""Input checks of `FineTuner.partial_fit`, and the rows on which it measures forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils import indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples
from torch import Tensor

from ..errors import ArgumentError
from ..training.samples import Samples
from ..typing import IntArray
from .pipeline import TunablePipeline, checked_weight, usable_rows
from .validation.splits import RowSplitter

# The most rows on which forgetting is measured, and the largest share that is held out of one fit.
_MOST_OLD, _HELD_SHARE = 1000, 0.2


@dataclass(frozen=True)
class OldSample:
    """A sample of the rows that a pipeline was fitted on.

    Parameters
    ----------
    samples : Samples
        The rows.
    score : Tensor of shape (n,) or (n, k)
        Their raw scores by clones of the pipeline that were fitted without them.
    """

    samples: Samples
    score: Tensor


def sample_of_old_rows(
    pipeline: TunablePipeline, samples: Samples, seed: int, fits: int = 5
) -> OldSample | None:
    """Draw rows on which to measure forgetting, and score each by a fit without it.

    Parameters
    ----------
    pipeline : TunablePipeline
        The unfitted pipeline.
    samples : Samples
        The rows that the pipeline was fitted on.
    seed : int
        Seed for the draw, which is stratified by class for a classifier.
    fits : int
        The most fits of the pipeline; from 5,000 rows on, one suffices.

    Returns
    -------
    OldSample or None
        At most 1,000 rows, a fifth of all rows for each fit; None if none can be held out, or
        the pipeline cannot be fitted without them.
    """
    rows, classes = usable_rows(pipeline.estimator, samples.X, samples.y, samples.weight)
    share = min(_HELD_SHARE, _MOST_OLD / len(rows))
    held: list[IntArray] = []
    scores: list[Tensor] = []
    for others, these in RowSplitter(rows, classes, share, seed).random():
        if sum(len(part) for part in held) >= _MOST_OLD or len(held) == fits:
            break
        try:
            net = pipeline.translate(pipeline.fit(samples.take(others)))
            scores.append(net.raw_score(samples.take(these).X))
        except Exception:
            return None  # The pipeline refuses fewer rows than the user has.
        held.append(these)
    if not held:
        return None
    return OldSample(samples.take(np.concatenate(held)), torch.cat(scores))


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
