"""A single run with the user's settings, and its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report.calibration import Calibration, calibration, scores
from ..report.learning_curves import curve
from ..report.parameter_changes import moved_steps
from ..report.results import Report
from ..report.timing import Stopwatch
from ..training.options import Options
from ..training.samples import Samples
from ..typing import ScoreArray
from .measured import single_run_metrics
from .pipeline import TunablePipeline
from .predictions import HeldOut
from .recipe import TuningResult
from .scoring import Scoring
from .validation_splits import Split

if TYPE_CHECKING:
    from ..module import PipelineModule
    from ..training.trainer import Trainer

_NAME = "the settings given"


def tune_once(
    pipeline: TunablePipeline,
    samples: Samples,
    split: Split,
    options: Options,
    scoring: Scoring | None = None,
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
    scoring : Scoring, optional
        Scores for the report; the loss selects the epoch.

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
    held = HeldOut(net, validation.y, validation.weight, validation.X)
    report = report_single_run(
        trainer, pipeline.translate(fitted), clock, held, scoring or Scoring()
    )
    return TuningResult(estimator, trainer.improved_, trainer.history, report)


def report_single_run(
    trainer: Trainer,
    fitted: PipelineModule,
    clock: Stopwatch,
    held: HeldOut,
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
