"""Transformers of single columns: B-splines, and ranks among quantiles."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import BSpline
from torch import Tensor, nn

from ...modules import QuantileRanks, QuantilesOfRanks, SplineBasis
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, validate

_NO_PERIOD = (
    "extrapolation='periodic' over knots that are all equal answers NaN before scikit-learn 1.8"
)
_KNOTS = np.linspace([-5.0, -40.0, -1.0, -15.0, -400.0, -5.0], [5.0, 50, 1.0, 9, 400, 5], 5)


@register("sklearn.preprocessing.SplineTransformer")
class SplineTransformer(SklearnTranslation):
    """Knots are trainable and keep their order, except where `extrapolation="error"` bounds them.

    Linear continuations of several columns of degree 0 or 1 are refused, since scikit-learn's own
    are wrong. Splines of degree 0 are steps: nothing of them trains, and no gradient passes.
    """

    missing = True
    examples: ClassVar[Any] = (
        {},
        {"degree": 2, "knots": "quantile", "n_knots": 4, "extrapolation": "linear"},
        {"extrapolation": "continue", "include_bias": False, "order": "F"},
        {"extrapolation": "periodic", "n_knots": 6},
        {"extrapolation": "error", "degree": 1},
        {"degree": 0},
        {"degree": 0, "extrapolation": "continue", "include_bias": False},
        {"degree": 0, "extrapolation": "periodic", "knots": _KNOTS},
        {"sparse_output": True, "degree": 1, "extrapolation": "continue"},
        {"knots": _KNOTS, "extrapolation": "linear"},
        Example({"handle_missing": "zeros", "degree": 2}, data="missing", since="1.8"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "n_features_out_": "the number of columns does not change"
    }

    def refuse(self, operator: Any) -> str | None:
        several = operator.n_features_in_ > 1
        if several and operator.degree <= 1 and operator.extrapolation == "linear":
            return (
                f"with degree={operator.degree} and extrapolation='linear', scikit-learn itself is "
                "wrong from the second column on, where it takes a later knot for the end of the "
                "spline; extrapolation='continue' gives the straight lines that were meant"
            )
        periodic = operator.extrapolation == "periodic"
        # Versions with handle_missing answer 0.
        if periodic and not hasattr(operator, "handle_missing"):
            low, high = self._limits(operator)
            if (low == high).any():
                return _NO_PERIOD
        return None

    def is_differentiable(self, operator: Any) -> bool:
        return bool(operator.degree > 0)

    def encode(self, operator: Any, X: Any) -> Any:
        zeros = getattr(operator, "handle_missing", "error") == "zeros"
        rows = validate(operator, X, finite=not zeros)
        # Constants of degree 0 beyond the knots are an error of the source, too.
        if operator.extrapolation == "error" or self._steps_end(operator):
            low, high = self._limits(operator)
            beyond = np.argwhere((rows < low) | (rows > high))
            if beyond.size:
                row, column = beyond[0]
                raise ValueError(
                    f"X must be within the limits of the knots, {low[column]:g} to "
                    f"{high[column]:g} in column {column}, got {rows[row, column]:g}.\n"
                    "Hint: extrapolation='continue' goes beyond them."
                )
        return rows

    def to_torch(self, operator: Any) -> nn.Module:
        module = SplineBasis(
            to_tensor(np.array([spline.t for spline in operator.bsplines_])),
            operator.degree,
            operator.extrapolation,
            bias=operator.include_bias,
            zeros=getattr(operator, "handle_missing", "error") == "zeros",
            sparse=operator.sparse_output,
        )
        return module.requires_grad_(self.trainable(operator))

    def trainable(self, operator: Any) -> bool:
        return bool(operator.extrapolation != "error" and operator.degree)

    @staticmethod
    def _limits(operator: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """The first and the last knot of each column."""
        knots = np.array([spline.t for spline in operator.bsplines_])
        return knots[:, operator.degree], knots[:, -operator.degree - 1]

    @staticmethod
    def _steps_end(operator: Any) -> bool:
        return not operator.degree and operator.extrapolation == "constant"

    def write_back(self, module: SplineBasis, operator: Any) -> None:
        knots = to_array(module.knots().double())
        operator.bsplines_ = [
            BSpline.construct_fast(t, spline.c, spline.k, extrapolate=spline.extrapolate)
            for t, spline in zip(knots, operator.bsplines_, strict=True)
        ]


@register("sklearn.preprocessing.QuantileTransformer")
class QuantileTransformer(SklearnTranslation):
    """Nothing is trainable: quantiles describe the training data. Gradients pass through."""

    missing = True
    sparse = True
    examples: ClassVar[Any] = (
        {"n_quantiles": 20},
        {"n_quantiles": 20, "output_distribution": "normal", "subsample": 50, "random_state": 0},
        {"n_quantiles": 1},
        Example({"n_quantiles": 30}, data="sparse"),
        Example(
            {"n_quantiles": 30, "output_distribution": "normal", "ignore_implicit_zeros": True},
            data="sparse",
        ),
        Example({"n_quantiles": 20}, data="missing"),
        Example({"n_quantiles": 40}, data="word_counts"),
    )

    def encode(self, operator: Any, X: Any) -> Any:
        rows = super().encode(operator, X)
        if sparse.issparse(rows) and not operator.ignore_implicit_zeros and (rows.data < 0).any():
            raise ValueError("QuantileTransformer only accepts non-negative sparse matrices.")
        return rows

    def to_torch(self, operator: Any) -> nn.Module:
        return QuantileRanks(*self._parts(operator))

    def inverse(self, operator: Any) -> nn.Module:
        return QuantilesOfRanks(*self._parts(operator))

    def _parts(self, operator: Any) -> tuple[Tensor, Tensor, bool]:
        quantiles = to_tensor(operator.quantiles_)
        ranks = to_tensor(operator.references_).to(quantiles.dtype)
        return quantiles, ranks, operator.output_distribution == "normal"

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass
