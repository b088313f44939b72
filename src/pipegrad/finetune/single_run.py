"""A single run with the user's settings, and its report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import warn
from ..report.calibration import Calibration, calibration, scores
from ..report.learning_curves import curve
from ..report.parameter_changes import moved_steps
from ..report.results import Report
from ..report.timing import Stopwatch
from ..training.deadline import Deadline, TimeLimitReached
from ..training.options import Options
from ..training.samples import Samples
from ..typing import ScoreArray
from .pipeline import TunablePipeline
from .progress import Progress, TuningResult
from .recipe import first_line, kept_as_fitted, nearly_constant, report_no_time
from .scores.metrics import single_run_metrics
from .scores.predictions import HeldOut
from .scores.scoring import Scoring
from .validation.splits import Index, ValidationSplits
from .written_answers import UNLIKE, answers_alike

if TYPE_CHECKING:
    from skorch.history import History

    from ..module import PipelineModule
    from ..training.trainer import Trainer

_NAME = "the settings given"
_NO_TIME = "after the pipeline's own fit, the time limit left no time to train"


def tune_once(
    pipeline: TunablePipeline,
    samples: Samples,
    splits: ValidationSplits,
    options: Options,
    deadline: Deadline = Deadline(),  # noqa: B008 (immutable)
    scoring: Scoring | None = None,
) -> TuningResult:
    """Fit on the training set of one split, and train there with the user's settings.

    Parameters
    ----------
    pipeline : TunablePipeline
        Fits, translates and writes back the pipeline.
    samples : Samples
        All samples of the user.
    splits : ValidationSplits
        The validation splits, of which the first one is used.
    options : Options
        The training options.
    deadline : Deadline
        When training has to end; the pipeline is fitted in any case.
    scoring : Scoring, optional
        Scores for the report; the loss selects the epoch.

    Returns
    -------
    TuningResult
        The estimator to keep, with the history and the report.
    """
    progress = Progress(("the training", "the report"), compares=False)
    try:
        return _tune_once(
            pipeline, samples, splits, options, deadline, scoring or Scoring(), progress
        )
    except KeyboardInterrupt as interrupt:
        return progress.interrupted(interrupt)


def _tune_once(
    pipeline: TunablePipeline,
    samples: Samples,
    splits: ValidationSplits,
    options: Options,
    deadline: Deadline,
    scoring: Scoring,
    progress: Progress,
) -> TuningResult:
    clock = progress.clock
    fit = clock.wrap("fitting", pipeline.fit)
    everything = samples.take(splits.rows)
    why = nearly_constant(everything.y, fewest=2)
    if why:
        return kept_as_fitted(fit(everything), why, clock)
    pair = next(splits.pairs)
    training, validation = (samples.take(rows) for rows in pair)
    fitted = None
    try:
        fitted = fit(training)
        others = _revised(splits, pair[1], pipeline, fitted, samples, options)
        if others is not None:
            splits, fitted = others, None
            training, validation = (samples.take(rows) for rows in next(splits.pairs))
            fitted = fit(training)
        progress.fitted(fitted)
        net = pipeline.translate(fitted)
        trainer = clock.wrap("training", _train)(
            pipeline, net, training, options, validation, deadline, progress
        )
    except TimeLimitReached:
        return TuningResult(fitted, False, None, report_no_time(_NO_TIME, clock, options, False))
    except Exception as error:
        if not pipeline.rejects(fitted, validation.X, error):
            raise
        # An error of the pipeline on all rows is the user's to see.
        return kept_as_fitted(
            fit(everything), f"the split could not be used: {first_line(error)}", clock
        )
    estimator = pipeline.write_back(net) if trainer.improved_ else fitted
    if trainer.improved_ and not answers_alike(net, estimator, training.X):
        warn(f"Fine-tuning kept the fitted pipeline: {UNLIKE}.")
        return kept_as_fitted(fitted, UNLIKE, clock)
    if trainer.improved_:
        progress.trained(estimator, trainer.history, _brief_report(trainer.history))
    held = HeldOut(net, validation.y, validation.weight, validation.X)
    report = report_single_run(trainer, pipeline.translate(fitted), clock, held, options, scoring)
    report = replace(report, validation=splits.why)
    return TuningResult(estimator, trainer.improved_, trainer.history, report)


def _train(
    pipeline: TunablePipeline,
    net: PipelineModule,
    training: Samples,
    options: Options,
    validation: Samples,
    deadline: Deadline,
    progress: Progress,
) -> Trainer:
    """Train; an interrupt by the user leaves the best epoch so far."""
    from ..training.fit import train

    try:
        return train(net, training, options, validation=validation, deadline=deadline)
    except KeyboardInterrupt:
        history = net.history or []
        if any(row.get("valid_loss_best") for row in history[1:]):
            left = progress.left
            progress.trained(pipeline.write_back(net), history, _brief_report(history))
            progress.left = left
        raise


def _brief_report(history: History) -> Report:
    """Report the losses alone, for a fit that is interrupted."""
    before, *others = history[:, "valid_loss"]
    return Report(_NAME, "", before=before, gain=before - min(others), splits=1)


def _revised(
    splits: ValidationSplits,
    valid: Index,
    pipeline: TunablePipeline,
    fitted: Any,
    samples: Samples,
    options: Options,
) -> ValidationSplits | None:
    """Return other splits if the residuals of the fitted pipeline on ``valid`` ask for them."""
    if splits.revise is None:
        return None
    from .problem import TrainingProblem

    held = samples.take(valid)
    # The problem serves the residuals alone; nothing trains on its rows.
    options = replace(options, cross_fit=False)
    problem = TrainingProblem.of(pipeline.translate(fitted), held, held, options)
    return splits.revise(iter([(problem, fitted, valid)]), samples)


def report_single_run(
    trainer: Trainer,
    fitted: PipelineModule,
    clock: Stopwatch,
    held: HeldOut,
    options: Options,
    scoring: Scoring,
) -> Report:
    """Report a run.

    Parameters
    ----------
    trainer : Trainer
        The trainer after training; its module holds the parameters that are kept.
    fitted : PipelineModule
        The baseline: the translated pipeline before training.
    clock : Stopwatch
        The stopwatch of the whole fit.
    held : HeldOut
        The validation rows as the user gave them.
    options : Options
        The training options.
    scoring : Scoring
        Scores for the report.

    Returns
    -------
    Report
        The report for ``report_``.
    """
    better = trainer.improved_
    valid, shown = trainer.valid, trainer.monitor.removesuffix("_loss")
    told, metric = _scores(trainer, fitted), trainer.criterion.metric
    before, after = (trainer.shown(v, shown) for v in (trainer.start_loss_, trainer.best_loss_))
    last = trainer.history[-1, "epoch"]
    left_out = (f"epochs after epoch {last}",) if trainer.out_of_time_ else ()
    return Report(
        _NAME if better else None,
        "" if better else "no epoch lowered the validation loss",
        before=before,
        gain=before - after,
        rows=0 if valid is None else len(valid),
        splits=1,
        seconds=clock.seconds,
        loss=trainer.criterion.name,
        metric=metric.name,
        metrics=() if told is None else single_run_metrics(held, *told, metric.name, scoring),
        steps=moved_steps(trainer.module) if better else (),
        curves=(curve(_NAME, 0, trainer.history, trainer.best_epoch_),),
        calibration=_calibration(trainer, fitted, told),
        times=clock.times(compared=False),
        max_seconds=options.max_seconds,
        left_out=left_out,
    )


def _scores(trainer: Trainer, fitted: PipelineModule) -> tuple[ScoreArray, ScoreArray] | None:
    """Raw scores of the validation rows before and after training; the same if nothing changed."""
    if trainer.valid is None or trainer.valid.target is None:
        return None
    before = scores(fitted.to(trainer.module.reference_tensor()), trainer.valid)
    return before, scores(trainer.module, trainer.valid) if trainer.improved_ else before


def _calibration(
    trainer: Trainer, fitted: PipelineModule, told: tuple[ScoreArray, ScoreArray] | None
) -> Calibration | None:
    if told is None:
        return None
    assert trainer.valid is not None
    target = trainer.valid.targets_and_weights()[1].cpu().numpy()
    after = told[1] if trainer.improved_ else None
    return calibration(fitted.head, trainer.criterion.name, target, told[0], after)
