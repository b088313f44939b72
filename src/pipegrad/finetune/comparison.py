"""Sequential comparison of the candidates over validation splits, until it is conclusive."""

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

# With one fifth of the rows per split, every row is in one validation set.
SPLITS = 5
# Multiple of the required gain at which further splits are unnecessary on small data sets.
_SURE = 5 / 3
# Gain in standard errors that large data sets must show for another split to be worth its time.
_PROMISING = 0.5
# Standard errors behind the best candidate beyond which a candidate is dropped.
_BEHIND = 1.0


@dataclass
class Fold:
    """Results of all candidates on one split; target and groups are of the validation rows."""

    target: Array | None
    start: NDArray[np.float64]
    runs: list[CandidateRun | None]
    seconds: list[float]
    groups: NDArray[np.int64] | None = None

    def losses(self, epochs: Sequence[int]) -> NDArray[np.float64]:
        """Losses (candidates, checkpoints, rows); stopped runs repeat their last checkpoint."""
        out = np.full((len(self.runs), max(epochs), len(self.start)), np.inf)
        for place, trained in enumerate(self.runs):
            if trained is None:
                continue
            found = np.stack(trained.losses_[1:])
            out[place, : len(found)] = found
            if not trained.diverged_:
                out[place, len(found) : epochs[place]] = found[-1]
        # Otherwise argmin would select NaN.
        return np.where(np.isfinite(out), out, np.inf)


@dataclass(frozen=True)
class Comparison:
    """The results of the candidates on all splits so far, and the selection they lead to.

    Attributes
    ----------
    candidates : list of Candidate
        The candidates, with batch sizes for the first split.
    folds : list of Fold
        The results on each split.
    choice : Selection
        The best candidate, and whether its gain is significant.
    task : TrainingProblem
        The training problem of the last split.
    """

    candidates: list[Candidate]
    folds: list[Fold]
    choice: Selection
    task: TrainingProblem

    @property
    def rows(self) -> int:
        """Number of validation rows over all splits."""
        return sum(len(fold.start) for fold in self.folds)


def compare_candidates(
    tasks: Iterator[TrainingProblem], options: Options, own: bool = False
) -> Comparison:
    """Compare the candidates on one split after the other until the result is conclusive.

    Parameters
    ----------
    tasks : iterator of TrainingProblem
        The training problem of each split, created lazily.
    options : Options
        The batch size, the anchor and the seed.
    own : bool
        Whether the splits come from the user. Validation rows of such a split may be correlated, so
        all splits are used, and the standard error is computed over splits.

    Returns
    -------
    Comparison
        The results on all splits that were used.
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
    """Select among all candidates, or evaluate the candidate with index ``alone``."""
    starts = np.concatenate([fold.start for fold in folds])
    cluster = _clusters(folds, own)
    losses = _losses(candidates, folds)
    if alone is not None:
        losses[np.arange(len(losses)) != alone] = np.inf
    return select_candidate(starts, losses, seed, _size(folds[0].target), cluster, own)


def _clusters(folds: list[Fold], own: bool) -> NDArray[np.int64] | None:
    """The group or the split of each validation row, where rows of one depend on each other."""
    if folds[0].groups is not None:
        return np.concatenate([fold.groups for fold in folds if fold.groups is not None])
    return np.repeat(np.arange(len(folds)), [len(fold.start) for fold in folds]) if own else None


def rank_significant(found: Comparison, options: Options, own: bool = False) -> Iterator[Selection]:
    """Yield the selection, then every other candidate with a significant gain, best first."""
    yield found.choice
    assert found.choice.best is not None
    means = _losses(found.candidates, found.folds).mean(axis=2).min(axis=1)
    for place in map(int, means.argsort()):
        if place != found.choice.best[0]:
            choice = _select(found.candidates, found.folds, options.seed or 0, own, place)
            if choice.significant:
                yield choice


def _size(target: Array | None) -> float:
    """Root mean square of a numeric target; 1 for labels."""
    if target is None or target.dtype.kind != "f":
        return 1.0
    return float(np.sqrt(np.mean(np.square(target, dtype=np.float64))))


def _losses(candidates: list[Candidate], folds: list[Fold]) -> NDArray[np.float64]:
    epochs = [candidate.epochs for candidate in candidates]
    return np.concatenate([fold.losses(epochs) for fold in folds], axis=2)


def is_conclusive(choice: Selection, count: int) -> bool:
    """Whether another split is unlikely to change the selection."""
    if count >= LARGE_SAMPLE:
        return choice.significant or choice.gain < _PROMISING * choice.error
    return choice.significant and choice.gain > _SURE * choice.critical_z * choice.error


def for_rows(candidates: list[Candidate], count: int) -> list[Candidate]:
    """Return the candidates with full-batch sizes for another number of rows."""
    return [replace(c, batch_size=count) if c.full else c for c in candidates]


def _active_mask(folds: list[Fold], candidates: list[Candidate]) -> list[bool]:
    """Which candidates may still win.

    Their loss at the best checkpoint, an optimistic estimate, must be below the baseline, and it
    must not exceed the best candidate's by more than the standard error of the difference.
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
        raise DivergedError("The loss of the fitted pipeline is not finite on the validation rows.")
    return Fold(task.target(), start, runs, seconds, task.groups)


def summary(candidates: list[Candidate], folds: list[Fold]) -> tuple[Tried, ...]:
    """Summarize the candidates for the report."""
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
