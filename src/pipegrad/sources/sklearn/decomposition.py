"""Matrix decompositions and random projections."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import linalg, sparse
from torch import nn

from ...modules import FactorScores, Linear, Projection, SparseProjection
from ...registry import Example, register
from ..arrays import sparse_to_pattern, to_array, to_tensor
from ._base import SklearnTranslation

_ORTHONORMAL = "components are orthonormal (`freeze=` keeps them)"
_OF_THE_DATA = "describes the source's training data; transform does not use it"
# Without whitening, these only describe the source's training data; transform ignores them.
_SPECTRUM = ("explained_variance_", "explained_variance_ratio_", "singular_values_")


class PrincipalComponents(SklearnTranslation):
    """components_ and mean_ are trainable, and with whitening explained_variance_ too.

    With whitening, singular_values_ and explained_variance_ratio_ are updated to match, for the
    same total variance.
    """

    sparse = True
    kept: ClassVar[tuple[str, ...]] = ("scale",)
    not_kept = _ORTHONORMAL
    unchanged_attributes = {
        "noise_variance_": _OF_THE_DATA,
        "var_": _OF_THE_DATA,
        "n_components_": "the number of components does not change",
        "n_samples_": "records how the source was fitted",
        "batch_size_": "records how the source was fitted",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        variance = to_tensor(operator.explained_variance_) if operator.whiten else None
        return Projection(to_tensor(operator.components_.T), to_tensor(operator.mean_), variance)

    def write_back(self, module: Projection, operator: Any) -> None:
        operator.components_ = to_array(module.weight.T, operator.components_)
        assert module.shift is not None
        operator.mean_ = to_array(module.shift, operator.mean_)
        if module.variance is not None:
            before = operator.explained_variance_
            after = to_array(module.variance(), before)
            growth = np.divide(after, before, out=np.ones_like(before), where=before != 0)
            operator.explained_variance_ = after
            operator.explained_variance_ratio_ = operator.explained_variance_ratio_ * growth
            operator.singular_values_ = operator.singular_values_ * np.sqrt(growth)

    def inverse(self, operator: Any) -> nn.Module:
        weight = operator.components_
        if operator.whiten:
            weight = np.sqrt(operator.explained_variance_[:, np.newaxis]) * weight
        return Linear(to_tensor(weight), to_tensor(operator.mean_))


@register("sklearn.decomposition.PCA")
class PCA(PrincipalComponents):
    """Principal components, with any solver."""

    examples = (
        Example({}, unchanged_attributes=_SPECTRUM),
        {"whiten": True},
        Example({"n_components": 0.9}, unchanged_attributes=_SPECTRUM),
        Example({"n_components": "mle"}, unchanged_attributes=_SPECTRUM),
        {"n_components": 2, "whiten": True},
        Example({"n_components": 3, "svd_solver": "full"}, unchanged_attributes=_SPECTRUM),
        {"n_components": 3, "svd_solver": "covariance_eigh", "whiten": True},
        {"n_components": 3, "svd_solver": "arpack", "whiten": True},
        {"n_components": 3, "svd_solver": "randomized", "whiten": True, "random_state": 0},
        Example(
            {"n_components": 3, "svd_solver": "arpack"},
            data="sparse",
            unchanged_attributes=_SPECTRUM,
        ),
        Example(
            {"n_components": 3, "svd_solver": "covariance_eigh", "whiten": True}, data="sparse"
        ),
    )


@register("sklearn.decomposition.IncrementalPCA")
class IncrementalPCA(PrincipalComponents):
    """Principal components, fitted batch by batch."""

    examples = (
        Example({}, unchanged_attributes=_SPECTRUM),
        {"whiten": True},
        Example({"n_components": 3, "batch_size": 20}, unchanged_attributes=_SPECTRUM),
        {"n_components": 2, "batch_size": 20, "whiten": True},
        Example(
            {"n_components": 3},
            data="sparse",
            unchanged_attributes=_SPECTRUM,
        ),
        Example({"n_components": 3, "whiten": True}, data="sparse"),
    )


@register("sklearn.decomposition.TruncatedSVD")
class TruncatedSVD(SklearnTranslation):
    """components_ are trainable; sparse input stays sparse."""

    examples = (
        {},
        {"n_components": 3, "algorithm": "arpack"},
        Example({"n_components": 3, "random_state": 0}, data="sparse"),
        Example({"n_components": 3, "algorithm": "arpack"}, data="sparse"),
    )
    sparse = True
    kept: ClassVar[tuple[str, ...]] = ("scale",)
    not_kept = _ORTHONORMAL
    unchanged_attributes = {
        "explained_variance_": _OF_THE_DATA,
        "explained_variance_ratio_": _OF_THE_DATA,
        "singular_values_": _OF_THE_DATA,
    }

    def to_torch(self, operator: Any) -> nn.Module:
        return Linear(to_tensor(operator.components_.T))

    def write_back(self, module: Linear, operator: Any) -> None:
        operator.components_ = to_array(module.weight.T, operator.components_)

    def inverse(self, operator: Any) -> nn.Module:
        return Linear(to_tensor(operator.components_))


@register("sklearn.decomposition.FactorAnalysis")
class FactorAnalysis(SklearnTranslation):
    """components_, noise_variance_ and mean_ are trainable."""

    export_tolerance = 1e-11
    kept: ClassVar[tuple[str, ...]] = ("scale",)
    examples: ClassVar[Any] = (
        {"n_components": 2, "max_iter": 20},
        {"n_components": 3, "svd_method": "lapack", "rotation": "varimax", "max_iter": 20},
        {"n_components": 2, "rotation": "quartimax", "iterated_power": 2, "tol": 0.1},
        {"n_components": 2, "noise_variance_init": np.ones(6), "max_iter": 20},
    )
    unchanged_attributes: ClassVar[Any] = {"loglike_": "records how the source was fitted"}

    def to_torch(self, operator: Any) -> nn.Module:
        parts = (operator.components_, operator.noise_variance_, operator.mean_)
        return FactorScores(*map(to_tensor, parts))

    def write_back(self, module: FactorScores, operator: Any) -> None:
        operator.components_ = to_array(module.loadings, operator.components_)
        operator.noise_variance_ = to_array(module.noise(), operator.noise_variance_)
        operator.mean_ = to_array(module.mean, operator.mean_)


@register("sklearn.decomposition.FastICA")
class FastICA(SklearnTranslation):
    """components_ and mean_ are trainable; mixing_ follows them."""

    examples: ClassVar[Any] = (
        {"n_components": 3, "random_state": 0, "max_iter": 500},
        {
            "algorithm": "deflation",
            "whiten": "arbitrary-variance",
            "fun": "exp",
            "random_state": 0,
        },
        {"whiten": False, "fun": "cube", "random_state": 0, "max_iter": 5, "w_init": np.eye(6)},
        {
            "n_components": 2,
            "whiten_solver": "eigh",
            "fun_args": {"alpha": 1.5},
            "tol": 1e-2,
            "random_state": 0,
        },
    )
    unchanged_attributes: ClassVar[Any] = {
        "whitening_": "the whitening of the source's fit, of which components_ are rotations"
    }

    def to_torch(self, operator: Any) -> nn.Module:
        shift = to_tensor(operator.mean_) if operator.whiten else None
        return Linear(to_tensor(operator.components_.T), shift=shift)

    def write_back(self, module: Linear, operator: Any) -> None:
        before = operator.components_
        operator.components_ = to_array(module.weight.T, before)
        if not np.array_equal(before, operator.components_):
            operator.mixing_ = linalg.pinv(operator.components_, check_finite=False)
        if module.shift is not None:
            operator.mean_ = to_array(module.shift, operator.mean_)

    def inverse(self, operator: Any) -> nn.Module:
        bias = to_tensor(operator.mean_) if operator.whiten else None
        return Linear(to_tensor(operator.mixing_.T), bias)


class RandomProjection(SklearnTranslation):
    """components_ are trainable; inverse_components_ are updated to match."""

    sparse = True
    unchanged_attributes = {
        "n_components_": "the number of components does not change",
        "density_": "the fraction of nonzero entries does not change",
    }

    def follow(self, operator: Any, components: Any) -> None:
        """Write the components, and their pseudo-inverse if the operator stores one."""
        moved = (operator.components_ != components).sum() > 0
        operator.components_ = components
        if moved and operator.compute_inverse_components:
            operator.inverse_components_ = operator._compute_inverse_components()


@register("sklearn.random_projection.GaussianRandomProjection")
class GaussianRandomProjection(RandomProjection):
    """A dense random projection."""

    examples = (
        {"n_components": 3, "random_state": 0},
        {"n_components": 3, "random_state": 0, "compute_inverse_components": True},
        Example({"n_components": 3, "random_state": 0}, data="sparse"),
    )

    def to_torch(self, operator: Any) -> nn.Module:
        return Linear(to_tensor(operator.components_.T))

    def write_back(self, module: Linear, operator: Any) -> None:
        self.follow(operator, to_array(module.weight.T, operator.components_))


@register("sklearn.random_projection.SparseRandomProjection")
class SparseRandomProjection(RandomProjection):
    """A sparse random projection: only the nonzero entries are trainable."""

    kept: ClassVar[tuple[str, ...]] = ("pattern",)

    examples = (
        {"n_components": 3, "random_state": 0, "density": 0.5},
        {"n_components": 3, "random_state": 0, "density": 1.0},
        {
            "n_components": 3,
            "random_state": 0,
            "density": 0.5,
            "compute_inverse_components": True,
        },
        Example({"n_components": 3, "random_state": 0}, data="sparse"),
        Example({"n_components": 3, "random_state": 0, "dense_output": True}, data="sparse"),
    )

    def to_torch(self, operator: Any) -> nn.Module:
        components = operator.components_
        if not sparse.issparse(components):  # density 1
            return Linear(to_tensor(components.T))
        pattern = sparse_to_pattern(components, transpose=True)
        return SparseProjection(pattern, keep_sparse=not operator.dense_output)

    def write_back(self, module: Linear | SparseProjection, operator: Any) -> None:
        if isinstance(module, Linear):
            self.follow(operator, to_array(module.weight.T, operator.components_))
            return
        components = operator.components_.copy()
        components.data = to_array(module.weight.values, components.data)
        self.follow(operator, components)
