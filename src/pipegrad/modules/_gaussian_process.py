"""Gaussian processes: kernels that are sums and products, and predictions at new rows."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor, nn

from ._base import Module, Positive, from_parameters
from ._bessel import matern_height
from ._kernels import Kernel

# Values of ``nu`` at which a Matérn kernel needs no Bessel function.
_CLOSED = (0.5, 1.5, 2.5)
_BY_DIFFERENCES = "donot_use_mm_for_euclid_dist"


class Fixed(Module):
    """A tensor that does not train.

    Parameters
    ----------
    initial : Tensor
        Values of any shape.
    """

    initial: Tensor

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.register_buffer("initial", initial.clone())

    def forward(self) -> Tensor:
        """The values."""
        return self.initial


class Covariance(Module):
    """Base class of the kernels of Gaussian processes, whose parameters are positive.

    Parameters
    ----------
    free : tuple of str
        Names of the parameters that train.
    **values : Tensor
        The parameters by name.
    """

    def __init__(self, free: tuple[str, ...] = (), **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            setattr(self, name, Positive(value) if name in free else Fixed(value))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Covariances (n, m) of rows with others, or (n, n) of rows with themselves."""
        raise NotImplementedError

    def diagonal(self, x: Tensor) -> Tensor:
        """Variances (n,) of rows."""
        return torch.ones_like(x[:, 0])


class ConstantCovariance(Covariance):
    """The same number for all pairs of rows: ``constant_value``."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The constant, (n, m)."""
        other = x if y is None else y
        return self.constant_value().expand(x.shape[0], other.shape[0])  # type: ignore[operator]

    def diagonal(self, x: Tensor) -> Tensor:
        """The constant, (n,)."""
        return self.constant_value().expand(x.shape[0])  # type: ignore[operator]


class WhiteNoise(Covariance):
    """Independent noise of the variance ``noise_level``; other rows have none of it in common."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The noise, (n, n), or zeros (n, m)."""
        if y is None:
            return torch.diag(self.diagonal(x))
        return x.new_zeros(x.shape[0], y.shape[0])

    def diagonal(self, x: Tensor) -> Tensor:
        """The noise, (n,)."""
        return self.noise_level().expand(x.shape[0])  # type: ignore[operator]


class StationaryCovariance(Covariance):
    """A function of the distance in units of ``length_scale``, one for all columns or each.

    Parameters
    ----------
    name : str
        One of "rbf", "matern", "rational_quadratic" (with a parameter ``alpha``) and
        "exp_sine_squared" (with a parameter ``periodicity``).
    nu : float
        Smoothness of "matern".
    free : tuple of str
        Names of the parameters that train.
    **values : Tensor
        The parameters by name.
    """

    def __init__(
        self, name: str, nu: float = 1.5, free: tuple[str, ...] = (), **values: Tensor
    ) -> None:
        super().__init__(free, **values)
        self.name, self.nu = name, nu

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Covariances (n, m)."""
        other = x if y is None else y
        scale = self.length_scale()  # type: ignore[operator]
        if self.name == "exp_sine_squared":
            wave = torch.sin(math.pi / self.periodicity() * _gaps(x, other))  # type: ignore[operator]
            return torch.exp(-2 * (wave / scale).square())
        if self.name == "rational_quadratic":
            alpha = self.alpha()  # type: ignore[operator]
            return (1 + _gaps(x, other).square() / (2 * alpha * scale.square())) ** -alpha
        gaps = _gaps(x / scale, other / scale)
        if self.name == "rbf" or self.nu == math.inf:
            return torch.exp(-gaps.square() / 2)
        if self.nu not in _CLOSED:
            return self._by_bessel_function(gaps, y is None)
        gaps = gaps * math.sqrt(2 * self.nu)
        return self._height(gaps) * torch.exp(-gaps)

    def _by_bessel_function(self, gaps: Tensor, own: bool) -> Tensor:
        """A Matérn kernel of any smoothness; rows have a covariance of one with themselves."""
        gaps = torch.where(gaps == 0, sys.float_info.epsilon, gaps)
        out = matern_height(self.nu, math.sqrt(2 * self.nu) * gaps)
        same = torch.eye(out.shape[0], dtype=torch.bool, device=out.device) if own else None
        return out if same is None else torch.where(same, 1.0, out)

    def _height(self, gaps: Tensor) -> Tensor:
        """What multiplies the exponential function of a Matérn kernel."""
        if self.nu == 0.5:
            return torch.ones_like(gaps)
        return 1 + gaps if self.nu == 1.5 else 1 + gaps + gaps.square() / 3


class DotProductCovariance(Covariance):
    """Inner products plus the square of ``sigma_0``."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Covariances (n, m)."""
        other = x if y is None else y
        return x @ other.T + self.sigma_0().square()  # type: ignore[operator]

    def diagonal(self, x: Tensor) -> Tensor:
        """Variances (n,)."""
        return x.square().sum(1) + self.sigma_0().square()  # type: ignore[operator]


