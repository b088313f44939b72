"""Classification by Gaussian processes with Laplace's approximation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._base import Module, from_parameters
from ._gaussian_process import (
    Covariance,
    is_set,
    keeps_given_numbers,
    parameters_moved,
    solve_factored,
)

# Approximation of the logistic function by error functions (Williams and Barber, 1998).
_SCALES = (0.41, 0.4, 0.37, 0.44, 0.39)
_SHARES = (-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654)
# Least increase of the likelihood for another step, and steps where none can be left out.
_LEAST_GAIN, _STEPS = 1e-10, 30


class LaplaceClassifier(Module):
    """Probabilities of the second of two classes by a Gaussian process, approximated by Laplace.

    See Rasmussen and Williams, *Gaussian processes for machine learning*, 2006, algorithms 3.1 and
    3.2. The parameters of the kernel train, and the mode of the posterior follows them: Newton's
    method finds it, and its last step passes the gradient on, since the derivative with respect to
    where that step starts vanishes at the mode.

    Parameters
    ----------
    kernel : Covariance
        The kernel.
    points : Tensor, shape (stored, features)
        Stored rows, which do not train.
    targets : Tensor, shape (stored,)
        Their targets, zero or one.
    shares : Tensor, shape (stored,)
        Probabilities at the mode that belongs to the kernel as it is now.
    factor : Tensor, shape (stored, stored)
        Lower Cholesky factor of the matrix B at that mode.
    start : Tensor, shape (stored,)
        Where Newton's method starts.
    steps : int
        The most steps of Newton's method.
    """

    points: Tensor
    targets: Tensor
    shares: Tensor
    factor: Tensor
    start: Tensor

    def __init__(
        self,
        kernel: Covariance,
        points: Tensor,
        targets: Tensor,
        shares: Tensor,
        factor: Tensor,
        start: Tensor,
        steps: int = 100,
    ) -> None:
        super().__init__()
        self.kernel, self.steps = kernel, steps
        for name, value in (("points", points), ("targets", targets), ("shares", shares)):
            self.register_buffer(name, value)
        for name, value in (("factor", factor), ("start", start)):
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, features) to the probability of the second class, (n,)."""
        share, mean = self.share_and_mean(x)
        # The sign of the mean decides, also where the probability is one half up to rounding.
        least, most = 0.5 + torch.finfo(share.dtype).eps, 0.5
        return torch.where(mean > 0, share.clamp(min=least), share.clamp(max=most))

    def share_and_mean(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The approximate probability of the second class, and the latent mean, (n,) each.

        Where the mean is zero, the probability is not quite one half.
        """
        shares, factor, curved = self.present_mode()
        across = self.kernel(self.points, x).to(shares.dtype)
        mean = across.T @ (self.targets - shares)
        spread = _spread(_root(shares)[:, None] * across, factor, curved)
        variance = self.kernel.diagonal(x) - spread
        return _squashed(mean, variance), mean

    def moved(self) -> Tensor:
        """Whether the kernel is no longer the one that the given mode belongs to."""
        return parameters_moved(self.kernel)

    @from_parameters
    def present_mode(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Probabilities at the mode, the factor of B, and B, through which its gradient flows.

        They follow the kernel. There is no B where nothing moves.
        """
        moved = self.moved()
        if keeps_given_numbers(self, moved):
            return self.shares, self.factor, None
        # In double precision, whatever that of the module: rounding moves the mode.
        table = self.kernel(self.points).double()
        with torch.no_grad():
            before, stepped = self._before_last(table.detach())
        mode = torch.where(stepped, self._step(table, before, order=1)[0], self.start.double())
        shares = torch.sigmoid(mode)
        curved = _curved(table, _root(shares))
        factor = torch.linalg.cholesky_ex(curved.detach())[0].to(self.factor.dtype)
        shares = shares.to(self.shares.dtype)
        # The given numbers are more exact than can be told after another iteration.
        shares = torch.where(moved, shares, self.shares + (shares - shares.detach()))
        return shares, torch.where(moved, factor, self.factor), curved.to(factor.dtype)

    def _before_last(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Where Newton's method stands before its last step but one, and whether it has stepped."""
        before = entering = self.start.double()
        known = torch.full_like(entering[:1].sum(), -math.inf)
        done = torch.zeros_like(known, dtype=torch.bool)
        stepped = done
        for number in range(self.steps - 1):
            new, likelihood = self._step(table, entering)
            done = done | (likelihood - known < _LEAST_GAIN)
            if is_set(done, unknown=number >= _STEPS):
                break
            before = torch.where(done, before, entering)
            entering = torch.where(done, entering, new)
            known, stepped = torch.where(done, known, likelihood), stepped | ~done
        return before, stepped

    def _step(self, table: Tensor, mode: Tensor, order: int = 0) -> tuple[Tensor, Tensor]:
        """A step of Newton's method with so many derivatives, and the likelihood after it."""
        shares = torch.sigmoid(mode)
        root = _root(shares)
        curved = _curved(table, root)
        factor = torch.linalg.cholesky_ex(curved.detach())[0]
        inner = root.square() * mode + (self.targets - shares)
        column = (root * (table @ inner))[:, None]
        solved = solve_factored(curved, factor, column, order)[:, 0]
        weights = inner - root * solved
        new = table @ weights
        wrong = functional.softplus(-(self.targets * 2 - 1) * new).sum()
        volume = torch.log(factor.diagonal()).sum()
        return new, -0.5 * (weights * new).sum() - wrong - volume


def _root(shares: Tensor) -> Tensor:
    """Square roots of the curvature."""
    return torch.sqrt(shares * (1 - shares))


def _curved(table: Tensor, root: Tensor) -> Tensor:
    """The matrix B."""
    unit = torch.eye(len(root), dtype=table.dtype, device=table.device)
    return unit + root[:, None] * table * root


def _spread(columns: Tensor, factor: Tensor, curved: Tensor | None) -> Tensor:
    """The quadratic form of the inverse of B at each column, (m,), given the factor of B.

    Its gradient takes the solution as constant: twice the linear form minus the quadratic form of B
    has its maximum, which is the answer, at the solution.
    """
    halves = torch.linalg.solve_triangular(factor, columns, upper=False)
    spread = halves.square().sum(0)
    if curved is None or not torch.is_grad_enabled():
        return spread
    solved = torch.linalg.solve_triangular(factor.T, halves, upper=True).detach()
    found = (2 * columns * solved - solved * (curved @ solved)).sum(0)
    return spread.detach() + (found - found.detach())


def _squashed(mean: Tensor, variance: Tensor) -> Tensor:
    """The mean of the logistic function of a normal variable."""
    scales = torch.tensor(_SCALES, dtype=mean.dtype, device=mean.device)[:, None]
    shares = torch.tensor(_SHARES, dtype=mean.dtype, device=mean.device)[:, None]
    alpha = 1 / (2 * variance)
    gamma = scales * mean
    error = torch.erf(gamma * torch.sqrt(alpha / (alpha + scales.square())))
    integrals = torch.sqrt(math.pi / alpha) * error / (2 * torch.sqrt(variance * 2 * math.pi))
    return (shares * integrals).sum(0) + 0.5 * shares.sum()


class ClassShares(Module):
    """Probabilities of classes: of the second of two, or of each against the rest.

    Parameters
    ----------
    *parts : LaplaceClassifier
        One module for two classes, or one for each class.
    """

    def __init__(self, *parts: LaplaceClassifier) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, features) to (n, classes)."""
        if len(self.parts) == 1:
            second = self.parts[0](x)
            return torch.stack([1 - second, second], 1)
        table = torch.stack([part.share_and_mean(x)[0] for part in self.parts], 1)  # type: ignore[operator]
        return table / table.sum(1, keepdim=True)


class PairVotes(Module):
    """A value for each class: its votes from pairs of classes, and a fraction that breaks ties.

    Parameters
    ----------
    *parts : LaplaceClassifier
        One module for each pair of classes, the last class changing fastest.
    classes : int
        Number of classes.
    """

    def __init__(self, *parts: LaplaceClassifier, classes: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, features) to (n, classes)."""
        answers = [part.share_and_mean(x) for part in self.parts]  # type: ignore[operator]
        shares, means = (torch.stack(several, 1) for several in zip(*answers, strict=True))
        ballots = (means > 0).to(shares.dtype) + (shares - shares.detach())
        first, second = torch.triu_indices(self.classes, self.classes, 1, device=shares.device)
        zeros = shares.new_zeros(len(shares), self.classes)
        votes = zeros.index_add(1, first, 1 - ballots).index_add(1, second, ballots)
        confidence = zeros.index_add(1, first, -shares).index_add(1, second, shares)
        return votes + confidence / (3 * (confidence.abs() + 1))
