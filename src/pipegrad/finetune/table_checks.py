"""What is wrong with a large table is told before any work is done on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ..losses.group_penalty import GroupPenalty
from ..row_sources.iterables import IterableRows
from ..sources.arrow import column_array

if TYPE_CHECKING:
    import pyarrow as pa

    from ..row_sources import RowSource
    from .tuner import FineTuner

# Rows of targets that are read at once.
_ROWS = 1 << 18


def check_settings(tuner: FineTuner) -> None:
    """Refuse settings that need all rows in memory.

    Raises
    ------
    ArgumentError
        If there is one.
    """
    if tuner.cv is not None or tuner.validation_split == "ordered":
        raise ArgumentError(
            "cv= and validation_split='ordered' need all rows in memory, and these are read in "
            "pieces.\nHint: read a part of them, or leave these settings out."
        )


def check_rows(source: RowSource, targets: tuple[str, ...], loss: Any) -> None:
    """Refuse a table that cannot be read several times, or with missing or infinite targets.

    Only the columns of the targets are read.

    Parameters
    ----------
    source : RowSource
        The table.
    targets : tuple of str
        The columns of the targets.
    loss : str, callable, object or None
        The loss of the tuner.

    Raises
    ------
    ArgumentError
        The error names the file and the column.
    """
    if isinstance(loss, GroupPenalty):
        raise ArgumentError(
            "A loss with a group penalty compares all rows, and these are read in pieces.\n"
            "Hint: train on a sample in memory."
        )
    if isinstance(source, IterableRows) and not source.repeatable:
        raise ArgumentError(
            f"The rows are read several times, and a {source.name} can be read only once.\n"
            "Hint: give a path, a list, or an object whose __iter__ begins anew."
        )
    if not targets:
        return
    for piece in source.pieces:
        start = 0
        for batch in source.batches(piece, targets, _ROWS):
            for name in targets:
                _check_target(batch.column(name), name, piece.place, start)
            start += batch.num_rows


def _check_target(column: pa.Array, name: str, place: str, start: int) -> None:
    import pyarrow.types as types

    # Null values of a dictionary are those of its indices.
    wrong = np.asarray(column.is_null(nan_is_null=types.is_floating(column.type)))
    what = "a missing value"
    if not wrong.any() and types.is_floating(column.type):
        wrong, what = np.isinf(column_array(column)), "an infinite value"
    if wrong.any():
        raise ArgumentError(
            f"{place}, row {start + int(np.argmax(wrong)):,}: the target {name!r} has {what}.\n"
            "Hint: leave rows without a target out of the table."
        )
