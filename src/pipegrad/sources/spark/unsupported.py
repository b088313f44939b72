"""Stages of Spark that have no translation; the table must have the columns that they write."""

from __future__ import annotations

import re

from ...errors import UntranslatableError
from .folder import Stage
from .plan import Plan

UNSUPPORTED = {
    "DistributedLDAModel": "Spark infers its topics from a start that is random in each session",
    "FPGrowthModel": "its rules are no numbers",
    "PrefixSpan": "its patterns are no numbers",
    "PowerIterationClustering": "it does not transform rows",
}

_OUTPUTS = (
    "outputCol",
    "predictionCol",
    "probabilityCol",
    "rawPredictionCol",
    "topicDistributionCol",
)


def require_columns(stage: Stage, plan: Plan, why: str = "") -> None:
    """Require in the table what a stage would write.

    Raises
    ------
    UntranslatableError
        If the stage does not name its output columns.
    """
    why = why or UNSUPPORTED.get(stage.kind, "it has no translation")
    names = stage.texts("outputCols") or [stage.text(name) for name in _OUTPUTS]
    if stage.kind == "SQLTransformer":
        names = re.findall(r"\bas\s+`?(\w+)`?", stage.text("statement"), re.IGNORECASE)
    names = [name for name in names if name]
    if not names:
        place = stage.path or stage.uid
        hint = "run this stage with Spark, and save a pipeline of those after it."
        raise UntranslatableError([(place, stage.kind, why)], hint=hint)
    for name in names:
        plan.missing(stage, name, why)
