"""Sparse codes: weights of a few atoms that add up to each row."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor

from ._base import Module, NonNegative, parameter
from ._coordinate_descent import Lasso, lasso_codes
from ._least_angle import Path, least_angle_codes
from ._matching_pursuit import matching_pursuit_codes
from ._operators import one_by_one
from ._sparse import Block, dense

# Largest violation of the conditions of a minimum, relative to the largest inner product.
_MINIMUM = 1e-6


@dataclass(frozen=True)
class Coding:
    """How codes are found.

    Parameters
    ----------
    algorithm : {"lasso_lars", "lasso_cd", "lars", "omp", "threshold"}
        The lasso by least angle regression or by coordinate descent, least angle regression,
        orthogonal matching pursuit, or inner products that are shrunk towards zero.
    penalty : float
        Penalty of the lasso, or the threshold.
    count : int
        Number of atoms of "lars" and "omp".
    limit : int
        Largest number of steps or sweeps of the lasso.
    positive : bool
        Whether weights stay at least zero.
    screening : bool
        Whether coordinate descent leaves atoms out that cannot be part of the solution.
    tolerance : float
        Duality gap, relative to the squared length of a row, at which coordinate descent stops.
    """

    algorithm: str = "omp"
    penalty: float = 1.0
    count: int = 1
    limit: int = 1000
    positive: bool = False
    screening: bool = True
    tolerance: float = 1e-8


class SparseCodes(Module):
    """Weights of atoms, of which most are zero, for each row.

    Gradients are those of the exact solution with the atoms that it has: by the conditions of the
    minimum for the lasso and for matching pursuit, and through the steps of least angle regression
    where it ends early.

    Parameters
    ----------
    atoms : Tensor, shape (atoms, features)
        The dictionary.
    coding : Coding
        How codes are found.
    split : bool
        Whether the positive and the negative parts of the weights are separate columns.
    nonnegative : bool
        Whether entries of the atoms stay at least zero.
    """

    def __init__(
        self, atoms: Tensor, coding: Coding, split: bool = False, nonnegative: bool = False
    ) -> None:
        super().__init__()
        self.coding, self.split = coding, split
        self.atoms = NonNegative(atoms) if nonnegative else parameter(atoms)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, atoms), or to twice as many columns."""
        rows, atoms = dense(x), self.present_atoms()
        if self.coding.algorithm == "threshold":
            code = self._shrunk(rows @ atoms.T)
        else:
            code = sparse_codes(rows, atoms, self.coding)
        return torch.cat([code.clamp(min=0), -code.clamp(max=0)], 1) if self.split else code

    def _shrunk(self, products: Tensor) -> Tensor:
        size = (products.abs() - self.coding.penalty).clamp(min=0)
        code = products.sign() * size
        return code.clamp(min=0) if self.coding.positive else code

    def present_atoms(self) -> Tensor:
        """The dictionary, shape (atoms, features)."""
        return self.atoms if isinstance(self.atoms, Tensor) else self.atoms()

    def reset_parameters(self) -> None:
        """Draw random atoms of unit length."""
        values = self.atoms if isinstance(self.atoms, Tensor) else self.atoms.weight
        with torch.no_grad():
            values.normal_()
            if not isinstance(self.atoms, Tensor):
                values.abs_()
            values.div_(values.norm(dim=1, keepdim=True).clamp(min=1e-300))


def sparse_codes(rows: Tensor, atoms: Tensor, coding: Coding) -> Tensor:
    """The weights (n, atoms) of all algorithms but "threshold", with gradients for both."""
    found: Tensor = _codes(rows, atoms, *astuple(coding))
    return found


@torch.library.custom_op("pipegrad::sparse_codes", mutates_args=())
def _codes(
    rows: Tensor,
    atoms: Tensor,
    algorithm: str,
    penalty: float,
    count: int,
    limit: int,
    positive: bool,
    screening: bool,
    tolerance: float,
) -> Tensor:
    # One operation of torch, so that exported programs hold it as a whole.
    coding = Coding(algorithm, penalty, count, limit, positive, screening, tolerance)
    if algorithm == "lasso_cd":
        return _by_descent(rows, atoms, coding)
    gram, products = atoms @ atoms.T, rows @ atoms.T
    if algorithm == "omp":
        return matching_pursuit_codes(gram, products, count)
    return least_angle_codes(products, _path(gram, rows.shape[1], coding))


