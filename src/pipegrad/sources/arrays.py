"""Conversion between a source's arrays and a module's tensors, which never share memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from torch import Tensor

from ..errors import ArgumentError
from ..modules import Block, SparseParameter, SparseRows

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


def to_tensor(values: ArrayLike, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor that shares no memory; integers and booleans become float64."""
    array = np.array(without_tensors(values), copy=True, order="C")
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    tensor = torch.from_numpy(_native(array))
    return tensor if dtype is None else tensor.to(dtype)


def without_tensors(values: Any) -> Any:
    """Tensors as arrays or CSR matrices of the same numbers; everything else as it is.

    Lists, tuples and dicts may contain tensors. NumPy has no bfloat16, which becomes float32.
    """
    if type(values) is dict:  # A sparse matrix may be a dict, too.
        return {name: without_tensors(value) for name, value in values.items()}
    if isinstance(values, list | tuple) and any(isinstance(v, Tensor) for v in values):
        return [without_tensors(value) for value in values]
    if not isinstance(values, Tensor):
        return values
    plain = values.detach().cpu().resolve_conj().resolve_neg()
    if plain.dtype == torch.bfloat16:
        plain = plain.float()
    if plain.layout == torch.strided:
        return plain.numpy()
    entries = plain.to_sparse_coo().coalesce()
    parts = entries.values().numpy(), tuple(entries.indices().numpy())
    return sparse.csr_matrix(parts, shape=tuple(entries.shape))


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Numbers of a type that torch has: in the machine's byte order, float64 at most."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def to_array(tensor: Tensor, like: Any = None) -> NDArray[Any]:
    """Return an array that shares no memory, with ``like``'s dtype, order and shape if given.

    Numbers that an integer type would round keep their own type.
    """
    array = without_tensors(tensor)
    if like is None:
        return array.copy()
    like = np.asarray(like)
    order: Any = "F" if like.flags.f_contiguous and not like.flags.c_contiguous else "C"
    found = np.array(array.reshape(like.shape), dtype=like.dtype, order=order)
    if like.dtype.kind in "iub" and not np.array_equal(found.ravel(), array.ravel()):
        return np.array(array.reshape(like.shape), order=order)
    return found


def sparse_to_pattern(matrix: Any, transpose: bool = False) -> SparseParameter:
    """Return the entries of a CSR matrix, or of its transpose, in the matrix's order."""
    lengths = np.diff(matrix.indptr)
    rows = torch.from_numpy(np.repeat(np.arange(matrix.shape[0]), lengths))
    columns = torch.from_numpy(matrix.indices.astype(np.int64))
    values, (height, width) = to_tensor(matrix.data), matrix.shape
    if transpose:
        return SparseParameter(values, columns, rows, (width, height))
    return SparseParameter(values, rows, columns, (height, width))


def to_block(values: Any, dtype: torch.dtype, device: torch.device, shared: bool = False) -> Block:
    """Return an array or CSR matrix as tensors that share no memory with it.

    With ``shared``, those of an array may, so that nobody may change or keep them.
    """
    if sparse.issparse(values):
        starts = torch.from_numpy(values.indptr.astype(np.int64))
        columns = torch.from_numpy(values.indices.astype(np.int64))
        numbers = torch.from_numpy(_native(np.array(values.data))).to(dtype)
        return SparseRows(starts, columns, numbers, values.shape[1]).to(device)
    if shared and type(values) is np.ndarray and values.dtype in FLOATS:
        flags = values.flags
        if flags.c_contiguous and flags.writeable and flags.aligned:
            rows = torch.from_numpy(values)
            plain = rows.dtype == dtype and rows.device == device
            return rows if plain else rows.to(device=device, dtype=dtype)
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ArgumentError(
            f"The first translated step receives values of type {array.dtype}, not numbers. "
            "Put an encoder or an imputer before it."
        )
    array = _native(array)
    if not _may_be_tensor(array) or (array.dtype.kind == "f" and not shared):
        array = np.array(array)
    return torch.from_numpy(array).to(device=device, dtype=dtype)


def _may_be_tensor(array: NDArray[Any]) -> bool:
    """Whether a tensor can use the memory of an array."""
    steps = all(step >= 0 and step % array.itemsize == 0 for step in array.strides)
    return bool(steps and array.flags.writeable and array.flags.aligned)


def to_csr(rows: SparseRows) -> sparse.csr_matrix:
    """Return sparse rows as a CSR matrix."""
    parts = (rows.values, rows.columns, rows.starts)
    return sparse.csr_matrix(tuple(map(without_tensors, parts)), shape=rows.shape)


def stores_entries_twice(matrix: Any) -> bool:
    """Whether a CSR matrix stores several values for one entry; the matrix is not changed."""
    place = entry_places(matrix)
    if (np.diff(place) > 0).all():
        return False
    return len(np.unique(place)) < len(place)


def entry_places(matrix: Any) -> NDArray[np.int64]:
    """The place of each stored value of a CSR matrix, counted row by row."""
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return row * matrix.shape[1] + matrix.indices
