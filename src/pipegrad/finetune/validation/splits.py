"""Validation splits of `FineTuner`: random, ordered, grouped, or those of the user's splitter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import _num_samples

from ...errors import ArgumentError
from ...training.samples import Samples
from ...training.splitting import folds, split
from ...typing import CrossValidation, Estimator

if TYPE_CHECKING:
    from ..problem import TrainingProblem

Index = NDArray[np.int64]
Split = tuple[Index, Index]


# "given": those of ``cv``.
Rule = Literal["random", "ordered", "grouped", "given"]
# The training problem of a split, the pipeline fitted there, and the validation rows.
Trial: TypeAlias = "tuple[TrainingProblem, Estimator, Index]"
Revise: TypeAlias = "Callable[[Iterator[Trial], Samples], ValidationSplits | None]"


@dataclass(frozen=True)
class ValidationSplits:
    """The usable rows, and their splits into training and validation sets.

    Parameters
    ----------
    rows : array of int64
        Row numbers of all samples of positive weight.
    pairs : iterator of (array, array)
        Row numbers of the training and the validation set of each split.
    rule : {"random", "ordered", "grouped", "given"}
        How the rows were split.
    why : str
        Why the rule was chosen, as sentences for the report; empty if there is nothing to say.
    groups : array of int64, optional
        The group of each sample, by row number, if whole groups are held out.
    revise : callable, optional
        Takes trials of the first splits, created lazily, and all samples; returns other splits, or
        None to keep these.
    """

    rows: Index
    pairs: Iterator[Split]
    rule: Rule = "random"
    why: str = ""
    groups: Index | None = None
    revise: Revise | None = None

    @property
    def dependent(self) -> bool:
        """Whether rows of one validation set may depend on each other in unknown ways."""
        return self.rule in ("ordered", "given")


# More validation rows would hardly improve model selection.
MOST_HELD = 10_000
# Ordered splits validate on blocks of the later half of the rows, so that each training set has at
# least the earlier half. Five blocks, as there are five random splits.
_BLOCKS = 5
_EARLIER = 0.5
# Share of the rows whose class may be missing from the smallest training set.
_MOST_UNKNOWN = 0.05


@dataclass(frozen=True)
class RowSplitter:
    """Draws the validation splits of a data set.

    Parameters
    ----------
    rows : array of int64
        Row numbers of all samples of positive weight.
    classes : array of int64, optional
        The class of each of ``rows``.
    share : float
        Share of the rows in each validation set.
    seed : int
        Seed for the random choice of rows and groups.
    single : bool
        Whether there is one split only, whose validation set is not limited.
    """

    rows: Index
    classes: Index | None
    share: float
    seed: int
    single: bool = False

    def random(self) -> Iterator[Split]:
        """Return random splits, stratified by class, with disjoint validation sets."""
        generator, count = np.random.default_rng(self.seed), len(self.rows)
        if self.single:
            first, second = split(count, self.share, generator, self.classes)
            if not len(second):
                raise ArgumentError(
                    "Too few rows per class to hold any out.\nHint: provide more rows."
                )
            pairs = iter([(first, second)])
        else:
            share = min(self.share, MOST_HELD / count)
            pairs = folds(count, share, generator, self.classes)
        return ((self.rows[train], self.rows[valid]) for train, valid in pairs)

    def ordered(self, reverse: bool = False) -> list[Split]:
        """Return splits whose training rows all precede their validation rows, the last one first.

        Parameters
        ----------
        reverse : bool
            Whether the last rows are the oldest.

        Returns
        -------
        list of (array, array)
            Row numbers; without validation rows of classes that come up for the first time. Empty
            if one of the sets would be empty or have a single class.
        """
        count = len(self.rows)
        order = np.arange(count)[::-1] if reverse else np.arange(count)
        if self.single:
            edges = [min(max(1, count - round(self.share * count)), count - 1), count]
        else:
            size = min((1 - _EARLIER) / _BLOCKS * count, MOST_HELD)
            edges = [round(count - left * size) for left in range(_BLOCKS, -1, -1)]
        pairs = [
            self._known(np.sort(order[:start]), np.sort(order[start:end]))
            for start, end in zip(edges[-2::-1], edges[:0:-1], strict=True)
        ]
        if not all(len(train) and len(valid) for train, valid in pairs):
            return []
        return [(self.rows[train], self.rows[valid]) for train, valid in pairs]

    def grouped(self, groups: Index) -> list[Split]:
        """Return splits that keep the rows of each group together.

        Parameters
        ----------
        groups : array of int64
            The group of each of ``rows``.

        Returns
        -------
        list of (array, array)
            Row numbers. Each group is in one validation set; a single split has about ``share`` of
            the rows in it.
        """
        labels, group = np.unique(groups, return_inverse=True)
        number = min(len(labels), max(2, round(1 / self.share)))
        sizes, filled = np.bincount(group), np.zeros(number)
        part = np.empty(len(labels), dtype=np.int64)
        mixed = np.random.default_rng(self.seed).permutation(len(labels))
        for one in mixed[np.argsort(-sizes[mixed], kind="stable")]:
            part[one] = filled.argmin()
            filled[part[one]] += sizes[one]
        pairs = []
        for held in range(number):
            chosen = part[group] == held
            train, valid = self._known(np.flatnonzero(~chosen), np.flatnonzero(chosen))
            if len(train) and len(valid):
                pairs.append((self.rows[train], self.rows[valid]))
        return pairs[:1] if self.single else pairs

    def covers_classes(self, pairs: list[Split]) -> bool:
        """Return whether there are splits, and their training sets have nearly all classes."""
        if not pairs:
            return False
        if self.classes is None:
            return True
        smallest = min((train for train, _ in pairs), key=len)
        known = self.classes[np.isin(self.rows, smallest)]
        return bool(np.mean(~np.isin(self.classes, known)) <= _MOST_UNKNOWN)

    def _known(self, train: Index, valid: Index) -> Split:
        """Leave out validation rows of classes that the training rows lack."""
        if self.classes is not None:
            valid = valid[np.isin(self.classes[valid], self.classes[train])]
            if len(np.unique(self.classes[train])) < 2:
                return train[:0], valid[:0]
        return train, valid


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
