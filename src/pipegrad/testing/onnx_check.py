"""The contract of an ONNX file: it answers as the operator does, unusual rows as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UntranslatableError
from ..export.measured import difference, onnx_answers, session, source_answers
from ..export.onnx_file import onnx_file
from .checks import Case


def check_onnx(case: Case) -> None:
    """ONNX Runtime gives the answers of the operator, or the export is refused with a reason.

    Parameters
    ----------
    case : Case
        A translation with one of its examples.

    Raises
    ------
    AssertionError
        When answers differ.
    """
    operator, (X, _) = case.fitted(), case.data()
    if case.row.not_in_onnx:
        _check_refusal(case, operator)
        return
    known = hasattr(operator, "n_features_in_") or hasattr(X, "columns") or np.ndim(X) < 2
    content = onnx_file(operator, dtype=None, rows=None if known else X, opset=20)
    running = session(content)
    names = [one.name for one in running.get_outputs()]
    usual = source_answers(operator, X, names)
    for what, rows in _variants(X).items():
        if what == "no rows":
            for name, value in onnx_answers(running, rows).items():
                assert value.shape == (0, *usual[name].shape[1:]), f"{what}: {name} {value.shape}"
            continue
        theirs = _answers_or_none(operator, rows, names)
        if theirs is None:
            assert what != "all rows"
            continue
        ours = onnx_answers(running, rows)
        for name in names:
            if theirs[name].shape[1:] != usual[name].shape[1:]:
                continue  # the operator itself is inconsistent
            assert ours[name].shape == theirs[name].shape, f"{what}: {name} {ours[name].shape}"
            size = _beside(theirs[name], usual[name])
            gap = difference(
                np.concatenate([ours[name], size]), np.concatenate([theirs[name], size])
            )
            tolerance = _tolerance(case, ours[name])
            assert gap <= tolerance, f"{what}: {name} differs by {gap:.1e}"


def _check_refusal(case: Case, operator: Any) -> None:
    told = ""
    try:
        onnx_file(operator, dtype=None, rows=None, opset=20)
    except UntranslatableError as error:
        told = str(error)
    assert case.row.not_in_onnx in told, f"exported, or refused for another reason: {told}"


def _tolerance(case: Case, values: Any) -> float:
    if values.dtype.kind != "f":
        return 0.0
    return max(case.row.onnx_tolerance, 1e-6 if values.dtype == np.float32 else 0.0)


def _beside(theirs: Any, usual: Any) -> Any:
    """Further rows, so that a difference is relative to the usual size of a column."""
    return usual if theirs.shape[0] < usual.shape[0] else usual[:0]


def _answers_or_none(operator: Any, rows: Any, names: list[str]) -> Any:
    """The answers of the operator; None if it rejects the rows."""
    try:
        return source_answers(operator, rows, names)
    except (ValueError, TypeError):
        return None


def _variants(X: Any) -> dict[str, Any]:
    variants = {"all rows": X, "one row": X[:1], "no rows": X[:0]}
    if isinstance(X, np.ndarray) and X.dtype.kind == "f" and X.ndim == 2:
        for name, mark in (("nan", np.nan), ("inf", np.inf), ("-inf", -np.inf)):
            variants[name] = X.copy()
            variants[name][3, 1] = mark
    return variants
