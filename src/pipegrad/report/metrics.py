"""The metrics that people count, beside the loss: accuracy, ROC AUC, R2 and so on.

A metric is computed on each split and averaged over the splits by their numbers of rows, as
cross-validation does. For standard errors, each metric is written as a mean over rows: of the terms
themselves (accuracy, absolute errors), or of the metric plus its influence function (ROC AUC, where
this gives the variance of DeLong, DeLong and Clarke-Pearson 1988; R2; root mean squared error).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..typing import Array

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class MetricResult:
    """A metric on the validation rows, before and after training.

    Attributes
    ----------
    name : str
        Name of the metric.
    before : float
        Its value for the fitted pipeline.
    after : float
        Its value after training, on rows that took no part in selecting the candidate.
    error : float
        Standard error of the change; NaN if it was not measured.
    higher_is_better : bool
        Whether larger values are better.
    """

    name: str
    before: float
    after: float
    error: float = math.nan
    higher_is_better: bool = True

    @property
    def change(self) -> float:
        """The value after training minus the value before."""
        return self.after - self.before

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of ``change``: minus and plus two standard errors."""
        return self.change - 2 * self.error, self.change + 2 * self.error


@dataclass(frozen=True)
class Predictions:
    """Targets and predictions of the validation rows of one split.

    Attributes
    ----------
    task : str
        Task of the head.
    target : array
        Numbers (n,) or (n, k), class indices (n,) or (n, k), or labels (n, k) of zeros and ones.
    predicted : array
        Predictions in the same form.
    shares : array of shape (n, classes), optional
        Probabilities of the classes, or of the labels.
    ranking : array of shape (n,) or (n, k), optional
        Scores that order the rows by each class or label; (n,) for two classes.
    weight : array of shape (n,)
        Weight of each row, with mean one.
    """

    task: str
    target: Array
    predicted: Array
    shares: Array | None
    ranking: Array | None
    weight: Rows


@dataclass(frozen=True)
class RowMetric:
    """A metric as a mean over rows.

    Parameters
    ----------
    name : str
        Name of the metric.
    rows : callable
        Values (n,) whose mean is the metric and whose variance, divided by n, is that of the
        metric; None where the metric is not defined.
    higher_is_better : bool
        Whether larger values are better.
    """

    name: str
    rows: Callable[[Predictions], Rows | None]
    higher_is_better: bool = True


def _accuracy(p: Predictions) -> Rows:
    right = (p.target == p.predicted).astype(np.float64)
    if right.ndim > 1:
        right = right.min(axis=1) if p.task == "multilabel" else right.mean(axis=1)
    return np.asarray(p.weight * right)


def _log_loss(p: Predictions) -> Rows | None:
    if p.shares is None or p.task != "classification":
        return None
    chosen = p.shares[np.arange(len(p.target)), p.target]
    return np.asarray(-p.weight * np.log(np.maximum(chosen, np.finfo(np.float64).eps)))


def _roc_auc(p: Predictions) -> Rows | None:
    """Of the second class; the mean over classes against the rest, or over labels."""
    if p.ranking is None or p.task not in ("classification", "multilabel"):
        return None
    if p.ranking.ndim == 1:
        return auc_rows(p.ranking, p.target == 1, p.weight)
    columns = range(p.ranking.shape[1])
    if p.task == "classification" and p.target.max() >= len(columns):
        return None  # One score for each pair of classes orders no rows by class.
    held = [p.target[:, k] == 1 if p.task == "multilabel" else p.target == k for k in columns]
    found = [auc_rows(p.ranking[:, k], held[k], p.weight) for k in columns]
    known = [rows for rows in found if rows is not None]
    return np.mean(known, axis=0) if known else None


