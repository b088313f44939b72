"""A hash of each row, which tells training from validation rows wherever and whenever it is read.

Equal rows have equal hashes, so that copies of a row never lie on both sides. The hash is
multilinear in the bits of the values (Carter and Wegman 1979), with the finalizer of SplitMix64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def row_hashes(batch: pa.RecordBatch, columns: Sequence[str], seed: int = 0) -> NDArray[np.uint64]:
    """Hashes (n,) of rows, which depend on the values of some columns and on the seed.

    Numbers of different types that are equal as float64 are equal; missing numbers are NaN.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        The rows.
    columns : sequence of str
        The columns that count.
    seed : int
        Another seed gives other hashes.
    """
    total = np.full(batch.num_rows, _scrambled(seed), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for place, name in enumerate(columns):
            factor = np.uint64(_scrambled(seed + 2 * place + 1) | 1)
            total += _bits(batch.column(name)) * factor
        return _mixed(total)


def is_below(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Whether a hash is among the lowest, of which there are so many, as a share of all."""
    return hashes < np.uint64(min(int(share * 2.0**64), 2**64 - 1))


def _bits(column: Any) -> NDArray[np.uint64]:
    import pyarrow.types as types

    kind = column.type
    if types.is_boolean(kind):
        column = column.cast("uint8")
    elif types.is_temporal(kind) or types.is_dictionary(kind):
        column = column.cast("string") if types.is_temporal(kind) else column
    numeric = types.is_integer(column.type) or types.is_floating(column.type)
    if numeric:
        values = column.to_numpy(zero_copy_only=False).astype(np.float64)
        values = values + 0.0  # -0.0 is 0.0
        return values.view(np.uint64)
    return _bits_of_texts(column)


def _bits_of_texts(column: Any) -> NDArray[np.uint64]:
    from pandas.util import hash_array

    coded = column if hasattr(column, "indices") else column.dictionary_encode()
    texts = np.array([str(v) for v in coded.dictionary.to_pylist()], dtype=object)
    own = np.append(hash_array(texts), np.uint64(_GOLDEN))
    places = coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return own[places.astype(np.int64)]


def _scrambled(value: int) -> int:
    """A number without pattern for each number."""
    with np.errstate(over="ignore"):
        start = np.array([(value * _GOLDEN + _GOLDEN) % 2**64], dtype=np.uint64)
        return int(_mixed(start)[0])


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))
