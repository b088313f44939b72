"""Checks the categories of the columns in an XGBoost model file."""

from __future__ import annotations

import itertools

import numpy as np

from ..document import Place

_LARGEST = 2**31 - 1
# XGBoost's numbers for the types of arrays that categories have.
_BITS = {9: 8, 11: 16, 13: 32, 15: 64}
_UNSIGNED_BITS = {10: 8, 12: 16, 14: 32, 16: 63}
_FLOATS = (7, 8)


def check_categories(cats: Place, features: int) -> None:
    """Reject tables of categories that would lead XGBoost outside of its arrays.

    Parameters
    ----------
    cats : Place
        The tables in their document.
    features : int
        Number of features of the model.
    """
    columns = list(cats["enc"].elements())
    if len(columns) not in (0, features):
        cats["enc"].fail(f"has {len(columns)} columns for {features} features.")
    sizes = [_check_column(column) for column in columns]
    segments = cats["feature_segments"].integers(0, _LARGEST)
    order = cats["sorted_idx"].integers(0, _LARGEST)
    ends = np.cumsum([0, *sizes]) if columns else np.zeros(0, dtype=np.int64)
    if not np.array_equal(segments, ends):
        cats["feature_segments"].fail("does not count the categories of the columns.")
    if len(order) not in (0, sum(sizes)):
        cats["sorted_idx"].fail(f"has {len(order)} elements for {sum(sizes)} categories.")
    if len(order):
        for begin, end in itertools.pairwise(ends):
            if not np.array_equal(np.sort(order[begin:end]), np.arange(end - begin)):
                cats["sorted_idx"].fail("does not order the categories.", at=int(begin))


def _check_column(column: Place) -> int:
    """Check the categories of a column; returns their number."""
    if "offsets" in column.object():
        return _check_names(column)
    kind = column["type"].integer(min(_FLOATS), max(_UNSIGNED_BITS))
    if kind in _FLOATS:
        return len(column["values"].numbers())
    if kind in _BITS:
        half = 2 ** (_BITS[kind] - 1)
        return len(column["values"].integers(-half, half - 1))
    return len(column["values"].integers(0, 2 ** _UNSIGNED_BITS[kind] - 1))


def _check_names(column: Place) -> int:
    """Check the names of categories, whose bytes stand in one array."""
    octets = column["values"].integers(-128, 255).astype(np.uint8).tobytes()
    ends = column["offsets"].integers(0, len(octets))
    if not len(ends):
        if octets:
            column["offsets"].fail("is empty, but there are names.")
        return 0
    if ends[0] != 0 or ends[-1] != len(octets) or (np.diff(ends) < 0).any():
        column["offsets"].fail(f"must increase from 0 to the number of bytes, {len(octets)}.")
    return len(ends) - 1
