"""Comparison of the answers of an ONNX file with those of the pipeline."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import is_outlier_detector

from ..answer_differences import difference
from ..registry import translation
from .answers import NEIGHBORS, SCORES
from .inputs import feeds


def session(content: bytes) -> Any:
    """An ONNX Runtime session on the CPU with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_answers(running: Any, rows: Any) -> dict[str, Any]:
    """The outputs of a session for rows in the format of the pipeline, by name."""
    names = [one.name for one in running.get_outputs()]
    outputs = running.run(names, feeds(running.get_inputs(), rows))
    return dict(zip(names, outputs, strict=True))


def source_answers(source: Any, rows: Any, names: list[str]) -> dict[str, Any]:
    """The answers of the pipeline itself, in the shape of the outputs of its file."""
    found: dict[str, Any] = {}
    row = translation(source)
    rows = rows if row is None else row.native_input(source, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            kind, _, number = name.partition("_")
            if name in NEIGHBORS:
                found[name] = source.kneighbors(rows)[NEIGHBORS.index(name)]
                continue
            if kind == "variable":
                method = "predict" if hasattr(source, "predict") else "transform"
            elif kind == "label":
                method = "predict"
            else:
                method = next(m for m in SCORES if hasattr(source, m))
            value = getattr(source, method)(rows)
            value = value[int(number)] if number else value
            found[name] = _as_table(value, kind, is_outlier_detector(source))
    return found


def largest_differences(
    content: bytes, source: Any, rows: Any, names: list[str]
) -> dict[str, float]:
    """The largest difference of each output, relative to the largest entry of its column.

    For labels, it is the share of rows with another label.
    """
    ours = onnx_answers(session(content), rows)
    theirs = source_answers(source, rows, names)
    return {name: difference(ours[name], theirs[name]) for name in names}


def _as_table(value: Any, kind: str, outliers: bool) -> Any:
    value = value.toarray() if hasattr(value, "toarray") else value
    value = np.hstack(value) if isinstance(value, list) else np.asarray(value)
    # Outliers have labels in a column, as in other exporters, unlike classes and clusters.
    flat = value.ndim == 1 and (kind != "label" or outliers)
    return value[:, None] if flat else value
