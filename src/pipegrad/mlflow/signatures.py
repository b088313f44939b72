"""Names and types of the inputs and outputs of a model, as MLflow checks them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from ..errors import ArgumentError, PipegradError
from ..glue import Glue
from ..module import PipelineModule
from ..warning_filters import ignored_warnings
from .library import mlflow_library

METHODS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score_samples",
    "transform",
)
# What MLflow warns of although it was decided here: the types of an example are those of the rows.
_DECIDED = (
    r"(?s).*Inferred schema contains integer column",
    r"(?s).*An input example was not provided",
)


def main_method(net: PipelineModule) -> str:
    """The method that answers where none is named."""
    for method in ("predict", "transform"):
        if hasattr(net, method):
            return method
    raise ArgumentError(f"A {type(net.source).__name__} has no predict and no transform to serve.")


def infer_signature(net: PipelineModule, rows: Any) -> Any:
    """The signature for input like some rows, with the parameter "method".

    Parameters
    ----------
    net : PipelineModule
        The module, which answers the rows.
    rows : array, DataFrame, sparse matrix or list
        Rows in the format of the pipeline.

    Returns
    -------
    mlflow.models.ModelSignature
        Inputs, outputs of the main method, parameters.
    """
    method = main_method(net)
    answers = getattr(net, method)(rows)
    with saved_quietly():
        return mlflow_library().models.infer_signature(rows, answers, params={"method": method})


def example_of(net: PipelineModule) -> Any:
    """A row of zeros for a pipeline that reads numbers alone; None for others."""
    columns = getattr(net.source, "n_features_in_", None)
    host = [step.operator for step in net.graph if step.status == "host"]
    if columns is None or not all(isinstance(operator, Glue) for operator in host):
        return None
    example: Any = np.zeros((1, int(columns)))
    names = getattr(net.source, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        example = pd.DataFrame(example, columns=names)
    try:
        getattr(net, main_method(net))(example)
    except (PipegradError, ValueError, TypeError):
        return None  # Zero is no value that it takes.
    return example


@contextmanager
def saved_quietly() -> Iterator[None]:
    """Context without the warnings of MLflow about what was decided here."""
    with ExitStack() as stack:
        for message in _DECIDED:
            stack.enter_context(ignored_warnings(message))
        yield
