"""The library MLflow, imported when it is needed."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..warning_filters import ignored_warnings


def mlflow_library() -> Any:
    """The module ``mlflow``, with its parts for models.

    Raises
    ------
    ArgumentError
        If it is not installed.
    """
    try:
        # It warns of type hints of its own.
        with ignored_warnings(r"(?s).*Any type hint is inferred as AnyType"):
            import mlflow
            import mlflow.models
            import mlflow.pyfunc
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"pipegrad.mlflow requires {error.name}.\nHint: pip install 'pipegrad[mlflow]'."
        ) from error
    return mlflow
