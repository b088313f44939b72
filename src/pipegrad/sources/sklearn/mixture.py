"""Gaussian mixtures."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.special import digamma
from sklearn.mixture import GaussianMixture as Source
from torch import nn

from ...modules import (
    DiagonalGaussians,
    FullGaussians,
    Head,
    JointLogLikelihood,
    LikelihoodHead,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, as_float, checked

_FITTED = "records how the source was fitted"
_ROUNDED = "GaussianMixture rounds squared distances of rows of whole numbers down"
_POSTERIOR = "the posterior of the source's fit, from which the weights of components follow"


def _rounds_down() -> bool:
    """Return whether whole numbers lose the digits of their distances (newer scikit-learn)."""
    mixture = Source(covariance_type="tied")
    mixture.means_, mixture.precisions_cholesky_ = np.zeros((1, 1)), np.full((1, 1), 0.5)
    mixture.weights_, mixture.n_features_in_ = np.ones(1), 1
    found = [mixture.score_samples(np.ones((1, 1), dtype=kind)) for kind in (int, float)]
    return bool(found[0] != found[1])


_LOSES_DIGITS = _rounds_down()


class Mixture(SklearnTranslation):
    """means_ and precisions_cholesky_ are trainable; covariances_ and precisions_ follow them."""

    unchanged_attributes: ClassVar[Any] = {
        "converged_": _FITTED,
        "lower_bound_": _FITTED,
        "lower_bounds_": _FITTED,
    }
    kept: ClassVar[tuple[str, ...]] = ("probabilities", "scale")
    refused_inputs: ClassVar[Any] = {"integers": _ROUNDED} if _LOSES_DIGITS else {}

    def encode(self, operator: Any, X: Any) -> Any:
        rows = checked(operator, X)
        if _LOSES_DIGITS and rows.dtype.kind in "iub":
            raise ValueError(
                f"X must hold floating point numbers, got {rows.dtype}: {_ROUNDED}.\n"
                "Hint: pass X.astype(float)."
            )
        return as_float(rows)

    def head(self, operator: Any) -> Head:
        return LikelihoodHead("clustering", ("predict", "predict_proba"))

    def objective(self, operator: Any) -> Objective:
        return Objective("mixture_negative_log_likelihood")

    def densities(self, operator: Any) -> nn.Module:
        """Return the module of the components' log-densities."""
        means, root = to_tensor(operator.means_), to_tensor(operator.precisions_cholesky_)
        if operator.covariance_type == "full":
            return FullGaussians(means, root)
        if operator.covariance_type == "tied":
            return FullGaussians(means, root[None])
        variance = root**-2
        return DiagonalGaussians(means, variance[:, None] if root.ndim == 1 else variance)

    def write_back(self, module: Any, operator: Any) -> None:
        densities = module.likelihood
        operator.means_ = to_array(densities.mean(), operator.means_)
        if isinstance(densities, DiagonalGaussians):
            variance = to_array(densities.variance(), operator.covariances_)
            same = variance == to_array(densities.variance.initial, operator.covariances_)
            _write(operator, same, variance, variance**-0.5, 1 / variance)
            return
        factors, shape = to_array(densities.current()), operator.covariances_.shape
        same = to_array(densities.unchanged())[:, None, None]
        same = np.broadcast_to(same, factors.shape).reshape(shape)
        parts = zip(*map(_matrices, factors), strict=True)
        _write(operator, same, *(np.reshape(part, shape) for part in parts))


def _write(operator: Any, same: Any, covariance: Any, root: Any, precision: Any) -> None:
    written = {"covariances_": covariance, "precisions_cholesky_": root, "precisions_": precision}
    for name, after in written.items():
        before = getattr(operator, name)
        setattr(operator, name, np.where(same, before, after).astype(before.dtype))


def _matrices(factor: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return covariance, upper triangular root of the precision, and precision of a factor."""
    root, _ = linalg.rq(factor)
    root = root * np.where(np.diag(root) < 0, -1.0, 1.0)
    inverse = linalg.solve_triangular(root, np.eye(len(root)))
    return inverse.T @ inverse, root, root @ root.T


def _small(**params: Any) -> dict[str, Any]:
    return {"n_components": 3, "max_iter": 10, "random_state": 0, **params}


@register("sklearn.mixture.GaussianMixture")
class GaussianMixture(Mixture):
    """means_, weights_ and precisions_cholesky_ are trainable; covariances_ follow."""

    examples: ClassVar[Any] = (
        _small(),
        _small(covariance_type="tied", tol=1e-2, reg_covar=1e-4),
        _small(covariance_type="diag", init_params="random_from_data", n_init=2, reg_covar=1.0),
        _small(covariance_type="spherical", init_params="k-means++", warm_start=True),
        Example(
            _small(
                n_components=2,
                init_params="random",
                weights_init=[0.4, 0.6],
                means_init=np.eye(2, 6),
                precisions_init=np.stack([np.eye(6), 0.1 * np.eye(6)]),
            )
        ),
    )

    def to_torch(self, operator: Any) -> nn.Module:
        return JointLogLikelihood(self.densities(operator), to_tensor(np.log(operator.weights_)))

    def write_back(self, module: Any, operator: Any) -> None:
        super().write_back(module, operator)
        before = operator.weights_
        log = to_array(module.prior(), before)
        operator.weights_ = np.where(log == np.log(before), before, np.exp(log))


@register("sklearn.mixture.BayesianGaussianMixture")
class BayesianGaussianMixture(Mixture):
    """means_ and precisions_cholesky_ are trainable; covariances_ follow.

    The weights of the components follow from the source's posterior and do not train.
    """

    examples: ClassVar[Any] = (
        _small(weight_concentration_prior=0.1),
        _small(
            covariance_type="tied",
            weight_concentration_prior_type="dirichlet_distribution",
            reg_covar=0.1,
        ),
        _small(
            covariance_type="diag",
            mean_precision_prior=0.5,
            mean_prior=np.zeros(6),
            reg_covar=1.0,
        ),
        _small(
            covariance_type="spherical",
            degrees_of_freedom_prior=8.0,
            covariance_prior=2.0,
            init_params="random",
        ),
    )
    unchanged_attributes: ClassVar[Any] = {
        **Mixture.unchanged_attributes,
        "covariance_prior_": _FITTED,
        "degrees_of_freedom_": _POSTERIOR,
        "degrees_of_freedom_prior_": _FITTED,
        "mean_precision_": _POSTERIOR,
        "mean_precision_prior_": _FITTED,
        "mean_prior_": _FITTED,
        "weight_concentration_": _POSTERIOR,
        "weight_concentration_prior_": _FITTED,
        "weights_": _POSTERIOR,
    }

    def to_torch(self, operator: Any) -> nn.Module:
        offset = to_tensor(_log_expectations(operator)).to(to_tensor(operator.means_).dtype)
        return JointLogLikelihood(self.densities(operator), offset=offset)


def _log_expectations(operator: Any) -> NDArray[Any]:
    """Return what the posterior adds to each component's log-density (Bishop, 2006, 10.65)."""
    width, freedom = operator.means_.shape[1], np.asarray(operator.degrees_of_freedom_)
    halves = 0.5 * (freedom - np.arange(width)[:, None])
    determinant = width * np.log(2.0) + digamma(halves).sum(0)
    spread = determinant - width / operator.mean_precision_ - width * np.log(freedom)
    return np.asarray(0.5 * spread + operator._estimate_log_weights())
