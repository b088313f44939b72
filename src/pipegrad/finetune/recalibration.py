"""Scores made to mean what they say again, where fine-tuning made them mean less.

Training may leave probabilities too sure, or too unsure, of the right order: one scale and one
shift of the score put that right, and both fit into the numbers of the last operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..losses.table import find_loss
from ..modules import Head, unwrap_head
from ..registry import Objective
from ..training.criterion import Criterion, LossLike, make_criterion
from ..typing import ScoreArray
from .selection import MIN_RELATIVE_GAIN, critical_value

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..training.dataset import EncodedDataset
    from .candidate_run import CandidateRun

_REPEATS = 8
_ITERATIONS = 30
# Halves of fewer rows say nothing.
_FEWEST = 8

Terms = Callable[[Tensor, Tensor], Tensor]


class _Rescalable(Protocol):
    """A module that a scale and a shift of the score fit into."""

    def rescale_(self, scale: float, shift: Tensor) -> None: ...


@dataclass(frozen=True)
class AffineFreedom:
    """What of ``scale * score + shift`` may differ from the score."""

    scale: bool
    shift: bool


@dataclass(frozen=True)
class Recalibration:
    """From a score to ``scale * score + shift``.

    Attributes
    ----------
    scale : float
        Above zero.
    shift : Tensor
        One number, or one for each column of the score.
    gain : float
        How much lower it makes the loss of a row that had no part in finding it.
    error : float
        Standard error of ``gain``.
    """

    scale: float
    shift: Tensor
    gain: float = math.nan
    error: float = math.nan

    def __call__(self, score: Tensor) -> Tensor:
        """The score, recalibrated."""
        return self.scale * score + self.shift

    def __str__(self) -> str:
        parts = [f"scores times {self.scale:.3g}"] if self.scale != 1 else []
        if self.shift.abs().max() > 0:
            shift = ", ".join(f"{value:+.3g}" for value in self.shift.reshape(-1).tolist())
            parts.append(f"shifted by {shift}")
        return f"{', '.join(parts)} (gain {self.gain:.3g}, standard error {self.error:.2g})"


def calibratable_parameters(
    loss: LossLike | None, objective: Objective | None, head: Head | None
) -> AffineFreedom | None:
    """What may be recalibrated where the pipeline was trained on a loss.

    A loss that is lowest where predictions are true may set scale and shift. The focal loss leaves
    probabilities unsure on purpose: only the scale is set, by the log loss, so that labels stay.
    Losses of the order of rows say nothing of scale and shift, and these keep every order.
    Other losses want something else than true probabilities or means, and get what they want.

    Parameters
    ----------
    loss : str, Objective, callable or None
        As given to `FineTuner`; None is the objective.
    objective : Objective or None
        The last operator's own.
    head : Head or None
        What the score means.

    Returns
    -------
    Freedom or None
    """
    if objective is None or head is None:
        return None
    name = getattr(loss, "name", loss)
    trained, source = find_loss(name), find_loss(objective.name)
    own = name is None or name == objective.name or (trained is not None and trained.ordinal)
    scale_only = trained is not None and trained.distorts_scale
    scale = None if source is None else source.calibration
    link = getattr(head, "link", "identity")
    if scale == "logit" and head.task == "classification" and (own or scale_only):
        return AffineFreedom(scale=True, shift=own)
    if scale == "log" and own and link == "log":
        return AffineFreedom(scale=False, shift=True)
    if scale == "mean" and own and head.task == "regression":
        return AffineFreedom(scale=True, shift=True) if link == "identity" else None
    return None


def fit_recalibration(
    before: ScoreArray,
    after: ScoreArray,
    target: Tensor,
    terms: Terms,
    free: AffineFreedom,
    seed: int,
    weight: Tensor | None = None,
) -> Recalibration | None:
    """Scale and shift of the scores after training; None where these are calibrated well enough.

    Found on one half of the rows, they are measured on the other, several times. They must lower
    the loss there by more than noise, and by more than they would have done before training:
    otherwise it was not training that worsened the scores.

    Parameters
    ----------
    before, after : array of shape (n,) or (n, k)
        Scores of rows that had no part in training.
    target : Tensor of shape (n,) or (n, k)
        What the loss compares them with.
    terms : callable
        ``terms(score, target)``: the loss of each row (n,).
    free : Freedom
        What may change.
    seed : int
        Of the halves.
    weight : Tensor of shape (n,), optional
        Weight of each row.
    """
    target = target.double() if target.is_floating_point() else target
    rows = torch.ones(len(target)) if weight is None else weight
    told = _CalibrationData(target, rows.double(), terms, free)
    now, then = (torch.as_tensor(score, dtype=torch.float64) for score in (after, before))
    if len(now) < _FEWEST or not (torch.isfinite(now).all() and torch.isfinite(then).all()):
        return None
    gain, error = _gain(now, told, seed)
    worth = MIN_RELATIVE_GAIN * abs(float(told.losses(now).mean()))
    if gain <= max(critical_value(len(now)) * error, worth) or gain <= _gain(then, told, seed)[0]:
        return None
    return replace(_fit(now, told), gain=gain, error=error)


@dataclass(frozen=True)
class _CalibrationData:
    """Rows with what their scores are compared with, and how."""

    target: Tensor
    weight: Tensor
    terms: Terms
    free: AffineFreedom

    def losses(self, score: Tensor) -> Tensor:
        return self.terms(score, self.target) * self.weight

    def part(self, rows: Tensor) -> _CalibrationData:
        return replace(self, target=self.target[rows], weight=self.weight[rows])


def _gain(score: Tensor, told: _CalibrationData, seed: int) -> tuple[float, float]:
    """By how much recalibrating lowers the loss of other rows, and the standard error of that."""
    count, gain, variance = len(score), 0.0, 0.0
    generator = np.random.default_rng(seed)
    for _ in range(_REPEATS):
        half = torch.from_numpy(generator.permutation(np.arange(count) % 2).astype(bool))
        drops = torch.zeros(count, dtype=torch.float64)
        for seen in (half, ~half):
            found, others = _fit(score[seen], told.part(seen)), told.part(~seen)
            left = score[~seen]
            drops[~seen] = others.losses(left) - others.losses(found(left))
        gain += float(drops.mean()) / _REPEATS
        # Repeats share their rows, so their noise does not average out.
        variance += float(drops.var()) / _REPEATS
    return gain, math.sqrt(variance / count)


def _fit(score: Tensor, told: _CalibrationData) -> Recalibration:
    """Scale and shift of the least loss, held back a little as by one row that knows better."""
    free = told.free
    centre, unit = torch.zeros(score.shape[1:], dtype=score.dtype), 1.0
    if told.target.is_floating_point() and free.scale:
        centre, unit = score.mean(0), float(score.std()) or 1.0
    slope = torch.zeros((), dtype=score.dtype, requires_grad=free.scale)
    shift = torch.zeros(score.shape[1:], dtype=score.dtype, requires_grad=free.shift)
    start = float(told.losses(score).mean().abs()) or 1.0

    def closure() -> Tensor:
        optimizer.zero_grad()
        changed = centre + (score - centre) * slope.exp() + unit * shift
        pull = (slope.square() + shift.square().sum()) / (2 * len(score))
        loss = told.losses(changed).mean() / start + pull
        loss.backward()
        return loss

    moving = [part for part in (slope, shift) if part.requires_grad]
    optimizer = torch.optim.LBFGS(moving, max_iter=_ITERATIONS, line_search_fn="strong_wolfe")
    with torch.enable_grad():
        optimizer.step(closure)
    scale = float(slope.detach().exp())
    return Recalibration(scale, (centre * (1 - scale) + unit * shift).detach())


def recalibrate(
    net: PipelineModule,
    runs: Sequence[CandidateRun | None],
    checkpoint: int,
    loss: LossLike | None,
    seed: int,
) -> str:
    """Recalibrate a trained module where its runs on parts of the rows say so; say what was done.

    Parameters
    ----------
    net : PipelineModule
        Trained on all rows; changed in place.
    runs : sequence of CandidateRun
        How the same training went on parts of the rows, with the scores of the others.
    checkpoint : int
        How long `net` was trained.
    loss : str, Objective, callable or None
        On which.
    seed : int
        Of the halves.

    Returns
    -------
    str
        Empty where nothing was done.
    """
    free = calibratable_parameters(loss, net.objective, net.head)
    done = [run for run in runs if run is not None and run.valid is not None]
    places = _supported_parameters(net, free)
    if places is None or not done:
        return ""
    before = np.concatenate([run.scores_[0] for run in done])
    after = np.concatenate([run.scores_[: checkpoint + 2][-1] for run in done])
    function, _ = make_criterion(None, net.objective, net.head)
    terms = Criterion(function).rows
    held = [run.valid for run in done if run.valid is not None]
    target = torch.cat([_told(rows, rows.target) for rows in held if rows.target is not None])
    weights = [_told(rows, rows.weight) for rows in held if rows.weight is not None]
    weight = torch.cat(weights) if len(weights) == len(held) else None
    found = fit_recalibration(before, after, target, terms, places, seed, weight)
    return str(found) if found is not None and apply(net, found) else ""


def _told(rows: EncodedDataset, values: Tensor) -> Tensor:
    return values[rows.index].cpu()


def _supported_parameters(net: PipelineModule, free: AffineFreedom | None) -> AffineFreedom | None:
    """What of it the last operator's own numbers can hold."""
    step, body = net.graph[net.graph.output], _last(net)
    places = [other for other in net.graph if other.operator is step.operator]
    if free is None or step.status != "trainable" or len(places) > 1:
        return None
    scale, shift = getattr(body, "rescalable", (False, False))
    room = AffineFreedom(free.scale and scale, free.shift and shift)
    return room if room.scale or room.shift else None


def apply(net: PipelineModule, found: Recalibration) -> bool:
    """Fold a recalibration into the numbers of the last operator, which stays what it is.

    Parameters
    ----------
    net : PipelineModule
        Its last module changes in place.
    found : Recalibration
        What becomes of the score.

    Returns
    -------
    bool
        Whether these numbers could hold it; nothing changed if not.
    """
    body = _last(net)
    scale, shift = getattr(body, "rescalable", (False, False))
    if (found.scale != 1 and not scale) or (found.shift.abs().max() > 0 and not shift):
        return False
    cast("_Rescalable", body).rescale_(found.scale, found.shift.to(net.reference_tensor()))
    return True


def _last(net: PipelineModule) -> nn.Module:
    return unwrap_head(net.step_module(net.graph.output))
