"""The user's samples: features with their targets, weights and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from ..sources.arrays import without_tensors


@dataclass(frozen=True)
class Samples:
    """Samples in the user's own containers; tensors become arrays.

    Parameters
    ----------
    X : array, DataFrame, sparse matrix or list
        Input of the source, with n samples.
    y : array of shape (n,) or (n, k), optional
        Targets in the user's own form.
    weight : array of shape (n,), optional
        Weight of each sample.
    groups : array of shape (n,), optional
        Group label of each sample, for losses that compare groups.
    """

    X: Any
    y: Any = None
    weight: Any = None
    groups: Any = None

    def __post_init__(self) -> None:
        for name, part in vars(self).copy().items():
            object.__setattr__(self, name, without_tensors(part))

    def take(self, rows: NDArray[np.int64]) -> Samples:
        """Return the samples with these row numbers."""
        parts = (self.X, self.y, self.weight, self.groups)
        return Samples(*(None if part is None else _safe_indexing(part, rows) for part in parts))


# The share of samples to hold out, held-out samples, or None.
Validation = float | Samples | None
# The same in the form of the ``validation`` argument: ``(X, y)``, ``(X, y, weight)`` or
# ``(X, y, weight, groups)``.
ValidationArgument = float | tuple[Any, ...] | None
