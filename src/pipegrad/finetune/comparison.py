"""Sequential comparison of the candidates over validation splits, until it is conclusive."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..errors import ArgumentError, DivergedError
from ..report.results import Tried
from ..training.deadline import Deadline, TimeLimitReached
from ..training.options import Options
from ..typing import Array, ScoreArray
from .candidate_run import CandidateRun
from .portfolio import LARGE_SAMPLE, Candidate
from .problem import TrainingProblem
from .scores.predictions import HeldOut
from .scores.scoring import Scorer
from .selection import (
    MIN_RELATIVE_GAIN,
    Place,
    Selection,
    critical_value,
    select_candidate,
    successive_parts,
)
from .time_plan import TimePlan

# With one fifth of the rows per split, every row is in one validation set.
SPLITS = 5
# Multiple of the required gain at which further splits are unnecessary on small data sets.
_SURE = 5 / 3
# Gain in standard errors that large data sets must show for another split to be worth its time.
_PROMISING = 0.5
# Standard errors behind the best candidate beyond which a candidate is dropped.
_BEHIND = 1.0
# Number of candidates that train on further splits.
_FINALISTS = 2
# Probability of a significant result after all splits, at a drift one standard error above the
# estimate, below which further splits are not worth their time.
_LEAST_POWER = 0.05
# Standard errors by which the true gain may exceed the measured one.
_OPTIMISM = 2.0


@dataclass
class Fold:
    """Results of all candidates on one split; target and groups are of the validation rows."""

    target: Array | None
    start: NDArray[np.float64]
    runs: list[CandidateRun | None]
    seconds: list[float]
    groups: NDArray[np.int64] | None = None
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
        return replace(fold, start=start, scorer=scorer)

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
    plan: TimePlan | None = None,
    unusable: list[Exception] | None = None,
    scorer: Scorer | None = None,
) -> Comparison | None:
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
    plan : TimePlan, optional
        Says what there is time for, and is told what was left out; by default, there is no limit.
    unusable : list of Exception, optional
        Receives the reason for each split on which the fitted pipeline has no finite loss.
    scorer : Scorer, optional
        The score that selects; by default the loss does.

    Returns
    -------
    Comparison or None
        The results on all splits that were used; None if there are none.

    Raises
    ------
    TimeLimitReached
        If there was no time for a single checkpoint.
    """
    plan = TimePlan(Deadline(), 0) if plan is None else plan
    compared: Comparison | None = None
    while compared is None or not _is_over(compared, own):
        try:
            found = _next_split(tasks, compared, options, own, plan, scorer)
        except TimeLimitReached:
            if compared is None:
                raise
            plan.left_out.append(f"splits after the first {len(compared.folds)}")
            break
        except DivergedError as error:
            if unusable is None:
                raise
            unusable.append(error)
            continue
        if found is None:
            break
        compared = found
    return compared


def _is_over(compared: Comparison, own: bool) -> bool:
    """Whether no further split is of use."""
    if len(compared.folds) == SPLITS or (
        not own and is_conclusive(compared.choice, compared.rows, len(compared.folds))
    ):
        return True
    return not any(_active_mask(compared.folds, compared.candidates))


def _next_split(
    tasks: Iterator[TrainingProblem],
    before: Comparison | None,
    options: Options,
    own: bool,
    plan: TimePlan,
    scorer: Scorer | None,
) -> Comparison | None:
    """Compare the candidates on one more split; return None if there is none."""
    folds = [] if before is None else before.folds
    if before is not None:
        plan.check_split(*_seconds(before, plan))
    number = f"split {len(folds) + 1} of at most {SPLITS}"
    plan.tell(f"{number}: fitting the pipeline")
    task = next(tasks, None)
    if task is None:
        return None
    candidates = task.portfolio() if before is None else before.candidates
    racing = _active_mask(folds, candidates)
    fold = _try_all(task, for_rows(candidates, len(task.training)), racing, plan, number)
    task.release()
    folds = [*folds, fold if scorer is None else Fold.of_scores(fold, scorer)]
    began = Deadline.clock()
    choice = _select(candidates, folds, options.seed or 0, own)
    plan.select_seconds = Deadline.clock() - began
    found = Comparison(candidates, folds, choice, task)
    plan.expect(*_seconds(found, plan), *_to_come(found, own))
    return found


def _to_come(compared: Comparison, own: bool) -> tuple[float, bool]:
    """Expect the number of further splits, and whether training on all rows follows them.

    If any follow, there is at least one and at most the rest; the geometric mean of the two is
    wrong by no more than a factor of two. The gain in standard errors is expected to grow with the
    root of the number of rows.
    """
    done, choice = len(compared.folds), compared.choice
    if _is_over(compared, own):
        return 0.0, choice.significant
    left = SPLITS - done
    rows = compared.rows * SPLITS // done
    error = choice.error * math.sqrt(done / SPLITS)
    trend = replace(choice, error=error, critical_z=critical_value(rows, own))
    return float(left if own else math.sqrt(left)), trend.significant


