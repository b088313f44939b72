"""Which validation splits suit the rows: random ones, ordered in time, or grouped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..training.samples import Samples
from ..typing import Estimator, FloatArray, Targets
from .problem import TrainingProblem
from .row_dependence import (
    Correlation,
    comparable,
    correlation_between_adjacent,
    correlation_of_neighbours,
    correlation_within,
    runs_of,
    sorted_by_target,
)
from .row_marks import GroupColumn, group_columns, is_used, time_order
from .row_signals import row_signals
from .validation_splits import Index, RowSplitter, ValidationSplits

RULES = ("auto", "random", "ordered", "grouped")
_OVERRULE = "validation_split='random' overrules this."
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

    def revised(
        self, first: TrainingProblem, fitted: Estimator, samples: Samples, valid: Index
    ) -> ValidationSplits | None:
        """Return ordered or grouped splits, if the rows of a random split depend on each other.

        Parameters
        ----------
        first : TrainingProblem
            The problem of the first random split, with the module as fitted.
        fitted : estimator
            The pipeline behind that module.
        samples : Samples
            All samples of the user.
        valid : array of int64
            Row numbers of the validation set of that split, in increasing order.

        Returns
        -------
        ValidationSplits, optional
            Other splits, or None if random ones suit the rows, or no others are possible.
        """
        classes = self._classes(valid)
        values = [comparable(part, classes) for part in row_signals(first)]
        order = Correlation()
        if not sorted_by_target(_numbers(samples.y, valid)):
            order = max(map(correlation_of_neighbours, values), key=_z)
        held = samples.take(valid)
        column = _group_column(values[:2], held, fitted, order.significant, self.splitter.seed)
        if column is not None:
            why = (
                f"Rows with the same value of column {column[0].name!r} have similar residuals "
                f"where they were not fitted ({_evidence(column[1])}); {_OVERRULE}"
            )
            return self._grouped(column[0].of(samples.X), why)
        if not order.significant:
            return None
        return self._ordered(
            "Neighbouring rows have similar residuals where they were not fitted "
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


def _numbers(y: Targets, valid: Index) -> NDArray[Any]:
    return np.empty((0, 0)) if y is None else np.asarray(y)[valid]


def _group_column(
    values: list[FloatArray], samples: Samples, fitted: Estimator, ordered: bool, seed: int
) -> tuple[GroupColumn, Correlation] | None:
    """Return the column whose values explain best that residuals are alike, if there is one.

    In rows with an order, each group is one run of rows, and neighbouring groups are not alike. In
    other rows, a column of labels must not be an input of the pipeline, which would know the values
    of new rows; numbers may be one, but neighbouring numbers must not be alike.
    """
    best: tuple[GroupColumn, Correlation] | None = None
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
        if ordered or column.numeric or not is_used(fitted, samples, column, seed):
            best = column, within
    return best


def _strangers(values: list[FloatArray], codes: Index, within: Correlation) -> bool:
    next_to = max((correlation_between_adjacent(part, codes) for part in values), key=_z)
    return next_to.z < _UNRELATED_Z or next_to.mean < _UNRELATED_SHARE * within.mean


def _z(found: Correlation) -> float:
    return found.z
