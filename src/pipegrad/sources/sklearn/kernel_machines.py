"""Kernel ridge regression and kernel principal components, which store their training rows."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.metrics.pairwise import KERNEL_PARAMS
from torch import nn

from ...modules import (
    Head,
    Kernel,
    KernelCentering,
    KernelFeatures,
    Linear,
    RegressionHead,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, reject_entries_stored_twice, validate
from .kernels import DENSE_KERNELS, NAMES, callable_kernel, stored_points, written_points


class KernelMachine(SklearnTranslation):
    """Checks that estimators with a kernel by name share."""

    sparse = True
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "norms and products of rows treat them differently"
    }

    def refuse(self, operator: Any) -> str | None:
        if callable(operator.kernel):
            return callable_kernel(operator)
        for name, value in self.numbers(operator).items():
            if not isinstance(value, Real):
                return f"{name}={value!r} is not a single number"
        return None

    def numbers(self, operator: Any) -> dict[str, Any]:
        """Return the parameters of the kernel."""
        known = KERNEL_PARAMS.get(operator.kernel, ())
        numbers = {name: getattr(operator, name) for name in known}
        if "gamma" in known:
            gamma = getattr(operator, "gamma_", operator.gamma)
            numbers["gamma"] = 1.0 / operator.n_features_in_ if gamma is None else gamma
        return numbers

    def kernel(self, operator: Any) -> Kernel:
        """Return the kernel."""
        numbers = {name: float(value) for name, value in self.numbers(operator).items()}
        return Kernel(NAMES.get(operator.kernel, operator.kernel), **numbers)

    def encode(self, operator: Any, X: Any) -> Any:
        out = validate(operator, X, sparse=True)
        if operator.kernel in (*DENSE_KERNELS, "precomputed") and sparse.issparse(out):
            raise TypeError(f"kernel={operator.kernel!r} takes dense rows, got sparse ones.")
        if operator.kernel in DENSE_KERNELS and (out < 0).any():
            raise ValueError("X contains negative values.")
        reject_entries_stored_twice(operator, out)
        return out


@register("sklearn.kernel_ridge.KernelRidge")
class KernelRidge(KernelMachine):
    """X_fit_ and dual_coef_ train independently; gamma stays fixed."""

    data = "regression"
    examples = (
        {"kernel": "rbf", "gamma": 1e-4},
        {"alpha": 0.5},
        {"kernel": "polynomial", "degree": 2, "gamma": 1e-4, "coef0": 0.5},
        {"kernel": "laplacian", "gamma": 0.01},
        {"kernel": "sigmoid", "gamma": 1e-4},
        {"kernel": "cosine"},
        Example({"kernel": "chi2", "gamma": 0.1}, data="positive"),
        Example({"kernel": "additive_chi2", "alpha": 10.0}, data="positive"),
        Example({"kernel": "rbf", "alpha": [0.1, 1.0, 2.0]}, data="multioutput"),
        Example({"kernel": "rbf"}, data="sparse"),
    )

    def to_torch(self, operator: Any) -> nn.Module:
        coef = np.asarray(operator.dual_coef_)
        weight, squeeze = to_tensor(coef.reshape(len(coef), -1)), coef.ndim == 1
        if operator.kernel == "precomputed":
            return Linear(weight, squeeze=squeeze)
        points, kernel = stored_points(operator.X_fit_), self.kernel(operator)
        return KernelFeatures(points, weight, kernel, squeeze=squeeze)

    def write_back(self, module: Any, operator: Any) -> None:
        if isinstance(module, KernelFeatures):
            operator.dual_coef_ = to_array(module.mixing, operator.dual_coef_)
            operator.X_fit_ = written_points(module, operator.X_fit_)
        else:
            operator.dual_coef_ = to_array(module.weight, operator.dual_coef_)

    def head(self, operator: Any) -> Head:
        return RegressionHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("squared_error")


@register("sklearn.decomposition.KernelPCA")
class KernelPCA(KernelMachine):
    """X_fit_, eigenvectors_, gamma_ and the means of the kernel train; eigenvalues_ stay."""

    kept: ClassVar[tuple[str, ...]] = ()
    examples = (
        Example({"n_components": 3, "kernel": "linear"}, unchanged_attributes=("gamma_",)),
        {"n_components": 3, "kernel": "rbf", "gamma": 1e-3},
        {"n_components": 3, "kernel": "rbf", "fit_inverse_transform": True, "gamma": 1e-4},
        {"n_components": 3, "kernel": "poly", "degree": 2, "coef0": 0.5},
        {"n_components": 3, "kernel": "sigmoid", "gamma": 1e-4, "remove_zero_eig": True},
        Example({"n_components": 3, "kernel": "cosine"}, unchanged_attributes=("gamma_",)),
        Example(
            {"n_components": 3, "kernel": "precomputed"},
            data="similarities",
            unchanged_attributes=("gamma_", "X_fit_"),
        ),
        Example({"n_components": 4, "kernel": "rbf"}, data="sparse"),
        {"n_components": 2, "kernel": "rbf", "eigen_solver": "randomized", "random_state": 0},
    )
    unchanged_attributes: ClassVar[Any] = {
        "eigenvalues_": "the scale of the components trains in eigenvectors_",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        points, center = None, operator._centerer
        if operator.kernel != "precomputed":
            points = stored_points(operator.X_fit_)
        values = operator.eigenvalues_
        return KernelFeatures(
            points,
            to_tensor(operator.eigenvectors_),
            self.kernel(operator),
            centering=KernelCentering(to_tensor(center.K_fit_rows_), to_tensor(center.K_fit_all_)),
            divisor=to_tensor(np.where(values == 0, np.inf, np.sqrt(np.abs(values)))),
            train_gamma=True,
        )

    def write_back(self, module: KernelFeatures, operator: Any) -> None:
        moved = not same_numbers(module, self.to_torch(operator))
        operator.eigenvectors_ = to_array(module.mixing, operator.eigenvectors_)
        assert module.centering is not None
        _write_means(module.centering, operator._centerer)
        if module.gamma is not None:
            operator.gamma_ = float(to_array(module.gamma()))
        if module.points is not None:
            operator.X_fit_ = written_points(module, operator.X_fit_)
        if operator.fit_inverse_transform and moved:
            # The inverse is a regression of the stored rows on their components.
            components = operator.transform(operator.X_fit_)
            operator._fit_inverse_transform(components, operator.X_fit_)


def same_numbers(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules of the same structure have the same parameters and buffers."""
    return all(
        bool((a == b).all())
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def _write_means(module: KernelCentering, centerer: Any) -> None:
    centerer.K_fit_rows_ = to_array(module.means, centerer.K_fit_rows_)
    mean = to_array(module.mean, centerer.K_fit_all_)
    centerer.K_fit_all_ = mean[()] if mean.ndim == 0 else mean


@register("sklearn.preprocessing.KernelCenterer")
class KernelCenterer(SklearnTranslation):
    """K_fit_rows_ and K_fit_all_ train."""

    data = "similarities"

    def to_torch(self, operator: Any) -> nn.Module:
        return KernelCentering(to_tensor(operator.K_fit_rows_), to_tensor(operator.K_fit_all_))

    def write_back(self, module: KernelCentering, operator: Any) -> None:
        _write_means(module, operator)
