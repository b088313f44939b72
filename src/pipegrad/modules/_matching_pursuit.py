"""Orthogonal matching pursuit of many rows at once."""

from __future__ import annotations

import torch
from torch import Tensor


def matching_pursuit_codes(gram: Tensor, cov: Tensor, count: int) -> Tensor:
    """The weights of the atoms that are chosen one by one for each row, shape (n, atoms).

    See Rubinstein, Zibulevsky and Elad, *Efficient implementation of the K-SVD algorithm using
    batch orthogonal matching pursuit*, 2008. A row ends early if the next atom has been chosen
    before, depends on the ones before or is orthogonal to the residual.

    Parameters
    ----------
    gram : Tensor, shape (atoms, atoms)
        Inner products of the atoms.
    cov : Tensor, shape (n, atoms)
        Inner products of rows and atoms.
    count : int
        Number of atoms to choose.
    """
    n, smallest = cov.shape[0], torch.finfo(gram.dtype).eps
    codes, rows, rest = torch.zeros_like(cov), torch.arange(n, device=cov.device), cov
    chosen = cov.new_zeros(n, 0, dtype=torch.int64)
    factor = cov.new_zeros(n, 0, 0)
    for _ in range(count):
        best = rest.abs().argmax(1)
        edge = gram[chosen, best[:, None]]
        edge = torch.linalg.solve_triangular(factor, edge[:, :, None], upper=False)[:, :, 0]
        pivot = gram.diagonal()[best] - edge.square().sum(1)
        again = (chosen == best[:, None]).any(1)
        weak = rest.gather(1, best[:, None])[:, 0].square() < smallest
        go = ~again & ~weak & ((pivot > smallest) | (chosen.shape[1] == 0))
        rows, chosen, best, factor = rows[go], chosen[go], best[go], factor[go]
        if not len(rows):
            break
        factor = _extended(factor, edge[go], pivot[go].sqrt())
        chosen = torch.cat([chosen, best[:, None]], 1)
        own = cov[rows]
        weights = torch.cholesky_solve(own.gather(1, chosen)[:, :, None], factor)[:, :, 0]
        found = torch.zeros_like(own).scatter(1, chosen, weights)
        codes[rows] = found
        rest = own - found @ gram
    return codes


def _extended(factor: Tensor, edge: Tensor, pivot: Tensor) -> Tensor:
    """Cholesky factors with one more row."""
    wider = torch.nn.functional.pad(factor, (0, 1))
    return torch.cat([wider, torch.cat([edge, pivot[:, None]], 1)[:, None]], 1)
