"""Linear predictors fitted sample by sample, which can continue with ``partial_fit``."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import nn

from ...modules import BernoulliHead, Head, Linear, MulticlassHead, OutlierHead
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ..target_refusals import one_class
from .linear import LinearPredictor, LinearRegressor, dense_coef, no_intercept
from .linear_classifiers import LinearClassifier, one_vs_rest, two_classes

_KEEPS = {"t_": "counts the steps of the source's fit"}
_OPTIONS = {
    "huber": ("delta", "epsilon"),
    "epsilon_insensitive": ("epsilon", "epsilon"),
    "squared_epsilon_insensitive": ("epsilon", "epsilon"),
}


class Stochastic(LinearPredictor):
    """The state that ``partial_fit`` resumes from is updated with the coefficients."""

    unchanged_attributes = _KEEPS
    kept: ClassVar[tuple[str, ...]] = ("zeros", "probabilities")

    def write_back(self, module: Linear, operator: Any) -> None:
        coef, intercept = dense_coef(operator), _intercept(operator)
        self.write_numbers(module, operator)
        if getattr(operator, "average", 0) and hasattr(operator, "_standard_coef"):
            _move_iterate(operator, coef, intercept)

    def write_numbers(self, module: Linear, operator: Any) -> None:
        """Write what predictions use: coefficients and intercept."""
        super().write_back(module, operator)


def _intercept(operator: Any) -> NDArray[Any]:
    """Return the intercept that the steps move; outlier detection stores one minus it."""
    constant: NDArray[Any] = (
        operator.intercept_ if hasattr(operator, "intercept_") else 1 - operator.offset_
    )
    return constant


def _move_iterate(operator: Any, coef: NDArray[Any], intercept: NDArray[Any]) -> None:
    """Keep the current iterate and its average consistent with the coefficients."""
    new, constant = dense_coef(operator), _intercept(operator)
    if operator.average > operator.t_ - 1:
        # Averaging has not started yet: predictions use the iterate itself.
        operator._standard_coef = new.reshape(operator._standard_coef.shape)
        operator._standard_intercept = constant
        return
    # Shift the iterate like its average; otherwise it would pull the average back.
    moved = (new - coef).reshape(operator._standard_coef.shape)
    operator._standard_coef = operator._standard_coef + moved
    operator._standard_intercept = operator._standard_intercept + (constant - intercept)
    operator._average_coef = new.reshape(operator._average_coef.shape)
    operator._average_intercept = constant


def _options(operator: Any) -> dict[str, float]:
    if operator.loss not in _OPTIONS:
        return {}
    option, attribute = _OPTIONS[operator.loss]
    return {option: getattr(operator, attribute)}


class StochasticRegressor(Stochastic, LinearRegressor):
    """Stochastic regression with one target."""

    def squeeze(self, operator: Any) -> bool:
        return True

    def objective(self, operator: Any) -> Objective:
        return Objective(operator.loss, _options(operator))


@register("sklearn.linear_model.SGDRegressor")
class SGDRegressor(StochasticRegressor):
    """Stochastic gradient descent on a regression loss."""

    examples = (
        {"random_state": 0},
        {"loss": "huber", "epsilon": 0.5, "random_state": 0},
        {"loss": "epsilon_insensitive", "random_state": 0},
        {"loss": "squared_epsilon_insensitive", "random_state": 0},
        {"penalty": "l1", "random_state": 0},
        {"penalty": "elasticnet", "random_state": 0},
        {"average": True, "random_state": 0},
        {"average": 100000000, "random_state": 0},
        no_intercept(random_state=0),
        {"early_stopping": True, "random_state": 0},
        Example({"random_state": 0}, data="sparse"),
    )


@register("sklearn.linear_model.PassiveAggressiveRegressor")
class PassiveAggressiveRegressor(StochasticRegressor):
    """Passive-aggressive steps: just large enough to fit each sample within epsilon."""

    examples = (
        {"random_state": 0},
        {"loss": "squared_epsilon_insensitive", "epsilon": 0.5, "random_state": 0},
        {"average": True, "random_state": 0},
        no_intercept(random_state=0),
    )


class StochasticClassifier(Stochastic, LinearClassifier):
    """One-vs-rest classification."""

    def objective(self, operator: Any) -> Objective:
        pair, name, options = two_classes(operator), operator.loss, _options(operator)
        if name == "log_loss" and not pair:
            name = "one_vs_rest_log_loss"
        elif name == "squared_error" or options:
            name = f"{name}_on_signs"
        weigh = {} if pair else {"weigh": "positives"}
        return Objective(name, {**options, **weigh}, operator.class_weight)

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)


@register("sklearn.linear_model.SGDClassifier")
class SGDClassifier(StochasticClassifier):
    """Stochastic gradient descent on a classification loss."""

    examples = (
        {"random_state": 0},
        {"loss": "log_loss", "learning_rate": "constant", "eta0": 1e-4, "random_state": 0},
        {"loss": "modified_huber", "random_state": 0},
        {"loss": "squared_hinge", "random_state": 0},
        {"loss": "perceptron", "random_state": 0},
        {"loss": "squared_error", "random_state": 0},
        {"loss": "huber", "random_state": 0},
        {"loss": "epsilon_insensitive", "random_state": 0},
        {"loss": "squared_epsilon_insensitive", "random_state": 0},
        {"average": True, "random_state": 0},
        {"average": 100000000, "random_state": 0},
        {"class_weight": "balanced", "random_state": 0},
        no_intercept(random_state=0),
        {"penalty": "l1", "random_state": 0},
        Example({"random_state": 0}, data="binary"),
        Example({"loss": "log_loss", "random_state": 0}, data="binary_strings"),
        Example({"loss": "modified_huber", "random_state": 0}, data="binary"),
        Example({"loss": "log_loss", "average": True, "random_state": 0}, data="binary"),
        Example({"average": 100000000, "random_state": 0}, data="binary"),
        Example({"class_weight": {0: 1.0, 1: 3.0}, "random_state": 0}, data="binary"),
        Example({"loss": "log_loss", "random_state": 0}, data="sparse_multiclass"),
    )

    def head(self, operator: Any) -> Head:
        pair = two_classes(operator)
        if operator.loss == "log_loss":
            return BernoulliHead("logistic") if pair else one_vs_rest()
        if operator.loss == "modified_huber":
            return BernoulliHead("modified_huber") if pair else MulticlassHead("modified_huber")
        return super().head(operator)


@register("sklearn.linear_model.Perceptron")
class Perceptron(StochasticClassifier):
    """Steps on misclassified samples."""

    examples = (
        {"random_state": 0},
        {"class_weight": "balanced", "random_state": 0},
        no_intercept(random_state=0),
        Example({"random_state": 0}, data="binary"),
        Example({"random_state": 0}, data="sparse_multiclass"),
    )


@register("sklearn.linear_model.PassiveAggressiveClassifier")
class PassiveAggressiveClassifier(StochasticClassifier):
    """Passive-aggressive steps: just large enough to give each sample its margin."""

    examples = (
        {"random_state": 0},
        {"loss": "squared_hinge", "random_state": 0},
        {"average": True, "random_state": 0},
        {"class_weight": "balanced", "random_state": 0},
        no_intercept(random_state=0),
        Example({"average": True, "random_state": 0}, data="binary"),
        Example({"random_state": 0}, data="sparse_multiclass"),
    )


@register("sklearn.linear_model.SGDOneClassSVM")
class SGDOneClassSVM(Stochastic):
    """The score is the decision function. It has no loss of its own for single rows."""

    kept: ClassVar[tuple[str, ...]] = ()
    examples = (
        {"random_state": 0},
        {"nu": 0.1, "learning_rate": "constant", "eta0": 1e-4, "random_state": 0},
        {"average": True, "random_state": 0},
        {"average": 100000000, "random_state": 0},
        Example({"fit_intercept": False, "random_state": 0}, unchanged_attributes=("offset_",)),
        Example({"random_state": 0}, data="sparse"),
    )

    def to_torch(self, operator: Any) -> nn.Module:
        weight, bias = to_tensor(dense_coef(operator)[:, None]), to_tensor(-operator.offset_)
        module = Linear(weight, bias, squeeze=True)
        assert module.bias is not None
        module.bias.requires_grad_(bool(operator.fit_intercept))
        return module

    def write_numbers(self, module: Linear, operator: Any) -> None:
        operator.coef_ = to_array(module.weight[:, 0], operator.coef_)
        assert module.bias is not None
        operator.offset_ = to_array(-module.bias, operator.offset_)

    def head(self, operator: Any) -> Head:
        return OutlierHead()
