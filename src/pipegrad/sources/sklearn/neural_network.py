"""Multilayer perceptrons, and restricted Boltzmann machines."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ...modules import (
    Elementwise,
    Head,
    Linear,
    LinkHead,
    MultilayerPerceptron,
    RegressionHead,
    Sequential,
    ShareHead,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation

_FITTED = "records how the source was fitted"
_ACTIVATIONS = {
    "identity": None,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}
_PROBABILITIES = ("predict_proba", "predict_log_proba")


class Perceptron(SklearnTranslation):
    """coefs_ and intercepts_ become the weights and biases of the layers."""

    sparse = True
    unchanged_attributes: ClassVar[Any] = {
        "best_loss_": _FITTED,
        "best_validation_score_": _FITTED,
        "loss_": _FITTED,
        "loss_curve_": _FITTED,
        "n_layers_": "the number of layers does not change",
        "n_outputs_": "the number of outputs does not change",
        "t_": _FITTED,
        "validation_scores_": _FITTED,
    }

    def to_torch(self, operator: Any) -> nn.Module:
        last = len(operator.coefs_) - 1
        layers = [
            Linear(to_tensor(coef), to_tensor(intercept), squeeze=i == last and coef.shape[1] == 1)
            for i, (coef, intercept) in enumerate(
                zip(operator.coefs_, operator.intercepts_, strict=True)
            )
        ]
        return MultilayerPerceptron(*layers, activation=_ACTIVATIONS[operator.activation])

    def write_back(self, module: MultilayerPerceptron, operator: Any) -> None:
        pairs = list(zip(module.layers, operator.coefs_, operator.intercepts_, strict=True))
        operator.coefs_ = [to_array(layer.weight, coef) for layer, coef, _ in pairs]
        operator.intercepts_ = [to_array(cast("Tensor", layer.bias), b) for layer, _, b in pairs]
        # A warm start with early stopping goes back to these if it finds nothing better.
        if hasattr(operator, "_best_coefs"):
            operator._best_coefs = [coef.copy() for coef in operator.coefs_]
            operator._best_intercepts = [bias.copy() for bias in operator.intercepts_]


def _network(**params: Any) -> dict[str, Any]:
    """Arguments of a network that is small and soon fitted."""
    return {"hidden_layer_sizes": (4,), "max_iter": 5, "random_state": 0, **params}


_SGD = _network(
    solver="sgd",
    alpha=0.01,
    batch_size=20,
    learning_rate="invscaling",
    learning_rate_init=1e-4,
    power_t=0.4,
    shuffle=False,
    momentum=0.5,
    nesterovs_momentum=False,
    n_iter_no_change=2,
    tol=1e-2,
)
_ADAM = _network(
    hidden_layer_sizes=(4, 3),
    activation="tanh",
    early_stopping=True,
    validation_fraction=0.2,
    beta_1=0.8,
    beta_2=0.9,
    epsilon=1e-6,
    warm_start=True,
)


@register("sklearn.neural_network.MLPClassifier")
class MLPClassifier(Perceptron):
    """coefs_ and intercepts_ are trainable.

    The score is one logit for two classes and for each label, and one for each class otherwise.
    """

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    examples: ClassVar[Any] = (
        _network(solver="lbfgs", activation="logistic", max_fun=50),
        _network(),
        Example(_ADAM, data="binary"),
        Example(_SGD, data="binary_strings"),
        Example(_network(activation="identity", solver="lbfgs", alpha=0.1), data="multilabel"),
        Example(_network(hidden_layer_sizes=()), data="sparse_multiclass"),
    )

    def head(self, operator: Any) -> Head:
        responses: tuple[str, ...] = ("predict", *_PROBABILITIES)
        if operator.out_activation_ == "softmax":
            return LinkHead("softmax", responses=responses)
        binarizer = operator._label_binarizer
        if binarizer.sparse_input_:  # It predicts labels as a sparse matrix.
            responses = _PROBABILITIES
        labels = binarizer.y_type_ == "multilabel-indicator"
        return ShareHead(
            labels=labels,
            responses=responses,
            first=not labels and len(operator.classes_) == 1,
        )

    def objective(self, operator: Any) -> Objective:
        return Objective("log_loss")


@register("sklearn.neural_network.MLPRegressor")
class MLPRegressor(Perceptron):
    """coefs_ and intercepts_ are trainable; with a Poisson loss the score is a logarithm."""

    data = "regression"
    kept: ClassVar[tuple[str, ...]] = ("positive",)
    examples: ClassVar[Any] = (
        _network(activation="tanh", solver="lbfgs", max_fun=50),
        _ADAM,
        _SGD,
        Example(_network(activation="logistic"), data="multioutput"),
        Example(_network(loss="poisson", activation="tanh"), data="counts", since="1.7"),
        Example(_network(hidden_layer_sizes=(3, 3), activation="identity"), data="sparse"),
    )

    def head(self, operator: Any) -> Head:
        return RegressionHead("log" if operator.out_activation_ == "exp" else "identity")

    def objective(self, operator: Any) -> Objective:
        if operator.out_activation_ == "exp":
            return Objective("poisson", any_target=True)  # It does not check its targets.
        return Objective("squared_error")


@register("sklearn.neural_network.BernoulliRBM")
class BernoulliRBM(SklearnTranslation):
    """components_ and intercept_hidden_ are trainable; columns are those of the hidden layer."""

    sparse = True
    examples: ClassVar[Any] = (
        {"n_components": 3, "n_iter": 2, "random_state": 0},
        Example(
            {"n_components": 4, "batch_size": 20, "learning_rate": 0.01, "random_state": 0},
            data="sparse",
        ),
    )
    unchanged_attributes: ClassVar[Any] = {
        "h_samples_": "the hidden states that the source's fit would continue with",
        "intercept_visible_": "transform does not use the biases of the visible layer",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        weight, bias = to_tensor(operator.components_.T), to_tensor(operator.intercept_hidden_)
        return Sequential(Linear(weight, bias), Elementwise(torch.sigmoid))

    def write_back(self, module: Sequential, operator: Any) -> None:
        hidden = cast("Linear", module.links[0])
        assert hidden.bias is not None
        operator.components_ = to_array(hidden.weight.T, operator.components_)
        operator.intercept_hidden_ = to_array(hidden.bias, operator.intercept_hidden_)
