"""The inputs of an exported pipeline: one for an array, or one for each column of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..glue import Columns
from ..graph import INPUT, Graph
from .host_steps import columns_of, reads
from .table import KINDS, Table, TableWriter, column_kind, is_missing


def input_table(writer: TableWriter, source: Any, graph: Graph, rows: Any) -> Table:
    """Declare the inputs of a pipeline, and return its raw table."""
    names = _own_names(source)
    names = _names_of_steps(graph) if names is None else names
    kinds = _kinds(graph, rows, names, _width(source, graph, rows, names))
    kinds = [writer.real if kind == "float64" else kind for kind in kinds]
    return writer.add_inputs(None if names is None else list(map(str, names)), kinds)


def raw_columns(names: list[Any], rows: Any) -> list[Any]:
    """The columns of rows in the format of the pipeline.

    Parameters
    ----------
    names : list of str or int
        Names of the columns of a table; as many entries as an array has columns.
    rows : array, DataFrame, sparse matrix or list
        Rows in the format of the pipeline.
    """
    rows = rows.toarray() if hasattr(rows, "toarray") else rows
    known = list(map(str, rows.columns)) if hasattr(rows, "columns") else []
    if known and set(map(str, names)) <= set(known):
        return [rows.iloc[:, known.index(str(name))].to_numpy(dtype=object) for name in names]
    array = np.asarray(rows)
    return list(array.reshape(-1, 1).T if array.ndim == 1 else array.T)


def feeds(inputs: list[Any], rows: Any) -> dict[str, Any]:
    """The rows as the inputs of an ONNX Runtime session.

    Parameters
    ----------
    inputs : list of NodeArg
        ``session.get_inputs()``.
    rows : array, DataFrame, sparse matrix, list or dict of arrays
        Rows in the format of the pipeline, or its columns by name.
    """
    if isinstance(rows, dict):
        columns = {one.name: rows[one.name] for one in inputs}
        columns = {n: v[:, None] if v.ndim == 1 else v for n, v in columns.items()}
        return {one.name: _typed(columns[one.name], one.type) for one in inputs}
    rows = rows.toarray() if hasattr(rows, "toarray") else rows
    table = hasattr(rows, "columns")
    if len(inputs) == 1 and (not table or inputs[0].name not in map(str, rows.columns)):
        array = rows.to_numpy() if table else np.asarray(rows)
        array = array.reshape(-1, 1) if array.ndim == 1 else array
        return {inputs[0].name: _typed(array, inputs[0].type)}
    array = None if table else np.asarray(rows, dtype=object)
    found = {}
    for place, one in enumerate(inputs):
        if array is None:
            column = rows[_column_named(rows, one.name)].to_numpy(dtype=object)
        else:
            column = array[:, place]
        found[one.name] = _typed(column.reshape(-1, 1), one.type)
    return found


def _column_named(rows: Any, name: str) -> Any:
    return next(column for column in rows.columns if str(column) == name)


# What ONNX Runtime calls types by other names than NumPy.
_TYPES = {"double": "float64", "float": "float32"}


def _typed(array: Any, kind: str) -> Any:
    if kind != "tensor(string)":
        name = kind.removeprefix("tensor(").removesuffix(")")
        return array.astype(_TYPES.get(name, name))
    out = np.empty(array.shape, dtype=object)
    out.ravel()[:] = ["" if is_missing(value) else str(value) for value in array.ravel()]
    return out


def _names_of_steps(graph: Graph) -> list[str] | None:
    """The names of columns that the first steps know, where the pipeline itself knows none."""
    for step in graph:
        if INPUT in step.inputs:
            owner = getattr(step.operator, "owner", None) or step.operator
            names = _own_names(owner)
            if names is not None:
                return names
    return None


_NAMES = ("feature_names_in_", "feature_names_", "feature_names", "feature_name")
_BOOSTED = ("catboost", "lightgbm", "xgboost")


def _own_names(operator: Any) -> list[Any] | None:
    """The names of columns that an operator was fitted on; None if it was fitted on an array."""
    boosted = type(operator).__module__.partition(".")[0] in _BOOSTED
    found = (getattr(operator, name, None) for name in (_NAMES if boosted else _NAMES[:1]))
    known = (one() if callable(one) else one for one in found)
    names = next((list(one) for one in known if one is not None), None)
    if names is None or not boosted:
        return names
    made_up = [[f"{start}{i}" for i in range(len(names))] for start in ("", "Column_")]
    return None if names in made_up else names


def _width(source: Any, graph: Graph, rows: Any, names: Any) -> int:
    if names is not None:
        return len(names)
    shape = getattr(rows, "shape", None)
    if shape is not None:
        return shape[1] if len(shape) > 1 else 1
    for one in [source, *_first_operators(graph)]:
        width = getattr(one, "n_features_in_", None)
        if not width:  # Boosters have a method instead, and models of CatBoost a list of names.
            count = getattr(one, "num_feature", None) or getattr(one, "num_features", None)
            width = count() if callable(count) else len(getattr(one, "feature_names_", ()))
        if width:
            return int(width)
    known = [columns_of(step) for step in graph if INPUT in step.inputs]
    if known and known[0] is not None:
        return known[0]
    raise ArgumentError(
        "rows must hold some rows for this pipeline, which does not know its number of columns, "
        "got None.\nHint: export(pipeline, path, rows=X[:100])."
    )


def _first_operators(graph: Graph) -> list[Any]:
    first = [step.operator for step in graph if INPUT in step.inputs]
    return [one for operator in first for one in (getattr(operator, "owner", None), operator)]


def _kinds(graph: Graph, rows: Any, names: list[Any] | None, width: int) -> list[str]:
    """The type of each column: that of the rows, or what the first steps were fitted on."""
    if rows is not None:
        kinds = _kinds_of_rows(rows, names, width)
    else:
        known = _kinds_by_readers(graph, INPUT, width)
        kinds = ["float64" if kind is None else kind for kind in known]
    unknown = next((kind for kind in kinds if kind not in KINDS), None)
    if unknown is not None:
        raise ArgumentError(
            f"An exported file has no input of type {unknown}.\nHint: make numbers of it first."
        )
    return kinds


def _kinds_of_rows(rows: Any, names: list[Any] | None, width: int) -> list[str]:
    if hasattr(rows, "columns"):
        found = rows.columns if names is None else names
        missing = [name for name in found if name not in rows.columns]
        if missing:
            raise ArgumentError(f"rows must have the columns of the pipeline, but lack {missing}.")
        return [column_kind(rows[name]) for name in found]
    if hasattr(rows, "toarray"):
        return ["float64"] * width
    array = np.asarray(rows)
    if array.dtype.kind in "fiub":
        return ["float64"] * width
    columns = array.reshape(len(array), -1).T
    return [column_kind(column) for column in columns]


def _kinds_by_readers(graph: Graph, name: str, width: int) -> list[str | None]:
    """The type that the steps which read a table know for each of its columns."""
    kinds: list[str | None] = [None] * width
    for step in graph.consumers(name):
        places = list(range(width))
        if isinstance(step.operator, Columns):
            places = [int(place) for place in np.asarray(step.operator.indices, dtype=int)]
            found = _kinds_by_readers(graph, step.name, len(places))
        else:
            found = reads(step, width)
        for place, kind in zip(places, found, strict=True):
            kinds[place] = kinds[place] or kind
    return kinds
