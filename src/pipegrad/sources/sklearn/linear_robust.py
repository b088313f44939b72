"""Linear regressors that are robust to outliers."""

from __future__ import annotations

from typing import Any, ClassVar

from ... import glue
from ...graph import join
from ...registry import Builder, Example, Expansion, Objective, register
from ._base import validate
from .linear import TRAINING_ROWS, LinearRegressor, Selecting, no_intercept


@register("sklearn.linear_model.HuberRegressor")
class HuberRegressor(LinearRegressor):
    """The Huber loss; its threshold depends on the source's noise scale, which is fixed."""

    examples = ({}, {"epsilon": 2.0, "alpha": 0.1}, no_intercept())
    unchanged_attributes = {
        "scale_": "the noise scale of the source's fit",
        "outliers_": TRAINING_ROWS,
    }

    def objective(self, operator: Any) -> Objective:
        return Objective("huber", {"delta": float(operator.epsilon * operator.scale_)})


@register("sklearn.linear_model.QuantileRegressor")
class QuantileRegressor(Selecting):
    """The score is the predicted quantile."""

    examples = (
        {"alpha": 0.01},
        {"alpha": 0.01, "quantile": 0.9},
        no_intercept(alpha=0.01),
        Example({"alpha": 0.01}, data="sparse"),
    )

    def objective(self, operator: Any) -> Objective:
        return Objective("pinball", {"quantile": operator.quantile})


@register("sklearn.linear_model.TheilSenRegressor")
class TheilSenRegressor(LinearRegressor):
    """The spatial median of fits on small subsets; fine-tuned on the absolute error."""

    examples = (
        {"max_subpopulation": 50, "random_state": 0},
        no_intercept(max_subpopulation=50, random_state=0),
    )
    unchanged_attributes = {"breakdown_": TRAINING_ROWS, "n_subpopulation_": TRAINING_ROWS}

    def objective(self, operator: Any) -> Objective:
        return Objective("absolute_error")


@register("sklearn.linear_model.RANSACRegressor")
class RANSACRegressor(Expansion):
    """The estimator that was fitted on the inliers."""

    kept: ClassVar[tuple[str, ...]] = ("inliers",)

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        if hasattr(operator, "feature_names_in_"):
            # The inner estimator was fitted on an array, so its owner checks the column names.
            source = builder.add(join(path, "columns"), glue.Checked(operator, _check), (source,))
        return builder.expand(operator.estimator_, source, join(path, "estimator"), method)


def _check(owner: Any, X: Any) -> Any:
    return validate(owner, X, sparse=True, finite=False)
