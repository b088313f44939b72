"""Calibration curves (reliability diagrams) before and after training.

The expected calibration error is that of Guo, Pleiss, Sun and Weinberger, *On calibration of modern
neural networks*, ICML 2017, in bins of equally many rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..losses.table import find_loss
from ..modules import OutlierHead

if TYPE_CHECKING:
    from ..modules import Head
    from ..network import PipelineNetwork
    from ..training.dataset import EncodedDataset

_BINS, _FEWEST_IN_BIN = 10, 20
_MEASURED_ROWS = 4096


@dataclass(frozen=True)
class Reliability:
    """A calibration curve: predictions against outcomes, in bins of equally many rows.

    Attributes
    ----------
    predicted, observed : tuple of float
        Mean prediction and mean outcome of each bin.
    errors : tuple of float
        Standard errors of ``observed``.
    rows : tuple of int
        Number of rows in each bin.
    gap : float
        Mean absolute difference of ``predicted`` and ``observed``, weighted by the rows of each
        bin; for probabilities, the expected calibration error.
    brier : float
        Brier score: mean squared error of the probabilities, summed over the classes if there are
        more than two; NaN if there are no probabilities.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    errors: tuple[float, ...]
    rows: tuple[int, ...]
    gap: float
    brier: float = math.nan


@dataclass(frozen=True)
class Calibration:
    """Calibration on held-out rows, before and after training.

    Attributes
    ----------
    of : {"probability", "confidence", "mean"}
        The predicted quantity: the probability of the second class (or of each label), the
        probability of the most likely of several classes, or the mean of the target, on the scale
        of the loss.
    before, after : Reliability
        Calibration of the fitted pipeline and of the selected one; one object if they are the same.
    """

    of: Literal["probability", "confidence", "mean"]
    before: Reliability
    after: Reliability


def calibrations(
    folds: Sequence[Any], best: tuple[int, int] | None, head: Head | None, loss: str
) -> Calibration | None:
    """Calibration pooled over all splits.

    Parameters
    ----------
    folds : sequence
        The splits with their runs.
    best : (int, int), optional
        Indices of the selected candidate and checkpoint; None if none was selected.
    head : Head, optional
        Maps raw scores to predictions.
    loss : str
        Name of the loss.

    Returns
    -------
    Calibration or None
        None if calibration is not defined for this head and loss.
    """
    place = None if best is None else best[0]
    targets, start, end = [], [], []
    for fold in folds:
        runs = fold.runs if place is None else [fold.runs[place]]
        run = next((run for run in runs if run is not None), None)
        if run is None or fold.target is None:
            continue
        last = 0 if best is None else min(best[1] + 1, len(run.scores_) - 1)
        targets.append(fold.target)
        start.append(run.scores_[0])
        end.append(run.scores_[last])
    if not targets:
        return None
    target, before, after = (np.concatenate(parts) for parts in (targets, start, end))
    return calibration(head, loss, target, before, None if best is None else after)


def calibration(
    head: Head | None,
    loss: str,
    target: NDArray[Any] | None,
    before: NDArray[Any],
    after: NDArray[Any] | None,
) -> Calibration | None:
    """Calibration from raw scores before and after training.

    Parameters
    ----------
    head : Head, optional
        Maps raw scores to predictions.
    loss : str
        Name of the loss.
    target : array of shape (n,) or (n, k), optional
        Targets, encoded for the loss.
    before, after : array of shape (n,) or (n, k)
        Raw scores; ``after`` is None if nothing changed.

    Returns
    -------
    Calibration or None
        None if calibration is not defined for this head and loss, or a score is not finite.
    """
    of = _quantity(head, loss, target, before)
    if of is None or head is None or target is None:
        return None
    start = _reliability(head, of, target, before)
    if start is None:
        return None
    end = start if after is None else _reliability(head, of, target, after)
    return None if end is None else Calibration(of, start, end)


def _quantity(head: Any, loss: str, target: Any, score: NDArray[Any]) -> Any:
    if head is None or target is None or isinstance(head, OutlierHead):
        return None
    if head.task == "regression":
        known = find_loss(loss)
        means = known is None or known.elicits_mean
        return "mean" if means and target.size == score.size == len(score) else None
    if head.task not in ("classification", "multilabel") or "predict_proba" not in head.responses:
        return None
    several = score.ndim == 2 and score.shape[1] > 2 and head.task == "classification"
    return "confidence" if several else "probability"


def _reliability(
    head: Head, of: str, target: NDArray[Any], score: NDArray[Any]
) -> Reliability | None:
    values = torch.from_numpy(np.ascontiguousarray(score)).double()
    if of == "mean":
        return _binned(head.predict(values).numpy().ravel(), target.ravel().astype(float))
    shares = head.predict_proba(values).numpy()
    if head.task == "multilabel":
        predicted, observed = shares.ravel(), target.ravel().astype(float)
        return _binned(
            predicted,
            observed,
            float(np.mean((predicted - observed) ** 2)),
        )
    observed = np.eye(shares.shape[1])[target]
    if of == "probability":
        return _binned(
            shares[:, 1],
            observed[:, 1],
            float(np.mean((shares[:, 1] - observed[:, 1]) ** 2)),
        )
    top = shares.argmax(1)
    rows = np.arange(len(top))
    brier = float(((shares - observed) ** 2).sum(1).mean())
    return _binned(shares[rows, top], observed[rows, top], brier)


def _binned(
    predicted: NDArray[Any], observed: NDArray[Any], brier: float = math.nan
) -> Reliability | None:
    """Means in bins between quantiles of the predictions."""
    if not (np.isfinite(predicted).all() and np.isfinite(observed).all()):
        return None
    count = int(np.clip(len(predicted) // _FEWEST_IN_BIN, 1, _BINS))
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, count + 1)[1:-1]))
    place = np.searchsorted(edges, predicted, side="right")
    parts = [place == bin_ for bin_ in range(len(edges) + 1)]
    parts = [part for part in parts if part.any()]
    predicted_means = [float(predicted[part].mean()) for part in parts]
    observed_means = [float(observed[part].mean()) for part in parts]
    errors = [float(observed[part].std() / math.sqrt(part.sum())) for part in parts]
    rows = [int(part.sum()) for part in parts]
    gap = float(np.average(np.abs(np.subtract(predicted_means, observed_means)), weights=rows))
    return Reliability(
        tuple(predicted_means), tuple(observed_means), tuple(errors), tuple(rows), gap, brier
    )


def scores(net: PipelineNetwork, rows: EncodedDataset) -> NDArray[np.float32]:
    """The raw score of each row."""
    from ..training.dataset import Loader
    from ..training.row_blocks import score_in_blocks

    score = partial(net.raw_score, check=False)
    parts = [score_in_blocks(score, batch[0]) for batch in Loader(rows, _MEASURED_ROWS)]
    return torch.cat(parts).cpu().float().numpy()
