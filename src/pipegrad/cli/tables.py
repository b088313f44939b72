"""Tables that the command line reads and writes: Parquet, CSV and Arrow files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..file_writing import check_target, replacement

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".parquet", ".csv", ".arrow", ".feather")


def read_table(path: str) -> pd.DataFrame:
    """The table in a file, told by the end of its name.

    Raises
    ------
    ArgumentError
        If the file is of another kind, or its content is.
    """
    suffix = _suffix(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    pandas = _pandas(path)
    readers = {
        ".csv": pandas.read_csv,
        ".parquet": pandas.read_parquet,
        ".arrow": pandas.read_feather,
        ".feather": pandas.read_feather,
    }
    try:
        return readers[suffix](path)
    except Exception as error:  # Each format has errors of its own.
        raise ArgumentError(f"{path} is not read as {suffix[1:]}: {error}") from error


def check_table_target(path: str) -> None:
    """Raise an error unless a table can be written to a path."""
    _suffix(path)
    check_target(path, "a table", SUFFIXES)


def write_table(path: str, table: pd.DataFrame) -> None:
    """Write a table completely or not at all."""
    suffix = _suffix(path)
    with replacement(path) as partial:
        if suffix == ".csv":
            table.to_csv(partial, index=False)
        elif suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            table.to_feather(partial)


def split_label(table: pd.DataFrame, label: str, path: str) -> tuple[pd.DataFrame, Any]:
    """The columns but the label, and the label."""
    if label not in table:
        raise ArgumentError(
            f"label must be a column of {path}, got {label!r}.\n"
            f"Hint: the columns are {_some(list(table))}."
        )
    return table.drop(columns=label), table[label].to_numpy()


def inputs_of(model: Any, table: pd.DataFrame, path: str) -> Any:
    """The columns of a table that a model takes, in its order; an array if it takes numbers.

    Raises
    ------
    ArgumentError
        If a column is missing, or if the model takes another number of columns.
    """
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        missing = [name for name in names if name not in table]
        if missing:
            raise ArgumentError(
                f"{path} lacks {_some(missing)}, which the model takes.\n"
                f"Hint: its columns are {_some(list(table))}."
            )
        return table[list(names)]
    count = getattr(model, "n_features_in_", None)
    if count is None:
        return table
    if count != table.shape[1]:
        raise ArgumentError(
            f"{path} must have the {count} columns that the model was fitted to, got "
            f"{table.shape[1]}: {_some(list(table))}."
        )
    return table.to_numpy()


def _suffix(path: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ArgumentError(f"{path}: the name of a table must end in one of {known}.")
    return suffix


def _pandas(path: str) -> Any:
    try:
        import pandas
        import pyarrow  # noqa: F401  # what reads Parquet and Arrow
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"{path} requires pandas and pyarrow: pip install 'pipegrad[pandas]'."
        ) from error
    return pandas


def _some(names: list[Any]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