@_codes.register_fake
def _like_codes(rows: Tensor, atoms: Tensor, *_: Any) -> Tensor:
    return rows.new_empty(rows.shape[0], atoms.shape[0])


def _path(gram: Tensor, width: int, coding: Coding) -> Path:
    if coding.algorithm == "lars":
        return Path(gram, coding.count, 0.0, width)
    lowest = coding.penalty / width
    return Path(gram, coding.limit, lowest, width, lasso=True, positive=coding.positive)


def _by_descent(rows: Tensor, atoms: Tensor, coding: Coding) -> Tensor:
    # In float32, the duality gap would be smaller than its own rounding errors.
    x, dictionary = rows.double(), atoms.double()
    width = max(1, x.shape[1])
    problem = Lasso(
        dictionary @ dictionary.T,
        coding.penalty / width * width,
        coding.limit,
        coding.tolerance,
        positive=coding.positive,
        screening=coding.screening,
    )
    return lasso_codes(x @ dictionary.T, x.square().sum(1), problem).to(rows.dtype)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    rows, atoms, *coding = inputs
    ctx.save_for_backward(rows, atoms, output)
    ctx.coding = Coding(*coding)


def _gradients(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
    rows, atoms, code = ctx.saved_tensors
    with torch.enable_grad():
        rows, atoms = rows.detach().requires_grad_(), atoms.detach().requires_grad_()
        if not _is_minimum(rows.detach(), atoms.detach(), code, ctx.coding):
            gram, products = atoms @ atoms.T, rows @ atoms.T
            again = least_angle_codes(products, _path(gram, rows.shape[1], ctx.coding))
        else:
            again = _newton_step(rows, atoms, code)
        found = torch.autograd.grad(again, (rows, atoms), slope, allow_unused=True)
    return (*found, *(None,) * 7)


def _is_minimum(rows: Tensor, atoms: Tensor, code: Tensor, coding: Coding) -> bool:
    """Whether the codes minimize the squared error over the atoms that they have."""
    if coding.algorithm in ("omp", "lasso_cd"):
        return True
    if coding.algorithm == "lars":
        return False
    slope = (rows - code @ atoms) @ atoms.T - coding.penalty * code.sign()
    largest = (rows @ atoms.T).abs().max() if rows.numel() else 0.0
    return bool((slope.abs() * (code != 0) <= _MINIMUM * largest).all())


def _newton_step(rows: Tensor, atoms: Tensor, code: Tensor) -> Tensor:
    """The codes after a Newton step with the atoms that they have, for its gradients only."""
    slope = (rows - code @ atoms) @ atoms.T
    used = _used(code)
    there = used < code.shape[1]
    own = torch.nn.functional.pad(slope, (0, 1)).gather(1, used)
    gram = torch.nn.functional.pad((atoms @ atoms.T).detach(), (0, 1, 0, 1))
    inner = gram[used[:, :, None], used[:, None, :]] + torch.diag_embed((~there).to(gram.dtype))
    factor, info = torch.linalg.cholesky_ex(inner)
    bent = (info != 0) | ~factor.isfinite().flatten(1).all(1)
    if bool(bent.any()):
        inverse = torch.linalg.pinv(inner[bent], hermitian=True)
        step = torch.cholesky_solve(own[:, :, None], torch.where(bent[:, None, None], 1.0, factor))
        step = step.index_copy(0, torch.nonzero(bent)[:, 0], inverse @ own[bent][:, :, None])
    else:
        step = torch.cholesky_solve(own[:, :, None], factor)
    empty = torch.zeros_like(torch.nn.functional.pad(slope, (0, 1)))
    return code + empty.scatter_add(1, used, step[:, :, 0] * there)[:, :-1]


def _used(code: Tensor) -> Tensor:
    """The atoms of each row in front, filled up with their number, (n, most atoms of a row)."""
    zero = (code == 0).int()
    order = torch.argsort(zero, dim=1, stable=True)
    most = max(1, int((1 - zero).sum(1).max()) if len(code) else 1)
    order = order[:, :most]
    return torch.where(code.gather(1, order) == 0, code.shape[1], order)


_codes.register_autograd(_gradients, setup_context=_keep)
_codes.register_vmap(one_by_one(_codes))
