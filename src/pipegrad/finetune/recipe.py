"""The recipe: compares training strategies on validation rows and applies the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DivergedError, warn
from ..report.calibration import calibrations
from ..report.learning_curves import curves
from ..report.parameter_changes import MovedStep, moved_steps
from ..report.results import Report
from ..report.timing import Stopwatch
from ..training.deadline import Deadline, TimeLimitReached
from ..training.options import Options
from ..training.samples import Samples
from ..typing import Targets
from .candidate_run import CandidateRun
from .comparison import Comparison, compare_candidates, for_rows, rank_significant, summary
from .pipeline import TunablePipeline
from .problem import TrainingProblem
from .progress import Progress, TuningResult
from .recalibration import recalibrate
from .scores.metrics import Shown, measured_metrics
from .scores.scoring import Scoring
from .selection import Selection
from .time_plan import TimePlan
from .validation.problems import SplitProblems
from .validation.splits import ValidationSplits
from .written_answers import UNLIKE, answers_alike

if TYPE_CHECKING:
    pass

# With fewer rows, no improvement could be distinguished from noise.
_FEWEST = 50
# With fewer rows that deviate from the most common target, most validation sets have none.
_FEWEST_DEVIATING = 5
# What follows the fit of the pipeline.
_STAGES = ("the comparison of training strategies", "the training on all rows", "the report")
# Number of characters of an error that the report repeats.
_LONGEST_REASON = 160


def tune(
    pipeline: TunablePipeline,
    samples: Samples,
    splits: ValidationSplits,
    options: Options,
    deadline: Deadline = Deadline(),  # noqa: B008 (immutable)
    scoring: Scoring | None = None,
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
    scoring : Scoring, optional
        The score that selects instead of the loss, and scores for the report.

    Returns
    -------
    TuningResult
        The estimator to keep, with the history and the report. After an interrupt by the user, it
        is the best so far.
    """
    plan = TimePlan(deadline, len(splits.rows))
    progress = Progress(_STAGES)
    arguments = (pipeline, samples, splits, options, plan, scoring or Scoring(), progress)
    try:
        if not options.verbose:
            return _tune(*arguments)
        from ..training.progress_bar import ShowStages  # loads rich, which waits until needed

        with ShowStages() as plan.show:
            return _tune(*arguments)
    except KeyboardInterrupt as interrupt:
        return progress.interrupted(interrupt, tuple(plan.left_out))


def _tune(
    pipeline: TunablePipeline,
    samples: Samples,
    splits: ValidationSplits,
    options: Options,
    plan: TimePlan,
    scoring: Scoring,
    progress: Progress,
) -> TuningResult:
    clock = progress.clock
    plan.tell("fitting the pipeline on all rows")
    fit = clock.wrap("fitting", pipeline.fit)
    usable = samples.take(splits.rows)

    def timed_fit(training: Samples) -> Any:
        began = Deadline.clock()
        fitted = fit(training)
        plan.fit_seconds = Deadline.clock() - began
        return fitted

    whole = timed_fit(usable)
    progress.fitted(whole)
    why = too_little_to_learn(usable.y, len(splits.rows))
    if why:
        if len(splits.rows) < _FEWEST:
            pipeline.translate(whole)  # Raises an error if the pipeline cannot be trained.
        return kept_as_fitted(whole, why, clock)
    unusable: list[Exception] = []

    def problem_of(fitted: Any, training: Samples, validation: Samples) -> TrainingProblem:
        began, limit = Deadline.clock(), plan.preparing()
        net = pipeline.translate(fitted)
        problem = TrainingProblem.of(
            net, training, validation, options, limit, plan.fit_seconds, scoring
        )
        plan.encode_seconds = max(plan.encode_seconds, Deadline.clock() - began)
        return problem

    try:
        plan.check_split()
        source = SplitProblems(pipeline, samples, timed_fit, problem_of, unusable)
        splits, problems = source.of(splits)
        found = compare_candidates(
            problems, options, splits.dependent, plan, unusable, scoring.decides
        )
    except TimeLimitReached:
        why = "after the pipeline's own fit, the time limit left no time to compare candidates"
        return TuningResult(whole, False, None, report_no_time(why, clock, options))
    if unusable:
        reason = f"{len(unusable)} validation splits" if len(unusable) > 1 else "A validation split"
        warn(f"{reason} could not be used: {first_line(unusable[0])}")
    if found is None:
        why = f"no validation split could be used: {first_line(unusable[0])}"
        return kept_as_fitted(whole, why, clock)
    kept = _Refit(None, _why_not(found.choice, scoring))
    progress.left = _STAGES[1 if found.choice.significant else 2 :]
    if found.choice.significant:
        plan.tell("training on all rows")
        refit = clock.wrap("training", _refit_on_all_rows)
        kept = refit(pipeline, whole, usable, found, splits, options, plan, scoring)
    improved = kept.estimator is not None
    history = _history(found, kept.choice or found.choice)
    if improved:
        progress.trained(kept.estimator, history, _brief_report(found, kept, scoring))
    report = _report(found, kept, clock, splits.dependent, scoring)
    report = replace(
        report,
        validation=splits.why,
        max_seconds=options.max_seconds,
        left_out=tuple(plan.left_out),
    )
    estimator = kept.estimator if improved else whole
    return TuningResult(estimator, improved, history, report)


