"""The user's samples: features with their targets, weights and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from ..sources.array_arguments import dense_targets
from ..sources.arrays import without_tensors

WEIGHT_HINT = (
    "Hint: give a number for each row. To balance classes, use class_weight='balanced' of the "
    "classifier, or sklearn.utils.class_weight.compute_sample_weight."
)


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
    metadata : mapping of str to object
        Further arguments for the ``fit`` of a pipeline. Those with an entry for each sample are
        taken along with the samples.
    """

    X: Any
    y: Any = None
    weight: Any = None
    groups: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, part in vars(self).copy().items():
            object.__setattr__(self, name, without_tensors(part))
        object.__setattr__(self, "y", dense_targets(self.y))

    def take(self, rows: NDArray[np.int64]) -> Samples:
        """Return the samples with these row numbers."""

        def taken(part: Any) -> Any:
            return None if part is None else _safe_indexing(part, rows)

        metadata = {
            name: taken(value) if _has_rows(value, self.X) else value
            for name, value in self.metadata.items()
        }
        own = (self.X, self.y, self.weight, self.groups)
        X, y, weight, groups = map(taken, own)
        return Samples(X, y, weight, groups, metadata)


def _has_rows(value: Any, X: Any) -> bool:
    """Whether an argument is a sequence with an entry for each sample."""
    sized = hasattr(value, "shape") or isinstance(value, list | tuple)
    return sized and np.ndim(value) > 0 and len(value) == _num_samples(X)


# The share of samples to hold out, held-out samples, or None.
Validation = float | Samples | None
# The same in the form of the ``validation`` argument: ``(X, y)``, ``(X, y, weight)`` or
# ``(X, y, weight, groups)``.
ValidationArgument = float | tuple[Any, ...] | None
