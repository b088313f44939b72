"""The contract of an exported file: it answers as the operator does, unusual rows as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..answer_differences import difference
from ..errors import UntranslatableError
from ..export.measured import source_answers
from .checks import Case

Run = Callable[[Any], dict[str, Any]]
"""Maps rows in the format of the operator to the outputs of a file by name."""


def needed_rows(case: Case, operator: Any) -> Any:
    """The rows for ``rows=`` where a file needs them to know its inputs; None elsewhere."""
    X, _ = case.data()
    known = hasattr(operator, "n_features_in_") or hasattr(X, "columns") or np.ndim(X) < 2
    return None if known else X


def check_refusal(export: Callable[[], Any], reason: str) -> None:
    """An export is refused for a reason.

    Parameters
    ----------
    export : callable
        Exports an operator.
    reason : str
        The reason that its row gives.
    """
    told = ""
    try:
        export()
    except UntranslatableError as error:
        told = str(error)
    assert reason in told, f"exported, or refused for another reason: {told}"


def check_answers(case: Case, operator: Any, run: Run, names: list[str], tolerance: float) -> None:
    """A file gives the answers of the operator.

    Parameters
    ----------
    case : Case
        A translation with one of its examples.
    operator : object
        The fitted operator.
    run : callable
        Runs the file on rows.
    names : list of str
        Its outputs.
    tolerance : float
        Largest difference relative to a column's size, for files in float64.

    Raises
    ------
    AssertionError
        When answers differ.
    """
    X, _ = case.data()
    usual = source_answers(operator, X, names)
    for what, rows in _variants(X).items():
        if what == "no rows":
            for name, value in run(rows).items():
                assert value.shape == (0, *usual[name].shape[1:]), f"{what}: {name} {value.shape}"
            continue
        theirs = _answers_or_none(operator, rows, names)
        if theirs is None:
            assert what != "all rows"
            continue
        ours = run(rows)
        for name in names:
            if theirs[name].shape[1:] != usual[name].shape[1:]:
                continue  # the operator itself is inconsistent
            assert ours[name].shape == theirs[name].shape, f"{what}: {name} {ours[name].shape}"
            size = _beside(theirs[name], usual[name])
            gap = difference(
                np.concatenate([ours[name], size]), np.concatenate([theirs[name], size])
            )
            allowed = _allowed(ours[name], tolerance)
            assert gap <= allowed, f"{what}: {name} differs by {gap:.1e}"


def _allowed(values: Any, tolerance: float) -> float:
    if values.dtype.kind != "f":
        return 0.0
    return max(tolerance, 1e-6 if values.dtype == np.float32 else 0.0)


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
