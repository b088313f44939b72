"""Whether predictions mean what they say, before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
# They aim at something else than the mean of the target.


@dataclass(frozen=True)
class Reliability:
    """Predictions against what came true, by bins with equally many rows.

    Attributes
    ----------
    predicted, observed : tuple of float
        Means of each bin.
    errors : tuple of float
        Standard errors of ``observed``.
    rows : tuple of int
        How many each bin holds.
    gap : float
        Mean distance of ``predicted`` and ``observed``, bins weighing as many rows as they hold;
        of probabilities, the expected calibration error.
    brier : float
        Mean squared error of the probabilities, summed over more than two classes; NaN where there
        are none.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    errors: tuple[float, ...]
    rows: tuple[int, ...]
    gap: float
    brier: float = math.nan


@dataclass(frozen=True)
class Calibration:
    """Whether predictions mean what they say, on rows that nothing was fitted on.

    Attributes
    ----------
    of : {"probability", "confidence", "mean"}
        What is predicted: the probability of the second class (or of each label), that of the most
        likely of several classes, or the mean of the target, on the scale of the loss.
    before, after : Reliability
        Of the pipeline as it was fitted, and of what was kept; the same object where these are.
    """

    of: Literal["probability", "confidence", "mean"]
    before: Reliability
    after: Reliability


def calibrations(
    folds: Sequence[Any], best: tuple[int, int] | None, head: Head | None, loss: str
) -> Calibration | None:
    """Before and after, over all splits; ``best`` is the candidate and checkpoint kept, if any."""
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
    """Reliability by scores before and after; None where predictions claim nothing of the kind.

    Parameters
    ----------
    head : Head, optional
        From scores to predictions.
    loss : str
        Name of the loss.
    target : array of shape (n,) or (n, k), optional
        As the loss takes it.
    before, after : array of shape (n,) or (n, k)
        Scores; ``after`` is None where nothing changed.
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
    """Means in bins between quantiles of what is predicted."""
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
    """The score of each row."""
    from ..training.dataset import Loader

    net.eval()
    with torch.no_grad():
        parts = [net(batch[0]) for batch in Loader(rows, _MEASURED_ROWS)]
    return torch.cat(parts).cpu().float().numpy()
