"""`hummingbird.ml.convert` that answers with pipegrad."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from answers import Answers, NotApplicableError, translate
from scipy import sparse
from sklearn.base import BaseEstimator

RULES: tuple[tuple[str, str], ...] = (
    (r"TREE_IMPLEMENTATION: \"nonsense\"|MissingConverter", "expects the peer's own refusal"),
    (
        r"assertRaises\(\s*(RuntimeError|ValueError|AssertionError)",
        "expects the peer's own refusal",
    ),
    (r"\.model\._operators|\.model\.graph|dt_implementation_map", "the peer's own graph"),
    (r"assertRaises\(NotFittedError, convert, model", "an estimator that needs no fit"),
    (r"onnx_ml_tools_installed|OnnxMLConvertError|onnxmltools", "ONNX as an input"),
)
"""Patterns in the text of a test that concerns the peer's own machinery."""

BACKENDS = ("torch", "pytorch")


class Container:
    """What the tests call; the methods are those of hummingbird's containers."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if not self._answers.has(name):
            raise NotApplicableError(f"the peer's attribute {name!r}")

        def call(*inputs: Any) -> Any:
            answer = self._answers.ask(name, _joined(inputs))
            return answer.toarray() if sparse.issparse(answer) else answer

        return call


def _joined(inputs: tuple[Any, ...]) -> Any:
    """One table, where hummingbird takes a column for each argument."""
    if len(inputs) == 1:
        return inputs[0]
    return np.hstack([np.asarray(one).reshape(len(one), -1) for one in inputs])


def convert(
    model: Any,
    backend: str,
    test_input: Any = None,
    device: str = "cpu",
    extra_config: Any = None,
) -> Container:
    """Translate as `hummingbird.ml.convert` does, for its torch backend."""
    if str(backend).lower() not in BACKENDS:
        raise NotApplicableError(f"the backend {backend}")
    if not isinstance(model, BaseEstimator):
        raise NotApplicableError("a source that is not scikit-learn's")
    if extra_config and extra_config.get("container") is False:
        raise NotApplicableError("the peer's container")
    return Container(translate(model))


def install() -> None:
    """Put the stand-in where the tests import it from."""
    import hummingbird.ml
    from hummingbird.ml import convert as _original  # noqa: F401  # it must be loaded first

    hummingbird.ml.convert = convert
    sys.modules["hummingbird.ml"].convert = convert
