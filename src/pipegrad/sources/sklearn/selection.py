"""Feature selectors: nothing is trainable; gradients pass through the selected columns."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.feature_selection import chi2, f_regression
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.tree import DecisionTreeRegressor
from torch import nn

from ...glue import Glue
from ...graph import join
from ...modules import Select
from ...registry import Builder, Example, Expansion, register
from ._base import SklearnTranslation, validate

try:
    from sklearn.utils import get_tags

    def _allows_nan(operator: Any) -> bool:
        return bool(get_tags(operator).input_tags.allow_nan)

except ImportError:  # scikit-learn 1.5 has a dictionary of tags
    from sklearn.utils._tags import _safe_tags

    def _allows_nan(operator: Any) -> bool:
        return bool(_safe_tags(operator, key="allow_nan"))


class Selector(SklearnTranslation):
    """The columns of ``get_support()``; the selection does not change."""

    data = "regression"
    sparse = True

    def encode(self, operator: Any, X: Any) -> Any:
        out = validate(operator, X, sparse=True, finite=not _allows_nan(operator), dtype=None)
        if not operator.get_support().any():
            warnings.warn(
                "No features were selected: either the data is too noisy or the selection test "
                "too strict.",
                UserWarning,
                stacklevel=2,
            )
        return out

    def to_torch(self, operator: Any) -> nn.Module:
        keep = np.flatnonzero(operator.get_support())
        return Select(torch.from_numpy(keep.astype(np.int64)))

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass


@register("sklearn.feature_selection.SelectKBest")
class SelectKBest(Selector):
    """The k best features of a univariate test."""

    examples = (
        {"score_func": f_regression, "k": 2},
        {"score_func": f_regression, "k": "all"},
        Example({"score_func": f_regression, "k": 3}, data="sparse"),
        Example({"score_func": chi2, "k": 2}, data="sparse_multiclass"),
    )


@register("sklearn.feature_selection.SelectPercentile")
class SelectPercentile(Selector):
    """The best percentile of features of a univariate test."""

    examples = ({"score_func": f_regression, "percentile": 50},)


@register(
    "sklearn.feature_selection.SelectFpr",
    "sklearn.feature_selection.SelectFdr",
    "sklearn.feature_selection.SelectFwe",
)
class SelectByTest(Selector):
    """The features that pass a univariate test."""

    examples = (
        {"score_func": f_regression, "alpha": 0.2},
        Example({"score_func": f_regression, "alpha": 0.2}, data="sparse"),
    )


@register("sklearn.feature_selection.GenericUnivariateSelect")
class GenericUnivariateSelect(Selector):
    """Univariate selection with a configurable strategy."""

    examples = (
        {"score_func": f_regression, "mode": "percentile", "param": 50},
        {"score_func": f_regression, "mode": "k_best", "param": 2},
        {"score_func": f_regression, "mode": "fpr", "param": 0.2},
        {"score_func": f_regression, "mode": "fdr", "param": 0.2},
        {"score_func": f_regression, "mode": "fwe", "param": 0.2},
    )


@register("sklearn.feature_selection.SelectFromModel")
class SelectFromModel(Selector):
    """The features that another model finds important; transform does not use that model."""

    examples = (
        {"estimator": LinearRegression()},
        {"estimator": LinearRegression(), "threshold": "0.5*median"},
        {"estimator": LinearRegression(), "threshold": -np.inf, "max_features": 2},
        {"estimator": LinearRegression(), "norm_order": 2, "importance_getter": "coef_"},
        {"estimator": DecisionTreeRegressor(random_state=0)},
        Example({"estimator": Ridge()}, data="sparse"),
        Example({"estimator": DecisionTreeRegressor(random_state=0)}, data="missing"),
    )
    unchanged_attributes = {"estimator_": "selects the columns; transform does not use it"}


@dataclass(eq=False)
class Eliminated(Glue):
    """The columns that remain after recursive feature elimination.

    Parameters
    ----------
    owner : object
        The fitted `RFE` or `RFECV`.
    """

    owner: Any

    def run(self, *values: Any) -> Any:
        """Select these columns of a table."""
        return self.owner.transform(*values)


@register("pipegrad.sources.sklearn.selection.Eliminated")
class EliminatedColumns(Selector):
    """The columns in the support of the elimination."""

    examples = ()

    def encode(self, operator: Eliminated, X: Any) -> Any:
        return super().encode(operator.owner, X)

    def to_torch(self, operator: Eliminated) -> nn.Module:
        return super().to_torch(operator.owner)


@register("sklearn.feature_selection.RFE", "sklearn.feature_selection.RFECV")
class RecursiveElimination(Expansion):
    """Features are eliminated, and the final estimator predicts from the remaining ones."""

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        value = builder.add(join(path, "support"), Eliminated(operator), (source,))
        if method == "transform":
            return value
        return builder.expand(operator.estimator_, value, join(path, "estimator_"), method)


@register("sklearn.feature_selection.SequentialFeatureSelector")
class SequentialFeatureSelector(Selector):
    """Features added or removed one at a time."""

    examples = (
        {"estimator": LinearRegression(), "n_features_to_select": 2, "cv": 2},
        {
            "estimator": LinearRegression(),
            "n_features_to_select": 3,
            "direction": "backward",
            "cv": 2,
        },
    )


@register("sklearn.feature_selection.VarianceThreshold")
class VarianceThreshold(Selector):
    """The features whose variance exceeds a threshold."""

    examples = (
        {},
        {"threshold": 0.5},
        Example({"threshold": 0.01}, data="sparse"),
        Example({"threshold": 0.5}, data="missing"),
    )
    missing = True
