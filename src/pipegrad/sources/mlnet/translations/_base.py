"""Shared code of the translations for ML.NET."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ...arrays import to_tensor
from ...named.translations import NamedTranslation, row_of
from ..binary import Numbers


class MLNetTranslation(NamedTranslation):
    """A translation for ML.NET: float32 arithmetic, NaN passes, columns (n,) or (n, k)."""

    tolerance = 1e-5
    precision = np.float32


def single(values: ArrayLike | Numbers) -> Tensor:
    """A float32 tensor that shares no memory with the values."""
    array = values.values if isinstance(values, Numbers) else values
    with np.errstate(over="ignore"):  # Values too large for float32 become infinite.
        return to_tensor(np.asarray(array).astype(np.float32))


def build(operator: Any) -> nn.Module:
    """Translate an operator nested in another to a module."""
    return row_of(operator).to_torch(operator)


def write_inner(module: Any, operator: Any) -> None:
    """Write the module of a nested operator back."""
    row_of(operator).write_back(module, operator)