def kept_as_fitted(fitted: Any, why: str, clock: Stopwatch) -> TuningResult:
    """Return the fitted pipeline itself, with the reason in the report."""
    report = Report(None, why, seconds=clock.seconds, times=clock.times())
    return TuningResult(fitted, False, None, report)


def too_little_to_learn(y: Targets, count: int) -> str:
    """Return why validation could not distinguish an improvement from noise, or ""."""
    if count < _FEWEST:
        return f"{count} rows are too few to distinguish an improvement from noise"
    return nearly_constant(y, _FEWEST_DEVIATING)


def nearly_constant(y: Targets, fewest: int) -> str:
    """Return the complaint that fewer rows than ``fewest`` deviate from the most common target."""
    others = None if y is None else _deviating_rows(y)
    if others is None or others >= fewest:
        return ""
    if others == 0:
        return "all rows have the same target"
    rows = "row has a target" if others == 1 else "rows have a target"
    return f"only {others} {rows} that differs from all others, which is too few to learn from"


def _deviating_rows(y: Targets) -> int:
    """Return the number of rows whose target is not the most common one."""
    values = np.asarray(y)
    table = values.reshape(len(values), -1)
    columns = [len(column) - np.unique(column, return_counts=True)[1].max() for column in table.T]
    return int(max(columns))


def first_line(error: Exception) -> str:
    """Return the beginning of the message, or the name of an error without one."""
    return str(error).split("\n")[0].rstrip(".")[:_LONGEST_REASON] or type(error).__name__


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
    found: Comparison, kept: _Refit, clock: Stopwatch, own: bool, scoring: Scoring
) -> Report:
    choice, improved = kept.choice or found.choice, kept.estimator is not None
    criterion, head = found.task.criterion, found.task.net.head
    shown = Shown.of(found, scoring)
    tried = summary(found.candidates, found.folds, shown.factor)
    names = [candidate.name for candidate in found.candidates]
    checkpoints = [t.epochs for t in tried]
    if choice.best is not None:
        checkpoints[choice.best[0]] = choice.best[1] + 1
    best = choice.best if improved else None
    return Report(
        None if best is None else names[best[0]],
        kept.why,
        before=shown.value(choice.before),
        gain=shown.factor * choice.gain,
        error=shown.factor * choice.error,
        wanted=choice.critical_z,
        rows=found.rows,
        splits=len(found.folds),
        tried=tried,
        seconds=clock.seconds,
        loss=criterion.name,
        metric=shown.name,
        higher_is_better=shown.higher_is_better,
        metrics=measured_metrics(found, choice, scoring, own),
        steps=kept.steps,
        curves=curves(found.folds, names, checkpoints),
        calibration=calibrations(found.folds, best, head, criterion.name),
        times=clock.times(),
        recalibrated=kept.recalibrated,
    )


def _brief_report(found: Comparison, kept: _Refit, scoring: Scoring) -> Report:
    """Report the selection alone, for a fit that is interrupted before the rest is measured."""
    choice, shown = kept.choice or found.choice, Shown.of(found, scoring)
    assert choice.best is not None
    return Report(
        found.candidates[choice.best[0]].name,
        "",
        before=shown.value(choice.before),
        gain=shown.factor * choice.gain,
        error=shown.factor * choice.error,
        wanted=choice.critical_z,
        metric=shown.name,
        higher_is_better=shown.higher_is_better,
    )


def _why_not(choice: Selection, scoring: Scoring) -> str:
    if choice.best is None:
        return "no candidate reached a finite loss"
    if choice.gain <= 0:
        better = "lowered the loss" if scoring.decides is None else "raised the score"
        return f"no candidate {better} on rows that were not used to select it"
    return "the improvement is within noise, and ties go to the baseline"


def _refit_on_all_rows(
    pipeline: TunablePipeline,
    whole: Any,
    samples: Samples,
    found: Comparison,
    splits: ValidationSplits,
    options: Options,
    plan: TimePlan,
    scoring: Scoring,
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
        for choice in rank_significant(found, options, splits.dependent):
            runs = _best_runs(found, choice)
            if _reached_reference_loss(task, found, choice, runs):
                assert choice.best is not None
                again = ""
                if not scoring.counts_decisions:
                    again = recalibrate(net, runs, choice.best[1], options.loss, options.seed or 0)
                written = pipeline.write_back(net)
                if not answers_alike(net, written, samples.X):
                    return _Refit(None, UNLIKE)
                return _Refit(written, "", choice, moved_steps(net), again)
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
    now = _level(trained, len(trained.minimized_))
    expected = float(np.mean([_start(run) for run in done])) - level
    scale = expected
    if candidate.reset_head and expected <= 0:
        # This candidate generalizes better because it fits the training rows less closely.
        scale = max(-expected, found.loss_gain(choice))
    short = _start(trained) - now < expected - 0.5 * scale
    # The pipeline fitted on all rows may start closer to the target.
    short = short and now > level + 0.5 * scale
    if short and trained.out_of_time_:
        raise TimeLimitReached
    return not (trained.diverged_ or (scale > 0 and short))


def _start(trained: CandidateRun) -> float:
    """Training loss of the fitted pipeline."""
    return trained.minimized_[0]["train_loss"]


def _level(trained: CandidateRun, checkpoint: int) -> float:
    """Training loss at a checkpoint."""
    losses = trained.minimized_
    return losses[min(checkpoint + 1, len(losses) - 1)]["train_loss"]
