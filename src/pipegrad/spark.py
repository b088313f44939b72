"""Spark: scores its DataFrames with modules.

It needs ``pip install 'pipegrad[spark]'``, pipegrad on the workers, and Java.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .errors import ArgumentError
from .module import PipelineModule
from .named import NamedPipeline, from_arrow, read_table
from .sources.named.cells import doubles_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["transform"]

# Rows from which the types of the new columns follow.
_FIRST_ROWS = 100
# Modules that a worker process keeps.
_MOST_MODULES = 4
_MODULES: OrderedDict[str, PipelineModule] = OrderedDict()
# Of decimals: Spark's own type may be narrower, and the widest holds all its values.
_DIGITS = 38
# The type of hashes: each is in a vector of its own.
_LISTS = "array<vector>"
_TYPES = {"b": "boolean", "i": "bigint", "u": "bigint", "f": "double"}


def transform(net: PipelineModule, df: DataFrame, example: Any = None) -> DataFrame:
    """Score a DataFrame of Spark.

    Parameters
    ----------
    net : PipelineModule
        The result of `pipegrad.to_torch`. Spark sends it to each worker once.
    df : pyspark.sql.DataFrame
        The rows. A pipeline of scikit-learn finds its columns by name if it was fitted on a table,
        and otherwise takes all of them.
    example : pyspark.sql.DataFrame or pandas.DataFrame, optional
        Rows from which the types of the new columns follow; by default the first rows of ``df``,
        which Spark computes at once. Streams and DataFrames without rows need it.

    Returns
    -------
    pyspark.sql.DataFrame
        All columns of ``df``, and those of ``net.columns``; for pipelines without named columns
        ``prediction``, and ``probability`` for classifiers. Spark computes them when they are asked
        for.

    Raises
    ------
    ArgumentError
        If pyspark is missing, ``df`` is no DataFrame of Spark, lacks a column that the module reads
        or has one that it writes, or if there is no row to take the types from.
    """
    types = _spark_types()
    if not isinstance(net, PipelineModule):
        raise ArgumentError(
            f"net must be the result of to_torch, got {net!r:.60}.\nHint: net = to_torch(pipeline)."
        )
    _check_frame(df)
    scorer = _Scorer(_needed_inputs(net, df))
    first = _first_rows(df, example)
    scorer.types = {name: _type_of(v) for name, v in scorer.columns(net, first).items()}
    lists: Collection[str] = getattr(net.source, "lists", ())
    scorer.types |= {name: _LISTS for name in scorer.types if name in lists}
    written = [name for name in scorer.types if name in df.columns]
    if written:
        raise ArgumentError(
            f"df must not have columns that the module writes: {_quoted(written)}.\n"
            f"Hint: df.drop({_quoted(written)})."
        )
    from pyspark import cloudpickle

    content = cloudpickle.dumps(deepcopy(net).cpu())
    scorer.digest = sha256(content).hexdigest()
    scorer.content = _shared(df.sparkSession, content)
    schema = types.StructType(list(df.schema.fields))
    for name, kind in scorer.types.items():
        schema = schema.add(name, _as_type(kind))
    return df.mapInArrow(scorer, schema)


@dataclass
class _Scorer:
    """What Spark runs on batches of rows."""

    inputs: list[str] | None  # Columns of a table, or None for plain numbers.
    digest: str = ""
    content: Any = None
    types: Any = None

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa

        net = self._module()
        for batch in batches:
            if not batch.num_rows:
                continue
            read = batch if self.inputs is None else batch.select(self.inputs)
            table = from_arrow(read)
            if isinstance(net, NamedPipeline):
                kept = net.kept_rows(table)
                if kept is not None:
                    batch, table = batch.take(pa.array(kept)), table.iloc[kept]
            found = self.columns(net, table)
            new = [_as_arrow(found[name], kind) for name, kind in self.types.items()]
            names = [*batch.schema.names, *self.types]
            yield pa.RecordBatch.from_arrays([*batch.columns, *new], names=names)

    def _module(self) -> PipelineModule:
        """The module, unpickled once in each process."""
        if self.digest not in _MODULES:
            _MODULES[self.digest] = pickle.loads(self.content.value)
            while len(_MODULES) > _MOST_MODULES:
                _MODULES.popitem(last=False)
        return _MODULES[self.digest]

    def columns(self, net: Any, table: Any) -> dict[str, Any]:
        """The new columns of a table of pandas."""
        if isinstance(net, NamedPipeline):
            return net.columns(table)
        rows = table.to_numpy() if self.inputs is None else table[self.inputs]
        found = {"prediction": net.predict(rows)}
        if hasattr(net, "predict_proba"):
            found["probability"] = net.predict_proba(rows)
        return found


@dataclass
class _Carried:
    """Bytes that go along with a function: clients of Spark Connect have no variables to share."""

    value: bytes


def _shared(session: Any, content: bytes) -> Any:
    if hasattr(session, "sparkContext"):
        return session.sparkContext.broadcast(content)
    return _Carried(content)


def _spark_types() -> Any:
    try:
        import pyspark.sql.types
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"pipegrad.spark requires {error.name}.\nHint: pip install 'pipegrad[spark]'."
        ) from error
    return pyspark.sql.types


def _as_type(kind: str) -> Any:
    """The type of Spark with a name, or of vectors or lists of them."""
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import ArrayType, DataType

    own = {"vector": VectorUDT(), _LISTS: ArrayType(VectorUDT())}
    return own[kind] if kind in own else DataType.fromDDL(kind)


def _check_frame(df: Any) -> None:
    from pyspark.sql import DataFrame

    if not isinstance(df, DataFrame):
        raise ArgumentError(
            f"df must be a DataFrame of Spark, got a {type(df).__name__}.\n"
            "Hint: net.predict takes those of pandas; spark.createDataFrame makes one of Spark."
        )


def _needed_inputs(net: Any, df: Any) -> list[str] | None:
    """The columns for a pipeline without named columns; an error if some are missing."""
    if isinstance(net, NamedPipeline):
        net.require(dict.fromkeys(df.columns))
        return None
    if not hasattr(net, "predict"):
        raise ArgumentError("net must have predict, got the module of a transformer.")
    names = getattr(net.source, "feature_names_in_", None)
    if names is None:
        count = getattr(net.source, "n_features_in_", len(df.columns))
        if count != len(df.columns):
            raise ArgumentError(
                f"df must have the {count} columns that the pipeline takes, got "
                f"{len(df.columns)}.\nHint: df.select(...), or fit the pipeline on a table, whose "
                "columns are found by name."
            )
        return None
    lacking = [str(name) for name in names if name not in df.columns]
    if lacking:
        raise ArgumentError(
            f"df must have the columns that the pipeline reads: {_quoted(lacking)}."
        )
    return [str(name) for name in names]


def _first_rows(df: Any, example: Any) -> Any:
    """Rows from which the types of the new columns follow, as a table of pandas."""
    if example is None and df.isStreaming:
        raise ArgumentError(
            "example must be given for a stream, got None.\n"
            "Hint: example= takes rows of the same columns, which say the types of the new ones."
        )
    found = df if example is None else example
    found = read_table(found.limit(_FIRST_ROWS).toArrow() if hasattr(found, "toArrow") else found)
    if not hasattr(found, "iloc"):
        raise ArgumentError(f"example must be a DataFrame, got a {type(example).__name__}.")
    lacking = [name for name in df.columns if name not in found.columns]
    if lacking:
        raise ArgumentError(f"example must have the columns of df; it lacks {_quoted(lacking)}.")
    if not len(found):
        which = "df" if example is None else "example"
        raise ArgumentError(
            f"{which} must have rows from which the types of the new columns follow, got none.\n"
            "Hint: give rows of the same columns as example=."
        )
    return found[df.columns]


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _type_of(values: Any) -> str:
    """Spark's name of the type of a column."""
    if sparse.issparse(values) or values.ndim == 2:
        return "array<string>" if values.dtype.kind in "OUS" else "vector"
    if values.dtype == object and doubles_of(values) is not None:
        return _nullable_type(values)
    if values.dtype in (np.int32, np.float32):
        return "int" if values.dtype == np.int32 else "float"
    if values.dtype.kind in _TYPES:
        return _TYPES[values.dtype.kind]
    lists = any(isinstance(cell, list | tuple | np.ndarray) for cell in values)
    return "array<string>" if lists else "string"