class NamedCovariance(Covariance):
    """A kernel by name, with a parameter ``gamma``.

    Parameters
    ----------
    kernel : Kernel
        The kernel; its own ``gamma`` does not count.
    free : tuple of str
        Names of the parameters that train.
    **values : Tensor
        The parameters by name.
    """

    def __init__(self, kernel: Kernel, free: tuple[str, ...] = (), **values: Tensor) -> None:
        super().__init__(free, **values)
        self.kernel = kernel

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Covariances (n, m)."""
        parts = {"coef0": self.kernel.coef0, "degree": self.kernel.degree}
        kernel = Kernel(self.kernel.name, gamma=self.gamma(), **parts)  # type: ignore[operator]
        return kernel(x, x if y is None else y)

    def diagonal(self, x: Tensor) -> Tensor:
        """Variances (n,)."""
        rows = [self.forward(row[None]) for row in x]
        return torch.cat(rows)[:, 0] if rows else x[:, 0]


class CombinedCovariance(Covariance):
    """The sum or the product of two kernels, or a power of one.

    Parameters
    ----------
    operation : {"sum", "product", "power"}
        How to combine.
    *parts : Covariance
        The kernels.
    exponent : float
        Exponent of the power.
    """

    def __init__(self, operation: str, *parts: Covariance, exponent: float = 1.0) -> None:
        super().__init__()
        self.operation, self.exponent = operation, exponent
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Covariances (n, m)."""
        return self._combine([part(x, y) for part in self.parts])

    def diagonal(self, x: Tensor) -> Tensor:
        """Variances (n,)."""
        return self._combine([part.diagonal(x) for part in self.parts])  # type: ignore[operator]

    def _combine(self, values: list[Tensor]) -> Tensor:
        if self.operation == "power":
            return values[0] ** self.exponent
        return values[0] + values[1] if self.operation == "sum" else values[0] * values[1]


