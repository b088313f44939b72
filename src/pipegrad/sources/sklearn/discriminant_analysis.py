"""Linear and quadratic discriminant analysis."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from torch import nn

from ...modules import (
    DiscriminantHead,
    FullGaussians,
    Head,
    JointLogLikelihood,
    LikelihoodHead,
    Linear,
    Projection,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ..target_refusals import one_class
from ._base import SKLEARN, SklearnTranslation, parse_version

_OF_THE_DATA = "describes the source's training data; predictions do not use it"
_DIRECTIONS = "belongs to transform; predictions do not use it"


class Discriminant(SklearnTranslation):
    """Training minimizes the log loss."""

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)

    def objective(self, operator: Any) -> Objective:
        return Objective("log_loss")

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)


@register("sklearn.discriminant_analysis.LinearDiscriminantAnalysis")
class LinearDiscriminantAnalysis(Discriminant):
    """coef_ and intercept_ are trainable: one logit for two classes, one per class otherwise.

    Before other steps, scalings_ and xbar_ are trainable instead. Predictions and `transform` are
    functions of their own: each keeps the numbers of the source's fit when the other trains.
    """

    sparse = True  # Predictions take sparse rows, although the source's fit does not.
    examples: ClassVar[Any] = (
        {"store_covariance": True, "n_components": 1},
        {"solver": "lsqr", "shrinkage": "auto"},
        {"solver": "eigen", "shrinkage": 0.5, "priors": [0.2, 0.3, 0.5]},
        Example({"tol": 1e-6, "priors": [0.3, 0.7]}, data="binary_strings"),
        Example({"solver": "lsqr", "covariance_estimator": LedoitWolf()}, data="binary"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "covariance_": _OF_THE_DATA,
        "explained_variance_ratio_": _OF_THE_DATA,
        "means_": _OF_THE_DATA,
        "priors_": _OF_THE_DATA,
        "scalings_": _DIRECTIONS,
        "xbar_": _DIRECTIONS,
    }

    def trainable(self, operator: Any) -> bool:
        # A positive score of the only class is an error of the source.
        return len(operator.classes_) > 1

    def to_torch(self, operator: Any) -> nn.Module:
        weight, bias = to_tensor(operator.coef_.T), to_tensor(operator.intercept_)
        module = Linear(weight, bias, squeeze=len(operator.classes_) <= 2)
        return module.requires_grad_(self.trainable(operator))

    def projection(self, operator: Any) -> nn.Module | None:
        if operator.solver == "lsqr":
            return None
        shift = to_tensor(operator.xbar_) if operator.solver == "svd" else None
        return Projection(to_tensor(operator.scalings_[:, : operator._max_components]), shift)

    def write_back(self, module: Linear, operator: Any) -> None:
        if isinstance(module, Projection):
            scalings, kept = operator.scalings_.copy(), operator._max_components
            scalings[:, :kept] = to_array(module.weight)
            operator.scalings_ = scalings
            if module.shift is not None:
                operator.xbar_ = to_array(module.shift, operator.xbar_)
            return
        assert module.bias is not None
        operator.coef_ = to_array(module.weight.T, operator.coef_)
        operator.intercept_ = to_array(module.bias, operator.intercept_)

    def head(self, operator: Any) -> Head:
        head = DiscriminantHead(pair=len(operator.classes_) <= 2)
        if len(operator.classes_) == 1:
            head.responses = ("predict", "decision_function")
        return head


_EIGEN = {"solver": "eigen", "shrinkage": 0.1}


@register("sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis")
class QuadraticDiscriminantAnalysis(Discriminant):
    """means_, rotations_, scalings_ and priors_ are trainable; covariance_ follows them.

    Rotations stay orthonormal, and scalings positive. A prior that the user set stays as it is.
    """

    examples: ClassVar[Any] = (
        {"store_covariance": True, "reg_param": 0.1},
        Example({"priors": [0.2, 0.3, 0.5], "tol": 1e-5}, unchanged_attributes=("priors_",)),
        Example({}, data="binary_strings"),
        Example({**_EIGEN, "store_covariance": True}, data="binary", since="1.8"),
        Example({"solver": "eigen", "covariance_estimator": LedoitWolf()}, since="1.8"),
    )

    def refuse(self, operator: Any) -> str | None:
        width = operator.means_.shape[1]
        full = all(len(s) == width and np.all(s > 0) for s in operator.scalings_)
        return None if full else "the covariance of a class does not have full rank"

    def to_torch(self, operator: Any) -> nn.Module:
        pairs = zip(operator.rotations_, operator.scalings_, strict=True)
        factor = np.stack([rotation * scaling**-0.5 for rotation, scaling in pairs])
        means = to_tensor(operator.means_)
        # The source leaves out the constant of the normal density.
        constant = np.full(len(means), 0.5 * means.shape[1] * math.log(2 * math.pi))
        prior = to_tensor(np.log(operator.priors_))
        fixed = operator.priors is not None
        densities = FullGaussians(means, to_tensor(factor))
        return JointLogLikelihood(densities, prior, fixed, to_tensor(constant).to(means.dtype))

    def write_back(self, module: Any, operator: Any) -> None:
        densities = module.likelihood
        factors, same = to_array(densities.current()), to_array(densities.unchanged())
        operator.means_ = to_array(densities.mean(), operator.means_)
        operator.rotations_ = list(operator.rotations_)
        operator.scalings_ = list(operator.scalings_)
        for k in range(len(factors)):
            if not same[k]:
                self._write_class(operator, k, factors[k])
        if operator.priors is None:
            prior, log = operator.priors_, to_array(module.prior(), operator.priors_)
            operator.priors_ = np.where(log == np.log(prior), prior, np.exp(log))

    def _write_class(self, operator: Any, k: int, factor: NDArray[Any]) -> None:
        directions, lengths, _ = np.linalg.svd(factor)
        # Short in the factor is long in the data, which the source has first.
        rotation, scaling = directions[:, ::-1], lengths[::-1] ** -2.0
        operator.rotations_[k], operator.scalings_[k] = rotation, scaling
        if hasattr(operator, "covariance_"):
            covariance = list(operator.covariance_)
            covariance[k] = scaling * rotation @ rotation.T
            operator.covariance_ = covariance

    def head(self, operator: Any) -> Head:
        responses = ("predict", "predict_proba", "predict_log_proba", "decision_function")
        rounded = parse_version("1.6") > SKLEARN
        return LikelihoodHead(responses=responses, rounded=rounded)