def _seconds(compared: Comparison, plan: TimePlan) -> tuple[float, float]:
    """Estimate how long the candidates train on another split, and the best one on all rows."""
    racing = _active_mask(compared.folds, compared.candidates)
    last = compared.folds[-1].seconds
    split = sum(seconds for seconds, runs_on in zip(last, racing, strict=True) if runs_on)
    if compared.choice.best is None:
        return split, 0.0
    place, checkpoint = compared.choice.best
    return split, plan.refit_seconds([fold.runs[place] for fold in compared.folds], checkpoint)


def _select(
    candidates: list[Candidate], folds: list[Fold], seed: int, own: bool, alone: int | None = None
) -> Selection:
    """Select among all candidates, or evaluate the candidate with index ``alone``."""
    starts = np.concatenate([fold.start for fold in folds])
    cluster = _clusters(folds, own)
    losses = _losses(candidates, folds)
    if alone is not None:
        losses[np.arange(len(losses)) != alone] = np.inf
    size = _size(folds[0].target) if folds[0].scorer is None else 1.0
    return select_candidate(starts, losses, seed, size, cluster, own)


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


def is_conclusive(choice: Selection, count: int, splits: int = 1) -> bool:
    """Whether another split is unlikely to change the selection.

    Parameters
    ----------
    choice : Selection
        The selection so far.
    count : int
        Number of validation rows so far.
    splits : int
        Number of splits that they come from.
    """
    if is_futile(choice, count, splits):
        return True
    if count >= LARGE_SAMPLE:
        return choice.significant or choice.gain < _PROMISING * choice.error
    return choice.significant and choice.gain > _SURE * choice.critical_z * choice.error


def is_futile(choice: Selection, count: int, splits: int) -> bool:
    """Whether the gain will hardly be significant after all splits.

    Over the share t of the splits, the gain in standard errors times the root of t is a Brownian
    motion with drift, of which the remaining splits are the rest (stochastic curtailment: Lan,
    Simon and Halperin 1982).
    """
    share = splits / SPLITS
    if share >= 1 or choice.significant:
        return False
    z = choice.gain / choice.error if choice.error > 0 else 0.0
    drift = (z + _OPTIMISM) / math.sqrt(share)
    at_end = math.sqrt(share) * z + (1 - share) * drift
    needed = critical_value(round(count / share))
    return bool(stats.norm.sf((needed - at_end) / math.sqrt(1 - share)) < _LEAST_POWER)


def for_rows(candidates: list[Candidate], count: int) -> list[Candidate]:
    """Return the candidates with full-batch sizes for another number of rows."""
    return [replace(c, batch_size=count) if c.full else c for c in candidates]


def _active_mask(folds: list[Fold], candidates: list[Candidate]) -> list[bool]:
    """Which candidates may still win.

    Their loss at the best checkpoint, an optimistic estimate, must be below the baseline, and it
    must not exceed the best candidate's by more than the standard error of the difference. Of
    several such candidates, those with the lowest losses go on.
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
    able = finite & helps & (behind.mean(axis=1) <= _BEHIND * error)
    ranked = np.where(able, rows.mean(axis=1), np.inf).argsort(kind="stable")
    finalists = np.isin(np.arange(len(able)), ranked[:_FINALISTS])
    return list(able & finalists)


def _try_all(
    task: TrainingProblem,
    candidates: list[Candidate],
    racing: list[bool],
    plan: TimePlan,
    number: str,
) -> Fold:
    runs: list[CandidateRun | None] = []
    seconds: list[float] = []
    for candidate, runs_on in zip(candidates, racing, strict=True):
        if runs_on:
            plan.tell(f"{number}: {candidate.name}")
        began = Deadline.clock()
        waiting = sum(racing[len(runs) + 1 :])
        runs.append(_try_one(task, candidate, runs, waiting, plan) if runs_on else None)
        seconds.append(Deadline.clock() - began if runs_on else 0.0)
    finished = [run for run in runs if run is not None]
    if not finished and plan.left_out:
        raise TimeLimitReached
    start = finished[-1].losses_[0] if finished else None
    if start is None or not np.isfinite(start).all():
        raise DivergedError("The loss of the fitted pipeline is not finite on the validation rows.")
    return Fold(task.target(), start, runs, seconds, task.groups, task.held_out)


def _try_one(
    task: TrainingProblem,
    candidate: Candidate,
    runs: list[CandidateRun | None],
    waiting: int,
    plan: TimePlan,
) -> CandidateRun | None:
    """Train a candidate; return None if it diverged or had no time for a checkpoint."""
    competitors = [done for done in runs if done is not None and done.candidate.full]
    limit = plan.run_deadline(runs, waiting, len(task.training))
    try:
        trained = task.run(candidate, competitors=competitors, deadline=limit)
    except DivergedError:
        return None
    if trained.out_of_time_:
        plan.cut(candidate.name, started=len(trained.losses_) > 1)
    return None if trained.out_of_time_ and len(trained.losses_) < 2 else trained


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
