"""A hash of each row, which tells training from validation rows wherever and whenever it is read.

Equal rows have equal hashes, so that copies of a row never lie on both sides. The hash is
multilinear in the bits of the values (Carter and Wegman 1979), with the finalizer of SplitMix64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def row_hashes(batch: pa.RecordBatch, columns: Sequence[str], seed: int = 0) -> NDArray[np.uint64]:
    """Hashes (n,) of rows, which depend on the values of some columns and on the seed.

    Numbers of different types that have the same bits as float64 are equal; missing ones are NaN.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        The rows.
    columns : sequence of str
        The columns that count.
    seed : int
        Another seed gives other hashes.
    """
    return hashes_of(lambda name: bits_of(batch.column(name)), columns, batch.num_rows, seed)


def hashes_of(
    bits: Callable[[str], NDArray[np.uint64]], columns: Sequence[str], rows: int, seed: int = 0
) -> NDArray[np.uint64]:
    """The same, of columns whose values are given as 64 bits."""
    total = np.full(rows, scrambled(seed), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for name, factor in zip(columns, factors(len(columns), seed), strict=True):
            total += bits(name) * factor
        return _mixed(total)


def factors(count: int, seed: int) -> NDArray[np.uint64]:
    """The odd number by which the bits of each column are multiplied."""
    found = [scrambled(seed + 2 * place + 1) | 1 for place in range(count)]
    return np.array(found, dtype=np.uint64)


def hashes_of_matrix(
    matrix: NDArray[np.float64], more: Sequence[NDArray[np.uint64]], seed: int = 0
) -> NDArray[np.uint64]:
    """The hashes of rows of numbers, followed by further columns."""
    own = factors(matrix.shape[1] + len(more), seed)
    with np.errstate(over="ignore"):
        total = matrix.view(np.uint64) @ own[: matrix.shape[1]]
        total += np.uint64(scrambled(seed))
        for bits, factor in zip(more, own[matrix.shape[1] :], strict=True):
            total += bits * factor
        return _mixed(total)


def is_below(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    """Whether a hash is among the lowest, of which there are so many, as a share of all."""
    return hashes < np.uint64(min(int(share * 2.0**64), 2**64 - 1))


def bits_of(column: Any) -> NDArray[np.uint64]:
    import pyarrow.types as types

    kind = column.type
    if types.is_boolean(kind):
        column = column.cast("uint8")
    elif types.is_temporal(kind) or types.is_dictionary(kind):
        column = column.cast("string") if types.is_temporal(kind) else column
    numeric = types.is_integer(column.type) or types.is_floating(column.type)
    if numeric:
        values = column.to_numpy(zero_copy_only=False)
        return values.astype(np.float64, copy=False).view(np.uint64)
    return _bits_of_texts(column)


def _bits_of_texts(column: Any) -> NDArray[np.uint64]:
    from pandas.util import hash_array

    coded = column if hasattr(column, "indices") else column.dictionary_encode()
    texts = np.array([str(v) for v in coded.dictionary.to_pylist()], dtype=object)
    own = np.append(hash_array(texts), np.uint64(_GOLDEN))
    places = coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return own[places.astype(np.int64)]


def scrambled(value: int) -> int:
    """A number without pattern for each number."""
    with np.errstate(over="ignore"):
        start = np.array([(value * _GOLDEN + _GOLDEN) % 2**64], dtype=np.uint64)
        return int(_mixed(start)[0])


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))
