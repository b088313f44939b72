"""Comparison of the answers of a file with those of the pipeline."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import is_outlier_detector

from ..answer_differences import difference
from ..module import PipelineModule
from ..registry import translation
from ..translate import to_torch
from .answers import NEIGHBORS, SCORES
from .columns import OUTPUT, named_columns
from .inputs import feeds
from .preparation import translated
from .thresholds import rows_across_thresholds


def session(content: bytes, threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that wait for work would take time from others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_answers(running: Any, rows: Any, source: Any = None) -> dict[str, Any]:
    """The outputs of a session for rows in the format of the pipeline, by name.

    A source with named columns says how it reads them from a table.
    """
    names = [one.name for one in running.get_outputs()]
    inputs = running.get_inputs()
    given = rows if source is None or not _has_columns(source) else named_columns(source, rows)
    outputs = running.run(names, feeds(inputs, given))
    return dict(zip(names, outputs, strict=True))


def _has_columns(source: Any) -> bool:
    return hasattr(source, "answers") and hasattr(source, "reads")


def source_answers(source: Any, rows: Any, names: list[str]) -> dict[str, Any]:
    """The answers of the pipeline itself, in the shape of the outputs of its file."""
    found: dict[str, Any] = {}
    if _has_columns(source):
        net: Any = to_torch(source)
        columns = net.columns(rows)
        found = {name: columns[name.removesuffix(OUTPUT)] for name in names}
        return {name: v[:, None] if v.ndim == 1 else v for name, v in found.items()}
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


def comparison(net: PipelineModule, source: Any, rows: Any, ours: dict[str, Any]) -> dict[str, Any]:
    """How far the answers of a file are from those of the pipeline.

    Parameters
    ----------
    net : PipelineModule
        The module that the file has.
    source : object
        The pipeline.
    rows : object
        Rows in the format of the pipeline.
    ours : dict of str to array
        The outputs of the file for these rows.

    Returns
    -------
    dict
        ``largest_difference`` of each output, relative to the largest entry of its column, or for
        labels the share of rows with another one. Where the file has another precision than the
        pipeline, ``rows_across_thresholds`` counts the rows that reach other leaves of trees, which
        do not take part in the differences.
    """
    found: dict[str, Any] = {}
    kept: Any = slice(None)
    exact = translated(source, None)
    if net.reference_tensor().dtype != exact.reference_tensor().dtype:
        across = rows_across_thresholds(exact, net, rows)
        found["rows_across_thresholds"] = int(across.sum())
        kept = ~across
    theirs = source_answers(source, rows, list(ours))
    gaps = {name: difference(ours[name][kept], theirs[name][kept]) for name in ours}
    return {**found, "largest_difference": gaps}


def _as_table(value: Any, kind: str, outliers: bool) -> Any:
    value = value.toarray() if hasattr(value, "toarray") else value
    value = np.hstack(value) if isinstance(value, list) else np.asarray(value)
    # Outliers have labels in a column, as in other exporters, unlike classes and clusters.
    flat = value.ndim == 1 and (kind != "label" or outliers)
    return value[:, None] if flat else value
