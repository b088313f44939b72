"""Estimates of a covariance, and outliers by their distance from its center."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from torch import nn

from ...modules import (
    DistanceOutliers,
    FactoredPrecision,
    Head,
    NormalHead,
    NormalLaw,
    OutlierHead,
    PatternedPrecision,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation

_FITTED = "records how the source was fitted"
_ROWS = "describes the training rows, which are not stored"
_CENTERED = Example({"assume_centered": True}, unchanged_attributes=("location_",))


class Covariance(SklearnTranslation):
    """location_ and precision_ train; covariance_ is its inverse.

    The score holds the log-density and the squared Mahalanobis distance of each row.
    """

    examples: ClassVar[Any] = ({}, {"store_precision": False}, _CENTERED)
    unchanged_attributes: ClassVar[Any] = {"shrinkage_": _FITTED}

    def to_torch(self, operator: Any) -> nn.Module:
        return self.law(operator)

    def law(self, operator: Any) -> NormalLaw:
        """Return the module of the normal law."""
        precision = symmetric(operator.get_precision())
        unit = np.sqrt(np.diag(operator.covariance_).astype(np.float64))
        return NormalLaw(
            to_tensor(np.asarray(operator.location_, dtype=np.float64)),
            self.precision(precision),
            to_tensor(np.where(unit > 0, unit, 1.0)),
            train_mean=not operator.assume_centered,
        )

    def precision(self, matrix: NDArray[Any]) -> FactoredPrecision | PatternedPrecision:
        """Return the module of a precision matrix."""
        return FactoredPrecision(to_tensor(factor(matrix)))

    def write_back(self, module: Any, operator: Any) -> None:
        operator.location_ = to_array(module.mean(), operator.location_)
        fresh = self.law(operator).precision
        if _same(module.precision, fresh):
            return
        precision = symmetric(to_array(module.precision()))
        operator.covariance_ = self.inverted(precision).astype(operator.covariance_.dtype)
        if operator.store_precision:
            operator.precision_ = precision.astype(operator.precision_.dtype)

    def inverted(self, precision: NDArray[Any]) -> NDArray[Any]:
        """Return the covariance that belongs to a precision matrix."""
        return np.asarray(linalg.pinvh(precision, check_finite=False))

    def head(self, operator: Any) -> Head:
        return NormalHead()

    def objective(self, operator: Any) -> Objective | None:
        return Objective("normal_negative_log_likelihood")


def symmetric(matrix: Any) -> NDArray[Any]:
    """Return the symmetric part of a matrix, in double precision."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return np.asarray((matrix + matrix.T) / 2)


def factor(matrix: NDArray[Any]) -> NDArray[Any]:
    """Return F with F @ F.T equal to a matrix without negative eigenvalues."""
    values, vectors = linalg.eigh(matrix)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def _same(one: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(bool((v == state[name]).all()) for name, v in one.state_dict().items())


@register("sklearn.covariance.EmpiricalCovariance")
class EmpiricalCovariance(Covariance):
    """The covariance of the rows."""


@register("sklearn.covariance.LedoitWolf", "sklearn.covariance.OAS")
class ShrunkByItself(Covariance):
    """The covariance of the rows, shrunk by an amount that the fit chooses."""


@register("sklearn.covariance.ShrunkCovariance")
class ShrunkCovariance(Covariance):
    """The covariance of the rows, shrunk by ``shrinkage``."""

    examples = (*Covariance.examples, {"shrinkage": 0.5})


@register("sklearn.covariance.GraphicalLasso")
class GraphicalLasso(Covariance):
    """location_ and the entries of precision_ train, of which those that are zero stay zero."""

    kept: ClassVar[tuple[str, ...]] = ("pattern",)
    data = "correlated"
    examples: ClassVar[Any] = (
        {"alpha": 0.2},
        {"alpha": 0.3, "mode": "lars"},
        Example({"alpha": 0.2, "assume_centered": True}, unchanged_attributes=("location_",)),
    )
    unchanged_attributes: ClassVar[Any] = {"costs_": _FITTED}

    def precision(self, matrix: NDArray[Any]) -> PatternedPrecision:
        return PatternedPrecision(to_tensor(matrix))


@register("sklearn.covariance.GraphicalLassoCV")
class GraphicalLassoCV(GraphicalLasso):
    """location_ and the entries of precision_ train, of which those that are zero stay zero."""

    examples: ClassVar[Any] = ({"alphas": [0.1, 0.3], "cv": 2},)
    unchanged_attributes: ClassVar[Any] = {
        "alpha_": _FITTED,
        "costs_": _FITTED,
        "cv_results_": _FITTED,
    }


@register("sklearn.covariance.MinCovDet")
class MinCovDet(Covariance):
    """location_ and precision_ train; covariance_ is its inverse."""

    examples: ClassVar[Any] = (
        {"random_state": 0},
        {"random_state": 0, "store_precision": False, "support_fraction": 0.8},
        Example({"random_state": 0, "assume_centered": True}, unchanged_attributes=("location_",)),
    )
    unchanged_attributes: ClassVar[Any] = {
        "dist_": _ROWS,
        "raw_covariance_": _FITTED,
        "raw_location_": _FITTED,
        "raw_support_": _ROWS,
        "support_": _ROWS,
    }


@register("sklearn.covariance.EllipticEnvelope")
class EllipticEnvelope(MinCovDet):
    """location_, precision_ and offset_ train; the score is the decision function."""

    examples: ClassVar[Any] = (*MinCovDet.examples, {"random_state": 0, "contamination": 0.3})

    def to_torch(self, operator: Any) -> nn.Module:
        return DistanceOutliers(self.law(operator), to_tensor(np.float64(operator.offset_)))

    def write_back(self, module: DistanceOutliers, operator: Any) -> None:
        super().write_back(module.law, operator)
        operator.offset_ = to_array(module.offset, operator.offset_)[()]

    def head(self, operator: Any) -> Head:
        return OutlierHead()

    def objective(self, operator: Any) -> Objective | None:
        return None
