"""Which validation splits suit the rows: random ones, ordered in time, or grouped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ArgumentError
from ...training.samples import Samples
from ...typing import Estimator, FloatArray, Targets
from ..portfolio import LARGE_SAMPLE
from ..problem import TrainingProblem
from .row_dependence import (
    Correlation,
    comparable,
    correlation_between_adjacent,
    correlation_of_neighbours,
    correlation_with_time,
    correlation_within,
    runs_of,
    sorted_by_target,
)
from .row_marks import GroupColumn, group_columns, is_used, time_order
from .row_signals import row_signals
from .splits import Index, RowSplitter, Trial, ValidationSplits

RULES = ("auto", "random", "ordered", "grouped")
_OVERRULE = "validation_split='random' overrules this."
# Standard errors from which the rows of another split are looked at, while there are few.
_SUSPICIOUS_Z = 2.8
# Neighbouring groups, or groups with neighbouring numbers, are strangers: their correlation is
# below so many standard errors, or below this share of the correlation within groups.
_UNRELATED_Z = 2.5
_UNRELATED_SHARE = 0.25


def check_rule(rule: Any, cv: Any, groups: Any) -> None:
    """Reject an unknown ``validation_split``, or one that other arguments contradict."""
    if rule is None:
        return
    if rule not in RULES:
        raise ArgumentError(
            f"validation_split must be 'auto', 'random', 'ordered' or 'grouped', got {rule!r:.60}."
            "\nHint: pass a splitter of scikit-learn as cv=."
        )
    if rule == "grouped" and cv is None and groups is None:
        raise ArgumentError(
            "validation_split='grouped' keeps the rows of each group together, but groups= is "
            "missing.\nHint: fit(X, y, groups=...) takes a label for each row."
        )


@dataclass(frozen=True)
class SplitChoice:
    """Chooses validation splits: by the user's rule, or by what the rows show.

    Parameters
    ----------
    splitter : RowSplitter
        Draws the splits.
    rule : {"auto", "random", "ordered", "grouped"}
        The user's rule.
    """

    splitter: RowSplitter
    rule: str

    def initial(self, samples: Samples) -> ValidationSplits:
        """Return the splits that need no fitted pipeline: by rule, by date, or random ones.

        Parameters
        ----------
        samples : Samples
            All samples of the user.

        Returns
        -------
        ValidationSplits
            The splits.

        Raises
        ------
        ArgumentError
            If the rows cannot be split by the user's rule.
        """
        rows = self.splitter.rows
        if self.rule == "grouped":
            found = self._grouped(np.asarray(samples.groups), "The groups were given.")
            return _required(found, "grouped", "there are fewer than two groups with all classes")
        if self.rule == "random":
            return ValidationSplits(rows, self.splitter.random())
        time = time_order(samples.X, samples.y, rows)
        reverse = time is not None and time.reverse
        if self.rule == "ordered":
            found = self._ordered("This order was given.", reverse)
            return _required(found, "ordered", "the earlier rows lack some of the classes")
        if time is not None:
            why = f"{time.name} {time.direction}; {_OVERRULE}"
            found = self._ordered(why[0].upper() + why[1:], reverse)
            if found is not None:
                return found
        return ValidationSplits(rows, self.splitter.random(), revise=self.revised)

    def revised(self, trials: Iterator[Trial], samples: Samples) -> ValidationSplits | None:
        """Return ordered or grouped splits, if the rows of random splits depend on each other.

        Parameters
        ----------
        trials : iterator of Trial
            The first random splits, with modules as fitted. The next one is taken only while few
            rows leave it open whether they depend on each other.
        samples : Samples
            All samples of the user.

        Returns
        -------
        ValidationSplits, optional
            Other splits, or None if random ones suit the rows, or no others are possible.
        """
        seen = _Signals([], [])
        order, column = Correlation(), None
        for problem, fitted, valid in trials:
            seen = seen.joined(problem, self._classes(valid), valid)
            order = seen.order(samples.y)
            column = _group_column(seen, samples, fitted, order.significant, self.splitter.seed)
            if column is not None or order.significant or not seen.inconclusive(order):
                break
        if column is not None:
            why = (
                f"On rows that were not fitted, those with the same value of column "
                f"{column[0].name!r} have similar residuals ({_evidence(column[1])}); {_OVERRULE}"
            )
            return self._grouped(column[0].of(samples.X), why)
        if not order.significant:
            return None
        return self._ordered(
            "On rows that were not fitted, losses or residuals depend on the order of the rows "
            f"({_evidence(order)}); {_OVERRULE}"
        )

    def _classes(self, valid: Index) -> Index | None:
        own = self.splitter
        return None if own.classes is None else own.classes[np.searchsorted(own.rows, valid)]

    def _ordered(self, why: str, reverse: bool = False) -> ValidationSplits | None:
        pairs = self.splitter.ordered(reverse)
        if not self.splitter.covers_classes(pairs):
            return None
        sentence = f"Ordered validation on later rows. {why}"
        return ValidationSplits(self.splitter.rows, iter(pairs), "ordered", sentence)

    def _grouped(self, groups: NDArray[Any], why: str) -> ValidationSplits | None:
        pairs = self.splitter.grouped(groups[self.splitter.rows])
        if not self.splitter.covers_classes(pairs):
            return None
        sentence = f"Grouped validation on other groups. {why}"
        return ValidationSplits(self.splitter.rows, iter(pairs), "grouped", sentence, groups)


def _required(found: ValidationSplits | None, rule: str, reason: str) -> ValidationSplits:
    if found is None:
        raise ArgumentError(
            f"validation_split={rule!r} gives no splits: {reason}.\n"
            "Hint: use validation_split='random', or a splitter of your own as cv=."
        )
    return found


def _evidence(found: Correlation) -> str:
    return f"correlation {found.mean:.2g}, {found.z:.1f} standard errors"


@dataclass(frozen=True)
class _Signals:
    """Comparable signals of validation rows of several splits.

    ``parts`` has the signals of each split and ``rows`` its row numbers.
    """

    parts: list[list[FloatArray]]
    rows: list[Index]

    def joined(self, problem: TrainingProblem, classes: Index | None, valid: Index) -> _Signals:
        """Return the signals with those of another split."""
        new = [comparable(signal, classes) for signal in row_signals(problem)]
        return _Signals([*self.parts, new], [*self.rows, valid])

    @property
    def numbers(self) -> Index:
        """The row numbers in increasing order."""
        return np.sort(np.concatenate(self.rows))

    def values(self) -> list[FloatArray]:
        """Return each signal of all rows, in the order of the rows."""
        order = np.argsort(np.concatenate(self.rows), kind="stable")
        joined = []
        for same in zip(*self.parts, strict=True):
            width = min(part.shape[1] for part in same)  # A split may lack a class.
            joined.append(np.concatenate([part[:, :width] for part in same])[order])
        return joined

    def order(self, y: Targets) -> Correlation:
        """Return how much the signals depend on the order of the rows, unless ``y`` sorts them."""
        if y is not None and sorted_by_target(np.asarray(y)[self.numbers]):
            return Correlation()
        tests = (correlation_of_neighbours, correlation_with_time)
        return max((test(part) for part in self.values() for test in tests), key=_z)

    def inconclusive(self, order: Correlation) -> bool:
        """Whether further rows may show a dependence that these rows leave open."""
        return len(self.numbers) < LARGE_SAMPLE and order.z > _SUSPICIOUS_Z


def _group_column(
    seen: _Signals, samples: Samples, fitted: Estimator, ordered: bool, seed: int
) -> tuple[GroupColumn, Correlation] | None:
    """Return the column whose values explain best that residuals are alike, if there is one.

    In rows with an order, each group is one run of rows, and neighbouring groups are not alike. In
    other rows, the column must be no input of the pipeline, which else knows the values of new rows
    as it knows any feature, or hold numbers under the name of an identifier.
    """
    best: tuple[GroupColumn, Correlation] | None = None
    samples, values = samples.take(seen.numbers), seen.values()[:2]
    for column in group_columns(samples.X):
        within = max((correlation_within(part, column.codes) for part in values), key=_z)
        if not within.significant or (best is not None and within.mean <= best[1].mean):
            continue
        runs = runs_of(column.codes)
        in_runs = runs[-1] + 1 == len(np.unique(column.codes))
        if ordered and not in_runs:
            continue
        codes = runs if ordered else column.codes
        if (ordered or column.numeric) and not _strangers(values, codes, within):
            continue
        named = column.numeric and column.is_identifier
        if ordered or named or not is_used(fitted, samples, column, seed):
            best = column, within
    return best


def _strangers(values: list[FloatArray], codes: Index, within: Correlation) -> bool:
    next_to = max((correlation_between_adjacent(part, codes) for part in values), key=_z)
    return next_to.z < _UNRELATED_Z or next_to.mean < _UNRELATED_SHARE * within.mean


def _z(found: Correlation) -> float:
    return found.z
