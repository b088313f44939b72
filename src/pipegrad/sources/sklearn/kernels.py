"""Kernel approximations by explicit feature maps."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.metrics.pairwise import KERNEL_PARAMS
from sklearn.utils.validation import check_non_negative
from torch import nn

from ...modules import (
    AdditiveChi2Features,
    Kernel,
    KernelDistributions,
    KernelFeatures,
    PolynomialSketch,
    RandomFourierFeatures,
    SparseParameter,
)
from ...registry import Example, register
from ..arrays import sparse_to_pattern, to_array, to_tensor
from ._base import SklearnTranslation, reject_entries_stored_twice, validate

DENSE_KERNELS = ("chi2", "additive_chi2")
NAMES = {"poly": "polynomial"}


@register("sklearn.kernel_approximation.Nystroem")
class Nystroem(SklearnTranslation):
    """components_ and normalization_ are trained independently; gamma stays fixed."""

    kept: ClassVar[tuple[str, ...]] = ("pattern",)
    examples = (
        {"n_components": 10, "random_state": 0},
        {"n_components": 10, "random_state": 0, "gamma": 0.05},
        {"n_components": 10, "random_state": 0, "kernel_params": {"gamma": 0.05}},
        {"n_components": 4, "random_state": 0, "kernel": "linear"},
        {"n_components": 10, "random_state": 0, "kernel": "poly"},
        {
            "n_components": 10,
            "random_state": 0,
            "kernel": "polynomial",
            "gamma": 0.1,
            "coef0": 2.0,
            "degree": 2,
        },
        {"n_components": 4, "random_state": 0, "kernel": "sigmoid"},
        {"n_components": 4, "random_state": 0, "kernel": "sigmoid", "gamma": 0.1, "coef0": 0.0},
        {"n_components": 10, "random_state": 0, "kernel": "laplacian"},
        {"n_components": 10, "random_state": 0, "kernel": "laplacian", "gamma": 0.1},
        {"n_components": 4, "random_state": 0, "kernel": "cosine"},
        Example({"n_components": 10, "random_state": 0, "kernel": "chi2"}, data="positive"),
        Example(
            {"n_components": 10, "random_state": 0, "kernel": "chi2", "gamma": 0.1},
            data="positive",
        ),
        Example(
            {"n_components": 10, "random_state": 0, "kernel": "additive_chi2"}, data="positive"
        ),
        Example(
            # The source takes a square matrix only; older versions gave nonsense for a sparse one.
            {"n_components": 80, "random_state": 0, "kernel": "precomputed"},
            data="similarities",
            unchanged_attributes=("components_",),
            since="1.8",
        ),
        Example({"n_components": 10, "random_state": 0}, data="sparse"),
        Example({"n_components": 4, "random_state": 0, "kernel": "linear"}, data="sparse"),
        Example({"n_components": 10, "random_state": 0, "kernel": "poly"}, data="sparse"),
        Example({"n_components": 4, "random_state": 0, "kernel": "sigmoid"}, data="sparse"),
        Example({"n_components": 10, "random_state": 0, "kernel": "laplacian"}, data="sparse"),
        Example({"n_components": 4, "random_state": 0, "kernel": "cosine"}, data="sparse"),
    )
    sparse = True
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "norms and products of rows treat them differently"
    }
    unchanged_attributes = {
        "component_indices_": "records which training rows the components were initially"
    }

    def refuse(self, operator: Any) -> str | None:
        if callable(operator.kernel):
            return callable_kernel(operator)
        for name, value in _numbers(operator).items():
            if not isinstance(value, Real):
                return f"{name}={value!r} is not a single number"
        return None

    def encode(self, operator: Any, X: Any) -> Any:
        dense_only = operator.kernel in (*DENSE_KERNELS, "precomputed")
        out = validate(operator, X, sparse=not dense_only)
        if operator.kernel in DENSE_KERNELS:
            check_non_negative(out, "Nystroem.transform")
        reject_entries_stored_twice(operator, out)
        return out

    def to_torch(self, operator: Any) -> nn.Module:
        mixing = to_tensor(operator.normalization_.T)
        if operator.kernel == "precomputed":
            return KernelFeatures(None, mixing, Kernel("linear"))
        points = stored_points(operator.components_)
        name = NAMES.get(operator.kernel, operator.kernel)
        numbers = {key: float(value) for key, value in _numbers(operator).items()}
        return KernelFeatures(points, mixing, Kernel(name, **numbers))

    def write_back(self, module: KernelFeatures, operator: Any) -> None:
        operator.normalization_ = to_array(module.mixing.T, operator.normalization_)
        if module.points is not None:
            operator.components_ = written_points(module, operator.components_)


def callable_kernel(operator: Any) -> str:
    """Why a kernel that is a function has no module."""
    return (
        f"kernel={getattr(operator.kernel, '__name__', operator.kernel)!r} is Python code "
        "that torch cannot differentiate; the kernels that scikit-learn names have modules"
    )


def stored_points(rows: Any) -> Any:
    """Rows at which kernels are evaluated, as a module takes them."""
    if sparse.issparse(rows) and rows.format == "csc":
        return sparse_to_pattern(rows.T, transpose=True)
    return sparse_to_pattern(rows) if sparse.issparse(rows) else to_tensor(rows)


def written_points(module: KernelFeatures | KernelDistributions, rows: Any) -> Any:
    """The points of a module in the form of the rows that they were."""
    if isinstance(module.points, SparseParameter):
        rows = rows.copy()
        rows.data = to_array(module.points.values, rows.data)
        return rows
    return to_array(module.vectors(), rows)


class FourierSampler(SklearnTranslation):
    """random_weights_ and random_offset_ are trainable."""

    def write_back(self, module: RandomFourierFeatures, operator: Any) -> None:
        operator.random_weights_ = to_array(module.weight, operator.random_weights_)
        operator.random_offset_ = to_array(module.offset, operator.random_offset_)


@register("sklearn.kernel_approximation.RBFSampler")
class RBFSampler(FourierSampler):
    """Random Fourier features of the Gaussian kernel."""

    examples = (
        {"n_components": 10, "random_state": 0, "gamma": 0.05},
        {"n_components": 10, "random_state": 0, "gamma": "scale"},
        Example({"n_components": 10, "random_state": 0}, data="sparse"),
    )
    sparse = True

    def to_torch(self, operator: Any) -> nn.Module:
        return RandomFourierFeatures(
            to_tensor(operator.random_weights_),
            to_tensor(operator.random_offset_),
            amplitude=(2.0 / operator.n_components) ** 0.5,
        )


@register("sklearn.kernel_approximation.SkewedChi2Sampler")
class SkewedChi2Sampler(FourierSampler):
    """Random Fourier features of the logarithm of the shifted data."""

    examples = (
        Example({"n_components": 10, "random_state": 0}, data="positive"),
        Example({"n_components": 10, "random_state": 0, "skewedness": 0.3}, data="positive"),
    )

    def encode(self, operator: Any, X: Any) -> Any:
        out = validate(operator, X)
        if (out <= -operator.skewedness).any():
            raise ValueError("X may not contain entries smaller than -skewedness.")
        return out

    def to_torch(self, operator: Any) -> nn.Module:
        return RandomFourierFeatures(
            to_tensor(operator.random_weights_),
            to_tensor(operator.random_offset_),
            amplitude=float(np.sqrt(2.0) / np.sqrt(operator.n_components)),
            log_shift=float(operator.skewedness),
        )


@register("sklearn.kernel_approximation.AdditiveChi2Sampler")
class AdditiveChi2Sampler(SklearnTranslation):
    """Waves of the logarithm at fixed frequencies. Nothing is trainable."""

    # Dense integers are refused (see encode), so the contract tests use sparse data.
    data = "sparse"
    examples = (
        {},
        {"sample_steps": 1},
        {"sample_steps": 3},
        {"sample_steps": 4, "sample_interval": 0.3},
    )
    sparse = True

    def encode(self, operator: Any, X: Any) -> Any:
        given = np.asarray(X) if not sparse.issparse(X) else X
        if given.dtype.kind in "iu":
            raise ValueError(
                "AdditiveChi2Sampler rounds its output to integers when X holds integers; "
                "convert X to float first."
            )
        out = super().encode(operator, X)
        check_non_negative(out, "AdditiveChi2Sampler.transform")
        return out

    def to_torch(self, operator: Any) -> nn.Module:
        steps, interval = operator.sample_steps, operator.sample_interval
        if interval is None:
            interval = {1: 0.8, 2: 0.5, 3: 0.4}[steps]
        return AdditiveChi2Features(int(steps), float(interval))

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass


@register("sklearn.kernel_approximation.PolynomialCountSketch")
class PolynomialCountSketch(SklearnTranslation):
    """A count sketch with fixed hash indices and signs. Nothing is trainable."""

    examples = (
        {"n_components": 4, "random_state": 0},
        {"n_components": 3, "random_state": 0, "degree": 1, "gamma": 0.5},
        {"n_components": 5, "random_state": 0, "degree": 3, "coef0": 1, "gamma": 0.1},
        Example({"n_components": 4, "random_state": 0}, data="sparse"),
        Example({"n_components": 4, "random_state": 0, "coef0": 2.0}, data="sparse"),
    )
    sparse = True

    def to_torch(self, operator: Any) -> nn.Module:
        return PolynomialSketch(
            torch.from_numpy(np.array(operator.indexHash_, dtype=np.int64)),
            to_tensor(operator.bitHash_),
            outputs=int(operator.n_components),
            gamma=float(operator.gamma),
            coef0=float(operator.coef0),
        )

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass


def _numbers(operator: Any) -> dict[str, Any]:
    """Return the kernel's parameters; constructor arguments override kernel_params."""
    known = KERNEL_PARAMS.get(operator.kernel, ())
    numbers = dict(operator.kernel_params or {})
    given = {name: getattr(operator, name) for name in known}
    numbers |= {name: value for name, value in given.items() if value is not None}
    numbers = {name: value for name, value in numbers.items() if name in known}
    if "gamma" in known and operator.kernel != "chi2" and numbers.get("gamma") is None:
        numbers["gamma"] = 1.0 / operator.n_features_in_
    return numbers
