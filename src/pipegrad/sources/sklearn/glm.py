"""Generalized linear models: the score is the mean or its logarithm."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ...modules import Head, RegressionHead
from ...registry import Example, Objective, register
from .linear import LinearPredictor, no_intercept


@register("sklearn.linear_model.PoissonRegressor", "sklearn.linear_model.GammaRegressor")
class LogRate(LinearPredictor):
    """The score is the log of the mean."""

    kept: ClassVar[tuple[str, ...]] = ("positive",)

    examples = (
        {},
        {"alpha": 0.1, "solver": "newton-cholesky"},
        no_intercept(),
    )
    data = "positive"

    def head(self, operator: Any) -> Head:
        return RegressionHead("log")

    def objective(self, operator: Any) -> Objective:
        return Objective("poisson" if self.name.endswith("PoissonRegressor") else "gamma")


@register("sklearn.linear_model.TweedieRegressor")
class Tweedie(LinearPredictor):
    """Tweedie deviances, from the normal to the inverse Gaussian distribution."""

    kept: ClassVar[tuple[str, ...]] = ("positive",)

    examples = (
        {},
        {"power": 0, "link": "log"},
        {"power": 1},
        {"power": 1.5},
        {"power": 2, "solver": "newton-cholesky"},
        {"power": 3},
        {"power": -1, "link": "log"},
        no_intercept(power=1.5),
        Example({"power": 0, "link": "identity"}, data="regression"),
    )
    data = "positive"

    def head(self, operator: Any) -> Head:
        return RegressionHead(_link(operator))

    def objective(self, operator: Any) -> Objective:
        return Objective("tweedie", {"power": operator.power, "link": _link(operator)})


def _link(operator: Any) -> Literal["identity", "log"]:
    if operator.link == "auto":
        return "identity" if operator.power <= 0 else "log"
    return operator.link
