"""A single run with the user's settings, and its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report.calibration import Calibration, calibration, scores
from ..report.learning_curves import curve
from ..report.parameter_changes import moved_steps
from ..report.results import Report
from ..report.timing import Stopwatch
from ..training.deadline import Deadline, TimeLimitReached
from ..training.options import Options
from ..training.samples import Samples
from .pipeline import TunablePipeline
from .recipe import TuningResult, report_no_time
from .validation_splits import Split

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..training.trainer import Trainer

_NAME = "the settings given"
_NO_TIME = "after the pipeline's own fit, the time limit left no time to train"


def tune_once(
    pipeline: TunablePipeline,
    samples: Samples,
    split: Split,
    options: Options,
    deadline: Deadline = Deadline(),  # noqa: B008 (immutable)
) -> TuningResult:
    """Fit on the training set of one split, and train there with the user's settings.

    Parameters
    ----------
    pipeline : TunablePipeline
        Fits, translates and writes back the pipeline.
    samples : Samples
        All samples of the user.
    split : (array, array)
        Row numbers of the training and the validation set.
    options : Options
        The training options.
    deadline : Deadline
        When training has to end; the pipeline is fitted in any case.

    Returns
    -------
    TuningResult
        The estimator to keep, with the history and the report.
    """
    from ..training.fit import train

    clock = Stopwatch()
    training, validation = (samples.take(rows) for rows in split)
    fitted = clock.wrap("fitting", pipeline.fit)(training)
    net = pipeline.translate(fitted)
    try:
        trainer = clock.wrap("training", train)(
            net, training, options, validation=validation, deadline=deadline
        )
    except TimeLimitReached:
        return TuningResult(fitted, False, None, report_no_time(_NO_TIME, clock, options, False))
    estimator = pipeline.write_back(net) if trainer.improved_ else fitted
    report = report_single_run(trainer, pipeline.translate(fitted), clock, options)
    return TuningResult(estimator, trainer.improved_, trainer.history, report)


def report_single_run(
    trainer: Trainer, fitted: PipelineModule, clock: Stopwatch, options: Options
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
    options : Options
        The training options.

    Returns
    -------
    Report
        The report for ``report_``.
    """
    better = trainer.improved_
    valid = trainer.valid
    last = trainer.history[-1, "epoch"]
    left_out = (f"epochs after epoch {last}",) if trainer.out_of_time_ else ()
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
        max_seconds=options.max_seconds,
        left_out=left_out,
    )


def _calibration(trainer: Trainer, fitted: PipelineModule) -> Calibration | None:
    rows = trainer.valid
    if rows is None or rows.target is None:
        return None
    after = scores(trainer.module, rows) if trainer.improved_ else None
    target = rows.target[rows.index].cpu().numpy()
    before = scores(fitted.to(trainer.module.reference_tensor()), rows)
    return calibration(fitted.head, trainer.criterion.name, target, before, after)
