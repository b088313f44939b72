"""The metrics of a report: before and after training, with the errors of their changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..report.metrics import MetricResult, Predictions, RowMetric, metrics_for
from ..typing import ScoreArray
from .comparison import Fold
from .predictions import HeldOut
from .selection import Halves, Place, Selection, cross_fitted_mean


def measured_metrics(
    folds: Sequence[Fold], choice: Selection, loss: str, own: bool
) -> tuple[MetricResult, ...]:
    """The metrics of the same selections on the same rows as the gain of the report.

    Parameters
    ----------
    folds : sequence of Fold
        The splits with the recorded scores of their runs.
    choice : Selection
        The selection, with its halves.
    loss : str
        Name of the metric of the loss, which the report shows already.
    own : bool
        Whether the splits come from the user, see `cross_fitted_mean`.

    Returns
    -------
    tuple of MetricResult
        One result for each metric of the task; none where the task has no metrics.
    """
    held = folds[0].held_out
    if held is None or not choice.halves:
        return ()
    halves = _halves_of_rows(folds, choice)
    sizes = [len(fold.scored.scores_[0]) for fold in folds]
    split = np.repeat(np.arange(len(folds)), sizes) if own else None

    @cache
    def predictions(place: Place | None) -> list[Predictions]:
        return [_predictions(fold, place) for fold in folds]

    def result(metric: RowMetric) -> MetricResult | None:
        before = np.concatenate([row_values(p, metric) for p in predictions(None)])
        if np.isnan(before).all():
            return None

        @cache
        def changes(place: Place | None) -> NDArray[np.float64]:
            return np.concatenate([row_values(p, metric) for p in predictions(place)]) - before

        change, error = cross_fitted_mean(halves, changes, split)
        start = float(np.nanmean(before))
        return MetricResult(metric.name, start, start + change, error, metric.higher_is_better)

    found = [result(metric) for metric in metrics_for(held.task, loss)]
    return tuple(one for one in found if one is not None)


def _halves_of_rows(folds: Sequence[Fold], choice: Selection) -> list[Halves]:
    """The selections, with a part for each row where a loss is measured on several at once."""
    offsets = np.cumsum([0, *(len(fold.start) for fold in folds[:-1])])
    entry = np.concatenate([off + fold.parts() for off, fold in zip(offsets, folds, strict=True)])
    return [Halves(one.part[entry], one.chosen) for one in choice.halves]


def row_values(predictions: Predictions, metric: RowMetric) -> NDArray[np.float64]:
    """The metric as a mean over rows (n,); NaN where it is not defined."""
    rows = metric.rows(predictions)
    return np.full(len(predictions.weight), np.nan) if rows is None else rows


def _predictions(fold: Fold, place: Place | None) -> Predictions:
    """Predictions of a checkpoint of one split, or of the baseline."""
    assert fold.held_out is not None
    run = fold.scored if place is None else fold.runs[place[0]]
    assert run is not None  # A candidate without all runs has no finite loss, and is not selected.
    checkpoint = 0 if place is None else min(place[1] + 1, len(run.scores_) - 1)
    return fold.held_out.predictions(run.scores_[checkpoint])


def single_run_metrics(
    held: HeldOut, before: ScoreArray, after: ScoreArray, loss: str
) -> tuple[MetricResult, ...]:
    """The metrics before and after a run, on the rows that selected its epoch: without errors."""
    found: list[MetricResult] = []
    if not metrics_for(held.task, loss):
        return ()
    both = [held.predictions(score) for score in (before, after)]
    for metric in metrics_for(held.task, loss):
        start, end = (float(row_values(p, metric).mean()) for p in both)
        if not np.isnan(start + end):
            better = metric.higher_is_better
            found.append(MetricResult(metric.name, start, end, higher_is_better=better))
    return tuple(found)
