"""The candidates compared, on one split after the other, until more would not change the answer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import DivergedError
from ..report.results import Tried
from ..training.options import Options
from ..typing import Array
from .candidate_run import CandidateRun
from .portfolio import LARGE_SAMPLE, Candidate
from .problem import TrainingProblem
from .selection import MIN_RELATIVE_GAIN, Selection, select_candidate

# With a fifth of the rows in each, every row validates once.
SPLITS = 5
# Of what is asked, when few rows say so much that more splits are not needed.
_SURE = 5 / 3
# Standard errors of gain that many rows must show for another split to be worth its time.
_PROMISING = 0.5
# Standard errors behind the best after which a candidate is given up.
_BEHIND = 1.0


@dataclass
class Fold:
    """What came of all candidates on one split; ``target`` is that of the rows that validate."""

    target: Array | None
    start: NDArray[np.float64]
    runs: list[CandidateRun | None]
    seconds: list[float]

    def losses(self, epochs: Sequence[int]) -> NDArray[np.float64]:
        """Shape (candidates, checkpoints, rows); runs that ended early go on as they ended."""
        out = np.full((len(self.runs), max(epochs), len(self.start)), np.inf)
        for place, trained in enumerate(self.runs):
            if trained is None:
                continue
            found = np.stack(trained.losses_[1:])
            out[place, : len(found)] = found
            if not trained.diverged_:
                out[place, len(found) : epochs[place]] = found[-1]
        # What is not a number would be the least of all to numpy.
        return np.where(np.isfinite(out), out, np.inf)


@dataclass(frozen=True)
class Comparison:
    """The candidates on all splits so far, and what their losses say.

    Attributes
    ----------
    candidates : list of Candidate
        For the number of rows of the first split.
    folds : list of Fold
        A split each.
    choice : Selection
        Which is best, and whether that is clear.
    task : TrainingProblem
        Of the last split.
    """

    candidates: list[Candidate]
    folds: list[Fold]
    choice: Selection
    task: TrainingProblem

    @property
    def rows(self) -> int:
        """How many validated."""
        return sum(len(fold.start) for fold in self.folds)


def compare_candidates(
    tasks: Iterator[TrainingProblem], options: Options, own: bool = False
) -> Comparison:
    """Try the candidates on one split after the other.

    Parameters
    ----------
    tasks : iterator of TrainingProblem
        The pipeline fitted on each split, made when it is asked for.
    options : Options
        With the batch size, the anchor and the seed.
    own : bool
        Whether the user divided the rows: those of a split may resemble each other then, so that
        all splits are needed, and counted.
    """
    folds: list[Fold] = []
    candidates: list[Candidate] = []
    for task in tasks:
        candidates = candidates or task.portfolio()
        racing = _active_mask(folds, candidates)
        if folds and not any(racing):
            break
        folds.append(_try_all(task, for_rows(candidates, len(task.training)), racing))
        choice = _select(candidates, folds, options.seed or 0, own)
        compared = Comparison(candidates, folds, choice, task)
        if len(folds) == SPLITS or (not own and is_conclusive(choice, compared.rows)):
            break
    return compared


def _select(
    candidates: list[Candidate], folds: list[Fold], seed: int, own: bool, alone: int | None = None
) -> Selection:
    """The choice among all candidates, or what it would be with one of them ``alone``."""
    starts = np.concatenate([fold.start for fold in folds])
    split = np.repeat(np.arange(len(folds)), [len(fold.start) for fold in folds]) if own else None
    losses = _losses(candidates, folds)
    if alone is not None:
        losses[np.arange(len(losses)) != alone] = np.inf
    return select_candidate(starts, losses, seed, _size(folds[0].target), split)


def rank_significant(found: Comparison, options: Options, own: bool = False) -> Iterator[Selection]:
    """The choice, then the other candidates whose gain is clear by itself, the best first."""
    yield found.choice
    assert found.choice.best is not None
    means = _losses(found.candidates, found.folds).mean(axis=2).min(axis=1)
    for place in map(int, means.argsort()):
        if place != found.choice.best[0]:
            choice = _select(found.candidates, found.folds, options.seed or 0, own, place)
            if choice.significant:
                yield choice


def _size(target: Array | None) -> float:
    """The root mean square of numbers that are predicted; 1 for labels."""
    if target is None or target.dtype.kind != "f":
        return 1.0
    return float(np.sqrt(np.mean(np.square(target, dtype=np.float64))))


def _losses(candidates: list[Candidate], folds: list[Fold]) -> NDArray[np.float64]:
    epochs = [candidate.epochs for candidate in candidates]
    return np.concatenate([fold.losses(epochs) for fold in folds], axis=2)


def is_conclusive(choice: Selection, count: int) -> bool:
    """Whether another split could still change the answer."""
    if count >= LARGE_SAMPLE:
        return choice.significant or choice.gain < _PROMISING * choice.error
    return choice.significant and choice.gain > _SURE * choice.critical_z * choice.error


def for_rows(candidates: list[Candidate], count: int) -> list[Candidate]:
    """The same candidates for another number of rows."""
    return [replace(c, batch_size=count) if c.full else c for c in candidates]


def _active_mask(folds: list[Fold], candidates: list[Candidate]) -> list[bool]:
    """Which candidates may still win: better than the original where it flatters them most, and
    not behind the best by more than the noise of both.
    """
    if not folds:
        return [True] * len(candidates)
    before = float(np.mean(np.concatenate([fold.start for fold in folds])))
    losses = _losses(candidates, folds)
    means = losses.mean(axis=2)
    checkpoints = means.argmin(axis=1)
    rows = losses[np.arange(len(candidates)), checkpoints]
    finite = np.isfinite(rows).all(axis=1)
    if not finite.any():
        return [False] * len(candidates)
    best = rows[rows.mean(axis=1).argmin()]
    behind = np.where(finite[:, None], rows, 0.0) - best
    error = behind.std(axis=1) / math.sqrt(len(best))
    helps = means.min(axis=1) < before - MIN_RELATIVE_GAIN * abs(before)
    return list(finite & helps & (behind.mean(axis=1) <= _BEHIND * error))


def _try_all(task: TrainingProblem, candidates: list[Candidate], racing: list[bool]) -> Fold:
    runs: list[CandidateRun | None] = []
    seconds, start = [], None
    for candidate, runs_on in zip(candidates, racing, strict=True):
        if not runs_on:
            runs.append(None)
            seconds.append(0.0)
            continue
        began = time.perf_counter()
        try:
            competitors = [done for done in runs if done is not None and done.candidate.full]
            trained = task.run(candidate, competitors=competitors)
        except DivergedError:
            runs.append(None)
        else:
            runs.append(trained)
            start = trained.losses_[0]
        seconds.append(time.perf_counter() - began)
    if start is None or not np.isfinite(start).all():
        raise DivergedError(
            "The loss of the fitted pipeline is not finite on rows that it was not fitted on."
        )
    return Fold(task.target(), start, runs, seconds)


def summary(candidates: list[Candidate], folds: list[Fold]) -> tuple[Tried, ...]:
    """The candidates for the report."""
    return tuple(_summarize(place, candidates, folds) for place in range(len(candidates)))


def _summarize(place: int, candidates: list[Candidate], folds: list[Fold]) -> Tried:
    name, epochs = candidates[place].name, [candidate.epochs for candidate in candidates]
    seconds = sum(fold.seconds[place] for fold in folds)
    ran = [fold for fold in folds if fold.runs[place] is not None]
    rows = sum(len(fold.start) for fold in ran)
    without = Tried(name, 0, math.nan, math.nan, rows, seconds)
    if not ran:
        return without
    start = np.concatenate([fold.start for fold in ran])
    losses = np.concatenate([fold.losses(epochs)[place] for fold in ran], axis=1)
    checkpoint = int(losses.mean(axis=1).argmin())
    if not np.isfinite(losses[checkpoint]).all():
        return without
    gains = start - losses[checkpoint]
    error = float(np.std(gains, ddof=1) / math.sqrt(rows))
    return Tried(name, checkpoint + 1, float(gains.mean()), error, rows, seconds)
