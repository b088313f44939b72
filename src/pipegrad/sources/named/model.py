"""What models with named columns check in the user's table."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, UntranslatableError


def has_column(table: Any, name: str) -> bool:
    """Whether a table has a column."""
    return name in column_names(table)


def column_names(table: Any) -> Any:
    """The names of the columns of a DataFrame or a dict of arrays."""
    names = table.columns if hasattr(table, "columns") else getattr(table, "keys", None)
    if names is None:
        raise ArgumentError(
            "The model takes a DataFrame, a pyarrow table, or the path of a CSV or Parquet file, "
            f"not {table!r:.60}."
        )
    return names() if callable(names) else names


def require_columns(lacking: list[Any], library: str, steps: int) -> None:
    """Reject a table without the columns that some operators read, and name all of them.

    Parameters
    ----------
    lacking : list of operator
        Operators with a ``name`` and ``missing``: why the table must have a column that the
        model itself would compute; "" if it is an ordinary column.
    library : str
        The library of the model.
    steps : int
        Number of steps of the model.
    """
    problems = [(op.name, op.title, op.missing) for op in lacking if op.missing]
    if problems:
        names = ", ".join(repr(name) for name, _, _ in problems)
        hint = f"compute {names} with {library} and add it to the table as a column."
        raise UntranslatableError(problems, steps, hint)
    if lacking:
        names = ", ".join(repr(op.name) for op in lacking)
        raise ArgumentError(f"The table lacks columns that the model reads: {names}.")
