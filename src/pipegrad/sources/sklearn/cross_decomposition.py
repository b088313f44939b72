"""Partial least squares and canonical correlations."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from ...modules import Head, Linear, RegressionHead, Sequential, Standardize
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation

_PROJECTION = "belongs to transform and its inverse; predictions do not use it"
_TARGETS = "belongs to the targets, which are not transformed"


class _Projecting(SklearnTranslation):
    """Standardized columns, projected; only the directions train."""

    directions: ClassVar[str] = "x_rotations_"

    def projection(self, operator: Any) -> nn.Module:
        scaling = Standardize(to_tensor(operator._x_mean), to_tensor(operator._x_std))
        scaling.requires_grad_(False)
        return Sequential(scaling, Linear(to_tensor(getattr(operator, self.directions))))

    def write_directions(self, module: Sequential, operator: Any) -> None:
        """Write the directions of a projection."""
        linear: Any = module.links[1]
        before = getattr(operator, self.directions)
        setattr(operator, self.directions, to_array(linear.weight, before))


@register(
    "sklearn.cross_decomposition.PLSRegression",
    "sklearn.cross_decomposition.PLSCanonical",
    "sklearn.cross_decomposition.CCA",
)
class PartialLeastSquares(_Projecting):
    """coef_ and intercept_ are trainable; before other steps, x_rotations_ instead.

    Predictions and `transform` are functions of their own: each keeps the numbers of the source's
    fit when the other trains.
    """

    data = "multioutput"
    examples: ClassVar[Any] = (
        {"n_components": 2},
        {"n_components": 3, "scale": False, "max_iter": 100, "tol": 1e-4},
        Example({"n_components": 1}, data="regression"),
    )
    unchanged_attributes: ClassVar[Any] = {
        **dict.fromkeys(("x_loadings_", "x_rotations_", "x_weights_"), _PROJECTION),
        **dict.fromkeys(("y_loadings_", "y_rotations_", "y_weights_"), _TARGETS),
        "x_scores_": "scores of the source's training rows",
        "y_scores_": "scores of the source's training rows",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        module = Linear(
            to_tensor(operator.coef_.T),
            to_tensor(operator.intercept_),
            shift=to_tensor(operator._x_mean),
            squeeze=bool(operator._predict_1d),
        )
        assert module.shift is not None
        module.shift.requires_grad_(False)
        return module

    def write_back(self, module: Linear | Sequential, operator: Any) -> None:
        if isinstance(module, Sequential):
            self.write_directions(module, operator)
            return
        assert module.bias is not None
        operator.coef_ = to_array(module.weight.T, operator.coef_)
        operator.intercept_ = to_array(module.bias, operator.intercept_)

    def head(self, operator: Any) -> Head:
        return RegressionHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("squared_error")


@register("sklearn.cross_decomposition.PLSSVD")
class PLSSVD(_Projecting):
    """x_weights_ are trainable."""

    directions = "x_weights_"
    data = "multioutput"
    examples: ClassVar[Any] = ({"n_components": 2}, {"n_components": 3, "scale": False})
    unchanged_attributes: ClassVar[Any] = {"y_weights_": _TARGETS}

    def to_torch(self, operator: Any) -> nn.Module:
        return self.projection(operator)

    def write_back(self, module: Sequential, operator: Any) -> None:
        self.write_directions(module, operator)
