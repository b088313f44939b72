"""Stages that consist of others."""

from __future__ import annotations

from dataclasses import replace

from ...named.operators import Beside, Derive
from ..folder import Stage
from ..plan import ModelOutput, Plan, nested, reads
from .answers import label_of, name_of


@reads("PipelineModel", "pipeline.PipelineModel")
def _pipeline(stage: Stage, plan: Plan) -> None:
    names = stage.texts("stageUids")
    digits = len(str(len(names)))
    for number, uid in enumerate(names):
        child = stage.child(f"stages/{number:0{digits}d}_{uid}")
        if child.uid != uid:
            stage.fail(f"stage {number} is {child.uid!r:.80} instead of {uid!r:.80}.")
        nested(child, plan)


@reads("tuning.CrossValidatorModel", "tuning.TrainValidationSplitModel")
def _best(stage: Stage, plan: Plan) -> None:
    nested(stage.child("bestModel"), plan)


@reads("feature.RFormulaModel")
def _formula(stage: Stage, plan: Plan) -> None:
    nested(stage.child("pipelineModel"), plan)
    label = stage.row().get("label")
    if isinstance(label, str):
        plan.targets[label_of(stage)] = label


@reads("feature.VectorAttributeRewriter")
def _attributes(stage: Stage, plan: Plan) -> None:
    """Attributes are names of entries, and change no number."""


@reads("feature.ColumnPruner")
def _pruner(stage: Stage, plan: Plan) -> None:
    names = stage.row().get("columnsToPrune")
    if not isinstance(names, list):
        stage.fail("its columns are damaged.")
    for name in names:
        plan.columns.pop(name, None)


@reads("classification.OneVsRestModel")
def _one_vs_rest(stage: Stage, plan: Plan) -> None:
    count = stage.metadata.get("numClasses", stage.metadata.get("numClass"))
    if not isinstance(count, int):
        count = len({n.split("/")[0] for n in _members(stage)})
    scores = []
    for number in range(count):
        member = stage.child(f"model_{number}")
        own = plan.apart()
        given = {**member.metadata.get("paramMap", {})}
        given["featuresCol"] = stage.text("featuresCol", "features")
        nested(replace(member, metadata={**member.metadata, "paramMap": given}), own)
        answer = own.answer
        if answer is None or answer.classes != 2 or not answer.score:
            stage.fail(f"member {number} is no classifier of two classes.")
        raw = own.columns[answer.score]
        scores.append(plan.step(stage, Derive(what="second"), raw, name=f"{number}"))
    if not scores:
        stage.fail("it has no members.")
    score = plan.step(stage, Beside(task="one_vs_rest"), *scores, method="score")
    decided = plan.step(stage, Derive(what="largest"), score, name="prediction")
    predict = name_of(stage, "predictionCol", "prediction")
    raw_name = name_of(stage, "rawPredictionCol", "rawPrediction")
    plan.name(stage, raw_name, score)
    plan.name(stage, predict, decided)
    plan.answer = ModelOutput(score, predict, "", raw_name, label_of(stage), count)


def _members(stage: Stage) -> list[str]:
    start = stage.at("model_")
    return [name[len(start) :] for name in stage.folder.files if name.startswith(start)]
