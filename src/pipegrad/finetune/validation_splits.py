"""Which rows `FineTuner` puts aside: by rule, or as the user's own splitter says."""

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
    """The rows that may be used, and how they are divided.

    Parameters
    ----------
    rows : array of int64
        Row numbers of all samples that weigh something.
    pairs : iterator of (array, array)
        Row numbers of a training and a validation set, for as many splits as there are.
    own : bool
        Whether the splits are the user's own (``cv=``).
    """

    rows: Index
    pairs: Iterator[Split]
    own: bool


# More rows than these would not make the choice surer.
MOST_HELD = 10_000


def one_split(rows: Index, classes: Index | None, share: float, seed: int) -> Iterator[Split]:
    """One split into training and validation rows, drawn at random, stratified by class."""
    first, second = split(len(rows), share, np.random.default_rng(seed), classes)
    if not len(second):
        raise ArgumentError("No class has a row to spare for validation; give more rows.")
    return iter([(rows[first], rows[second])])


def random_splits(rows: Index, classes: Index | None, share: float, seed: int) -> Iterator[Split]:
    """Splits whose validation parts do not meet, while rows last."""
    share = min(share, MOST_HELD / len(rows))
    for first, second in folds(len(rows), share, np.random.default_rng(seed), classes):
        yield rows[first], rows[second]


def given_splits(
    cv: CrossValidation, estimator: Estimator, samples: Samples, rows: Index, classes: Index | None
) -> list[Split]:
    """The splits of ``cv``, the last one first; rows that weigh nothing are left out.

    Of splits in order of time, the last has the most rows that train and the newest that validate.

    Parameters
    ----------
    cv : int, splitter or iterable
        As in scikit-learn's searches.
    estimator : estimator
        Classes are kept alike for a classifier, where ``cv`` is a number.
    samples : Samples
        What a splitter is shown.
    rows : array of int64
        Those that may be used.
    classes : array of int64, optional
        Class of each of ``rows``.

    Raises
    ------
    ArgumentError
        When ``cv`` is none, a part has no row, a row validates twice, or a class validates that
        does not train.
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
            raise ArgumentError(f"cv: split {number} leaves no row to train or to validate.")
        if np.intersect1d(train, valid).size:
            raise ArgumentError(f"cv: split {number} validates rows that it trains on.")
        if not np.isin(known[valid], known[train]).all():
            raise ArgumentError(
                f"cv: split {number} validates a class that none of the rows it trains on has.\n"
                "Hint: take fewer splits, or one that keeps classes alike (StratifiedKFold)."
            )
        out.append((train, valid))
    if len(np.unique(np.concatenate([valid for _, valid in out]))) < sum(len(v) for _, v in out):
        raise ArgumentError(
            "cv: some rows validate in several splits, as if they were several rows.\n"
            "Hint: KFold, GroupKFold, TimeSeriesSplit, or ShuffleSplit(n_splits=1)."
        )
    return out[::-1]


def _numbers(part: ArrayLike, count: int, split: int) -> Index:
    """Row numbers, also where there is a mask."""
    part = np.asarray(part)
    if part.dtype == bool and len(part) == count:
        part = np.flatnonzero(part)
    wrong = part.size and (part.dtype.kind not in "iu" or part.min() < 0 or part.max() >= count)
    if part.ndim != 1 or wrong:
        raise ArgumentError(
            f"cv: split {split} has neither row numbers between 0 and {count - 1} nor a mask of "
            "the rows."
        )
    return part.astype(np.int64)
