"""Coordinate descent for many rows at once, without gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Lasso:
    """Squared error of rows on atoms, with a penalty of the weights' absolute values.

    Parameters
    ----------
    gram : Tensor, shape (atoms, atoms)
        Inner products of the atoms.
    penalty : float
        Penalty of the absolute values.
    limit : int
        Largest number of sweeps over all atoms.
    tolerance : float
        Relative change at which the duality gap is computed, and the gap relative to the squared
        length of the row at which a row is done.
    positive : bool
        Whether weights stay at least zero.
    screening : bool
        Whether atoms that cannot be part of the solution are left out (Fercoq and others, *Mind the
        duality gap*, 2015).
    """

    gram: Tensor
    penalty: float
    limit: int
    tolerance: float = 1e-8
    positive: bool = False
    screening: bool = True


@dataclass
class _Rows:
    """The rows that are not done; atoms come first, so that one atom's numbers are contiguous."""

    index: Tensor
    cov: Tensor  # (atoms, n)
    squares: Tensor  # (n,): squared lengths of the rows
    code: Tensor  # (atoms, n)
    product: Tensor  # (atoms, n): gram @ code
    kept: Tensor  # (atoms, n): whether an atom is not left out

    def take(self, keep: Tensor) -> _Rows:
        return _Rows(*(part[..., keep].contiguous() for part in vars(self).values()))


def lasso_codes(cov: Tensor, squares: Tensor, problem: Lasso) -> Tensor:
    """The weights of the atoms for each row, shape (n, atoms); each row ends by its own rule.

    Parameters
    ----------
    cov : Tensor, shape (n, atoms)
        Inner products of rows and atoms.
    squares : Tensor, shape (n,)
        Squared lengths of the rows.
    problem : Lasso
        The problem and the rule to stop.
    """
    codes, columns = torch.zeros_like(cov), cov.T.contiguous()
    zeros, index = torch.zeros_like(columns), torch.arange(len(cov), device=cov.device)
    rows = _Rows(index, columns, squares, zeros, zeros.clone(), torch.ones_like(zeros))
    if problem.screening:
        rows = _stopped(rows, torch.ones_like(squares).bool(), problem, codes, first=True)
    used = [atom for atom, size in enumerate(problem.gram.diagonal().tolist()) if size != 0]
    for number in range(problem.limit):
        if not len(rows.index):
            break
        before = rows.code.clone()
        _sweep(rows, problem, used)
        change = (rows.code - before).abs().amax(0)
        largest = rows.code.abs().amax(0)
        still = change <= problem.tolerance * largest
        if not problem.screening:
            still = (change < problem.tolerance * largest) | (largest == 0)
        checked = still | (number == problem.limit - 1)
        if bool(checked.any()):
            rows = _stopped(rows, checked, problem, codes)
    codes[rows.index] = rows.code.T
    return codes


def _sweep(rows: _Rows, problem: Lasso, used: list[int]) -> None:
    """Update the weights of all atoms once."""
    sizes = problem.gram.diagonal().tolist()
    for atom in used:
        before, line = rows.code[atom], problem.gram[atom]
        rest = torch.add(rows.cov[atom] - rows.product[atom], before, alpha=sizes[atom])
        now = functional.softshrink(rest, problem.penalty).div_(sizes[atom])
        if problem.positive:
            now.clamp_(min=0)
        if problem.screening:
            now.mul_(rows.kept[atom])
        rows.product.addr_(line, now - before)
        rows.code[atom] = now


def _stopped(
    rows: _Rows, checked: Tensor, problem: Lasso, codes: Tensor, first: bool = False
) -> _Rows:
    """The rows without those whose duality gap is small enough, which are written to ``codes``."""
    gap, theta, largest = _duality_gap(rows, problem)
    enough = problem.tolerance * rows.squares
    small = gap <= enough if problem.screening else gap < enough
    if first:
        small = small & (gap >= 0)
    done = checked & small
    if problem.screening and problem.penalty > 0:
        _screen(rows, checked & ~done, gap, theta / largest.clamp(min=problem.penalty), problem)
    if not bool(done.any()):
        return rows
    codes[rows.index[done]] = rows.code[:, done].T
    return rows.take(~done)


def _duality_gap(rows: _Rows, problem: Lasso) -> tuple[Tensor, Tensor, Tensor]:
    """The gap (n,), the products of the atoms with the residual and the largest of them (n,)."""
    inner = (rows.code * rows.cov).sum(0)
    residual = rows.squares + (rows.code * rows.product).sum(0) - 2 * inner
    slope = rows.cov - rows.product
    if problem.screening and problem.penalty == 0:
        squared = (slope * slope).sum(0)
        return squared, slope, squared
    largest = slope.amax(0) if problem.positive else slope.abs().amax(0)
    over = largest > problem.penalty
    scale = torch.where(over, problem.penalty / torch.where(over, largest, 1.0), 1.0)
    primal = 0.5 * residual + problem.penalty * rows.code.abs().sum(0)
    dual = -0.5 * scale.square() * residual + scale * (rows.squares - inner)
    return primal - dual, slope, largest


def _screen(rows: _Rows, checked: Tensor, gap: Tensor, theta: Tensor, problem: Lasso) -> None:
    """Leave out the atoms of these rows that are zero in the solution, given the duality gap."""
    length = problem.gram.diagonal().sqrt()[:, None]
    radius = torch.sqrt(2 * gap.abs()) / problem.penalty
    out = ~((1 - theta.abs()) / length <= radius) & (rows.kept > 0) & checked
    for atom in torch.nonzero(out.any(1))[:, 0].tolist():
        rows.product.addr_(problem.gram[atom], torch.where(out[atom], -rows.code[atom], 0.0))
    rows.code.masked_fill_(out, 0.0)
    rows.kept.masked_fill_(out, 0.0)


def nonnegative_weights(
    gram: Tensor, products: Tensor, limit: int, tolerance: float, orders: Tensor
) -> Tensor:
    """Weights of at least zero that minimize the squared error of all rows, shape (n, components).

    See Cichocki and Phan, *Fast local algorithms for large scale nonnegative matrix and tensor
    factorizations*, 2009. The sweeps end when the slopes, added up over all rows, have fallen to a
    share of those of the first sweep.

    Parameters
    ----------
    gram : Tensor, shape (components, components)
        Inner products of the components, with a penalty of squares on the diagonal.
    products : Tensor, shape (n, components)
        Inner products of rows and components, less a penalty of absolute values.
    limit : int
        Largest number of sweeps.
    tolerance : float
        The share.
    orders : Tensor of int64, shape (limit, components)
        Order of the components in each sweep; their own order if empty.
    """
    columns = products.T.contiguous()
    weights, first = torch.zeros_like(columns), 0.0
    order, drawn = list(range(len(gram))), orders.tolist()
    for number in range(limit):
        order = drawn[number] if drawn else order
        slopes = float(sum(_descend(weights, gram[t], columns[t], t) for t in order))
        first = slopes if number == 0 else first
        if first == 0 or slopes / first <= tolerance:
            break
    return weights.T.contiguous()


def _descend(weights: Tensor, line: Tensor, products: Tensor, place: int) -> Tensor:
    """Update one component's weight in all rows; return the sum of the slopes before."""
    own, size = weights[place], float(line[place])
    slope = torch.addmv(products, weights.T, line, beta=-1)
    total = torch.where(own == 0, slope.clamp(max=0), slope).abs().sum()
    if size != 0:
        weights[place] = (own - slope.div_(size)).clamp_(min=0)
    return total