def _nullable_type(values: Any) -> str:
    known = [value for value in values.tolist() if value is not None]
    if known and all(isinstance(value, Decimal) for value in known):
        return f"decimal({_DIGITS},{max(map(_places, known))})"
    if known and all(isinstance(value, bool) for value in known):
        return "boolean"
    return "bigint" if known and all(isinstance(value, int) for value in known) else "double"


def _places(value: Decimal) -> int:
    """The digits after the point."""
    return max(-int(value.as_tuple().exponent), 0)


def _as_arrow(values: Any, kind: str) -> Any:
    """A column of the stated type."""
    import pyarrow as pa

    if kind in ("vector", _LISTS):
        vector = pa.struct([
            ("type", pa.int8()), ("size", pa.int32()), ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ])  # fmt: skip
        if kind == "vector":
            return pa.array(_structs(values), vector)
        return pa.array([_structs(row[:, None]) for row in values], pa.list_(vector))
    if kind.startswith("decimal"):
        places = int(kind.removesuffix(")").rpartition(",")[2])
        return pa.array(values.tolist(), pa.decimal128(_DIGITS, places))
    if kind == "string":
        return pa.array([v if v is None else str(v) for v in values.tolist()], pa.string())
    if kind == "array<string>":
        return pa.array(values.tolist(), pa.list_(pa.string()))
    plain = {"boolean": pa.bool_(), "int": pa.int32(), "bigint": pa.int64(), "float": pa.float32()}
    if values.dtype == object and kind == "double":
        values = [None if value is None else float(value) for value in values.tolist()]
    return pa.array(values).cast(plain.get(kind, pa.float64()))


def _structs(values: Any) -> list[dict[str, Any]]:
    """Vectors as Spark stores them."""
    if not sparse.issparse(values):
        return [{"type": 1, "values": row} for row in np.asarray(values, dtype=np.float64)]
    rows = values.tocsr()
    rows.sort_indices()
    edges = zip(rows.indptr, rows.indptr[1:], strict=False)
    return [
        {"type": 0, "size": rows.shape[1], "indices": rows.indices[a:b], "values": rows.data[a:b]}
        for a, b in edges
    ]
