"""Isotonic regression."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_array
from torch import nn

from ...modules import Head, MonotoneInterpolation, RegressionHead
from ...registry import Objective, Translation, register
from ..arrays import to_array, to_tensor

_KNOTS = "the places of the knots do not train"


@register("sklearn.isotonic.IsotonicRegression")
class IsotonicRegression(Translation):
    """y_thresholds_ are trainable, and stay monotone and in the range that the user set."""

    data = "one_column"
    examples: ClassVar[Any] = (
        {},
        {"increasing": False, "out_of_bounds": "clip"},
        {"increasing": "auto", "y_min": 3.0, "y_max": 7.0},
        {"out_of_bounds": "raise"},
    )
    kept: ClassVar[tuple[str, ...]] = ("monotone",)
    unchanged_attributes: ClassVar[Any] = {
        "X_max_": _KNOTS,
        "X_min_": _KNOTS,
        "X_thresholds_": _KNOTS,
        "increasing_": "the direction does not change",
    }

    def encode(self, operator: Any, X: Any) -> Any:
        rows = check_array(X, dtype=operator.X_thresholds_.dtype, ensure_2d=False)
        if rows.ndim > 2 or (rows.ndim == 2 and rows.shape[1] != 1):
            raise ValueError(
                "Isotonic regression input X should be a 1d array or 2d array with 1 feature"
            )
        outside = (rows < operator.X_min_) | (rows > operator.X_max_)
        if operator.out_of_bounds == "raise" and outside.any():
            raise ValueError(
                f"X must be between {operator.X_min_:g} and {operator.X_max_:g}, where "
                f"IsotonicRegression was fitted, got {rows[outside][0]:g}.\n"
                "Hint: out_of_bounds='clip' takes the nearest value."
            )
        return np.array(rows).reshape(-1, 1)

    def to_torch(self, operator: Any) -> nn.Module:
        low = -math.inf if operator.y_min is None else float(operator.y_min)
        high = math.inf if operator.y_max is None else float(operator.y_max)
        return MonotoneInterpolation(
            to_tensor(operator.X_thresholds_),
            to_tensor(operator.y_thresholds_),
            increasing=bool(operator.increasing_),
            bounds=(low, high),
            clip=operator.out_of_bounds == "clip",
        )

    def write_back(self, module: MonotoneInterpolation, operator: Any) -> None:
        operator.y_thresholds_ = to_array(module.values(), operator.y_thresholds_)
        operator._build_f(operator.X_thresholds_, operator.y_thresholds_)

    def head(self, operator: Any) -> Head:
        return RegressionHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("squared_error")
