"""The steps that a model file expands into, and the columns with its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .schema import Column


@dataclass
class ModelOutput:
    """The columns that hold the predictions of the model."""

    task: str
    output: str
    predict: Column
    proba: Column | None = None
    classes: Any = None
    score: Column | None = None
