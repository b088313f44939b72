"""The columns that predictors write: raw predictions, probabilities and predictions."""

from __future__ import annotations

from ...named.operators import Derive
from ..folder import Stage
from ..plan import ModelOutput, Plan

PREDICTION, PROBABILITY, RAW = "predictionCol", "probabilityCol", "rawPredictionCol"


def name_of(stage: Stage, column: str, default: str) -> str:
    """The name of an output column; empty if it was turned off."""
    return stage.text(column, default)


def label_of(stage: Stage) -> str:
    """The column of a predictor's targets."""
    return stage.text("labelCol", "label")


def add_regression(stage: Stage, plan: Plan, score: str, mean: str) -> None:
    """Name the prediction of a regressor, and record it as the model's answer."""
    predict = name_of(stage, PREDICTION, "prediction")
    plan.name(stage, predict, mean)
    plan.answer = ModelOutput(score, predict, label=label_of(stage))


def add_classification(
    stage: Stage,
    plan: Plan,
    score: str,
    classes: int,
    raw: tuple[str, ...],
    shares: tuple[str, ...] | None,
    decide: Derive | None = None,
    raw_inputs: tuple[str, ...] = (),
    raw_step: str = "",
) -> None:
    """Add the columns of a classifier, and record them as the model's answer.

    Parameters
    ----------
    stage : Stage
        The stage.
    plan : Plan
        Where columns go.
    score : str
        The step with the score on which the loss is computed.
    classes : int
        Number of classes.
    raw, shares : tuple of str
        Names of functions that make raw predictions, and probabilities, of the score, one after
        the other; None where there are no probabilities.
    decide : Derive, optional
        What makes predictions of the score; by default the largest probability, with the
        thresholds of the stage.
    raw_inputs : tuple of str
        Further inputs of the raw predictions.
    raw_step : str
        The step with the raw predictions, instead of ``raw``.
    """
    names = {column: name_of(stage, column, default) for column, default in _DEFAULTS.items()}
    made = {RAW: raw_step or _derived(stage, plan, raw, score, "rawPrediction", *raw_inputs)}
    if shares is not None:
        made[PROBABILITY] = _derived(stage, plan, shares, score, "probability")
    thresholds = stage.numbers("thresholds")
    if thresholds and len(thresholds) != classes:
        stage.fail(f"it has {len(thresholds)} thresholds for {classes} classes.")
    source = made.get(PROBABILITY, made[RAW])
    if decide is not None:
        source = score
    elif thresholds and shares is not None:
        decide = Derive(what="scaled_largest", numbers_=thresholds)
    else:
        decide, source = Derive(what="largest"), made[RAW]
    made[PREDICTION] = plan.step(stage, decide, source, name="prediction")
    for column, step in made.items():
        plan.name(stage, names[column], step)
    plan.answer = ModelOutput(
        score,
        names[PREDICTION],
        names[PROBABILITY] if shares is not None else "",
        names[RAW],
        label_of(stage),
        classes,
    )


_DEFAULTS = {RAW: "rawPrediction", PROBABILITY: "probability", PREDICTION: "prediction"}


def _derived(
    stage: Stage, plan: Plan, functions: tuple[str, ...], score: str, name: str, *more: str
) -> str:
    step = score
    for number, what in enumerate(functions):
        inputs = (step, *more) if number == 0 else (step,)
        step = plan.step(stage, Derive(what=what), *inputs, name=name)
    return step
