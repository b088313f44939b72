"""The pipeline and the data that `FineTuner` is given: checked, fitted, translated, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
    has_fit_parameter,
)

from ..errors import ArgumentError, UntranslatableError
from ..module import PipelineModule
from ..modules import SplitMode
from ..registry import Expansion, Translation, dotted_name, lookup, why_missing
from ..training.samples import Samples
from ..typing import Estimator, Features, FloatArray, IntArray, Operator, SampleWeight, Targets


def checked_weight(weight: SampleWeight, X: Features) -> FloatArray | None:
    """The weight of each row of ``X`` (n,), none of them negative."""
    if weight is None:
        return None
    checked = np.asarray(_check_sample_weight(weight, X, dtype=np.float64))
    if (checked < 0).any():
        raise ArgumentError(
            "sample_weight must not be negative.\nHint: rows of weight 0 are left out."
        )
    return checked


def usable_rows(
    estimator: Estimator, X: Features, y: Targets, weight: FloatArray | None
) -> tuple[IntArray, IntArray | None]:
    """The rows that weigh something, and the class of each where there are classes."""
    rows = np.arange(_num_samples(X))
    if weight is not None:
        rows = rows[weight > 0]
    if len(rows) < 2:
        raise ValueError(
            f"Found array with {len(rows)} sample(s) (n_samples={len(rows)}) while a minimum "
            "of 2 is required: some rows train, the others validate."
        )
    classes = None
    if y is not None and is_classifier(estimator):
        check_classification_targets(y)
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim == 1:
            classes = np.unique(labels[rows], return_inverse=True)[1]
    return rows, classes


def weight_argument(estimator: Estimator, weight: SampleWeight) -> dict[str, ArrayLike]:
    """Under which name the estimator's ``fit`` takes the weights."""
    if weight is None:
        return {}
    from sklearn import get_config
    from sklearn.pipeline import Pipeline

    prefix, last = "", estimator
    if not get_config().get("enable_metadata_routing"):
        while isinstance(last, Pipeline):
            name, last = [s for s in last.steps if s[1] not in (None, "passthrough")][-1]
            prefix += f"{name}__"
    inner = getattr(last, "estimator", getattr(last, "regressor", last))
    if not isinstance(last, Pipeline) and not has_fit_parameter(inner, "sample_weight"):
        raise ArgumentError(
            f"sample_weight was given, but {type(last).__name__}.fit does not take it.\n"
            "Hint: leave it out, or end the pipeline in a step that weighs rows."
        )
    return {f"{prefix}sample_weight": weight}


def check_last_step(estimator: Estimator) -> None:
    """Refuse, before anything is fitted, what could not be translated afterwards."""
    from sklearn.pipeline import Pipeline  # loads rich, which waits until it is needed

    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise ArgumentError(f"FineTuner takes an estimator, not {estimator!r:.60}.")
    path, last, steps = "", estimator, 1
    while isinstance(last, Pipeline) and last.steps:
        steps = len(last.steps)
        name, last = last.steps[-1]
        path = f"{path}/{name}" if path else name
    if last is None or isinstance(last, str):
        return
    row = lookup(type(last))
    reason = why_missing(type(last)) if row is None else _refusal(row, last)
    if reason is not None:
        name = path or type(last).__name__.lower()
        raise UntranslatableError(
            [(name, dotted_name(type(last)), reason)], steps, "nothing was fitted yet."
        )


def _refusal(row: Translation | Expansion, operator: Operator) -> str | None:
    try:
        return row.refuse(operator)
    except Exception:
        return None  # It asks for what only a fitted operator has.


@dataclass
class TunablePipeline:
    """An unfitted pipeline with the way in which it becomes a module, and back.

    Parameters
    ----------
    estimator : estimator
        The user's pipeline; it is cloned, never changed.
    train, freeze : sequence of str, optional
        Patterns of the steps to train, or to leave as fitted.
    trees : {"leaves", "soft", "straight-through"}
        How decision trees train.
    own_loss : bool
        Whether the pipeline trains on the objective of its last operator.
    frozen : list of str
        Steps that `translate` left as fitted because what follows them has no module.
    """

    estimator: Any
    train: Sequence[str] | None = None
    freeze: Sequence[str] | None = None
    trees: SplitMode = "leaves"
    own_loss: bool = True
    frozen: list[str] = field(default_factory=list)

    def fit(self, samples: Samples) -> Any:
        """Return a clone of the pipeline, fitted on the samples."""
        fitted = clone(self.estimator)
        return fitted.fit(samples.X, samples.y, **weight_argument(fitted, samples.weight))

    def translate(self, fitted: Any) -> PipelineModule:
        """Translate a fitted pipeline; steps in front of one without a module are frozen."""
        from ..training.criterion import shrinking_steps
        from ..translate import to_torch

        self.frozen = []
        try:
            net = to_torch(fitted, train=self.train, freeze=self.freeze, trees=self.trees)
            frozen = shrinking_steps(net, net.objective) if self.own_loss else []
            if not frozen or self.train is not None:
                return net
        except UntranslatableError as error:
            if not error.freeze or self.train is not None:
                raise
            # What cannot become a module runs in its own library; nothing before it trains then.
            frozen = error.freeze
        self.frozen = list(frozen)
        return to_torch(fitted, freeze=[*(self.freeze or []), *frozen], trees=self.trees)

    def write_back(self, net: PipelineModule) -> Any:
        """Translate a trained module back into a fitted pipeline."""
        from ..translate import from_torch

        return from_torch(net)


def _has(method: str) -> Callable[[DelegatingEstimator], bool]:
    def check(tuner: DelegatingEstimator) -> bool:
        getattr(getattr(tuner, "estimator_", tuner.estimator), method)
        return True

    return check


class DelegatingEstimator(MetaEstimatorMixin, BaseEstimator):
    """Answers as ``estimator_`` does, once it is fitted, and has the tags of ``estimator``."""

    estimator: Estimator
    estimator_: Estimator

    @available_if(_has("predict"))
    def predict(self, X: Any) -> NDArray[Any]:
        """Predictions of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Class probabilities of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Logarithms of the class probabilities of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.predict_log_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Decision values of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    @available_if(_has("transform"))
    def transform(self, X: Any) -> Any:
        """Columns of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.transform(X)

    @available_if(_has("score"))
    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Score of ``estimator_``."""
        check_is_fitted(self)
        weight = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self.estimator_.score(X, y, **weight)

    @available_if(_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the columns of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags

        tags, own = super().__sklearn_tags__(), get_tags(self.estimator)
        for name in (
            "estimator_type",
            "target_tags",
            "transformer_tags",
            "classifier_tags",
            "regressor_tags",
            "input_tags",
        ):
            setattr(tags, name, getattr(own, name))
        return tags

    # scikit-learn before 1.6 asks these two instead.

    @property
    def _estimator_type(self) -> str:
        kind = getattr(self.estimator, "_estimator_type", None)
        if kind is None:
            raise AttributeError("_estimator_type")
        return kind

    def _more_tags(self) -> dict[str, Any]:
        from sklearn.utils._tags import _safe_tags

        return dict(_safe_tags(self.estimator))
