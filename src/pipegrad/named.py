"""The module of a pipeline whose source names its columns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.metaestimators import available_if

from .errors import ArgumentError, warn
from .graph import INPUT
from .module import Optim, PipelineModule
from .modules import SparseRows, sent_as_copy, standard_settings
from .remote_files import is_remote, opened
from .row_sources import is_row_source
from .source_methods import source_has
from .sources.arrays import to_block, to_csr, without_tensors
from .sources.named.left_out import taken, without_left_out
from .sources.protocol import NamedSource
from .training.samples import Samples

# Sparse columns of more numbers stay sparse.
_MOST_DENSE = 4096
# Bytes of a file that is read as a whole.
_LARGEST_FILE = 64 << 20


@sent_as_copy
class NamedPipeline(PipelineModule):
    """A pipeline of named columns, such as an ML.NET model; made by `pipegrad.to_torch`.

    Input is a DataFrame with the raw columns, or the path of a CSV or Parquet file.
    """

    source: NamedSource

    @standard_settings
    def columns(self, X: Any) -> dict[str, Any]:
        """All named columns that the model computes.

        Parameters
        ----------
        X : DataFrame, dict of arrays or path
            The raw columns, n rows.

        Returns
        -------
        dict of str to array
            Arrays (n,) or (n, k) by name; ``NAME@INDEX`` is a column that a later one of the same
            name hides. Indicators of more than 4,096 categories are CSR matrices. Columns that
            depend on raw columns missing in ``X`` are omitted.
        """
        table = read_table(X)
        known = self._computable(table)
        wanted = {name: step for name, step in self.graph.columns.items() if step in known}
        if not wanted:
            self._require([self.graph.output], table)
        return without_left_out(lambda rows: self._columns(rows, wanted), table)[0]

    def kept_rows(self, X: Any) -> NDArray[np.int64] | None:
        """The places of the rows that the model does not leave out; None if it keeps all.

        Parameters
        ----------
        X : DataFrame, dict of arrays or path
            The raw columns, n rows. A model of Spark leaves rows out that one of its stages skips
            (``handleInvalid="skip"``, ``coldStartStrategy="drop"``); the answers of the module have
            the other ones, in order.
        """
        return without_left_out(super().host_arrays, read_table(X))[1]

    @available_if(source_has("predict"))
    def predict(self, X: Any) -> NDArray[Any]:
        """Scores for regression and ranking, labels of the source otherwise."""
        return self._answer("predict", X)

    @available_if(source_has("predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Class probabilities (n, classes), in the order of ``classes_``."""
        return self._answer("predict_proba", X)

    @available_if(source_has("decision_function"))
    def decision_function(self, X: Any) -> NDArray[Any]:
        """The scores of the model."""
        return self._answer("decision_function", X)

    def fit(
        self, X: Any, y: Any = None, *, optim: Optim = torch.optim.Adam, **options: Any
    ) -> NamedPipeline:
        """Fine-tune all trainable steps; ``y`` may be the name of a column of ``X``.

        Without ``y``, the targets are those that the model names, if its source keeps their name.
        """
        if is_row_source(X) and not is_table_file(X):
            super().fit(X, y, optim=optim, **options)
            return self
        samples = self._training_rows(X, y, options.get("sample_weight"), options.get("groups"))
        options = {**options, "sample_weight": samples.weight, "groups": samples.groups}
        held = options.get("validation")
        if isinstance(held, tuple) and len(held) > 1:
            own = self._training_rows(*held)
            given = (own.X, own.y, own.weight, own.groups)
            options["validation"] = given[: len(held)]
        super().fit(samples.X, samples.y, optim=optim, **options)
        return self

    def require(self, table: Any) -> None:
        """Reject a table that lacks columns which predictions need, and name them.

        Parameters
        ----------
        table : DataFrame or dict
            The raw columns; their values are not read.
        """
        outputs = [self.graph.columns[name] for name in self.source.answers.values()]
        self._require(outputs or [self.graph.output], table)

    def training_table(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        """Rows and targets for a training run that splits and compares rows.

        Parameters
        ----------
        X : DataFrame, dict of arrays or path
            The raw columns, n rows.
        y : array of shape (n,), or str, optional
            The targets, or the name of their column; by default the column that the model names.

        Returns
        -------
        table : pandas.DataFrame
            The rows, without the targets and what the model computes, unless predictions read it:
            rows with equal targets would seem to belong together.
        y : array of shape (n,), optional
            The targets.
        """
        table = read_table(X)
        targets = self._target(table, y)
        if isinstance(table, Mapping):
            table = _frame(table)
        dropped = [
            name
            for name in table.columns
            if not self._needs(name, table)
            and (name in (y if isinstance(y, str) else None, *self.graph.columns)
                 or _equal(table[name], targets))
        ]  # fmt: skip
        return table.drop(columns=dropped), targets

    def input_columns(self, names: list[str]) -> list[str]:
        table = dict.fromkeys(names)
        self._require([self.graph.output], table)
        readers = self._readers([self.graph.output])
        needed = dict(table)
        for name in names:
            fewer = {other: None for other in needed if other != name}
            if all(self.source.reads(operator, fewer) for operator in readers):
                needed = fewer
        return list(needed)

    def input_of_arrow(self, batch: Any) -> Any:
        return read_table(batch)

    def kept_of_arrow(self, batch: Any) -> Any:
        if not getattr(self.source, "leaves_out", False):
            return batch
        import pyarrow as pa

        kept = self.kept_rows(batch)
        return batch if kept is None else batch.take(pa.array(kept))

    def target_column(self, names: list[str]) -> str | None:
        find = getattr(self.source, "target_name", None)
        found = None if find is None else find(dict.fromkeys(names), None)
        return found if found in names else None

    def targets_of_arrow(self, batch: Any, several: bool) -> Any:
        if several:
            return super().targets_of_arrow(batch, several)
        return self._target(read_table(batch), batch.schema.names[0])

    # -- internals -----------------------------------------------------------------------------

    def _training_rows(self, X: Any, y: Any, weight: Any = None, groups: Any = None) -> Samples:
        """The rows that the model does not leave out, with their targets."""
        table = read_table(X)
        return self.without_left_out(Samples(table, self._target(table, y), weight, groups))

    def without_left_out(self, samples: Samples) -> Samples:
        """The samples whose rows the model does not leave out, with a warning if it does any."""
        if not getattr(self.source, "leaves_out", False):
            return samples
        table = samples.X
        kept = self.kept_rows(table)
        if kept is None:
            return samples
        count = len(next(iter(table.values())) if isinstance(table, Mapping) else table)
        warn(f"The model leaves out {count - len(kept):,} of {count:,} rows, and so does training.")
        y, weight, groups = (
            None if part is None else _safe_indexing(part, kept)
            for part in (samples.y, samples.weight, samples.groups)
        )
        return Samples(taken(table, kept), y, weight, groups, samples.metadata)

    def _target(self, table: Any, y: Any) -> Any:
        if y is not None and not isinstance(y, str):
            return y
        find = getattr(self.source, "target", _column_of_targets)
        return find(table, y)

    def _offers(self, method: str) -> bool:
        return method in self.source.answers

    def _host_input(self, X: Any) -> Any:
        table = read_table(X)
        self._require([self.graph.output], table)
        return super()._host_input(table)

    @standard_settings
    def _answer(self, method: str, X: Any) -> NDArray[Any]:
        name, table = self.source.answers[method], read_table(X)
        self._require([self.graph.columns[name]], table)
        wanted = {name: self.graph.columns[name]}
        columns, _ = without_left_out(lambda rows: self._columns(rows, wanted), table)
        return self.source.answer_of(method, columns[name])

    def host_arrays(self, X: Any) -> dict[str, Any]:
        return without_left_out(super().host_arrays, read_table(X))[0]

    def _columns(self, table: Any, wanted: dict[str, str]) -> dict[str, Any]:
        exact = self.exact_steps()
        steps = self.graph.ancestors(*(step for step in wanted.values() if step not in exact))
        host: dict[str, Any] = {}
        arrays = self.host_part.run(table, steps, host)
        like = self.reference_tensor()
        blocks = {n: to_block(a, like.dtype, like.device) for n, a in arrays.items()}
        with torch.no_grad():
            values = self.evaluate_steps(blocks, steps, evaluating=True)
        found = {}
        for name, step in wanted.items():
            value = self.host_part.value(step, host) if step in exact else values[step]
            found[name] = self.source.column(name, _array(value))
        return found

    def exact_steps(self) -> set[str]:
        """Host steps, and the steps after them that are more precise there than as a module."""
        found = set(self.host_part.host)
        for step in self.graph:
            exact = getattr(step.operator, "exact", False)
            if exact and found.issuperset({*step.inputs} - {INPUT}):
                found.add(step.name)
        return found

    def _computable(self, table: Any) -> set[str]:
        """The steps whose columns the table has."""
        found = {INPUT}
        for step in self.graph:
            reads = INPUT not in step.inputs or self.source.reads(step.operator, table)
            if reads and found.issuperset(step.inputs):
                found.add(step.name)
        return found

    def _require(self, steps: list[str], table: Any) -> None:
        self.source.require(self._readers(steps), table)

    def _needs(self, name: str, table: Any) -> bool:
        """Whether the output depends on a column of the table."""
        others = dict.fromkeys(other for other in table.columns if other != name)
        readers = self._readers([self.graph.output])
        return not all(self.source.reads(operator, others) for operator in readers)

    def _readers(self, steps: list[str]) -> list[Any]:
        """The operators among the ancestors of some steps that read the table."""
        needed = self.graph.ancestors(*steps)
        return [s.operator for s in self.graph if s.name in needed and INPUT in s.inputs]


def _array(value: Any) -> Any:
    if isinstance(value, SparseRows) or sparse.issparse(value):
        if value.shape[1] > _MOST_DENSE:
            return to_csr(value) if isinstance(value, SparseRows) else value.tocsr()
        value = value.to_dense() if isinstance(value, SparseRows) else value.toarray()
    return value.cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _frame(columns: Mapping[str, Any]) -> Any:
    """A table of pandas; the rows of arrays (n, k) are cells."""
    import pandas as pd

    arrays = {name: np.asarray(values) for name, values in columns.items()}
    return pd.DataFrame({n: a if a.ndim == 1 else list(a) for n, a in arrays.items()})


def _equal(column: Any, targets: Any) -> bool:
    """Whether a column holds the targets."""
    if targets is None or len(column) != len(targets) or np.ndim(targets) != 1:
        return False
    pairs = zip(column.tolist(), np.asarray(targets).tolist(), strict=True)
    return all(type(a) is type(b) and a == b for a, b in pairs)


def read_table(X: Any) -> Any:
    """The table itself, one of pandas for those of pyarrow and polars, or that in a file.

    Columns of pyarrow, polars and files keep their type where values are missing.
    """
    if not isinstance(X, str | os.PathLike):
        if hasattr(X, "iloc"):  # Tables of pandas have rows by place.
            return X
        if hasattr(X, "to_arrow"):
            X = X.to_arrow()
        return from_arrow(X) if hasattr(X, "to_pandas") else without_tensors(X)
    path = os.fspath(X)
    if path.lower().endswith((".parquet", ".pq")):
        return _from_parquet(path)
    if path.lower().endswith((".csv", ".csv.gz")):
        return _from_csv(path)
    raise ArgumentError(f"{path}: a table must be a .csv or .parquet file.")


def is_table_file(X: Any) -> bool:
    """Whether X is the path of a single file that is read as a whole."""
    if not isinstance(X, str | os.PathLike):
        return False
    path = os.fspath(X)
    ends = path.lower().endswith((".parquet", ".pq", ".csv", ".csv.gz"))
    return ends and (is_remote(path) or not os.path.isdir(path)) and not _is_large(path)


def _is_large(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) > _LARGEST_FILE


def _from_parquet(path: str) -> Any:
    from pyarrow import parquet

    if not is_remote(path):
        return from_arrow(parquet.read_table(path))
    with opened(path) as file:
        return from_arrow(parquet.read_table(file))


def from_arrow(table: Any) -> Any:
    """A table of pandas; whole numbers and truth values among which some are missing are nullable.

    Floating-point numbers are objects if some are missing, since NaN is another value.
    """
    import pandas as pd
    import pyarrow as pa

    found = table.to_pandas()
    sizes = [(kind, n) for kind in ("Int", "UInt") for n in (8, 16, 32, 64)]
    nullable = {
        pa.type_for_alias(f"{k}{n}".lower()): getattr(pd, f"{k}{n}Dtype")() for k, n in sizes
    }
    nullable[pa.bool_()] = pd.BooleanDtype()
    for place, name in enumerate(table.schema.names):
        column = table.column(place)
        if not column.null_count or list(found.columns).count(name) != 1:
            continue
        if column.type in nullable:
            found[name] = column.to_pandas(types_mapper=nullable.get).array
        elif pa.types.is_floating(column.type):
            null = column.is_null().to_numpy(zero_copy_only=False).tolist()
            # Cells of their own type, as a float32 has fewer digits.
            pairs = zip(null, found[name].to_numpy(), strict=True)
            cells = [None if lacks else value for lacks, value in pairs]
            found[name] = pd.Series(cells, found.index, dtype=object)
    return found


def _from_csv(path: str) -> Any:
    import pandas as pd

    text = pd.read_csv(path, keep_default_na=False, na_values=["", "NaN", "nan"])
    lacking = [name for name in text if text[name].dtype.kind == "f" and text[name].isna().any()]
    if lacking:  # Whole numbers among which some are missing stay whole.
        kinds = pd.read_csv(
            path,
            keep_default_na=False,
            na_values=["", "NaN", "nan"],
            usecols=lacking,
            dtype_backend="numpy_nullable",
        )
        for name in lacking:
            if kinds[name].dtype.kind == "i":
                text[name] = kinds[name]
    return text


def _column_of_targets(table: Any, y: str | None) -> Any:
    if y is None:
        return None
    names = table.columns if hasattr(table, "columns") else table.keys()
    if y not in names:
        raise ArgumentError(f"y={y!r} is not a column of X.")
    return np.asarray(table[y])
