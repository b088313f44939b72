"""What a model file unfolds into: its steps, and the columns with its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .operators._base import Operator
from .schema import Column


@dataclass
class BuiltStep:
    """A step of the graph."""

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    method: str = "transform"


@dataclass
class ModelOutput:
    """What the model answers, by the columns that hold it."""

    task: str
    output: str
    predict: Column
    proba: Column | None = None
    classes: Any = None
    score: Column | None = None
