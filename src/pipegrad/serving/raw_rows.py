"""Raw rows as the inputs of an ONNX session, as long as it is certain to answer as the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..export.boosted_steps import reads_categories
from ..glue import Columns, Glue, is_pandas_table
from ..graph import INPUT
from ..module import PipelineModule

# Sources that compute in float32 refuse larger numbers.
_LARGEST = 1e15
# Encoders with these options refuse, or warn of, categories that they do not know.
_REFUSING = ("error", "warn", "raise")
_IMPUTERS = {
    "sklearn.impute.SimpleImputer",
    "sklearn.impute.KNNImputer",
    "sklearn.impute.IterativeImputer",
}
_FEW = 32

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Column:
    """A column of the raw table.

    Parameters
    ----------
    name : str
        Its name.
    kind : {"double", "float", "int64", "bool", "string"}
        Type of the input of the session.
    known : frozenset, optional
        The values that the pipeline takes; any by default.
    takes_missing : bool
        Whether the pipeline takes NaN.
    """

    name: str
    kind: str
    known: frozenset[Any] | None
    takes_missing: bool

    def checked(self, values: list[Any]) -> NDArray[Any] | None:
        """Python objects as a column (n, 1); None unless all of them are usual values."""
        if self.kind == "string":
            if not all(type(value) is str and value for value in values):
                return None
            dtype: Any = object
        elif self.kind in ("double", "float"):
            if not all(isinstance(value, float | int) for value in values):
                return None
            if not all(self._is_usual(value) for value in values):
                return None
            dtype = _DTYPES[self.kind]
        else:
            kind = int if self.kind == "int64" else bool
            if not all(type(value) is kind for value in values):
                return None
            dtype = _DTYPES[self.kind]
        if self.known is not None and not self.known.issuperset(values):
            return None
        return np.array(values, dtype=dtype).reshape(-1, 1)

    def _is_usual(self, value: float) -> bool:
        return -_LARGEST < value < _LARGEST or (self.takes_missing and value != value)

    def numbers(self, values: NDArray[Any]) -> NDArray[Any] | None:
        """An array of numbers as a column (n, 1); None unless all of them are usual values."""
        wanted = _DTYPES[self.kind]
        if values.dtype != wanted:
            if not (wanted.kind == "f" and values.dtype.kind in "iub"):
                return None
            values = values.astype(wanted)
        if wanted.kind == "f" and not are_usual(values, self.takes_missing):
            return None
        if self.known is not None and not self.known.issuperset(values.tolist()):
            return None
        return values.reshape(-1, 1)


_DTYPES: dict[str, np.dtype[Any]] = {
    "double": np.dtype(np.float64),
    "float": np.dtype(np.float32),
    "int64": np.dtype(np.int64),
    "bool": np.dtype(np.bool_),
}


def are_usual(values: NDArray[Any], takes_missing: bool) -> bool:
    """Whether no number is infinite or so large that a source may refuse it, or NaN."""
    if not values.size:
        return False
    if takes_missing:
        lowest, highest = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        if lowest != lowest:  # nothing but NaN
            return True
        return bool(lowest > -_LARGEST and highest < _LARGEST)
    flat = values.ravel()
    # NaN fails the comparison, and no sum of squares hides a large number.
    return bool(np.dot(flat, flat) < _LARGEST**2)


class ArrayReader:
    """Reads rows for a session with a single input (n, features).

    Parameters
    ----------
    columns : sequence of Column
        The columns.
    input_name : str
        Name of the input.
    names : list of str, optional
        Names of the columns, if the pipeline was fitted on a table.
    """

    def __init__(self, columns: Sequence[Column], input_name: str, names: list[str] | None) -> None:
        self.input_name, self.names, self.width = input_name, names, len(columns)
        self.dtype = _DTYPES[columns[0].kind]
        self.takes_missing = all(column.takes_missing for column in columns)
        self.known = [(i, one.known) for i, one in enumerate(columns) if one.known is not None]

    def feeds(self, X: Any) -> Feeds | None:
        """The input of the session; None for rows that the module should see."""
        rows = X if type(X) is np.ndarray and self.names is None else self._array(X)
        if rows is None or rows.ndim != 2 or rows.shape[1] != self.width:
            return None
        if rows.dtype != self.dtype or not are_usual(rows, self.takes_missing):
            return None
        for place, known in self.known:
            if not known.issuperset(rows[:, place].tolist()):
                return None
        return {self.input_name: rows}

    def _array(self, X: Any) -> NDArray[Any] | None:
        if isinstance(X, dict):
            X = [X]
        if isinstance(X, list):
            if X and isinstance(X[0], dict):
                if self.names is None:
                    return None
                try:
                    X = [[row[name] for name in self.names] for row in X]
                except KeyError:
                    return None
            elif self.names is not None:
                return None
            if not all(type(v) in (float, int) for row in X if isinstance(row, list) for v in row):
                return None
            try:
                return np.array(X, dtype=self.dtype)
            except (TypeError, ValueError):
                return None
        if self.names is not None and is_pandas_table(X) and X.columns.tolist() == self.names:
            return X.to_numpy() if all(dtype == self.dtype for dtype in X.dtypes) else None
        return None


class TableReader:
    """Reads rows for a session with an input (n, 1) for each column.

    Parameters
    ----------
    columns : sequence of Column
        The columns that the session reads.
    names : list of str
        Names of all columns of the table, in its order.
    """

    def __init__(self, columns: Sequence[Column], names: list[str]) -> None:
        self.columns, self.names = columns, names
        read = {column.name for column in columns}
        self.others = [name for name in names if name not in read]
        self.places = [names.index(column.name) for column in columns]

    def feeds(self, X: Any) -> Feeds | None:
        """The inputs of the session; None for rows that the module should see."""
        if isinstance(X, dict):
            return self._of_rows([X])
        if isinstance(X, list):
            return self._of_rows(X) if X and all(isinstance(row, dict) for row in X) else None
        if is_pandas_table(X) and X.columns.tolist() == self.names and len(X):
            return self._of_few(X) if len(X) <= _FEW else self._of_table(X)
        return None

    def _of_rows(self, rows: list[dict[str, Any]]) -> Feeds | None:
        found = {}
        try:
            for column in self.columns:
                name = column.name
                values = column.checked([row[name] for row in rows])
                if values is None:
                    return None
                found[name] = values
            if any(name not in row for name in self.others for row in rows):
                return None  # The pipeline may refuse rows without a column that it does not use.
        except (KeyError, TypeError):  # A column is missing, or a value cannot be hashed.
            return None
        return found

    def _of_few(self, table: Any) -> Feeds | None:
        """A few rows of a table, whose columns are slower to take one by one."""
        kinds = [dtype.kind for dtype in table.dtypes]
        array = table.to_numpy().T
        found = {}
        for column, place in zip(self.columns, self.places, strict=True):
            kind, values = kinds[place], array[place]
            # Mixed columns become objects, so that the type has to be looked at here.
            if not _takes(column, kind):
                return None
            try:
                read = column.checked(values.tolist())
            except TypeError:
                return None
            if read is None:
                return None
            found[column.name] = read
        return found

    def _of_table(self, table: Any) -> Feeds | None:
        found = {}
        for column in self.columns:
            values = table[column.name]
            if not _takes(column, values.dtype.kind):
                return None
            if column.kind == "string":
                try:
                    read = column.checked(values.tolist())
                except TypeError:
                    return None
            else:
                read = column.numbers(values.to_numpy())
            if read is None:
                return None
            found[column.name] = read
        return found


def _takes(column: Column, kind: str) -> bool:
    """Whether a column of a table has the type of the input, by the kind of its dtype."""
    if column.kind == "string":
        return kind == "O"
    return kind in {"double": "fiub", "float": "fiub", "int64": "i", "bool": "b"}[column.kind]


def reader_of(net: PipelineModule, inputs: Sequence[Any]) -> ArrayReader | TableReader | None:
    """The reader for the inputs of a session; None if a step refuses rows in a way of its own.

    Parameters
    ----------
    net : PipelineModule
        The pipeline.
    inputs : sequence of NodeArg
        ``session.get_inputs()``.
    """
    found = getattr(net.source, "feature_names_in_", None)
    names = None if found is None else list(found)
    if names is not None and not all(isinstance(name, str) for name in names):
        return None
    kinds = [one.type.removeprefix("tensor(").removesuffix(")") for one in inputs]
    missing = _takes_missing(net)
    read = [one.name for one in inputs if names and one.name in names and one.shape[1] == 1]
    if names and len(read) == len(inputs):  # an input for each column that a step reads
        known = _known_values(net, len(names))
        if known is None:
            return None
        mine = [known[names.index(name)] for name in read]
        columns = [Column(*one, missing) for one in zip(read, kinds, mine, strict=True)]
        return TableReader(columns, names)
    # No texts one by one, which stand in no columns.
    if len(inputs) > 1 or inputs[0].name != "X" or kinds[0] not in _DTYPES:
        return None
    width = int(inputs[0].shape[1])
    known = _known_values(net, width)
    if known is None:
        return None
    labels = names or [str(place) for place in range(width)]
    columns = [
        Column(name, kinds[0], values, missing) for name, values in zip(labels, known, strict=True)
    ]
    return ArrayReader(columns, "X", names)


def _takes_missing(net: PipelineModule) -> bool:
    """Whether no step would refuse a NaN in the raw numbers, wherever it passes through."""
    reached = {INPUT}
    for step in net.graph:
        if reached.isdisjoint(step.inputs):
            continue
        if isinstance(step.operator, Glue):
            reached.add(step.name)
            continue
        row = step.translation
        if row is None or not row.missing or _is_monotone_tree(step.operator):
            return False
        if step.kind not in _IMPUTERS:
            reached.add(step.name)
    return True


def _is_monotone_tree(operator: Any) -> bool:
    """Whether a tree of scikit-learn has constraints, which exclude missing values."""
    constrained = getattr(operator, "monotonic_cst", None) is not None
    return constrained and not type(operator).__name__.startswith("Hist")


def _known_values(net: PipelineModule, width: int) -> list[frozenset[Any] | None] | None:
    """The values of each raw column that no step refuses; None if only the steps can tell."""
    found: list[frozenset[Any] | None] = [None] * width
    for step in net.graph:
        if reads_categories(step):
            return None  # Their library takes columns of categories alone, not any text.
        if getattr(step.operator, "handle_unknown", None) not in _REFUSING:
            continue
        categories = getattr(step.operator, "categories_", None)
        places = _places(net, step, width)
        if places is None or categories is None or len(categories) != len(places):
            return None
        for place, values in zip(places, categories, strict=True):
            mine = frozenset(np.asarray(values).tolist())
            before = found[place]
            found[place] = mine if before is None else before & mine
    return found


def _places(net: PipelineModule, step: Any, width: int) -> list[int] | None:
    """The raw columns that a step reads; None if it does not read raw columns alone."""
    if len(step.inputs) != 1:
        return None
    (name,) = step.inputs
    if name == INPUT:
        return list(range(width))
    before = net.graph[name]
    if not isinstance(before.operator, Columns) or list(before.inputs) != [INPUT]:
        return None
    return [int(place) for place in np.asarray(before.operator.indices, dtype=int)]
