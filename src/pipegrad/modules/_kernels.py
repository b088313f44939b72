"""Kernels and feature maps that approximate them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ._answers import is_exported
from ._base import Module, Positive, parameter
from ._distances import city_block_distances, product, squared_distances, squares
from ._linear import Deferred
from ._projection import SparseParameter
from ._sparse import Block, SparseRows, dense


@dataclass(frozen=True)
class Kernel:
    """A kernel function by name.

    Parameters
    ----------
    name : str
        One of "linear", "polynomial", "sigmoid", "rbf", "laplacian", "cosine", "chi2" and
        "additive_chi2".
    gamma, coef0, degree : float
        Parameters of the kernels that have them; ``gamma`` may be a tensor that trains.
    """

    name: str = "rbf"
    gamma: float | Tensor = 1.0
    coef0: float = 1.0
    degree: float = 3.0

    @property
    def non_negative(self) -> bool:
        """Whether the kernel requires non-negative rows and points."""
        return self.name in ("chi2", "additive_chi2")

    @property
    def has_gamma(self) -> bool:
        """Whether the kernel depends on ``gamma``."""
        return self.name in ("polynomial", "sigmoid", "rbf", "laplacian", "chi2")

    def __call__(self, x: Block, points: Tensor) -> Tensor:
        """Kernel values (n, points)."""
        return _KERNELS[self.name](self, x, points)

    def of_products(self, products: Tensor) -> Tensor:
        """Kernel values for inner products, of the kernels that are a function of these."""
        if self.name == "polynomial":
            return (products * self.gamma + self.coef0) ** self.degree
        if self.name == "sigmoid":
            return torch.tanh(products * self.gamma + self.coef0)
        return products


class KernelCentering(Module):
    """Kernel values as if the mean of all stored rows were the origin of the feature space.

    Parameters
    ----------
    means : Tensor, shape (points,)
        Mean of the kernel values of each stored row.
    mean : Tensor, shape ()
        Mean of all kernel values.
    """

    def __init__(self, means: Tensor, mean: Tensor) -> None:
        super().__init__()
        self.means = parameter(means)
        self.mean = parameter(mean)

    def forward(self, values: Block) -> Tensor:
        """Map (n, points) to (n, points)."""
        rows = dense(values)
        own = rows.sum(1, keepdim=True) / self.means.shape[0]
        return rows - self.means - own + self.mean

    def reset_parameters(self) -> None:
        """Subtract nothing but the mean of the row."""
        nn.init.zeros_(self.means)
        nn.init.zeros_(self.mean)


class KernelFeatures(Module):
    """Kernel values at landmark points, followed by a linear map.

    This is the Nyström method (Williams and Seeger, *Using the Nyström method to speed up kernel
    machines*, NIPS 2000), kernel principal components and kernel ridge regression.

    Parameters
    ----------
    points : Tensor or SparseParameter, shape (points, features), optional
        Landmarks, which stay positive if the kernel requires it. Without them, rows are kernel
        values themselves.
    mixing : Tensor, shape (points, outputs)
        Linear map from kernel values to features.
    kernel : Kernel
        The kernel.
    centering : KernelCentering, optional
        Map of the kernel values before the linear map.
    divisor : Tensor, shape (outputs,), optional
        Numbers that divide the columns of ``mixing`` and do not train.
    squeeze : bool
        Whether to return (n,) instead of (n, 1).
    train_gamma : bool
        Whether ``gamma`` trains, if it is positive and the kernel has one.
    """

    divisor: Tensor | None

    def __init__(
        self,
        points: Tensor | SparseParameter | None,
        mixing: Tensor,
        kernel: Kernel,
        centering: KernelCentering | None = None,
        divisor: Tensor | None = None,
        squeeze: bool = False,
        train_gamma: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.squeeze = kernel, squeeze
        self.mixing = parameter(mixing)
        self.centering = centering
        self.points: nn.Parameter | SparseParameter | Positive | None
        if points is None or isinstance(points, SparseParameter):
            self.points = points
        else:
            self.points = Positive(points) if kernel.non_negative else parameter(points)
        self.gamma = trained_gamma(kernel, mixing) if train_gamma and points is not None else None
        self.register_buffer("divisor", divisor)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, outputs), or to (n,)."""
        out = self._similarities(x) @ self._weight()
        return out.squeeze(1) if self.squeeze else out

    def deferred(self, x: Block) -> Deferred:
        """The unevaluated output (n, outputs), for the next linear map."""
        return Deferred(self._similarities(x), self._weight())

    def _weight(self) -> Tensor:
        return self.mixing if self.divisor is None else self.mixing / self.divisor

    def _similarities(self, x: Block) -> Tensor:
        values = dense(x) if self.points is None else self.present_kernel()(x, self.vectors())
        values = values.to(self.mixing.dtype)
        return values if self.centering is None else self.centering(values)

    def present_kernel(self) -> Kernel:
        """The kernel with the ``gamma`` that trains."""
        return self.kernel if self.gamma is None else replace(self.kernel, gamma=self.gamma())

    def vectors(self) -> Tensor:
        """The landmarks, shape (points, features)."""
        assert self.points is not None
        return self.points if isinstance(self.points, Tensor) else self.points()

    def reset_parameters(self) -> None:
        """Draw random points, and a mixing uniformly from ±1/sqrt(points)."""
        super().reset_parameters()
        if isinstance(self.points, Tensor):
            nn.init.normal_(self.points)
        elif isinstance(self.points, Positive):
            nn.init.uniform_(self.points.initial, 0.1, 1.0)
        bound = 1 / math.sqrt(max(1, self.mixing.shape[0]))
        nn.init.uniform_(self.mixing, -bound, bound)


