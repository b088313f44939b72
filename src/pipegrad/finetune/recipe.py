"""The recipe: compares training strategies on validation rows and applies the best one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DivergedError
from ..report.calibration import calibrations
from ..report.learning_curves import curves
from ..report.parameter_changes import MovedStep, moved_steps
from ..report.results import Report
from ..report.timing import Stopwatch
from ..training.deadline import Deadline, TimeLimitReached
from ..training.options import Options
from ..training.samples import Samples
from .candidate_run import CandidateRun
from .comparison import Comparison, compare_candidates, for_rows, rank_significant, summary
from .pipeline import TunablePipeline
from .problem import TrainingProblem
from .recalibration import recalibrate
from .selection import Selection
from .time_plan import TimePlan
from .validation_splits import ValidationSplits

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
    deadline: Deadline = Deadline(),  # noqa: B008 (immutable)
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
    deadline : Deadline
        When all has to end. The pipeline's own fit on all rows always takes place, and what has no
        time after it is left out.

    Returns
    -------
    TuningResult
        The estimator to keep, with the history and the report.
    """
    plan = TimePlan(deadline, len(splits.rows))
    if not options.verbose:
        return _tune(pipeline, samples, splits, options, plan)
    from ..training.progress_bar import ShowStages  # loads rich, which waits until it is needed

    with ShowStages() as plan.show:
        return _tune(pipeline, samples, splits, options, plan)


def _tune(
    pipeline: TunablePipeline,
    samples: Samples,
    splits: ValidationSplits,
    options: Options,
    plan: TimePlan,
) -> TuningResult:
    clock = Stopwatch()
    plan.tell("fitting the pipeline on all rows")
    fit = clock.wrap("fitting", pipeline.fit)
    usable = samples.take(splits.rows)
    began = Deadline.clock()
    whole = fit(usable)
    plan.fit_seconds = Deadline.clock() - began
    if len(splits.rows) < _FEWEST:
        pipeline.translate(whole)  # Raises an error if the pipeline cannot be trained.
        why = f"{len(splits.rows)} rows are too few to distinguish an improvement from noise"
        report = Report(None, why, seconds=clock.seconds, times=clock.times())
        return TuningResult(whole, False, None, report)

    def problems() -> Iterator[TrainingProblem]:
        for train, valid in splits.pairs:
            training, validation = samples.take(train), samples.take(valid)
            began = Deadline.clock()
            fitted = fit(training)
            plan.fit_seconds = Deadline.clock() - began
            began, limit = Deadline.clock(), plan.preparing()
            net = pipeline.translate(fitted)
            task = TrainingProblem.of(net, training, validation, options, limit, plan.fit_seconds)
            plan.encode_seconds = max(plan.encode_seconds, Deadline.clock() - began)
            yield task

    try:
        plan.check_split()
        found = compare_candidates(problems(), options, splits.own, plan)
    except TimeLimitReached:
        why = "after the pipeline's own fit, the time limit left no time to compare candidates"
        return TuningResult(whole, False, None, report_no_time(why, clock, options))
    kept = _Refit(None, _why_not(found.choice))
    if found.choice.significant:
        plan.tell("training on all rows")
        refit = clock.wrap("training", _refit_on_all_rows)
        kept = refit(pipeline, whole, usable, found, splits, options, plan)
    improved = kept.estimator is not None
    report = _report(found, kept, clock, options.max_seconds, plan.left_out)
    estimator = kept.estimator if improved else whole
    return TuningResult(estimator, improved, _history(found, kept.choice or found.choice), report)


def report_no_time(why: str, clock: Stopwatch, options: Options, compared: bool = True) -> Report:
    """Report that there was no time to train anything."""
    return Report(
        None,
        why,
        seconds=clock.seconds,
        times=clock.times(compared),
        max_seconds=options.max_seconds,
        left_out=("all training",),
    )


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


def _report(
    found: Comparison,
    kept: _Refit,
    clock: Stopwatch,
    max_seconds: float | None,
    left_out: Sequence[str],
) -> Report:
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
        max_seconds=max_seconds,
        left_out=tuple(left_out),
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
    plan: TimePlan,
) -> _Refit:
    """Train on all rows with the best candidate that reproduces its cross-validated loss.

    Returns
    -------
    _Refit
        The written-back pipeline, or a result without an estimator if no candidate reproduces its
        loss.
    """
    net = pipeline.translate(whole)
    try:
        limit, seconds = plan.closing, plan.fit_seconds
        task = TrainingProblem.of(net, samples, None, options, limit, seconds)
        for choice in rank_significant(found, options, splits.own):
            runs = _best_runs(found, choice)
            if _reached_reference_loss(task, found, choice, runs):
                assert choice.best is not None
                again = recalibrate(net, runs, choice.best[1], options.loss, options.seed or 0)
                return _Refit(pipeline.write_back(net), "", choice, moved_steps(net), again)
    except TimeLimitReached:
        plan.left_out.append("the training on all rows")
        return _Refit(None, _NO_TIME)
    return _Refit(None, _UNSTABLE)


_UNSTABLE = "trained on all rows, the best candidate did not reproduce its cross-validated loss"
_NO_TIME = "the time limit ended the training on all rows"


def _reached_reference_loss(
    task: TrainingProblem, found: Comparison, choice: Selection, runs: Sequence[CandidateRun | None]
) -> bool:
    """Train on all rows to the training loss of the splits; return whether it was reached.

    `TimeLimitReached` is raised if the training had to end far from it.
    """
    assert choice.best is not None
    number, checkpoint = choice.best
    (candidate,) = for_rows([found.candidates[number]], len(task.training))
    done = [run for run in runs if run is not None]
    if any(run.out_of_time_ for run in done):
        # The cycle of the learning rate was as short as this.
        candidate = replace(candidate, epochs=max(len(run.history) - 1 for run in done))
    # No rows are held out now, so only the training loss can be compared.
    level = float(np.mean([_level(run, checkpoint) for run in done]))
    loss_target = float(np.mean([run.reference_loss_ for run in done])) - level
    try:
        trained = task.run(candidate, (checkpoint + 1, loss_target))
    except DivergedError:
        return False
    # In the middle of a cycle, the parameters of Adam are noisy.
    if trained.out_of_time_ and not (candidate.full and len(trained.history) > 1):
        raise TimeLimitReached
    now = _level(trained, len(trained.history))
    expected = float(np.mean([_start(run) for run in done])) - level
    scale = expected
    if candidate.reset_head and expected <= 0:
        # This candidate generalizes better because it fits the training rows less closely.
        scale = max(-expected, choice.gain)
    short = _start(trained) - now < expected - 0.5 * scale
    # The pipeline fitted on all rows may start closer to the target.
    short = short and now > level + 0.5 * scale
    if short and trained.out_of_time_:
        raise TimeLimitReached
    return not (trained.diverged_ or (scale > 0 and short))


def _start(trained: CandidateRun) -> float:
    """Training loss of the fitted pipeline."""
    return float(trained.history[0, "train_loss"])


def _level(trained: CandidateRun, checkpoint: int) -> float:
    """Training loss at a checkpoint."""
    losses = trained.history[:, "train_loss"]
    return float(losses[min(checkpoint + 1, len(losses) - 1)])
