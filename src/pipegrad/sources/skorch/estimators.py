"""Networks of skorch: their torch module itself becomes the step's module."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from torch import nn

from ...modules import Head, LinkHead, OwnNetwork, ProbabilityHead, RegressionHead
from ...registry import Example, Objective, Translation, register


def _layers(inputs: int, outputs: int, *last: nn.Module) -> nn.Module:
    """A small network in double precision, like the data sets of the contract tests."""
    return nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, outputs), *last).double()


def _net(module: nn.Module, **params: Any) -> dict[str, Any]:
    return {"module": module, "max_epochs": 3, "lr": 0.05, "verbose": 0, **params}


class SkorchTranslation(Translation):
    """Base class: a copy of ``module_`` is the module."""

    # skorch computes in batches, and often in float32, where sums depend on the number of rows.
    tolerance = 1e-5
    refused_inputs: ClassVar[Mapping[str, str]] = {
        "one-dimensional": "skorch takes several rows of one number each, and torch a single row"
    }
    unchanged_attributes: ClassVar[Mapping[str, str]] = {
        "initialized_": "the net stays initialized",
        "callbacks_": "callbacks see fits of skorch only",
        "criterion_": "the loss of skorch's own fit does not change",
        "history_": "it describes how skorch fitted the net",
        "prefixes_": "the names of its parts do not change",
        "cuda_dependent_attributes_": "the names of its parts do not change",
        "virtual_params_": "they belong to the optimizer",
        "classes_inferred_": "the labels do not change",
    }

    def to_torch(self, operator: Any) -> OwnNetwork:
        return OwnNetwork(copy.deepcopy(operator.module_).cpu(), self.flat(operator))

    def flat(self, operator: Any) -> bool:
        """Whether skorch makes the score one-dimensional."""
        return False

    def write_back(self, module: OwnNetwork, operator: Any) -> None:
        operator.module_.load_state_dict(module.network.state_dict())
        for name in operator._optimizers:
            # Momenta and step sizes of an optimizer belong to the weights that it has seen.
            getattr(operator, f"{name}_").state.clear()

    def refuse(self, operator: Any) -> str | None:
        if not hasattr(operator, "module_"):
            return None
        if getattr(operator, "compile", False):
            return "compile=True has no copy with other weights"
        if operator._modules != ["module"]:
            return "it has several modules"
        if operator.predict_nonlinearity != "auto":
            return "predict_nonlinearity is not 'auto'"
        return self.refuse_criterion(operator)

    def refuse_criterion(self, operator: Any) -> str | None:
        """Why a net with this criterion cannot be translated, or None."""
        return None

    def encode(self, operator: Any, X: Any) -> Any:
        if not (isinstance(X, np.ndarray) or sparse.issparse(X)):
            raise TypeError(f"X must be an array or a CSR matrix, got {type(X).__name__}.")
        try:
            operator.forward(X[:1])
        except RuntimeError as error:  # of another shape or dtype than the module takes
            raise ValueError(f"{type(operator).__name__}: {error}") from error
        return X.toarray() if sparse.issparse(X) else X

    def objective(self, operator: Any) -> Objective | None:
        criterion = operator.criterion_
        if getattr(criterion, "reduction", "mean") == "none":
            return None
        return _objective(criterion, operator)


def _objective(criterion: Any, operator: Any) -> Objective | None:
    kind = type(criterion)
    if kind is nn.CrossEntropyLoss and not criterion.label_smoothing:
        return Objective("log_loss", class_weight=_class_weight(criterion, operator))
    if kind is nn.NLLLoss:
        weight = _class_weight(criterion, operator)
        return Objective("negative_log_likelihood", class_weight=weight)
    if kind is nn.BCEWithLogitsLoss and criterion.weight is None:
        positive = criterion.pos_weight
        options = {} if positive is None else {"positive": float(positive)}
        return Objective("log_loss", options)
    if kind is nn.MSELoss:
        return Objective("squared_error")
    if kind is nn.L1Loss:
        return Objective("absolute_error")
    if kind in (nn.HuberLoss, nn.SmoothL1Loss):
        delta = criterion.delta if kind is nn.HuberLoss else criterion.beta
        return Objective("huber", {"delta": float(delta)}) if delta else Objective("absolute_error")
    return None


def _class_weight(criterion: Any, operator: Any) -> dict[Any, float] | None:
    if criterion.weight is None:
        return None
    labels = np.asarray(operator.classes_).tolist()
    return dict(zip(labels, criterion.weight.tolist(), strict=False))


@register("skorch.NeuralNetClassifier")
class NeuralNetClassifier(SkorchTranslation):
    """The weights of module_ are trainable."""

    data = "multiclass_codes"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    examples: ClassVar[Any] = (
        _net(_layers(6, 3), criterion=nn.CrossEntropyLoss),
        _net(_layers(6, 3, nn.Softmax(1))),
    )

    def refuse_criterion(self, operator: Any) -> str | None:
        if not isinstance(operator.criterion_, nn.CrossEntropyLoss | nn.NLLLoss):
            return f"criterion={type(operator.criterion_).__name__} has no probabilities of classes"
        labels = getattr(operator, "classes_", None)
        if labels is None or not np.array_equal(labels, np.arange(len(labels))):
            return "its classes are not numbered from zero, so that skorch predicts other labels"
        return "it has only one class" if len(labels) < 2 else None

    def encode(self, operator: Any, X: Any) -> Any:
        rows = super().encode(operator, X)
        width, classes = operator.forward(rows[:1]).shape[-1], len(operator.classes_)
        if width != classes:
            raise ValueError(
                f"The outputs of {type(operator).__name__} must be as many as the classes that it "
                f"was fitted on, {classes}, got {width}.\nHint: fit it on rows of every class."
            )
        return rows

    def head(self, operator: Any) -> Head:
        if isinstance(operator.criterion_, nn.CrossEntropyLoss):
            return LinkHead("softmax")
        return ProbabilityHead()


@register("skorch.NeuralNetBinaryClassifier")
class NeuralNetBinaryClassifier(SkorchTranslation):
    """The weights of module_ are trainable; the score is a logit."""

    data = "binary_floats"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    examples: ClassVar[Any] = (
        _net(_layers(6, 1)),
        _net(_layers(6, 1, nn.Flatten(0)), threshold=0.3),
    )

    def flat(self, operator: Any) -> bool:
        return True

    def refuse_criterion(self, operator: Any) -> str | None:
        if isinstance(operator.criterion_, nn.BCEWithLogitsLoss):
            return None
        return f"criterion={type(operator.criterion_).__name__} does not take logits"

    def head(self, operator: Any) -> Head:
        return LinkHead("logistic", boundary=operator.threshold)


@register("skorch.NeuralNetRegressor")
class NeuralNetRegressor(SkorchTranslation):
    """The weights of module_ are trainable."""

    data = "regression"
    examples: ClassVar[Any] = (
        _net(_layers(6, 1, nn.Flatten(0))),
        _net(_layers(6, 1, nn.Flatten(0)), criterion=nn.HuberLoss, criterion__delta=0.5),
        Example(_net(_layers(6, 3), criterion=nn.SmoothL1Loss), data="multioutput"),
    )

    def refuse_criterion(self, operator: Any) -> str | None:
        if isinstance(operator.criterion_, nn.BCELoss | nn.BCEWithLogitsLoss | nn.CrossEntropyLoss):
            return f"criterion={type(operator.criterion_).__name__} is one of classes"
        return None

    def head(self, operator: Any) -> Head:
        return RegressionHead()
