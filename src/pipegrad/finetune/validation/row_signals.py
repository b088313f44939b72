"""What each validation row says about a fitted pipeline: its loss, residual and gradient."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...training.dataset import EncodedDataset, Loader
from ...training.row_blocks import score_in_blocks
from ...typing import FloatArray
from ..problem import TrainingProblem

# More residuals of a row, as those of many classes, are projected at random to so many columns.
_MOST_SCORES = 5
# So are wider inputs, so that there are about so many products of inputs and residuals.
_MOST_PRODUCTS = 20
_FEWEST_FEATURES = 4
# Standard deviations beyond which a feature counts as that far out.
_MOST_DEVIATIONS = 4.0


def row_signals(problem: TrainingProblem) -> list[FloatArray]:
    """Return functions of the validation rows that have no order, unless the rows have one.

    Parameters
    ----------
    problem : TrainingProblem
        The problem, with the module as fitted.

    Returns
    -------
    list of arrays of shape (n, m)
        The loss; the residuals, that is, the derivatives of the loss by the raw scores (the error
        of a mean or of probabilities, with its sign); and the products of residuals and inputs,
        which show coefficients that drift while the mean residual stays.
    """
    rows = problem.validating
    assert rows is not None
    losses, slopes = _losses_and_slopes(problem, rows)
    slopes = _projected(slopes, _MOST_SCORES)
    features = _features(rows, max(_FEWEST_FEATURES, _MOST_PRODUCTS // max(1, slopes.shape[1])))
    products = (slopes[:, :, None] * features[:, None, :]).reshape(len(slopes), -1)
    return [losses, slopes, products]


def _losses_and_slopes(
    problem: TrainingProblem, rows: EncodedDataset
) -> tuple[FloatArray, FloatArray]:
    net, criterion = problem.net, problem.criterion
    losses, slopes = [], []
    for batch in Loader(rows, 4096):
        encoded, target = batch
        score = score_in_blocks(partial(net.raw_score, check=False), encoded).requires_grad_()
        with torch.enable_grad(), problem.own_random_numbers():
            # A copy, because a loss may work in place.
            loss = criterion.rows(score.clone(), target)
            (slope,) = torch.autograd.grad(loss.sum(), score)
        losses.append(loss.detach() if loss.ndim else slope.new_zeros(len(slope)))
        slopes.append(slope.reshape(len(slope), -1))
    return _array(losses).reshape(-1, 1), _array(slopes)


def _array(parts: list[Tensor]) -> FloatArray:
    values = torch.cat(parts).double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(values.cpu().numpy())


def _features(rows: EncodedDataset, most: int) -> FloatArray:
    """Standardized dense inputs of the rows, (n, at most ``most``), or no columns."""
    blocks = [b for b in rows.X.blocks.values() if isinstance(b, Tensor) and b.is_floating_point()]
    parts = [b.reshape(len(b), -1) for b in blocks if b.layout is torch.strided]
    if not parts:
        return np.empty((len(rows), 0))
    values = torch.cat([part.double() for part in parts], dim=1).cpu().numpy()
    values = np.where(np.isfinite(values), values, np.nan)
    known = np.maximum(np.count_nonzero(~np.isnan(values), axis=0), 1)
    values = values - np.nansum(values, axis=0) / known
    scale = np.sqrt(np.nansum(values**2, axis=0) / known)
    values = np.nan_to_num(values / np.where(scale > 0, scale, np.inf))
    return _projected(values.clip(-_MOST_DEVIATIONS, _MOST_DEVIATIONS), most)


def _projected(values: FloatArray, most: int) -> FloatArray:
    """Project to fewer columns, in the same directions for all values of one width."""
    if values.shape[1] <= most:
        return values
    return values @ np.random.default_rng(0).normal(size=(values.shape[1], most))
