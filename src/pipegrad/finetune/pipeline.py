"""Input checks of `FineTuner`, and how its pipeline is fitted, translated and written back."""

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
    """Validate the sample weights of ``X``, shape (n,); negative weights raise an error."""
    if weight is None:
        return None
    checked = np.asarray(_check_sample_weight(weight, X, dtype=np.float64))
    if (checked < 0).any():
        raise ArgumentError(
            "sample_weight must not be negative.\nHint: use weight 0 to leave a row out."
        )
    return checked


def usable_rows(
    estimator: Estimator, X: Features, y: Targets, weight: FloatArray | None
) -> tuple[IntArray, IntArray | None]:
    """Return the rows of positive weight, and the class of each for a classifier."""
    rows = np.arange(_num_samples(X))
    if weight is not None:
        rows = rows[weight > 0]
    if len(rows) < 2:
        raise ValueError(
            f"Found array with {len(rows)} sample(s) (n_samples={len(rows)}) while a minimum "
            "of 2 is required: one to train on and one to validate on."
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
    """Return the weights under the name by which the estimator's ``fit`` takes them."""
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
            "Hint: omit sample_weight, or end the pipeline with a step that supports it."
        )
    return {f"{prefix}sample_weight": weight}


def check_last_step(estimator: Estimator) -> None:
    """Reject a pipeline whose last step could not be translated, before anything is fitted."""
    from sklearn.pipeline import Pipeline  # loads rich, which waits until it is needed

    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise ArgumentError(f"estimator must be an estimator instance, got {estimator!r:.60}.")
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
        return None  # The check needs attributes that only a fitted operator has.


@dataclass
class TunablePipeline:
    """An unfitted pipeline, and how it is fitted, translated to a module and written back.

    Parameters
    ----------
    estimator : estimator
        The user's pipeline. It is cloned and never changed.
    train, freeze : sequence of str, optional
        Patterns of the steps to train, or to keep as fitted.
    trees : {"leaves", "soft", "straight-through"}
        How decision trees are trained.
    train_zeros : bool
        Whether coefficients that the fit set to zero are trained.
    own_loss : bool
        Whether the pipeline trains on the objective of its last operator.
    frozen : list of str
        Steps that `translate` kept as fitted because a step without a module follows them.
    """

    estimator: Any
    train: Sequence[str] | None = None
    freeze: Sequence[str] | None = None
    trees: SplitMode = "leaves"
    train_zeros: bool = False
    own_loss: bool = True
    frozen: list[str] = field(default_factory=list)

    def fit(self, samples: Samples) -> Any:
        """Return a clone of the pipeline, fitted on the samples."""
        fitted = clone(self.estimator)
        return fitted.fit(samples.X, samples.y, **weight_argument(fitted, samples.weight))

    def translate(self, fitted: Any) -> PipelineModule:
        """Translate a fitted pipeline, freezing the steps that precede one without a module."""
        from ..training.criterion import shrinking_steps
        from ..translate import to_torch

        self.frozen = []
        options: dict[str, Any] = {"trees": self.trees, "train_zeros": self.train_zeros}
        try:
            net = to_torch(fitted, train=self.train, freeze=self.freeze, **options)
            frozen = shrinking_steps(net, net.objective) if self.own_loss else []
            if not frozen or self.train is not None:
                return net
        except UntranslatableError as error:
            if not error.freeze or self.train is not None:
                raise
            # A step without a module runs in its own library, so no step before it can train.
            frozen = error.freeze
        self.frozen = list(frozen)
        return to_torch(fitted, freeze=[*(self.freeze or []), *frozen], **options)

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
    """Delegates predictions to ``estimator_`` and estimator tags to ``estimator``."""

    estimator: Estimator
    estimator_: Estimator

    @available_if(_has("predict"))
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the predictions of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the class probabilities of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithms of the class probabilities of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.predict_log_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the decision function of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    @available_if(_has("transform"))
    def transform(self, X: Any) -> Any:
        """Return the output of the ``transform`` method of ``estimator_``."""
        check_is_fitted(self)
        return self.estimator_.transform(X)

    @available_if(_has("score"))
    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the score of ``estimator_``."""
        check_is_fitted(self)
        weight = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self.estimator_.score(X, y, **weight)

    @available_if(_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the output feature names of ``estimator_``."""
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

    # scikit-learn before 1.6 uses the following two instead.

    @property
    def _estimator_type(self) -> str:
        kind = getattr(self.estimator, "_estimator_type", None)
        if kind is None:
            raise AttributeError("_estimator_type")
        return kind

    def _more_tags(self) -> dict[str, Any]:
        from sklearn.utils._tags import _safe_tags

        return dict(_safe_tags(self.estimator))
