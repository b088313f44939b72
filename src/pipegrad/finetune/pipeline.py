"""Input checks of `FineTuner`, and how its pipeline is fitted, translated and written back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier, is_regressor
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
)

from ..devices import Device, checked_device
from ..errors import ArgumentError, DivergedError, PipegradError, UntranslatableError
from ..graph import Step
from ..losses.checks import check_targets
from ..losses.composition import LossLike
from ..module import PipelineModule
from ..modules import SplitMode
from ..registry import Expansion, Translation, dotted_name, lookup, why_missing
from ..source_methods import SourceMethods
from ..sources.array_arguments import as_numbers, check_rows, check_targets_form, number_targets
from ..sources.arrays import without_tensors
from ..through import Through
from ..training.metadata import fit_arguments
from ..training.samples import WEIGHT_HINT, Samples
from ..typing import Estimator, Features, FloatArray, IntArray, Operator, SampleWeight, Targets
from .fitted_model import FittedModel, is_fitted_already


def checked_weight(weight: SampleWeight, X: Features) -> FloatArray | None:
    """Validate the sample weights of ``X``, shape (n,); negative weights raise an error."""
    if weight is None:
        return None
    as_numbers("sample_weight", weight, WEIGHT_HINT)
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


def check_data(estimator: Estimator, loss: LossLike | None, X: Features, y: Targets) -> None:
    """Reject rows and targets of the wrong form, and targets outside of the range of a loss."""
    check_rows(X)
    check_targets_form(y)
    if y is None or not is_regressor(estimator):
        return
    numbers = number_targets(y)
    if np.asarray(y).dtype == object and not np.isfinite(numbers).all():
        raise ArgumentError("Input y contains NaN, infinity or missing values.")
    if not _transforms_target(estimator):
        check_targets(loss, None, torch.from_numpy(numbers))


def _transforms_target(estimator: Estimator) -> bool:
    """Whether the loss sees other targets than those of the user."""
    while estimator is not None and not isinstance(estimator, str):
        if hasattr(estimator, "regressor"):
            return True
        estimator = _last_part(estimator)[1]
    return False


def check_last_step(
    estimator: Estimator, own_loss: bool = True, through: Through | None = None
) -> None:
    """Reject a pipeline that cannot be trained because of its last step, before it is fitted.

    Parameters
    ----------
    estimator : estimator
        The unfitted pipeline.
    own_loss : bool
        Whether training minimizes the objective of the last step.
    through : mapping, optional
        How gradients are estimated of steps that have none, among which the last may be.

    Raises
    ------
    UntranslatableError
        If the last step, or a composite around it, has no translation.
    ArgumentError
        If ``estimator`` is no estimator, or its last step has no objective.
    """
    if isinstance(estimator, PipelineModule):
        raise ArgumentError(
            "estimator must be a pipeline, not the module that to_torch made of one.\n"
            "Hint: FineTuner(pipeline) fits and trains a clone of the pipeline; net.fit(X, y) "
            "trains the module."
        )
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        hint = "an estimator is an object with fit and predict, such as make_pipeline(...)."
        raise ArgumentError(
            f"estimator must be an estimator instance, got {estimator!r:.60}.\nHint: {hint}"
        )
    path, operator, steps = "", estimator, 1
    while True:
        row = lookup(type(operator))
        reason = why_missing(type(operator)) if row is None else _refusal(row, operator)
        name = path or type(operator).__name__.lower()
        if reason is not None and not _is_estimated(name, through):
            missing = [(name, dotted_name(type(operator)), reason)]
            raise UntranslatableError(missing, steps, "nothing was fitted yet.")
        name, inner, count = _last_part(operator)
        if inner is None or isinstance(inner, str):
            break
        path, operator, steps = f"{path}/{name}".strip("/"), inner, max(steps, count)
    if own_loss and not _has_objective(operator, row):
        raise ArgumentError(
            f"The last step{path and f', {path!r}'} ({type(operator).__name__}), has no objective: "
            "it minimizes no loss that training could lower.\n"
            "Hint: name the loss to train on, loss=lambda score, y: ... (a tensor), or end the "
            "pipeline with a predictor."
        )


def _is_estimated(path: str, through: Through | None) -> bool:
    step = Step(path, "", ())
    return any(step.matches(pattern) for pattern in through or ())


def _last_part(operator: Operator) -> tuple[str, Any, int]:
    """Name and object of the part of a composite whose output is its own, and the number of parts.

    The object is None for an operator that is no such composite.
    """
    if hasattr(operator, "steps") and len(operator.steps):
        return (*operator.steps[-1], len(operator.steps))
    for name in ("estimator", "regressor"):
        inner = getattr(operator, name, None)
        if isinstance(lookup(type(operator)), Expansion) and hasattr(inner, "fit"):
            return name, inner, 1
    return "", None, 1


def _has_objective(operator: Operator, row: Translation | Expansion | None) -> bool:
    defined = not isinstance(row, Translation) or type(row).objective is not Translation.objective
    return defined and hasattr(operator, "predict")


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
    through : mapping, optional
        How gradients are estimated of steps that have none.
    device : str or torch.device, optional
        Where modules are trained.
    frozen : list of str
        Steps that `translate` kept as fitted because a step without a module follows them.
    """

    estimator: Any
    train: Sequence[str] | None = None
    freeze: Sequence[str] | None = None
    trees: SplitMode = "leaves"
    train_zeros: bool = False
    own_loss: bool = True
    through: Through | None = None
    device: Device = None
    frozen: list[str] = field(default_factory=list)

    # What the report says of the validation beside the choice of splits.
    caution: ClassVar[str] = ""

    @property
    def described(self) -> Estimator:
        """An estimator of the kind of the pipeline, with its methods."""
        return self.estimator

    def check_last_step(self) -> None:
        """Reject a pipeline that cannot be trained because of its last step."""
        check_last_step(self.estimator, self.own_loss, self.through)

    def check_metadata(self, weight: SampleWeight, metadata: Mapping[str, Any]) -> None:
        """Reject weights, or further arguments of ``fit``, that the pipeline has no use for."""
        fit_arguments(self.estimator, weight)

    def samples_of(self, samples: Samples) -> Samples:
        """Return the user's samples in the form in which they can be split."""
        return samples

    def fit(self, samples: Samples) -> Any:
        """Return a clone of the pipeline, fitted on the samples."""
        fitted = clone(self.estimator)
        arguments = fit_arguments(fitted, samples.weight, samples.metadata)
        return fitted.fit(samples.X, samples.y, **arguments)

    def rejects(self, fitted: Any, X: Features, error: Exception) -> bool:
        """Whether an error comes from the pipeline, which takes all rows but not those of a split.

        Parameters
        ----------
        fitted : estimator, optional
            The pipeline fitted on the training rows; None if ``fit`` raised the error.
        X : array and the like
            The validation rows.
        error : Exception
            The error.
        """
        if isinstance(error, PipegradError):
            return isinstance(error, DivergedError)
        if fitted is None:
            return True
        try:
            fitted.predict(X)
        except Exception:
            return True
        return False

    def translate(self, fitted: Any) -> PipelineModule:
        """Translate a fitted pipeline, freezing the steps that precede one without a module."""
        device, net = checked_device(self.device), self._translate(fitted)
        return net if device is None else net.to(device)

    def _translate(self, fitted: Any) -> PipelineModule:
        from ..training.criterion import shrinking_steps
        from ..translate import to_torch

        self.frozen = []
        options: dict[str, Any] = {
            "trees": self.trees,
            "train_zeros": self.train_zeros,
            "through": self.through,
        }
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


class DelegatingEstimator(SourceMethods, MetaEstimatorMixin, BaseEstimator):
    """Delegates inference methods to ``estimator_`` and estimator tags to ``estimator``."""

    estimator: Estimator
    estimator_: Estimator

    def _offers(self, method: str) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), method)
        return True

    @property
    def _described(self) -> Any:
        """An estimator of the kind of ``estimator``, which may be the path of a model."""
        if not is_fitted_already(self.estimator):
            return self.estimator
        return FittedModel(self.estimator_) if hasattr(self, "estimator_") else BaseEstimator()

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        check_is_fitted(self)
        given = [without_tensors(value) for value in arguments]
        named = {name: without_tensors(value) for name, value in options.items()}
        return getattr(self.estimator_, method)(*given, **named)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags

        tags, own = super().__sklearn_tags__(), get_tags(self._described)
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
        kind = getattr(self._described, "_estimator_type", None)
        if kind is None:
            raise AttributeError("_estimator_type")
        return kind

    def _more_tags(self) -> dict[str, Any]:
        from sklearn.utils._tags import _safe_tags

        return dict(_safe_tags(self._described))
