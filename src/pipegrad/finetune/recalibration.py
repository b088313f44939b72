"""Recalibration of scores whose calibration fine-tuning worsened.

Training may leave probabilities over- or under-confident although their order is right. A scale and
a shift of the score (Platt scaling, Platt 1999) correct this, and the parameters of the last
operator absorb both.
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
    """A module whose parameters can absorb a scale and a shift of the score."""

    def rescale_(self, scale: float, shift: Tensor) -> None: ...


@dataclass(frozen=True)
class AffineFreedom:
    """Whether the scale and the shift in ``scale * score + shift`` may be fitted."""

    scale: bool
    shift: bool


@dataclass(frozen=True)
class Recalibration:
    """The map from a score to ``scale * score + shift``.

    Attributes
    ----------
    scale : float
        The scale, which is positive.
    shift : Tensor
        The shift: one number, or one for each column of the score.
    gain : float
        Mean loss reduction on rows that were not used to fit scale and shift.
    error : float
        Standard error of ``gain``.
    """

    scale: float
    shift: Tensor
    gain: float = math.nan
    error: float = math.nan

    def __call__(self, score: Tensor) -> Tensor:
        """Return the recalibrated score."""
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
    """Return which of scale and shift may be recalibrated after training on a loss.

    After a proper scoring rule, both may be fitted. The focal loss makes probabilities
    under-confident by design, so only the scale is fitted, by the log loss, which preserves the
    predicted labels. Ranking losses determine neither scale nor shift, and both preserve the
    ranking. Other losses do not aim at true probabilities or means, so nothing is recalibrated.

    Parameters
    ----------
    loss : str, Objective, callable or None
        The loss given to `FineTuner`; None is the objective of the last operator.
    objective : Objective or None
        The objective of the last operator.
    head : Head or None
        The head that turns scores into predictions.

    Returns
    -------
    AffineFreedom or None
        The parameters that may be fitted; None if nothing may be recalibrated.
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
    """Fit a scale and a shift of the scores after training.

    Both are fitted on one half of the rows and evaluated on the other, for several random halves.
    They must lower the loss there by more than noise, and by more than they would have done before
    training: otherwise training did not worsen the calibration.

    Parameters
    ----------
    before, after : array of shape (n,) or (n, k)
        Scores of held-out rows before and after training.
    target : Tensor of shape (n,) or (n, k)
        Targets of these rows.
    terms : callable
        The per-sample loss ``terms(score, target)``, of shape (n,).
    free : AffineFreedom
        The parameters that may be fitted.
    seed : int
        Seed for the random halves.
    weight : Tensor of shape (n,), optional
        Weight of each row.

    Returns
    -------
    Recalibration or None
        The fitted recalibration; None if the scores are calibrated well enough.
    """
    target = target.double() if target.is_floating_point() else target
    rows = torch.ones(len(target)) if weight is None else weight
    data = _CalibrationData(target, rows.double(), terms, free)
    now, then = (torch.as_tensor(score, dtype=torch.float64) for score in (after, before))
    if len(now) < _FEWEST or not (torch.isfinite(now).all() and torch.isfinite(then).all()):
        return None
    gain, error = _gain(now, data, seed)
    worth = MIN_RELATIVE_GAIN * abs(float(data.losses(now).mean()))
    if gain <= max(critical_value(len(now)) * error, worth) or gain <= _gain(then, data, seed)[0]:
        return None
    return replace(_fit(now, data), gain=gain, error=error)


@dataclass(frozen=True)
class _CalibrationData:
    """Targets, weights and loss of the rows on which a recalibration is fitted."""

    target: Tensor
    weight: Tensor
    terms: Terms
    free: AffineFreedom

    def losses(self, score: Tensor) -> Tensor:
        return self.terms(score, self.target) * self.weight

    def part(self, rows: Tensor) -> _CalibrationData:
        return replace(self, target=self.target[rows], weight=self.weight[rows])


def _gain(score: Tensor, data: _CalibrationData, seed: int) -> tuple[float, float]:
    """Mean loss reduction of a recalibration on other rows, and its standard error."""
    count, gain, variance = len(score), 0.0, 0.0
    generator = np.random.default_rng(seed)
    for _ in range(_REPEATS):
        half = torch.from_numpy(generator.permutation(np.arange(count) % 2).astype(bool))
        drops = torch.zeros(count, dtype=torch.float64)
        for seen in (half, ~half):
            found, others = _fit(score[seen], data.part(seen)), data.part(~seen)
            left = score[~seen]
            drops[~seen] = others.losses(left) - others.losses(found(left))
        gain += float(drops.mean()) / _REPEATS
        # Repeats use the same rows, so their errors do not average out.
        variance += float(drops.var()) / _REPEATS
    return gain, math.sqrt(variance / count)


def _fit(score: Tensor, data: _CalibrationData) -> Recalibration:
    """Fit scale and shift, shrunk towards the identity with the weight of one observation."""
    free = data.free
    centre, unit = torch.zeros(score.shape[1:], dtype=score.dtype), 1.0
    if data.target.is_floating_point() and free.scale:
        centre, unit = score.mean(0), float(score.std()) or 1.0
    slope = torch.zeros((), dtype=score.dtype, requires_grad=free.scale)
    shift = torch.zeros(score.shape[1:], dtype=score.dtype, requires_grad=free.shift)
    start = float(data.losses(score).mean().abs()) or 1.0

    def closure() -> Tensor:
        optimizer.zero_grad()
        changed = centre + (score - centre) * slope.exp() + unit * shift
        pull = (slope.square() + shift.square().sum()) / (2 * len(score))
        loss = data.losses(changed).mean() / start + pull
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
    """Recalibrate a trained module if its runs on the validation splits support it.

    Parameters
    ----------
    net : PipelineModule
        The module trained on all rows; it is changed in place.
    runs : sequence of CandidateRun
        The runs of the same candidate on the splits, with the scores of their validation rows.
    checkpoint : int
        The checkpoint that was selected for ``net``.
    loss : str, Objective, callable or None
        The loss that was trained on.
    seed : int
        Seed for the random halves.

    Returns
    -------
    str
        A description of the recalibration; empty if there was none.
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
    """Return the part of ``free`` that the parameters of the last operator can absorb."""
    step, body = net.graph[net.graph.output], _last(net)
    places = [other for other in net.graph if other.operator is step.operator]
    if free is None or step.status != "trainable" or len(places) > 1:
        return None
    scale, shift = getattr(body, "rescalable", (False, False))
    room = AffineFreedom(free.scale and scale, free.shift and shift)
    return room if room.scale or room.shift else None


def apply(net: PipelineModule, found: Recalibration) -> bool:
    """Fold a recalibration into the parameters of the last operator.

    Parameters
    ----------
    net : PipelineModule
        The module whose last operator is changed in place.
    found : Recalibration
        The recalibration of the score.

    Returns
    -------
    bool
        Whether the parameters could absorb it; if not, nothing changes.
    """
    body = _last(net)
    scale, shift = getattr(body, "rescalable", (False, False))
    if (found.scale != 1 and not scale) or (found.shift.abs().max() > 0 and not shift):
        return False
    cast("_Rescalable", body).rescale_(found.scale, found.shift.to(net.reference_tensor()))
    return True


def _last(net: PipelineModule) -> nn.Module:
    return unwrap_head(net.step_module(net.graph.output))
