"""Gaussian processes with the kernels of scikit-learn, and their sums, products and powers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from sklearn.gaussian_process import kernels as sk
from torch import Tensor, nn

from ...modules import (
    ClassShares,
    CombinedCovariance,
    Constant,
    ConstantCovariance,
    Covariance,
    DotProductCovariance,
    GaussianProcess,
    Head,
    Kernel,
    LaplaceClassifier,
    NamedCovariance,
    PairVotes,
    Positive,
    ProbabilityHead,
    RegressionHead,
    StationaryCovariance,
    VotesHead,
    WhiteNoise,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ..target_refusals import one_class
from ._base import LAST_OF_EQUALS, SklearnTranslation
from .kernels import NAMES

_PARAMETERS: dict[type, tuple[str, ...]] = {
    sk.ConstantKernel: ("constant_value",),
    sk.WhiteKernel: ("noise_level",),
    sk.RBF: ("length_scale",),
    sk.Matern: ("length_scale",),
    sk.RationalQuadratic: ("alpha", "length_scale"),
    sk.ExpSineSquared: ("length_scale", "periodicity"),
    sk.DotProduct: ("sigma_0",),
    sk.PairwiseKernel: ("gamma",),
}
_STATIONARY: dict[type, str] = {
    sk.RBF: "rbf",
    sk.Matern: "matern",
    sk.RationalQuadratic: "rational_quadratic",
    sk.ExpSineSquared: "exp_sine_squared",
}
_COMBINED: dict[type, str] = {sk.Sum: "sum", sk.Product: "product", sk.Exponentiation: "power"}
_PLAIN: dict[type, type[Covariance]] = {
    sk.ConstantKernel: ConstantCovariance,
    sk.WhiteKernel: WhiteNoise,
    sk.DotProduct: DotProductCovariance,
}
# Above this, scikit-learn multiplies zero and infinity where rows are equal.
_LARGEST_SMOOTHNESS = 19.0


def refused_kernel(kernel: Any) -> str | None:
    """Why a kernel has no module, or None."""
    if type(kernel) in _COMBINED:
        found = [refused_kernel(part) for part in _parts(kernel)]
        return next((reason for reason in found if reason is not None), None)
    if type(kernel) not in _PARAMETERS:
        return f"its kernel {type(kernel).__name__} has no module"
    if type(kernel) is sk.Matern and _LARGEST_SMOOTHNESS < kernel.nu < math.inf:
        return f"Matern with nu={kernel.nu} overflows at rows that are equal"
    if type(kernel) is sk.PairwiseKernel and callable(kernel.metric):
        return "PairwiseKernel with a function as its metric is Python code"
    if type(kernel) is sk.PairwiseKernel and kernel.metric == "precomputed":
        return "PairwiseKernel with metric='precomputed' takes covariances instead of rows"
    return None


def _parts(kernel: Any) -> list[Any]:
    return [kernel.kernel] if type(kernel) is sk.Exponentiation else [kernel.k1, kernel.k2]


def covariance(kernel: Any) -> Covariance:
    """The module of a kernel; parameters with fixed bounds do not train."""
    if type(kernel) in _COMBINED:
        exponent = float(getattr(kernel, "exponent", 1.0))
        parts = [covariance(part) for part in _parts(kernel)]
        return CombinedCovariance(_COMBINED[type(kernel)], *parts, exponent=exponent)
    names = _PARAMETERS[type(kernel)]
    values = {name: to_tensor(np.asarray(getattr(kernel, name), float)) for name in names}
    free = tuple(n for n in names if not getattr(kernel, f"hyperparameter_{n}").fixed)
    if type(kernel) in _STATIONARY:
        nu = float(getattr(kernel, "nu", 1.5))
        return StationaryCovariance(_STATIONARY[type(kernel)], nu, free, **values)
    if type(kernel) is sk.PairwiseKernel:
        named = _named_kernel(kernel)
        return NamedCovariance(named, free if named.has_gamma else (), **values)
    return _PLAIN[type(kernel)](free, **values)


def _named_kernel(kernel: Any) -> Kernel:
    given = dict(kernel.pairwise_kernels_kwargs or {})
    numbers = {name: float(given[name]) for name in ("coef0", "degree") if name in given}
    return Kernel(NAMES.get(kernel.metric, kernel.metric), **numbers)


def write_kernel(module: Covariance, kernel: Any) -> None:
    """Write the parameters of a module into a kernel."""
    if isinstance(module, CombinedCovariance):
        for part, into in zip(module.parts, _parts(kernel), strict=True):
            write_kernel(part, into)  # type: ignore[arg-type]
        return
    for name in _PARAMETERS[type(kernel)]:
        value = getattr(module, name)
        if isinstance(value, Positive):
            new = to_array(value())
            setattr(kernel, name, new if np.iterable(getattr(kernel, name)) else float(new))


class KernelProcess(SklearnTranslation):
    """Checks that both kinds share."""

    def refuse(self, operator: Any) -> str | None:
        reasons = [refused_kernel(kernel) for kernel in self.kernels(operator)]
        return next((reason for reason in reasons if reason is not None), None)

    def encode(self, operator: Any, X: Any) -> Any:
        out = super().encode(operator, X)
        if any(map(_needs_positive, self.kernels(operator))) and (out < 0).any():
            raise ValueError("X contains negative values.")
        return out

    def kernels(self, operator: Any) -> list[Any]:
        """Return the fitted kernels."""
        return [operator.kernel_]


def _needs_positive(kernel: Any) -> bool:
    if type(kernel) in _COMBINED:
        return any(_needs_positive(part) for part in _parts(kernel))
    return type(kernel) is sk.PairwiseKernel and _named_kernel(kernel).non_negative


_NOISY = {"alpha": 1.0}
_SCALES = [3.0, 30.0, 0.3, 10.0, 300.0, 3.0]


@register("sklearn.gaussian_process.GaussianProcessRegressor")
class GaussianProcessRegressor(KernelProcess):
    """The parameters of kernel_ train, and L_ and alpha_ follow; training rows and targets stay.

    One that is not fitted answers from its prior, in scikit-learn.
    """

    always_fitted: ClassVar[bool] = True
    data = "regression"
    # Weights of stored rows are large and cancel each other.
    tolerance = 1e-7
    examples = (
        _NOISY,
        {**_NOISY, "kernel": sk.RBF(_SCALES), "normalize_y": True},
        {
            "kernel": sk.ConstantKernel(2.0) * sk.Matern(_SCALES, nu=2.5) + sk.WhiteKernel(1.0),
            "optimizer": None,
        },
        {**_NOISY, "kernel": sk.Matern(30.0, nu=0.5) + sk.DotProduct(), "optimizer": None},
        {**_NOISY, "kernel": sk.Matern(30.0, nu=1.5), "optimizer": None},
        {**_NOISY, "kernel": sk.Matern(30.0, nu=1.2), "optimizer": None},
        {
            **_NOISY,
            "kernel": sk.Matern(30.0, nu=np.inf),
            "n_restarts_optimizer": 1,
            "random_state": 0,
        },
        {**_NOISY, "kernel": sk.RationalQuadratic(30.0, 0.5), "optimizer": None},
        {**_NOISY, "kernel": sk.ExpSineSquared(1.0, 500.0) ** 2, "optimizer": None},
        {**_NOISY, "kernel": sk.PairwiseKernel(metric="laplacian", gamma=0.01), "optimizer": None},
        Example(
            {"kernel": sk.RBF(_SCALES), "alpha": np.linspace(0.5, 1.5, 80), "optimizer": None},
            data="multioutput",
        ),
    )
    unchanged_attributes: ClassVar[Any] = {
        "X_train_": "the training rows do not change",
        "y_train_": "the training targets do not change",
    }

    def kernels(self, operator: Any) -> list[Any]:
        return super().kernels(operator) if _is_fitted(operator) else []

    def trainable(self, operator: Any) -> bool:
        return _is_fitted(operator) and super().trainable(operator)

    def to_torch(self, operator: Any) -> nn.Module:
        if not _is_fitted(operator):
            count = operator.n_targets or 1
            return Constant(to_tensor(np.zeros(count)), squeeze=count == 1).requires_grad_(False)

        def numbers(values: Any) -> Tensor:
            return to_tensor(np.asarray(values, dtype=np.float64))

        return GaussianProcess(
            covariance(operator.kernel_),
            numbers(operator.X_train_),
            numbers(operator.y_train_),
            numbers(operator.alpha),
            numbers(operator.alpha_),
            numbers(operator._y_train_mean),
            numbers(operator._y_train_std),
        )

    def write_back(self, module: GaussianProcess, operator: Any) -> None:
        if not _is_fitted(operator) or not bool(module.moved()):
            return
        write_kernel(module.kernel, operator.kernel_)
        operator.L_ = to_array(module.factor(), operator.L_)
        operator.alpha_ = to_array(module.present_weights(), operator.alpha_)
        likelihood = operator.log_marginal_likelihood(operator.kernel_.theta)
        operator.log_marginal_likelihood_value_ = likelihood

    def head(self, operator: Any) -> Head:
        head = RegressionHead()
        if not _is_fitted(operator):
            head.responses = ()
        return head

    def objective(self, operator: Any) -> Objective:
        return Objective("squared_error")


def _is_fitted(operator: Any) -> bool:
    return hasattr(operator, "X_train_")


@register("sklearn.gaussian_process.GaussianProcessClassifier")
class GaussianProcessClassifier(KernelProcess):
    """The parameters of the kernels train; the modes of Laplace's approximation follow them."""

    data = "multiclass"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    tolerance = 1e-7
    examples = (
        {},
        {"kernel": 4.0 * sk.RBF(_SCALES), "optimizer": None},
        Example({"kernel": 2.0 * sk.RBF(_SCALES)}, data="binary_strings"),
        Example(
            {"kernel": 1e-3 * sk.DotProduct(), "optimizer": None, "max_iter_predict": 3},
            data="binary",
        ),
        Example(
            {"kernel": 2.0 * sk.Matern(_SCALES), "optimizer": None, "warm_start": True},
            data="binary",
        ),
    )
    unchanged_attributes: ClassVar[Any] = {"n_classes_": "the number of classes does not change"}

    def kernels(self, operator: Any) -> list[Any]:
        return [part.kernel_ for part in _binary_parts(operator)]

    def to_torch(self, operator: Any) -> nn.Module:
        parts = [_laplace(part) for part in _binary_parts(operator)]
        if _votes(operator):
            return PairVotes(*parts, classes=operator.n_classes_)
        return ClassShares(*parts)

    def write_back(self, module: ClassShares | PairVotes, operator: Any) -> None:
        parts = _binary_parts(operator)
        for one, part in zip(module.parts, parts, strict=True):
            if bool(one.moved()):  # type: ignore[operator]
                _write_mode(one, part)
        operator.log_marginal_likelihood_value_ = np.mean(
            [part.log_marginal_likelihood_value_ for part in parts]
        )

    def head(self, operator: Any) -> Head:
        if _votes(operator):
            return VotesHead()
        return ProbabilityHead(last=LAST_OF_EQUALS and operator.n_classes_ > 2)

    def objective(self, operator: Any) -> Objective:
        return Objective("log_loss" if _votes(operator) else "negative_log_likelihood")

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)


def _votes(operator: Any) -> bool:
    return bool(operator.n_classes_ > 2 and operator.multi_class == "one_vs_one")


def _binary_parts(operator: Any) -> list[Any]:
    several = getattr(operator.base_estimator_, "estimators_", None)
    return [operator.base_estimator_] if several is None else list(several)


def _laplace(part: Any) -> LaplaceClassifier:
    start = part.f_cached if part.warm_start else np.zeros(len(part.y_train_))
    return LaplaceClassifier(
        covariance(part.kernel_),
        to_tensor(np.asarray(part.X_train_, dtype=np.float64)),
        to_tensor(part.y_train_),
        to_tensor(part.pi_),
        to_tensor(part.L_),
        to_tensor(start),
        part.max_iter_predict,
    )


def _write_mode(module: Any, part: Any) -> None:
    """Write the kernel of one process, and what the source derives from it."""
    write_kernel(module.kernel, part.kernel_)
    likelihood, (shares, root, factor, _, _) = part._posterior_mode(
        part.kernel_(part.X_train_), return_temporaries=True
    )
    part.pi_, part.W_sr_, part.L_ = shares, root, factor
    part.log_marginal_likelihood_value_ = likelihood
