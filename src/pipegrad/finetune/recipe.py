"""The recipe: compares training strategies on validation rows and applies the best one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DivergedError
from ..report.calibration import calibrations
from ..report.learning_curves import curves
from ..report.parameter_changes import MovedStep, moved_steps
from ..report.results import Report
from ..report.timing import Stopwatch
from ..training.options import Options
from ..training.samples import Samples
from .candidate_run import CandidateRun
from .comparison import Comparison, compare_candidates, for_rows, rank_significant, summary
from .pipeline import TunablePipeline
from .problem import TrainingProblem
from .recalibration import recalibrate
from .selection import Selection
from .validation_splits import Index, Split, Trial, ValidationSplits

if TYPE_CHECKING:
    pass

# With fewer rows, no improvement could be distinguished from noise.
_FEWEST = 50


@dataclass(frozen=True)
class TuningResult:
    """The estimator to keep, with the history and the report."""

    estimator: Any
    improved: bool
    history: Any
    report: Report


def tune(
    pipeline: TunablePipeline,
    samples: Samples,
    splits: ValidationSplits,
    options: Options,
) -> TuningResult:
    """Fit, compare the candidates on validation splits, and train on all samples with the best.

    Parameters
    ----------
    pipeline : TunablePipeline
        Fits, translates and writes back the pipeline.
    samples : Samples
        All samples of the user.
    splits : ValidationSplits
        The usable rows, and their training and validation sets.
    options : Options
        The loss, batch size, seed, anchor and callbacks.

    Returns
    -------
    TuningResult
        The estimator to keep, with the history and the report.
    """
    clock = Stopwatch()
    fit = clock.wrap("fitting", pipeline.fit)
    usable = samples.take(splits.rows)
    whole = fit(usable)
    if len(splits.rows) < _FEWEST:
        pipeline.translate(whole)  # Raises an error if the pipeline cannot be trained.
        why = f"{len(splits.rows)} rows are too few to distinguish an improvement from noise"
        report = Report(None, why, seconds=clock.seconds, times=clock.times())
        return TuningResult(whole, False, None, report)

    splits, problems = training_problems(pipeline, samples, splits, options, fit)
    found = compare_candidates(problems, options, splits.dependent)
    kept = _Refit(None, _why_not(found.choice))
    if found.choice.significant:
        refit = clock.wrap("training", _refit_on_all_rows)
        kept = refit(pipeline, whole, usable, found, splits, options)
    improved = kept.estimator is not None
    report = replace(_report(found, kept, clock), validation=splits.why)
    estimator = kept.estimator if improved else whole
    return TuningResult(estimator, improved, _history(found, kept.choice or found.choice), report)


def training_problems(
    pipeline: TunablePipeline,
    samples: Samples,
    splits: ValidationSplits,
    options: Options,
    fit: Callable[[Samples], Any],
) -> tuple[ValidationSplits, Iterator[TrainingProblem]]:
    """Return the splits that suit the rows, and the training problem of each, created lazily.

    Parameters
    ----------
    pipeline : TunablePipeline
        Translates the fitted pipelines.
    samples : Samples
        All samples of the user.
    splits : ValidationSplits
        The splits, which the signals of their first rows may revise.
    options : Options
        The loss and the seed.
    fit : callable
        Fits the pipeline on samples.

    Returns
    -------
    splits : ValidationSplits
        The splits given, or revised ones.
    problems : iterator of TrainingProblem
        The training problem of each of these splits.
    """

    def create(pair: Split, groups: Index | None) -> tuple[TrainingProblem, Any]:
        training, validation = (samples.take(rows) for rows in pair)
        fitted = fit(training)
        problem = TrainingProblem.of(pipeline.translate(fitted), training, validation, options)
        problem.groups = None if groups is None else groups[pair[1]]
        return problem, fitted

    def rest(splits: ValidationSplits) -> Iterator[TrainingProblem]:
        return (create(pair, splits.groups)[0] for pair in splits.pairs)

    if splits.revise is None:
        return splits, rest(splits)
    created: list[TrainingProblem] = []

    def trials() -> Iterator[Trial]:
        for pair in splits.pairs:
            problem, fitted = create(pair, None)
            created.append(problem)
            yield problem, fitted, pair[1]

    others = splits.revise(trials(), samples)
    if others is None:
        return splits, chain(created, rest(splits))
    return others, rest(others)


@dataclass(frozen=True)
class _Refit:
    """Result of the training on all rows."""

    estimator: Any
    why: str = ""
    choice: Selection | None = None
    steps: tuple[MovedStep, ...] = ()
    recalibrated: str = ""


def _best_runs(found: Comparison, choice: Selection) -> list[CandidateRun | None]:
    best = 0 if choice.best is None else choice.best[0]
    return [fold.runs[best] for fold in found.folds]


def _history(found: Comparison, choice: Selection) -> Any:
    runs = _best_runs(found, choice)
    return next((done.history for done in runs if done is not None), None)


def _report(found: Comparison, kept: _Refit, clock: Stopwatch) -> Report:
    choice, improved = kept.choice or found.choice, kept.estimator is not None
    tried = summary(found.candidates, found.folds)
    names = [candidate.name for candidate in found.candidates]
    checkpoints = [t.epochs for t in tried]
    if choice.best is not None:
        checkpoints[choice.best[0]] = choice.best[1] + 1
    shown = choice.best if improved else None
    criterion, head = found.task.criterion, found.task.net.head
    return Report(
        None if shown is None else names[shown[0]],
        kept.why,
        before=choice.before,
        gain=choice.gain,
        error=choice.error,
        wanted=choice.critical_z,
        rows=found.rows,
        splits=len(found.folds),
        tried=tried,
        seconds=clock.seconds,
        loss=criterion.name,
        steps=kept.steps,
        curves=curves(found.folds, names, checkpoints),
        calibration=calibrations(found.folds, shown, head, criterion.name),
        times=clock.times(),
        recalibrated=kept.recalibrated,
    )


def _why_not(choice: Selection) -> str:
    if choice.best is None:
        return "no candidate reached a finite loss"
    if choice.gain <= 0:
        return "no candidate lowered the loss on rows that were not used to select it"
    return "the improvement is within noise, and ties go to the baseline"


def _refit_on_all_rows(
    pipeline: TunablePipeline,
    whole: Any,
    samples: Samples,
    found: Comparison,
    splits: ValidationSplits,
    options: Options,
) -> _Refit:
    """Train on all rows with the best candidate that reproduces its cross-validated loss.

    Returns
    -------
    _Refit
        The written-back pipeline, or a result without an estimator if no candidate reproduces its
        loss.
    """
    net = pipeline.translate(whole)
    task = TrainingProblem.of(net, samples, None, options)
    for choice in rank_significant(found, options, splits.dependent):
        runs = _best_runs(found, choice)
        if _reached_reference_loss(task, found, choice, runs):
            assert choice.best is not None
            again = recalibrate(net, runs, choice.best[1], options.loss, options.seed or 0)
            return _Refit(pipeline.write_back(net), "", choice, moved_steps(net), again)
    return _Refit(None, _UNSTABLE)


_UNSTABLE = "trained on all rows, the best candidate did not reproduce its cross-validated loss"


def _reached_reference_loss(
    task: TrainingProblem, found: Comparison, choice: Selection, runs: Sequence[CandidateRun | None]
) -> bool:
    """Train on all rows to the training loss of the splits; return whether it was reached."""
    assert choice.best is not None
    number, checkpoint = choice.best
    (candidate,) = for_rows([found.candidates[number]], len(task.training))
    done = [run for run in runs if run is not None]
    # No rows are held out now, so only the training loss can be compared.
    level = float(np.mean([_level(run, checkpoint) for run in done]))
    loss_target = float(np.mean([run.reference_loss_ for run in done])) - level
    try:
        trained = task.run(candidate, (checkpoint + 1, loss_target))
    except DivergedError:
        return False
    now = _level(trained, len(trained.history))
    expected = float(np.mean([_start(run) for run in done])) - level
    scale = expected
    if candidate.reset_head and expected <= 0:
        # This candidate generalizes better because it fits the training rows less closely.
        scale = max(-expected, choice.gain)
    short = _start(trained) - now < expected - 0.5 * scale
    # The pipeline fitted on all rows may start closer to the target.
    short = short and now > level + 0.5 * scale
    return not (trained.diverged_ or (scale > 0 and short))


def _start(trained: CandidateRun) -> float:
    """Training loss of the fitted pipeline."""
    return float(trained.history[0, "train_loss"])


def _level(trained: CandidateRun, checkpoint: int) -> float:
    """Training loss at a checkpoint."""
    losses = trained.history[:, "train_loss"]
    return float(losses[min(checkpoint + 1, len(losses) - 1)])
