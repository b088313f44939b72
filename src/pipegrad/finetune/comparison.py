"""Sequential comparison of the candidates over validation splits, until it is conclusive."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DivergedError
from ..report.results import Tried
from ..training.options import Options
from ..typing import Array, ScoreArray
from .candidate_run import CandidateRun
from .portfolio import LARGE_SAMPLE, Candidate
from .predictions import HeldOut
from .problem import TrainingProblem
from .scoring import Scorer
from .selection import MIN_RELATIVE_GAIN, Place, Selection, select_candidate, successive_parts

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
    """Results of all candidates on one split; ``target`` belongs to the validation rows."""

    target: Array | None
    start: NDArray[np.float64]
    runs: list[CandidateRun | None]
    seconds: list[float]
    held_out: HeldOut | None = None
    scorer: Scorer | None = None

    @classmethod
    def of_scores(cls, fold: Fold, scorer: Scorer) -> Fold:
        """The same results, of which scores decide: each loss becomes a score, with a minus."""
        held, first = fold.held_out, fold.scored.scores_[0]
        assert held is not None
        scorer = scorer.for_rows(held, first)
        start = -scorer.terms(held, first)
        if not np.isfinite(start).all():
            raise ArgumentError(
                f"scoring={scorer.name!r} is not defined on the validation rows of a split.\n"
                "Hint: use larger splits, or more rows of each class."
            )
        return cls(fold.target, start, fold.runs, fold.seconds, held, scorer)

    def _measured(self, run: CandidateRun) -> NDArray[np.float64]:
        """What decides (checkpoints, rows): losses, or scores with a minus."""
        if self.scorer is None:
            return np.stack(run.losses_[1:])
        assert self.held_out is not None
        if run not in self._terms:
            terms = [-self.scorer.terms(self.held_out, score) for score in run.scores_[1:]]
            self._terms[run] = np.stack(terms)
        return self._terms[run]

    @cached_property
    def _terms(self) -> dict[CandidateRun, NDArray[np.float64]]:
        return {}

    @property
    def scored(self) -> CandidateRun:
        """A run on this split; the scores of all runs begin with those of the baseline."""
        return next(run for run in self.runs if run is not None)

    @property
    def rows(self) -> int:
        """Number of validation rows, or of parts of them with losses of their own."""
        return len(self.start if self.scorer is None else self.scored.losses_[0])

    def parts(self) -> NDArray[np.int64]:
        """The entry of ``start`` that each validation row belongs to.

        Each row has its own, except for losses without per-sample values and for scores that are
        no means over rows, which are measured on successive parts of the rows.
        """
        return successive_parts(len(self.scored.scores_[0]), len(self.start))

    def run_of(self, place: Place | None) -> tuple[CandidateRun, int]:
        """The run and the index of its checkpoint for a selection, or for the baseline."""
        if place is None:
            return self.scored, 0
        run = self.runs[place[0]]
        assert run is not None  # Without all of its runs, a candidate is not selected.
        return run, min(place[1] + 1, len(run.losses_) - 1)

    def loss_at(self, place: Place | None) -> NDArray[np.float64]:
        """Losses of the validation rows at a checkpoint, or of the baseline."""
        run, checkpoint = self.run_of(place)
        return run.losses_[checkpoint]

    def score_at(self, place: Place | None) -> ScoreArray:
        """Raw scores of the validation rows at a checkpoint, or of the baseline."""
        run, checkpoint = self.run_of(place)
        return run.scores_[checkpoint]

    def losses(self, epochs: Sequence[int]) -> NDArray[np.float64]:
        """Losses (candidates, checkpoints, rows); stopped runs repeat their last checkpoint."""
        out = np.full((len(self.runs), max(epochs), len(self.start)), np.inf)
        for place, trained in enumerate(self.runs):
            if trained is None:
                continue
            found = self._measured(trained)
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
        return sum(fold.rows for fold in self.folds)

    @property
    def shift(self) -> float:
        """The mean offset of the validation rows between the loss and its metric."""
        shifts = [fold.scored.shift("valid") for fold in self.folds]
        return float(np.average(shifts, weights=[fold.rows for fold in self.folds]))

    def loss_gain(self, choice: Selection) -> float:
        """The reduction of the validation loss that a selection brings, whatever decided."""
        if choice.best is None or all(fold.scorer is None for fold in self.folds):
            return choice.gain
        gains = [fold.loss_at(None) - fold.loss_at(choice.best) for fold in self.folds]
        return float(np.mean(np.concatenate(gains)))


def compare_candidates(
    tasks: Iterator[TrainingProblem],
    options: Options,
    own: bool = False,
    scorer: Scorer | None = None,
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
    scorer : Scorer, optional
        The score that selects; by default the loss does.

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
        fold = _try_all(task, for_rows(candidates, len(task.training)), racing)
        folds.append(fold if scorer is None else Fold.of_scores(fold, scorer))
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
    split = np.repeat(np.arange(len(folds)), [len(fold.start) for fold in folds]) if own else None
    losses = _losses(candidates, folds)
    if alone is not None:
        losses[np.arange(len(losses)) != alone] = np.inf
    size = _size(folds[0].target) if folds[0].scorer is None else 1.0
    return select_candidate(starts, losses, seed, size, split)


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
    return Fold(task.target(), start, runs, seconds, task.held_out)


def summary(
    candidates: list[Candidate], folds: list[Fold], factor: float = 1.0
) -> tuple[Tried, ...]:
    """Summarize the candidates for the report; ``factor`` turns losses into their metric."""
    places = range(len(candidates))
    return tuple(_summarize(place, candidates, folds, factor) for place in places)


def _summarize(place: int, candidates: list[Candidate], folds: list[Fold], factor: float) -> Tried:
    name, epochs = candidates[place].name, [candidate.epochs for candidate in candidates]
    seconds = sum(fold.seconds[place] for fold in folds)
    ran = [fold for fold in folds if fold.runs[place] is not None]
    rows = sum(fold.rows for fold in ran)
    without = Tried(name, 0, math.nan, math.nan, rows, seconds)
    if not ran:
        return without
    start = np.concatenate([fold.start for fold in ran])
    losses = np.concatenate([fold.losses(epochs)[place] for fold in ran], axis=1)
    checkpoint = int(losses.mean(axis=1).argmin())
    if not np.isfinite(losses[checkpoint]).all():
        return without
    gains = factor * (start - losses[checkpoint])
    error = float(np.std(gains, ddof=1) / math.sqrt(len(gains)))
    return Tried(name, checkpoint + 1, float(gains.mean()), error, rows, seconds)
