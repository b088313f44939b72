"""One run with the user's own settings, and its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report.calibration import Calibration, calibration, scores
from ..report.learning_curves import curve
from ..report.parameter_changes import moved_steps
from ..report.results import Report
from ..report.timing import Stopwatch
from ..training.options import Options
from ..training.samples import Samples
from .pipeline import TunablePipeline
from .recipe import TuningResult
from .validation_splits import Split

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..training.trainer import Trainer

_NAME = "the settings given"


def tune_once(
    pipeline: TunablePipeline, samples: Samples, split: Split, options: Options
) -> TuningResult:
    """Fit on the training set of one split, and train there with the user's settings.

    Parameters
    ----------
    pipeline : TunablePipeline
        Fits, translates and writes back.
    samples : Samples
        All samples that were given.
    split : (array, array)
        Row numbers of the training and the validation set.
    options : Options
        How to train.

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
    trainer = clock.wrap("training", train)(net, training, options, validation=validation)
    estimator = pipeline.write_back(net) if trainer.improved_ else fitted
    report = report_single_run(trainer, pipeline.translate(fitted), clock)
    return TuningResult(estimator, trainer.improved_, trainer.history, report)


def report_single_run(trainer: Trainer, fitted: PipelineModule, clock: Stopwatch) -> Report:
    """What came of a run.

    Parameters
    ----------
    trainer : Trainer
        After training; its module holds what is kept.
    fitted : PipelineModule
        The pipeline as it was before.
    clock : Stopwatch
        That of the whole fit.
    """
    better = trainer.improved_
    valid = trainer.valid
    return Report(
        _NAME if better else None,
        "" if better else "no epoch did better on the rows that validate",
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
