"""Scores of scikit-learn on validation rows: what ``scoring=`` means."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier, is_regressor
from sklearn.utils.metaestimators import available_if

from ...errors import ArgumentError
from ...report.metrics import (
    ACCURACY,
    BALANCED_ACCURACY,
    F1,
    LOG_LOSS,
    MAE,
    MSE,
    R2,
    RMSE,
    ROC_AUC,
    RowMetric,
)
from ...typing import Array, ScoreArray
from ...warning_filters import ignored_warnings
from ..selection import successive_parts
from .predictions import HeldOut

# Scores that are means over rows, or have an influence function; others need a jackknife.
_BY_ROWS = {
    "accuracy": ACCURACY,
    "balanced_accuracy": BALANCED_ACCURACY,
    "f1": F1,
    "roc_auc": ROC_AUC,
    "roc_auc_ovr": ROC_AUC,
    "neg_log_loss": LOG_LOSS,
    "r2": R2,
    "neg_mean_squared_error": MSE,
    "neg_root_mean_squared_error": RMSE,
    "neg_mean_absolute_error": MAE,
}
# Groups of rows that the jackknife leaves out, one after the other.
_GROUPS = 20
# Relative difference between scikit-learn's score and the mean over rows that rounding explains.
_SAME = 1e-6


@dataclass(frozen=True)
class Scorer:
    """A score of scikit-learn; larger values are better.

    Parameters
    ----------
    name : str
        Its name in reports.
    function : callable
        ``function(estimator, X, y)``, as in scikit-learn.
    by_rows : RowMetric, optional
        The same score as a mean over rows, with the sign of the metric.
    own : bool
        Whether it is a function of the user, which may look at ``X``.
    """

    name: str
    function: Callable[..., float]
    by_rows: RowMetric | None = None
    own: bool = False

    def __call__(
        self, held: HeldOut, score: ScoreArray, rows: NDArray[np.int64] | None = None
    ) -> float:
        """The score of recorded raw scores on validation rows, or on some of them."""
        part = held if rows is None else held.take(rows)
        estimator = recorded_estimator(part, score if rows is None else score[rows])
        weight = {} if part.weight is None else {"sample_weight": part.weight}
        if self.own:
            weight = {}  # A plain function takes the estimator, X and y.
        try:
            return float(self.function(estimator, part.X, part.y, **weight))
        except ValueError as error:
            # Newer versions of scikit-learn give NaN where 1.5 has no area under a curve.
            if self.own or "Only one class present" not in str(error):
                raise
            return math.nan

    def terms(self, held: HeldOut, score: ScoreArray) -> NDArray[np.float64]:
        """Values whose mean is the score, and whose variance gives its standard error.

        One for each row where the score is a mean over rows or has an influence function;
        otherwise the pseudo-values of a jackknife over groups of successive rows.
        """
        if not np.isfinite(score).all():
            return np.full(len(score), np.nan)  # Training diverged.
        if self.by_rows is not None:
            rows = self.by_rows.rows(held.predictions(score))
            sign = 1.0 if self.by_rows.higher_is_better else -1.0
            return np.full(len(score), np.nan) if rows is None else sign * rows
        count = min(_GROUPS, len(score))
        part, whole = successive_parts(len(score), count), self(held, score)
        without = [self(held, score, np.flatnonzero(part != one)) for one in range(count)]
        values = count * whole - (count - 1) * np.array(without)
        # The mean of pseudo-values corrects the bias of the score; what counts is the score.
        return np.asarray(values - values.mean() + whole)

    def for_rows(self, held: HeldOut, score: ScoreArray) -> Scorer:
        """Return the scorer, by rows only where that gives what scikit-learn gives."""
        if self.by_rows is None:
            return self
        wanted, found = self(held, score), self.terms(held, score).mean()
        same = math.isclose(wanted, found, rel_tol=_SAME, abs_tol=_SAME)
        return self if same else Scorer(self.name, self.function, None, self.own)


@dataclass(frozen=True)
class Scoring:
    """The scores of a run: the one that selects, if any, and those that are reported beside.

    Parameters
    ----------
    decides : Scorer, optional
        The score that selects candidate and checkpoint; without it, the loss does.
    beside : tuple of Scorer
        Scores for the report.
    """

    decides: Scorer | None = None
    beside: tuple[Scorer, ...] = ()

    @property
    def all(self) -> tuple[Scorer, ...]:
        """All scores."""
        return self.beside if self.decides is None else (self.decides, *self.beside)

    @property
    def counts_decisions(self) -> bool:
        """Whether predicted classes decide, which a shift of all scores would change."""
        function = None if self.decides is None else self.decides.function
        method = getattr(function, "_response_method", "predict")
        return function is not None and method == "predict"

    @property
    def needs_input(self) -> bool:
        """Whether a function of the user is among them, which may look at ``X``."""
        return any(scorer.own for scorer in self.all)


def check_scoring(scoring: Any, estimator: Any, X: Any, y: Any) -> Scoring:
    """Turn ``scoring=`` into scorers, and try each on the targets before anything is fitted.

    Parameters
    ----------
    scoring : str, callable, sequence of str, mapping or None
        See `FineTuner`.
    estimator : estimator
        The pipeline, whose methods the scorers may use.
    X, y : array and the like
        The user's samples.

    Returns
    -------
    Scoring
        The scorers.

    Raises
    ------
    ArgumentError
        If a name is unknown, or a score cannot be computed from such targets and predictions.
    """
    if scoring is None:
        return Scoring()
    if is_single(scoring):
        found = Scoring(_scorer(_name(scoring), scoring))
    else:
        several = scoring if isinstance(scoring, Mapping) else {_name(s): s for s in scoring}
        found = Scoring(None, tuple(_scorer(name, one) for name, one in several.items()))
        if not found.beside:
            raise ArgumentError(f"scoring must name at least one score, got {scoring!r}.")
    for scorer in found.all:
        _try(scorer, estimator, X, y)
    return found


def _name(scoring: Any) -> str:
    if isinstance(scoring, str):
        return scoring
    function = getattr(scoring, "_score_func", scoring)
    return getattr(function, "__name__", type(function).__name__)


def _scorer(name: Any, scoring: Any) -> Scorer:
    from sklearn.metrics import get_scorer

    if isinstance(scoring, str):
        try:
            return Scorer(str(name), get_scorer(scoring), _BY_ROWS.get(scoring))
        except ValueError as error:
            raise ArgumentError(
                f"scoring={scoring!r} is not a score of scikit-learn.\n"
                "Hint: sklearn.metrics.get_scorer_names() lists them; a function "
                "(estimator, X, y) -> number works as well."
            ) from error
    if not callable(scoring) or isinstance(scoring, type):
        raise ArgumentError(
            f"scoring must be a name, a function (estimator, X, y) -> number, or a list or dict "
            f"of these, got {scoring!r:.60}."
        )
    return Scorer(str(name), scoring, own=not hasattr(scoring, "_score_func"))


def is_single(scoring: Any) -> bool:
    """Whether ``scoring=`` is one score, which selects, rather than several for the report."""
    several = isinstance(scoring, Mapping | Sequence | set) and not isinstance(scoring, str)
    return scoring is not None and not several


def _try(scorer: Scorer, estimator: Any, X: Any, y: Any) -> None:
    """Compute the score of simple predictions, so that errors surface before anything is fitted."""
    if y is None or not (is_classifier(estimator) or is_regressor(estimator)):
        return
    simple = _Simple(estimator, y)
    with ignored_warnings():
        try:
            value = scorer.function(simple.estimator(), X, y)
        except Exception as error:
            raise ArgumentError(
                f"scoring={scorer.name!r} cannot be computed for this pipeline and y: {error}"
            ) from error
    if not isinstance(value, numbers.Real):
        raise ArgumentError(
            f"scoring={scorer.name!r} must give a number, got {type(value).__name__}."
        )


class _Simple:
    """Predictions without a fit: the class of each row, or the mean of all targets."""

    def __init__(self, estimator: Any, y: Any) -> None:
        self.source = estimator
        self.y = np.asarray(y)
        self.labels = is_classifier(estimator)
        self.task = "classification" if self.labels else "regression"

    def estimator(self) -> Any:
        answers: dict[str, Any] = {}
        if not self.labels:
            mean = np.asarray(self.y, dtype=np.float64).mean(axis=0)
            answers["predict"] = np.zeros(self.y.shape) + mean
            return _Regressor(answers, None)
        answers["predict"] = self.y
        if self.y.ndim == 2 and self.y.shape[1] == 1:
            answers["predict"] = self.y[:, 0]
        if self.y.ndim > 1 and self.y.shape[1] > 1:
            if self.y.dtype.kind not in "biuf":
                return _Classifier(answers, None)
            shares, classes = self.y.astype(float), np.arange(2)
            decision = shares
        else:
            classes, place = np.unique(self.y, return_inverse=True)
            shares = np.eye(len(classes))[place.ravel()]
            decision = shares[:, 1] if len(classes) == 2 else shares
        for method, answer in (("predict_proba", shares), ("decision_function", decision)):
            if hasattr(self.source, method):
                answers[method] = answer
        return _Classifier(answers, classes)


def recorded_estimator(held: HeldOut, score: ScoreArray) -> Any:
    """An estimator whose predictions for the held-out rows were recorded during training."""
    made = _Classifier if held.task != "regression" else _Regressor
    return made(held.answers(score), held.classes, held.X)


def _gives(method: str) -> Callable[[Any], bool]:
    return lambda estimator: method in estimator.answers


class _Recorded(BaseEstimator):
    """Predictions by method, for exactly the rows that they belong to."""

    def __init__(self, answers: dict[str, Any], classes: Any, X: Any = None) -> None:
        self.answers, self.X = answers, X
        if classes is not None:
            self.classes_ = classes

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _answer(self, method: str, X: Any) -> Any:
        if self.X is not None and X is not self.X:
            raise ArgumentError(
                "scoring: the function must predict for the rows that it is given, as they are.\n"
                "Hint: call estimator.predict(X) on X itself, then select or compare rows."
            )
        return self.answers[method]

    @available_if(_gives("predict"))
    def predict(self, X: Any) -> Array:
        return self._answer("predict", X)

    @available_if(_gives("predict_proba"))
    def predict_proba(self, X: Any) -> Array:
        return self._answer("predict_proba", X)

    @available_if(_gives("decision_function"))
    def decision_function(self, X: Any) -> Array:
        return self._answer("decision_function", X)


class _Classifier(ClassifierMixin, _Recorded):
    pass


class _Regressor(RegressorMixin, _Recorded):
    pass
