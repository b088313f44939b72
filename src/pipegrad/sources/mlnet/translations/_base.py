"""Shared code of the translations for ML.NET."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor, nn

from ....errors import ArgumentError
from ....modules import SparseRows
from ....registry import Translation, lookup
from ...arrays import to_array, to_block, to_csr, to_tensor
from ..binary import Numbers


class MLNetTranslation(Translation):
    """A translation for ML.NET: float32 arithmetic, NaN passes, columns (n,) or (n, k)."""

    examples = ()
    missing = True
    sparse = True
    tolerance = 1e-5

    def encode(self, operator: Any, X: Any) -> Any:
        """Convert numeric columns to single precision."""
        if sparse.issparse(X):
            return X.tocsr().astype(np.float32)
        values = np.asarray(X)
        if values.dtype == object:
            raise ArgumentError(f"{operator.loader} takes numbers, but a column holds text.")
        return values.astype(np.float32)

    def write_back(self, module: Any, operator: Any) -> None:
        """Write nothing, as most translations have no learned parameters."""


def single(values: ArrayLike | Numbers) -> Tensor:
    """A float32 tensor that shares no memory with the values."""
    array = values.values if isinstance(values, Numbers) else values
    with np.errstate(over="ignore"):  # Values too large for float32 become infinite.
        return to_tensor(np.asarray(array).astype(np.float32))


def write_numbers(numbers: Numbers | None, tensor: Tensor | None) -> None:
    """Write learned parameters back to where they came from, if anywhere."""
    if numbers is not None and tensor is not None:
        numbers.put(to_array(tensor))


def index(values: ArrayLike) -> Tensor:
    """An int64 tensor."""
    return torch.from_numpy(np.array(values, dtype=np.int64))


def build(operator: Any) -> nn.Module:
    """Translate an operator nested in another to a module."""
    return _row(operator).to_torch(operator)


def write_inner(module: Any, operator: Any) -> None:
    """Write the module of a nested operator back."""
    _row(operator).write_back(module, operator)


def evaluate(operator: Any, *values: Any) -> Any:
    """Compute an operator's output on the host with its module."""
    row = _row(operator)
    with torch.no_grad():
        arrays = [row.encode(operator, value) for value in values]
        blocks = [to_block(array, torch.float32, torch.device("cpu")) for array in arrays]
        out = row.to_torch(operator)(*blocks)
    return to_csr(out) if isinstance(out, SparseRows) else out.numpy()


def _row(operator: Any) -> Translation:
    row = lookup(type(operator))
    assert isinstance(row, Translation)
    return row
