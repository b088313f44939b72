"""Validation splits of `FineTuner`: random ones, or those of the user's splitter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import _num_samples

from ..errors import ArgumentError
from ..training.samples import Samples
from ..training.splitting import folds, split
from ..typing import CrossValidation, Estimator

Index = NDArray[np.int64]
Split = tuple[Index, Index]


@dataclass(frozen=True)
class ValidationSplits:
    """The usable rows, and their splits into training and validation sets.

    Parameters
    ----------
    rows : array of int64
        Row numbers of all samples of positive weight.
    pairs : iterator of (array, array)
        Row numbers of the training and the validation set of each split.
    own : bool
        Whether the splits come from the user (``cv=``).
    """

    rows: Index
    pairs: Iterator[Split]
    own: bool


# More validation rows would hardly improve model selection.
MOST_HELD = 10_000


def one_split(rows: Index, classes: Index | None, share: float, seed: int) -> Iterator[Split]:
    """One split into training and validation rows, drawn at random, stratified by class."""
    first, second = split(len(rows), share, np.random.default_rng(seed), classes)
    if not len(second):
        raise ArgumentError("Too few rows per class to hold any out.\nHint: provide more rows.")
    return iter([(rows[first], rows[second])])


def random_splits(rows: Index, classes: Index | None, share: float, seed: int) -> Iterator[Split]:
    """Yield random splits with disjoint validation sets, until all rows are used."""
    share = min(share, MOST_HELD / len(rows))
    for first, second in folds(len(rows), share, np.random.default_rng(seed), classes):
        yield rows[first], rows[second]


def given_splits(
    cv: CrossValidation, estimator: Estimator, samples: Samples, rows: Index, classes: Index | None
) -> list[Split]:
    """Return the splits of ``cv``, the last one first, without rows of weight zero.

    Of splits ordered in time, the last one has the most training rows and the newest validation
    rows.

    Parameters
    ----------
    cv : int, splitter or iterable
        The splits, as in scikit-learn's searches.
    estimator : estimator
        The pipeline; for a classifier, an integer ``cv`` gives stratified splits.
    samples : Samples
        All samples of the user, which the splitter receives.
    rows : array of int64
        The usable rows.
    classes : array of int64, optional
        The class of each of ``rows``.

    Returns
    -------
    list of (array, array)
        Row numbers of the training and the validation set of each split.

    Raises
    ------
    ArgumentError
        If ``cv`` gives no splits, a set is empty, a row is in several validation sets, or a
        validation class is missing from the training set.
    """
    from sklearn.model_selection import check_cv  # loads rich, which waits until it is needed

    try:
        splitter = check_cv(cv, samples.y, classifier=is_classifier(estimator))
        found = list(splitter.split(samples.X, samples.y, samples.groups))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"cv={cv!r:.60} gives no splits: {error}") from error
    if not found:
        raise ArgumentError(f"cv={cv!r:.60} gives no splits.")
    known = np.zeros(_num_samples(samples.X), dtype=np.int64)
    if classes is not None:
        known[rows] = classes
    out = []
    for number, parts in enumerate(found, 1):
        train, valid = (np.intersect1d(rows, _numbers(part, len(known), number)) for part in parts)
        if not len(train) or not len(valid):
            raise ArgumentError(f"cv: split {number} has an empty training or validation set.")
        if np.intersect1d(train, valid).size:
            raise ArgumentError(f"cv: split {number} has rows that are in both sets.")
        if not np.isin(known[valid], known[train]).all():
            raise ArgumentError(
                f"cv: split {number} validates on a class that its training set lacks.\n"
                "Hint: use fewer splits, or stratified ones (StratifiedKFold)."
            )
        out.append((train, valid))
    if len(np.unique(np.concatenate([valid for _, valid in out]))) < sum(len(v) for _, v in out):
        raise ArgumentError(
            "cv: some rows are in the validation sets of several splits.\n"
            "Hint: use KFold, GroupKFold, TimeSeriesSplit, or ShuffleSplit(n_splits=1)."
        )
    return out[::-1]


def _numbers(part: ArrayLike, count: int, split: int) -> Index:
    """Return row numbers from row numbers or a mask."""
    part = np.asarray(part)
    if part.dtype == bool and len(part) == count:
        part = np.flatnonzero(part)
    wrong = part.size and (part.dtype.kind not in "iu" or part.min() < 0 or part.max() >= count)
    if part.ndim != 1 or wrong:
        raise ArgumentError(
            f"cv: split {split} must contain row numbers between 0 and {count - 1}, or a mask of "
            "the rows."
        )
    return part.astype(np.int64)
