"""Linear predictors: regressors, generalised linear models and classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from ...modules import Head, Linear, Mean
from ...registry import Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation


class LinearPredictor(SklearnTranslation):
    """coef_ and intercept_ become weight and bias; everything linear is written this way."""

    sparse = True

    def to_torch(self, operator: Any) -> nn.Module:
        coef = np.asarray(operator.coef_)
        weight = np.atleast_2d(coef).T
        bias = None
        if getattr(operator, "fit_intercept", True):
            bias = to_tensor(np.atleast_1d(operator.intercept_))
        return Linear(to_tensor(weight), bias, squeeze=self.squeeze(operator))

    def squeeze(self, operator: Any) -> bool:
        """Whether the score is (n,)."""
        return bool(np.ndim(operator.coef_) == 1)

    def write_back(self, module: Linear, operator: Any) -> None:
        operator.coef_ = to_array(module.weight.T, operator.coef_)
        if module.bias is not None:
            intercept = to_array(module.bias, operator.intercept_)
            scalar = np.ndim(operator.intercept_) == 0
            operator.intercept_ = intercept[()] if scalar else intercept


@register("sklearn.linear_model.LinearRegression")
class LinearRegression(LinearPredictor):
    """Ordinary least squares."""

    examples = ({}, {"fit_intercept": False})
    data = "regression"

    def head(self, operator: Any) -> Head:
        return Mean()

    def objective(self, operator: Any) -> Objective:
        return Objective("squared_error")
