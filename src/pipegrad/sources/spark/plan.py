"""The steps that the stages of a model become, and the columns with its predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..named.operators import TABLE, BuiltStep, Step, unused_name
from ._base import Input
from .folder import Stage

_MOST_STEPS = 50_000


@dataclass
class ModelOutput:
    """What the last predictor of a model answers.

    Parameters
    ----------
    output : str
        The step on whose output the loss is computed.
    predict, proba, score : str
        Names of its columns; empty if it has none.
    label : str
        The column with its targets.
    classes : int
        Number of classes; 0 for other predictors.
    """

    output: str
    predict: str
    proba: str = ""
    score: str = ""
    label: str = ""
    classes: int = 0


class Plan:
    """Collects the columns and steps of a model while its stages are read."""

    def __init__(self) -> None:
        self.steps: dict[str, BuiltStep] = {}
        self.columns: dict[str, str] = {}
        self.texts: dict[str, list[str]] = {}
        self.labels: dict[str, tuple[str, list[str]]] = {}
        self.sources: dict[str, str] = {}
        self.targets: dict[str, str] = {}
        self.whole: set[str] = set()
        self.single: set[str] = set()
        # Columns whose cells are lists of vectors of one entry.
        self.lists: set[str] = set()
        # Whether Spark may read tables of the model only when it is asked.
        self.reads_later = False
        self.answer: ModelOutput | None = None
        self.parent: Plan | None = None
        self._inputs: dict[str, str] = {}

    def apart(self) -> Plan:
        """A plan for a part of a stage: the same steps, but columns and an answer of its own."""
        own = Plan()
        own.steps, own._inputs = self.steps, self._inputs
        own.columns, own.parent = {}, self
        return own

    def column(self, name: str) -> str:
        """The step behind a column: of a stage, or of the user's table."""
        if name in self.columns:
            return self.columns[name]
        if self.parent is not None:
            return self.parent.column(name)
        if name not in self._inputs:
            self._inputs[name] = self._add(name, Input(name=name), (TABLE,))
        return self._inputs[name]

    def missing(self, stage: Stage, name: str, reason: str) -> None:
        """A column that the user's table must have, because the stage has no translation."""
        self.reads_later = True
        operator = Input(name=name, missing=reason, kind=stage.kind)
        self._inputs[name] = self._add(name, operator, (TABLE,))

    def step(
        self,
        stage: Stage,
        operator: Step,
        *inputs: str,
        name: str = "",
        method: str = "transform",
    ) -> str:
        """Add a step that reads other steps; return its name."""
        operator.kind = stage.kind
        return self._add(
            f"{_short(stage)}/{name}" if name else _short(stage), operator, inputs, method
        )

    def _add(
        self, path: str, operator: Step, inputs: tuple[str, ...], method: str = "transform"
    ) -> str:
        unique = unused_name(path, self.steps)
        self.steps[unique] = BuiltStep(unique, operator, inputs, method)
        if len(self.steps) > _MOST_STEPS:
            raise ValueError
        return unique

    def name(self, stage: Stage, column: str, step: str) -> None:
        """Give the output of a step the name of a column."""
        if not column:
            return
        if column in self.columns:
            stage.fail(f"column {column!r} is written twice.")
        self.columns[column] = step


def _short(stage: Stage) -> str:
    return stage.kind.removesuffix("Model").removesuffix("Classification").lower() or "stage"


Reader = Callable[[Stage, Plan], None]
READERS: dict[str, Reader] = {}


def reads(*kinds: str) -> Callable[[Reader], Reader]:
    """Register the function that reads stages of these classes."""

    def add(reader: Reader) -> Reader:
        for kind in kinds:
            READERS[f"org.apache.spark.ml.{kind}"] = reader
        return reader

    return add


def nested(stage: Stage, plan: Plan) -> Any:
    """Read a stage with the reader of its class."""
    from .unsupported import require_columns

    reader = READERS.get(
        str(stage.metadata["class"]).replace("pyspark.ml", "org.apache.spark.ml", 1)
    )
    if reader is None:
        require_columns(stage, plan)
    else:
        reader(stage, plan)
