"""Least angle regression of many rows at once, with and without the lasso's modification."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

# Penalties this close to each other count as equal; active atoms with pivots below are dependent.
_EQUAL, _DEPENDENT = 1.1920929e-07, 1e-7


@dataclass(frozen=True)
class Path:
    """What to follow, and how far.

    Parameters
    ----------
    gram : Tensor, shape (atoms, atoms)
        Inner products of the atoms.
    limit : int
        Largest number of steps.
    lowest : float
        Penalty, per column of the rows, at which the path ends.
    width : int
        Number of columns of the rows.
    lasso : bool
        Whether an atom whose weight becomes zero leaves.
    positive : bool
        Whether weights stay at least zero.
    """

    gram: Tensor
    limit: int
    lowest: float
    width: int
    lasso: bool = False
    positive: bool = False


@dataclass(frozen=True)
class _State:
    """Where each row of a path is; the first dimension of all tensors is that of the rows.

    ``order`` holds the active atoms in the order in which they came, filled up with the number of
    atoms; ``factor`` is the Cholesky factor of their inner products, filled up with the identity.
    """

    row: Tensor
    cov: Tensor  # (n, atoms): covariance with the residual; stale for active atoms
    code: Tensor
    before: Tensor  # the weights before the last step
    penalty: Tensor  # (n,): the penalty before the last step
    active: Tensor
    sign: Tensor
    order: Tensor
    factor: Tensor
    left: Tensor  # (n,): whether a weight changed its sign in the last step
    steps: Tensor

    def take(self, keep: Tensor) -> _State:
        """Some of the rows."""
        if bool(keep.all()):
            return self
        return _State(*(getattr(self, field.name)[keep] for field in fields(self)))


def least_angle_codes(cov: Tensor, path: Path) -> Tensor:
    """The weights of the atoms at the end of the path of each row, shape (n, atoms).

    See Efron, Hastie, Johnstone and Tibshirani, *Least angle regression*, 2004. Gradients flow
    through the steps; which atoms come and go in which order does not change.

    Parameters
    ----------
    cov : Tensor, shape (n, atoms)
        Inner products of rows and atoms.
    path : Path
        What to follow, and how far.
    """
    state, done = _start(cov, path), []
    while len(state.row):
        top, best = _largest(state, path)
        state, ended = _interpolated(state, top / path.width, path)
        ended = ended | (state.steps >= path.limit) | state.active.all(1)
        done.append((state.row[ended], state.code[ended]))
        keep = ~ended
        state, top, best = state.take(keep), top[keep], best[keep]
        if not len(state.row):
            break
        state, advances = _joined(state, best, cov, path)
        if path.lasso:  # Rounding errors have become larger than what is left of the covariance.
            grows = advances & (state.steps > 0) & (state.penalty < top / path.width)
            done.append((state.row[grows], state.code[grows]))
            state, top, advances = state.take(~grows), top[~grows], advances[~grows]
        if bool(advances.any()):
            state = _moved(state, top, advances, cov, path)
    rows = torch.cat([row for row, _ in done])
    return torch.cat([code for _, code in done])[torch.argsort(rows)]


def _start(cov: Tensor, path: Path) -> _State:
    n, atoms = cov.shape
    zeros, none = torch.zeros_like(cov), cov.new_zeros(n, dtype=torch.int64)
    return _State(
        row=torch.arange(n, device=cov.device),
        cov=cov,
        code=zeros,
        before=zeros,
        penalty=cov.new_zeros(n),
        active=zeros.bool(),
        sign=zeros,
        order=cov.new_full((n, 1), atoms, dtype=torch.int64),
        factor=cov.new_ones(n, 1, 1),
        left=none.bool(),
        steps=none,
    )


def _largest(state: _State, path: Path) -> tuple[Tensor, Tensor]:
    """The largest covariance of an atom that is not active, and the atom."""
    size = state.cov if path.positive else state.cov.abs()
    top, best = size.masked_fill(state.active, -torch.inf).max(1)
    return torch.where(state.active.all(1), 0.0, top), best


def _interpolated(state: _State, now: Tensor, path: Path) -> tuple[_State, Tensor]:
    """The state with rows that passed the lowest penalty set back to it, and which these are."""
    ended = now <= path.lowest + _EQUAL
    back = ended & ((now - path.lowest).abs() > _EQUAL) & (state.steps > 0)
    length = torch.where(back, state.penalty - now, 1.0)
    share = torch.where(back, (state.penalty - path.lowest) / length, 1.0)[:, None]
    code = torch.where(
        back[:, None], state.before + share * (state.code - state.before), state.code
    )
    return replace(state, code=code), ended


def _joined(state: _State, best: Tensor, cov: Tensor, path: Path) -> tuple[_State, Tensor]:
    """The state with the next atom active where none left, and whether the row goes on.

    An atom that depends on the active ones is not taken; its covariance counts as zero.
    """
    state = _with_room(state, path)
    comes = ~state.left
    gram = _padded(path.gram)
    edge = torch.where(comes[:, None], gram[state.order, best[:, None]], 0.0)
    edge = torch.linalg.solve_triangular(state.factor, edge[:, :, None], upper=False)[:, :, 0]
    rest = (path.gram.diagonal()[best] - edge.square().sum(1)).abs()
    pivot = torch.sqrt(torch.where(comes & (rest > 0), rest, 1.0))
    pivot = torch.where(rest > 0, pivot, 0.0)
    refused = comes & (pivot < _DEPENDENT)
    comes = comes & ~refused
    new = torch.nn.functional.one_hot(best, cov.shape[1]).bool()
    joins = new & comes[:, None]
    place = (state.order < cov.shape[1]).sum(1)
    here = torch.nn.functional.one_hot(place, state.order.shape[1]).bool() & comes[:, None]
    line = torch.where(here, pivot[:, None], edge)
    sign = torch.ones_like(state.cov) if path.positive else state.cov.detach().sign()
    return replace(
        state,
        cov=torch.where(new & refused[:, None], 0.0, state.cov),
        active=state.active | joins,
        sign=torch.where(joins, sign, state.sign),
        order=torch.where(here, best[:, None], state.order),
        factor=torch.where(here[:, :, None], line[:, None, :], state.factor),
    ), ~refused


def _with_room(state: _State, path: Path) -> _State:
    """The state with room for another active atom."""
    if bool((state.order[:, -1] == path.gram.shape[0]).all()):
        return state
    order = torch.nn.functional.pad(state.order, (0, 1), value=path.gram.shape[0])
    factor = torch.nn.functional.pad(state.factor, (0, 1, 0, 1))
    corner = torch.zeros_like(factor[0])
    corner[-1, -1] = 1.0
    return replace(state, order=order, factor=factor + corner)


def _moved(state: _State, top: Tensor, advances: Tensor, cov: Tensor, path: Path) -> _State:
    """The state one step further, where it advances."""
    if not bool(advances.all()):
        some, rest = state.take(advances), state.take(~advances)
        moved = _moved(some, top[advances], advances[advances], cov, path)
        parts = (torch.cat(pair) for pair in zip(_values(moved), _values(rest), strict=True))
        return _State(*parts)
    direction, speed = _direction(state, path)
    change = direction @ path.gram
    change = change + (_rounded(change) - change).detach()
    length = _distance(state, top, speed, change, path.positive)
    zero = _nearest(-state.code, direction, state.active)
    crosses = zero < length
    quotient = (-state.code / torch.where(state.active, direction, 1.0)).detach()
    out = state.active & crosses[:, None] & (quotient == zero.detach()[:, None])
    if path.lasso:
        length = torch.where(crosses, zero, length)
    code = torch.where(state.active, state.code + length[:, None] * direction, 0.0)
    state = replace(
        state,
        cov=state.cov - length[:, None] * change,
        code=code,
        before=state.code,
        penalty=top / path.width,
        sign=torch.where(out, -state.sign, state.sign),
        left=crosses,
        steps=state.steps + 1,
    )
    return _without(state, out, cov, path) if path.lasso and bool(crosses.any()) else state


def _values(state: _State) -> list[Tensor]:
    return [getattr(state, field.name) for field in fields(state)]


def _rounded(change: Tensor) -> Tensor:
    return torch.round(change.detach(), decimals=15 if change.dtype == torch.float64 else 6)


def _direction(state: _State, path: Path) -> tuple[Tensor, Tensor]:
    """The equiangular direction (n, atoms), and how fast it reduces the covariances (n,)."""
    filled = torch.nn.functional.pad(state.sign, (0, 1))
    signs = filled.gather(1, state.order)
    solved = torch.cholesky_solve(signs[:, :, None], state.factor)[:, :, 0]
    speed = 1 / torch.sqrt((solved * signs).sum(1))
    found = torch.zeros_like(filled).scatter_add(1, state.order, solved * speed[:, None])
    return found[:, :-1], speed


def _distance(state: _State, top: Tensor, speed: Tensor, change: Tensor, positive: bool) -> Tensor:
    """How far to go until another atom is as good as the active ones, (n,)."""
    others = ~state.active
    tops, speeds = top[:, None], speed[:, None]
    length = torch.minimum(top / speed, _nearest(tops - state.cov, speeds - change, others))
    if positive:
        return length
    return torch.minimum(length, _nearest(tops + state.cov, speeds + change, others))


def _nearest(above: Tensor, below: Tensor, ok: Tensor) -> Tensor:
    """The smallest quotient above zero among those that count, (n,); infinite if none is."""
    with torch.no_grad():
        quotient = above / torch.where(below == 0, torch.finfo(torch.float32).tiny, below)
        least, index = torch.where(ok & (quotient > 0), quotient, torch.inf).min(1)
    found = least < torch.inf
    numerator, divisor = (part.gather(1, index[:, None])[:, 0] for part in (above, below))
    quotient = numerator / torch.where(found, divisor, 1.0)
    return torch.where(found, quotient, torch.inf)


def _without(state: _State, out: Tensor, cov: Tensor, path: Path) -> _State:
    """The state without the atoms that leave, whose covariances are computed again."""
    atoms = cov.shape[1]
    gone = torch.nn.functional.pad(out, (0, 1)).gather(1, state.order)
    kept = (state.order < atoms) & ~gone
    order = state.order.gather(1, torch.argsort((~kept).int(), dim=1, stable=True))
    count = kept.sum(1, keepdim=True)
    empty = torch.arange(order.shape[1], device=order.device) >= count
    order = torch.where(empty, atoms, order)
    fresh = cov[state.row] - state.code @ path.gram
    touched = out.any(1)
    factor = _factors(order[touched], path)
    place = torch.nonzero(touched)[:, 0]
    return replace(
        state,
        cov=torch.where(out, fresh, state.cov),
        active=state.active & ~out,
        order=order,
        factor=state.factor.index_copy(0, place, factor),
    )


def _factors(order: Tensor, path: Path) -> Tensor:
    """Cholesky factors of the inner products of the active atoms, filled up with the identity."""
    inner = _padded(path.gram)[order[:, :, None], order[:, None, :]]
    empty = (order == path.gram.shape[0]).to(inner.dtype)
    return torch.linalg.cholesky(inner + torch.diag_embed(empty))


def _padded(gram: Tensor) -> Tensor:
    """Inner products with an atom of zeros as the last one."""
    return torch.nn.functional.pad(gram, (0, 1, 0, 1))