def _gaps(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (n, m), of which those of equal rows are exactly zero."""
    return torch.cdist(x, y, compute_mode=_BY_DIFFERENCES)


class GaussianProcess(Module):
    """The mean of a Gaussian process at new rows, given stored rows and their targets.

    See Rasmussen and Williams, *Gaussian processes for machine learning*, 2006, algorithm 2.1. Only
    the parameters of the kernel train; the weights of the stored rows follow from them.

    Parameters
    ----------
    kernel : Covariance
        The kernel.
    points : Tensor, shape (stored, features)
        Stored rows, which do not train.
    targets : Tensor, shape (stored,) or (stored, k)
        Their targets, in units of ``scale`` above ``shift``.
    noise : Tensor, shape () or (stored,)
        Variances that are added to the diagonal.
    weights : Tensor, shape of ``targets``
        Weights of the stored rows that belong to the kernel as it is now.
    shift, scale : Tensor, shape () or (k,)
        Unit of the targets.
    """

    points: Tensor
    targets: Tensor
    noise: Tensor
    weights: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        kernel: Covariance,
        points: Tensor,
        targets: Tensor,
        noise: Tensor,
        weights: Tensor,
        shift: Tensor,
        scale: Tensor,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        for name, value in (("points", points), ("targets", targets), ("noise", noise)):
            self.register_buffer(name, value)
        for name, value in (("weights", weights), ("shift", shift), ("scale", scale)):
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, features) to (n,), or to (n, k)."""
        mean = self.kernel(x, self.points).to(self.targets.dtype) @ self.present_weights()
        mean = mean * self.scale + self.shift
        return mean.squeeze(1) if mean.ndim > 1 and mean.shape[1] == 1 else mean

    def moved(self) -> Tensor:
        """Whether the kernel is no longer the one that the given weights belong to."""
        return parameters_moved(self.kernel)

    def table(self) -> Tensor:
        """Covariances (stored, stored) of the targets at the stored rows."""
        table = self.kernel(self.points).to(self.targets.dtype)
        return table + torch.diag(self.noise.expand(len(table)))

    def factor(self) -> Tensor:
        """The lower Cholesky factor (stored, stored) of the table; NaN if there is none."""
        return _factor_or_nan(self.table())

    @from_parameters
    def present_weights(self) -> Tensor:
        """The weights of the stored rows, which follow the kernel."""
        if keeps_given_numbers(self, self.moved()):
            return self.weights
        table = self.table()
        factor = _factor_or_nan(table.detach())
        columns = self.targets.reshape(len(self.targets), -1)
        solved = solve_factored(table, factor, columns).reshape(self.targets.shape)
        # The given weights are more exact than can be told after another decomposition.
        exact = self.weights + (solved - solved.detach())
        return torch.where(self.moved(), solved, exact)


def _factor_or_nan(table: Tensor) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(table)
    return torch.where(info == 0, factor, torch.nan)


def solve_factored(table: Tensor, factor: Tensor, columns: Tensor, order: int = 2) -> Tensor:
    """Solve ``table @ solved = columns``, given the Cholesky factor of the table.

    Derivatives are those of steps of iterative refinement, each of which is exact to one more
    order. They cost as much as products with the columns; derivatives of a decomposition would cost
    as much as several decompositions.

    Parameters
    ----------
    table : Tensor, shape (n, n)
        A positive definite matrix.
    factor : Tensor, shape (n, n)
        Its lower Cholesky factor, through which no gradient flows.
    columns : Tensor, shape (n, k)
        The right-hand sides.
    order : int
        The highest derivative that is exact.

    Returns
    -------
    Tensor, shape (n, k)
        The solution.
    """
    factor = factor.detach()
    solved = torch.cholesky_solve(columns.detach(), factor)
    for _ in range(order):
        step = torch.cholesky_solve(columns - table @ solved, factor)
        solved = solved + (step - step.detach())
    return solved


def parameters_moved(kernel: nn.Module) -> Tensor:
    """Whether a kernel is no longer the one that a module was given."""
    ratios = [part.log_ratio for part in kernel.modules() if isinstance(part, Positive)]
    moved = [(ratio != 0).any() for ratio in ratios]
    return torch.stack(moved).any() if moved else torch.tensor(False)


def keeps_given_numbers(module: nn.Module, moved: Tensor) -> bool:
    """Whether what follows from a kernel is as it was given, and needs no gradient."""
    exported = torch.jit.is_tracing() or torch.compiler.is_compiling()
    trains = torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters())
    return not exported and not trains and not is_set(moved)


def is_set(flag: Tensor, unknown: bool = True) -> bool:
    """Whether a flag is set; ``unknown`` where programs cannot branch on data.

    These are exported programs and those under `torch.func.vmap`.
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return unknown
    try:
        return bool(flag)
    except RuntimeError:
        return unknown
