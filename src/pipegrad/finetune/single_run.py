"""A single run with the user's settings, and its report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..report.calibration import Calibration, calibration, scores
from ..report.learning_curves import curve
from ..report.parameter_changes import moved_steps
from ..report.results import Report
from ..report.timing import Stopwatch
from ..training.options import Options
from ..training.samples import Samples
from .pipeline import TunablePipeline
from .recipe import TuningResult
from .validation_splits import Index, ValidationSplits

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..training.trainer import Trainer

_NAME = "the settings given"


def tune_once(
    pipeline: TunablePipeline, samples: Samples, splits: ValidationSplits, options: Options
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

    Returns
    -------
    TuningResult
        The estimator to keep, with the history and the report.
    """
    from ..training.fit import train

    clock = Stopwatch()
    fit = clock.wrap("fitting", pipeline.fit)
    pair = next(splits.pairs)
    training, validation = (samples.take(rows) for rows in pair)
    fitted = fit(training)
    others = _revised(splits, pair[1], pipeline, fitted, samples, options)
    if others is not None:
        splits = others
        training, validation = (samples.take(rows) for rows in next(splits.pairs))
        fitted = fit(training)
    net = pipeline.translate(fitted)
    trainer = clock.wrap("training", train)(net, training, options, validation=validation)
    estimator = pipeline.write_back(net) if trainer.improved_ else fitted
    report = report_single_run(trainer, pipeline.translate(fitted), clock)
    report = replace(report, validation=splits.why)
    return TuningResult(estimator, trainer.improved_, trainer.history, report)


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


def report_single_run(trainer: Trainer, fitted: PipelineModule, clock: Stopwatch) -> Report:
    """Report a run.

    Parameters
    ----------
    trainer : Trainer
        The trainer after training; its module holds the parameters that are kept.
    fitted : PipelineModule
        The baseline: the translated pipeline before training.
    clock : Stopwatch
        The stopwatch of the whole fit.

    Returns
    -------
    Report
        The report for ``report_``.
    """
    better = trainer.improved_
    valid = trainer.valid
    return Report(
        _NAME if better else None,
        "" if better else "no epoch lowered the validation loss",
        before=trainer.start_loss_,
        gain=trainer.start_loss_ - trainer.best_loss_,
        rows=0 if valid is None else len(valid),
        splits=1,
        seconds=clock.seconds,
        loss=trainer.criterion.name,
        steps=moved_steps(trainer.module) if better else (),
        curves=(curve(_NAME, 0, trainer.history, trainer.best_epoch_),),
        calibration=_calibration(trainer, fitted),
        times=clock.times(compared=False),
    )


def _calibration(trainer: Trainer, fitted: PipelineModule) -> Calibration | None:
    rows = trainer.valid
    if rows is None or rows.target is None:
        return None
    after = scores(trainer.module, rows) if trainer.improved_ else None
    target = rows.target[rows.index].cpu().numpy()
    before = scores(fitted.to(trainer.module.reference_tensor()), rows)
    return calibration(fitted.head, trainer.criterion.name, target, before, after)
