"""What a fine-tuned pipeline consists of, and how much data it was fitted on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

from ..graph import INPUT
from ..network import PipelineNetwork
from ..registry import dotted_name

_LIBRARIES = ("pipegrad", "torch", "sklearn", "numpy")
# By the task of a head.
_TASKS = {
    "classification": "classification",
    "several": "classification",
    "multilabel": "classification",
    "regression": "regression",
    "clustering": "clustering",
}


@dataclass(frozen=True)
class ModelSummary:
    """The pipeline of a report, and the size of its data.

    Attributes
    ----------
    kind : str
        Dotted name of its class.
    operators : tuple of str
        Dotted names of the classes that it consists of, in the order of their first use.
    task : str
        "classification", "regression", "clustering", "outlier detection" or "transformation".
    rows : int
        Number of rows given to `FineTuner.fit`, without those of weight zero.
    columns : int, optional
        Number of input columns; None if the pipeline does not know it.
    versions : tuple of (str, str)
        Version of Python and of each library that takes part.
    from_file : bool
        Whether it was fitted before, and is written as a file or folder of its library's own.
    """

    kind: str
    operators: tuple[str, ...]
    task: str
    rows: int
    columns: int | None
    versions: tuple[tuple[str, str], ...]
    from_file: bool = False

    @property
    def library(self) -> str:
        """The library that the class of the pipeline is from."""
        return self.kind.partition(".")[0]

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries of all its operators, in alphabetical order."""
        return tuple(sorted({name.partition(".")[0] for name in self.operators}))


def summarize_model(estimator: Any, rows: int) -> ModelSummary:
    """Summarize a fitted pipeline.

    Parameters
    ----------
    estimator : estimator
        The fitted pipeline.
    rows : int
        Number of rows that it was fitted on.

    Returns
    -------
    ModelSummary
        Plain texts and numbers.
    """
    if isinstance(estimator, PipelineNetwork):
        return _of_module(estimator, rows)
    parts = [estimator, *estimator.get_params(deep=True).values()]
    own = [part for part in parts if hasattr(part, "get_params") and not isinstance(part, type)]
    kinds = [dotted_name(type(part)) for part in own]
    operators = tuple(dict.fromkeys(kinds))
    columns = getattr(estimator, "n_features_in_", None)
    return ModelSummary(
        kind=dotted_name(type(estimator)),
        operators=operators,
        task=_task(estimator),
        rows=rows,
        columns=None if columns is None else int(columns),
        versions=_versions(operators),
    )


def _of_module(net: PipelineNetwork, rows: int) -> ModelSummary:
    """Summarize a model that was no estimator, such as that of a file."""
    kind = dotted_name(type(net.source))
    steps = tuple(dict.fromkeys(step.kind for step in net.graph if INPUT not in step.inputs))
    if net.graph.columns and steps:
        kind = f"{steps[0].partition('.')[0]}.Model"
    operators = tuple(dict.fromkeys([kind, *steps]))
    task = _TASKS.get("" if net.head is None else net.head.task, "transformation")
    return ModelSummary(
        kind=kind,
        operators=operators,
        task=task,
        rows=rows,
        columns=getattr(net.source, "n_features_in_", None),
        versions=_versions(operators),
        from_file=True,
    )


def _task(estimator: Any) -> str:
    kinds = {
        "classification": is_classifier,
        "regression": is_regressor,
        "clustering": is_clusterer,
        "outlier detection": is_outlier_detector,
    }
    return next((name for name, is_one in kinds.items() if is_one(estimator)), "transformation")


def _versions(operators: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    names = dict.fromkeys([*_LIBRARIES, *sorted(name.partition(".")[0] for name in operators)])
    found = [(name, getattr(sys.modules.get(name), "__version__", None)) for name in names]
    python = ".".join(map(str, sys.version_info[:3]))
    return (("python", python), *((name, str(version)) for name, version in found if version))
