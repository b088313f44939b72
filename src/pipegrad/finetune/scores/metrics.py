"""The metrics of a report: before and after training, with the errors of their changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ...report.metrics import MetricResult, Predictions, RowMetric, metrics_for
from ...typing import ScoreArray
from ..comparison import Comparison, Fold
from ..selection import Halves, Place, Selection, cross_fitted_mean
from .predictions import HeldOut
from .scoring import Scorer, Scoring


@dataclass(frozen=True)
class Shown:
    """What a report calls its gain: the metric of the loss, or the score that decided."""

    name: str
    factor: float
    shift: float
    higher_is_better: bool

    @classmethod
    def of(cls, found: Comparison, scoring: Scoring) -> Shown:
        """The metric of the loss, or the deciding score, which selection holds with a minus."""
        if scoring.decides is not None:
            return cls(scoring.decides.name, 1.0, 0.0, True)
        metric = found.task.criterion.metric
        return cls(metric.name, metric.factor, found.shift, False)

    def value(self, mean: float) -> float:
        """The value to show for a mean over rows."""
        return -mean if self.higher_is_better else self.factor * (mean + self.shift)


def measured_metrics(
    found: Comparison, choice: Selection, scoring: Scoring, own: bool
) -> tuple[MetricResult, ...]:
    """The metrics of the same selections on the same rows as the gain of the report.

    Parameters
    ----------
    found : Comparison
        The splits with the recorded scores of their runs.
    choice : Selection
        The selection, with its halves.
    scoring : Scoring
        Scores of the user's. If one of them decided, the loss is among the metrics.
    own : bool
        Whether the splits come from the user, see `cross_fitted_mean`.

    Returns
    -------
    tuple of MetricResult
        The loss if it did not decide, the metrics of the task, and the scores to report.
    """
    held, loss = found.folds[0].held_out, found.task.criterion.metric
    if held is None or not choice.halves:
        return ()
    rows = _Rows(found.folds, choice, own)
    results = []
    if scoring.decides is not None:
        results.append(_loss_result(found, rows))
    told = {loss.name, *(s.name for s in scoring.beside)}
    if scoring.decides is not None and scoring.decides.by_rows is not None:
        told.add(scoring.decides.by_rows.name)
    results += [rows.metric(one) for one in metrics_for(held.task) if one.name not in told]
    results += [rows.score(scorer) for scorer in scoring.beside]
    return tuple(one for one in results if one is not None)


class _Rows:
    """The validation rows of all splits, and the selections made on halves of them."""

    def __init__(self, folds: Sequence[Fold], choice: Selection, own: bool) -> None:
        self.folds = folds
        sizes = [len(fold.score_at(None)) for fold in folds]
        self.fold = np.repeat(np.arange(len(folds)), sizes)
        self.split = self.fold if own else None
        # A part for each row also where what decided was measured on several rows at once.
        offsets = np.cumsum([0, *(len(fold.start) for fold in folds[:-1])])
        entry = [off + fold.parts() for off, fold in zip(offsets, folds, strict=True)]
        parts = np.concatenate(entry)
        self.halves = [Halves(one.part[parts], one.chosen) for one in choice.halves]
        self.best = choice.best
        self._predictions = cache(self._predict)

    def _predict(self, place: Place | None) -> list[Predictions]:
        return [_held(fold).predictions(fold.score_at(place)) for fold in self.folds]

    def metric(self, metric: RowMetric) -> MetricResult | None:
        """A metric that is a mean over rows."""
        return self.result(
            metric.name,
            lambda place: [row_values(p, metric) for p in self._predictions(place)],
            metric.higher_is_better,
        )

    def result(
        self,
        name: str,
        values: Callable[[Place | None], list[NDArray[np.float64]]],
        higher_is_better: bool,
    ) -> MetricResult | None:
        """The change of means over rows, whose values a function gives for each split."""
        before = np.concatenate(values(None))
        if np.isnan(before).all():
            return None

        @cache
        def changes(place: Place | None) -> NDArray[np.float64]:
            return np.concatenate(values(place)) - before

        change, error = cross_fitted_mean(self.halves, changes, self.split)
        start = float(np.nanmean(before))
        return MetricResult(name, start, start + change, error, higher_is_better)

    def score(self, scorer: Scorer) -> MetricResult | None:
        """A score of the user's: by rows where that is the same, else on each half as it is."""
        first = self.folds[0]
        scorer = scorer.for_rows(_held(first), first.score_at(None))
        if scorer.by_rows is not None:
            return self.result(
                scorer.name,
                lambda place: [scorer.terms(_held(f), f.score_at(place)) for f in self.folds],
                True,
            )
        sizes = np.bincount(self.fold)
        each = [scorer(_held(fold), fold.score_at(None)) for fold in self.folds]
        before = float(np.average(each, weights=sizes))
        change = float(np.mean([self._change(scorer, one) for one in self.halves]))
        error = float(np.sqrt(np.average(self._variances(scorer), weights=sizes) / len(sizes)))
        return MetricResult(scorer.name, before, before + change, error)

    def _change(self, scorer: Scorer, halves: Halves) -> float:
        """The change of a score on the rows that did not select, by split and half."""
        total, offset = 0.0, 0
        for fold in self.folds:
            count = len(fold.score_at(None))
            part = halves.part[offset : offset + count]
            offset += count
            for number, place in enumerate(halves.chosen):
                rows = np.flatnonzero(part == number)
                if place is None or not len(rows):
                    continue
                held = _held(fold)
                after, before = (scorer(held, fold.score_at(p), rows) for p in (place, None))
                total += len(rows) * (after - before)
        return total / offset

    def _variances(self, scorer: Scorer) -> list[float]:
        """The jackknife variance of the change on each split, for the selection on all rows."""
        found = []
        for fold in self.folds:
            after, before = (scorer.terms(_held(fold), fold.score_at(p)) for p in (self.best, None))
            found.append(float((after - before).var(ddof=1) / len(after)))
        return found