def auc_rows(ranking: Array, positive: NDArray[np.bool_], weight: Rows) -> Rows | None:
    """The area under the ROC curve as a mean over rows.

    Parameters
    ----------
    ranking : array of shape (n,)
        Score of each row.
    positive : array of bool, shape (n,)
        Whether the row belongs to the class.
    weight : array of shape (n,)
        Weight of each row.

    Returns
    -------
    array of shape (n,), optional
        The area plus the influence of each row; None with one class or scores that are no numbers.
    """
    totals = np.array([weight[~positive].sum(), weight[positive].sum()])
    if not totals.all() or np.isnan(ranking).any():
        return None
    values, place = np.unique(ranking, return_inverse=True)
    negatives, positives = (
        np.bincount(place, weight * part, minlength=len(values)) for part in (~positive, positive)
    )
    below = (np.cumsum(negatives) - negatives / 2) / totals[0]
    above = (totals[1] - np.cumsum(positives) + positives / 2) / totals[1]
    # The share of the other class that a row is on the right side of.
    placement = np.where(positive, below[place], above[place])
    area = float(np.average(placement[positive], weights=weight[positive]))
    share = totals[positive.astype(int)]
    return np.asarray(area + len(weight) * weight * (placement - area) / share)


def _balanced_accuracy(p: Predictions) -> Rows | None:
    """The mean over classes of the share that is recognized."""
    if p.task != "classification":
        return None
    right = p.weight * (p.target == p.predicted)
    classes = np.unique(p.target)
    found = [_ratio(right * (p.target == k), p.weight * (p.target == k)) for k in classes]
    return np.asarray(np.mean(found, axis=0))


def _f1(p: Predictions) -> Rows | None:
    """Of the second of two classes."""
    if p.task != "classification" or p.target.max() > 1 or not p.target.any():
        return None
    both = p.weight * p.target * p.predicted
    return _ratio(2 * both, p.weight * (p.target + p.predicted))


def _ratio(above: Rows, below: Rows) -> Rows:
    """A ratio of two means over rows, plus the influence of each row."""
    ratio, mean = above.sum() / below.sum(), below.mean()
    return np.asarray(ratio + (above - ratio * below) / mean)


def _columns(values: Array) -> Rows:
    return np.asarray(values, dtype=np.float64).reshape(len(values), -1)


def _squares(p: Predictions) -> Rows:
    return p.weight[:, None] * (_columns(p.target) - _columns(p.predicted)) ** 2


def _r2(p: Predictions) -> Rows | None:
    target, squares = _columns(p.target), _squares(p)
    spread = p.weight[:, None] * (target - np.average(target, axis=0, weights=p.weight)) ** 2
    error, variance = squares.mean(axis=0), spread.mean(axis=0)
    if len(target) < 2 or not variance.all():
        return None
    influence = (error * (spread - variance) / variance - (squares - error)) / variance
    return np.asarray((1 - error / variance + influence).mean(axis=1))


def _rmse(p: Predictions) -> Rows:
    squares = _squares(p)
    root = np.sqrt(squares.mean(axis=0))
    influence = (squares - root**2) / (2 * np.where(root > 0, root, 1.0))
    return np.asarray((root + influence).mean(axis=1))


def _mse(p: Predictions) -> Rows:
    return np.asarray(_squares(p).mean(axis=1))


def _mae(p: Predictions) -> Rows:
    errors = np.abs(_columns(p.target) - _columns(p.predicted)).mean(axis=1)
    return np.asarray(p.weight * errors)


ACCURACY = RowMetric("accuracy", _accuracy)
ROC_AUC = RowMetric("ROC AUC", _roc_auc)
LOG_LOSS = RowMetric("log loss", _log_loss, higher_is_better=False)
BALANCED_ACCURACY = RowMetric("balanced accuracy", _balanced_accuracy)
F1 = RowMetric("F1", _f1)
R2 = RowMetric("R2", _r2)
MSE = RowMetric("mean squared error", _mse, higher_is_better=False)
RMSE = RowMetric("root mean squared error", _rmse, higher_is_better=False)
MAE = RowMetric("mean absolute error", _mae, higher_is_better=False)

_BY_TASK = {
    "classification": (ACCURACY, ROC_AUC, LOG_LOSS),
    "multilabel": (ACCURACY, ROC_AUC),
    "several": (ACCURACY,),
    "regression": (R2, RMSE, MAE),
}


def metrics_for(task: str) -> tuple[RowMetric, ...]:
    """The metrics that a report shows for a task."""
    return _BY_TASK.get(task, ())