def trained_gamma(kernel: Kernel, like: Tensor) -> Positive | None:
    """The ``gamma`` of a kernel as a number that trains; None if it has none above zero."""
    if not kernel.has_gamma or not kernel.gamma > 0:
        return None
    return Positive(torch.as_tensor(kernel.gamma, dtype=like.dtype))


class RandomFourierFeatures(Module):
    """Random Fourier features: ``amplitude * cos(x @ weight + offset)``.

    See Rahimi and Recht, *Random features for large-scale kernel machines*, NIPS 2007.

    Parameters
    ----------
    weight : Tensor, shape (features, outputs)
        Frequencies as columns.
    offset : Tensor, shape (outputs,)
        Phases.
    amplitude : float
        Amplitude of the features.
    log_shift : float, optional
        Shift of ``log(x + log_shift)``, which replaces ``x`` if given (skewed chi-squared kernel).
    """

    def __init__(
        self, weight: Tensor, offset: Tensor, amplitude: float, log_shift: float | None = None
    ) -> None:
        super().__init__()
        self.weight = parameter(weight)
        self.offset = parameter(offset)
        self.amplitude = amplitude
        self.log_shift = log_shift

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, outputs)."""
        if self.log_shift is not None:
            x = torch.log((x.to_dense() if isinstance(x, SparseRows) else x) + self.log_shift)
        return torch.cos(x.matmul(self.weight) + self.offset) * self.amplitude

    def reset_parameters(self) -> None:
        """Draw normal frequencies and uniform phases."""
        nn.init.normal_(self.weight)
        nn.init.uniform_(self.offset, 0.0, 2 * math.pi)


class AdditiveChi2Features(Module):
    """Features of the additive chi-squared kernel: waves of ``log(x)`` with amplitude ``sqrt(x)``.

    The input must not be negative. See Vedaldi and Zisserman, *Efficient additive kernels via
    explicit feature maps*, 2012.

    Parameters
    ----------
    steps : int
        Number of frequencies, including zero.
    interval : float
        Distance between frequencies.
    """

    def __init__(self, steps: int, interval: float) -> None:
        super().__init__()
        self.steps = steps
        self.interval = interval

    def forward(self, x: Block) -> Block:
        """Map (n, features) to (n, (2 * steps - 1) * features); sparse rows stay sparse."""
        if isinstance(x, SparseRows):
            waves = self._waves(x.values)
            return SparseRows.concatenate([x.with_values(wave) for wave in waves])
        return torch.cat(self._waves(x), 1)

    def _waves(self, values: Tensor) -> list[Tensor]:
        zero = values == 0
        safe = torch.where(zero, 1.0, values)
        logs = self.interval * torch.log(safe)
        waves = [torch.sqrt(safe * self.interval)]
        for step in range(1, self.steps):
            height = math.cosh(math.pi * step * self.interval)
            factor = torch.sqrt(2 * safe * self.interval / height)
            waves += [factor * torch.cos(step * logs), factor * torch.sin(step * logs)]
        return [torch.where(zero, values, wave) for wave in waves]


class PolynomialSketch(Module):
    """A tensor sketch of a polynomial kernel: the convolution of count sketches.

    See Pham and Pagh, *Fast and scalable polynomial kernels via explicit feature maps*, KDD 2013.

    Parameters
    ----------
    places : Tensor of int64, shape (degree, features)
        Column of the sketch to which each feature is added; one more feature for a constant.
    signs : Tensor, shape (degree, features)
        Sign with which each feature is added.
    outputs : int
        Number of columns of the sketch.
    gamma, coef0 : float
        Parameters of ``(gamma * <x, y> + coef0) ** degree``; there is no constant if ``coef0`` is
        zero.
    """

    places: Tensor
    signs: Tensor

    def __init__(
        self, places: Tensor, signs: Tensor, outputs: int, gamma: float, coef0: float
    ) -> None:
        super().__init__()
        self.register_buffer("places", places)
        self.register_buffer("signs", signs)
        self.outputs = outputs
        self.gamma = gamma
        self.coef0 = coef0

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, outputs)."""
        spectrum = self._spectrum(x, 0)
        for power in range(1, self.places.shape[0]):
            spectrum = spectrum * self._spectrum(x, power)
        columns = torch.fft.ifft(spectrum).real
        return columns[: x.shape[0]] if is_exported() else columns

    def _spectrum(self, x: Block, power: int) -> Tensor:
        sketch = self._sketch(x, power)
        if is_exported():  # A program may get no rows, which MKL rejects.
            sketch = torch.cat([sketch, sketch.new_zeros(1, self.outputs)])
        return torch.fft.fft(sketch)

    def _sketch(self, x: Block, power: int) -> Tensor:
        places, signs = self.places[power, : x.shape[1]], self.signs[power, : x.shape[1]]
        factor = math.sqrt(self.gamma)
        if isinstance(x, SparseRows):
            values = signs[x.columns] * (factor * x.values)
            out = SparseRows(x.starts, places[x.columns], values, self.outputs).to_dense()
        else:
            zeros = x.new_zeros(x.shape[0], self.outputs)
            out = zeros.index_add(1, places, signs * (factor * x))
        if not self.coef0:
            return out
        # The source returns NaN if the constant is negative.
        root = math.sqrt(self.coef0) if self.coef0 > 0 else math.nan
        constant = out.new_zeros(self.outputs).index_add(
            0, self.places[power, -1:], self.signs[power, -1:] * root
        )
        return out + constant