def _loss_result(found: Comparison, rows: _Rows) -> MetricResult | None:
    """The metric of the loss, where a score decided."""
    metric, shift = found.task.criterion.metric, found.shift

    def values(place: Place | None) -> list[NDArray[np.float64]]:
        losses = [fold.loss_at(place) for fold in found.folds]
        sizes = [len(fold.score_at(None)) for fold in found.folds]
        if [len(one) for one in losses] != sizes:
            return [np.full(size, np.nan) for size in sizes]
        return [metric.factor * (one + shift) for one in losses]

    return rows.result(metric.name, values, higher_is_better=False)


def row_values(predictions: Predictions, metric: RowMetric) -> NDArray[np.float64]:
    """The metric as a mean over rows (n,); NaN where it is not defined."""
    rows = metric.rows(predictions)
    return np.full(len(predictions.weight), np.nan) if rows is None else rows


def _held(fold: Fold) -> HeldOut:
    assert fold.held_out is not None
    return fold.held_out


def single_run_metrics(
    held: HeldOut, before: ScoreArray, after: ScoreArray, loss: str, scoring: Scoring
) -> tuple[MetricResult, ...]:
    """The metrics before and after a run, on the rows that selected its epoch: without errors."""
    metrics = [one for one in metrics_for(held.task) if one.name != loss]
    found: list[MetricResult] = []
    if metrics:
        both = [held.predictions(score) for score in (before, after)]
        for metric in metrics:
            start, end = (float(row_values(p, metric).mean()) for p in both)
            found.append(
                MetricResult(metric.name, start, end, higher_is_better=metric.higher_is_better)
            )
    for scorer in scoring.all:
        found.append(MetricResult(scorer.name, scorer(held, before), scorer(held, after)))
    return tuple(one for one in found if not np.isnan(one.change))