def _linear(kernel: Kernel, x: Block, points: Tensor) -> Tensor:
    return product(x, points)


def _polynomial(kernel: Kernel, x: Block, points: Tensor) -> Tensor:
    return kernel.of_products(product(x, points))


def _sigmoid(kernel: Kernel, x: Block, points: Tensor) -> Tensor:
    return kernel.of_products(product(x, points))


def _rbf(kernel: Kernel, x: Block, points: Tensor) -> Tensor:
    return torch.exp(squared_distances(x, points) * -kernel.gamma)


def _laplacian(kernel: Kernel, x: Block, points: Tensor) -> Tensor:
    return torch.exp(-kernel.gamma * city_block_distances(x, points))


def _cosine(kernel: Kernel, x: Block, points: Tensor) -> Tensor:
    rows = _unit_sparse_rows(x) if isinstance(x, SparseRows) else _unit_rows(x)
    return product(rows, _unit_rows(points))


def _unit_rows(x: Tensor) -> Tensor:
    lengths = _lengths(x)
    # Rows that are zero up to rounding count as zero.
    short = lengths < 10 * torch.finfo(x.dtype).eps
    return x / torch.where(short, 1.0, lengths)[:, None]


def _unit_sparse_rows(x: SparseRows) -> SparseRows:
    return x.with_values(x.values / _lengths(x)[x.rows()])


def _lengths(x: Block) -> Tensor:
    squared = squares(x)
    # Rows of length zero do not change, which avoids divisions by zero, forward and backward.
    return torch.sqrt(torch.where(squared == 0, 1.0, squared))


def _additive_chi2(kernel: Kernel, x: Block, points: Tensor) -> Tensor:
    rows = (x.to_dense() if isinstance(x, SparseRows) else x).to(torch.float64)[:, None]
    points = points.to(torch.float64)
    total, difference = rows + points, rows - points
    none = total == 0
    terms = difference * difference / torch.where(none, 1.0, total)
    return -torch.where(none, 0.0, terms).sum(2)


def _chi2(kernel: Kernel, x: Block, points: Tensor) -> Tensor:
    return torch.exp(_additive_chi2(kernel, x, points) * kernel.gamma)


_KERNELS: dict[str, Callable[[Kernel, Block, Tensor], Tensor]] = {
    "linear": _linear,
    "polynomial": _polynomial,
    "sigmoid": _sigmoid,
    "rbf": _rbf,
    "laplacian": _laplacian,
    "cosine": _cosine,
    "chi2": _chi2,
    "additive_chi2": _additive_chi2,
}
