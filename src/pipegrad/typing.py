"""Names for the types in signatures, so that each signature says what comes in.

Objects of other libraries (a user's features, an estimator, an operator) share no type. To a type
checker their names mean ``Any``; to a reader they say what is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

# Objects of other libraries

# Features (X) as the source takes them: array, DataFrame, sparse matrix or list of texts.
Features: TypeAlias = Any
# Targets (y) of the user's own kind: array, Series or list, (n,) or (n, k); None without targets.
Targets: TypeAlias = Any
# An estimator of scikit-learn's kind, fitted or not.
Estimator: TypeAlias = Any
# The object behind a step: a fitted estimator, or an operator of another source.
Operator: TypeAlias = Any
# What a step on the host gives: array, DataFrame, CSR matrix or list of arrays.
HostValue: TypeAlias = Any

# Arrays

Array: TypeAlias = NDArray[Any]
FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
# Scores of any floating-point type.
ScoreArray: TypeAlias = NDArray[np.floating]
# One weight for each sample, (n,).
SampleWeight: TypeAlias = ArrayLike | None
# One label for each sample, (n,).
GroupLabels: TypeAlias = ArrayLike | None

# Classes

Label: TypeAlias = Hashable
# The labels of a target, or those of each target.
ClassLabels: TypeAlias = Array | list[Array]
# As scikit-learn's class_weight: one mapping, or one for each target.
ClassWeight: TypeAlias = Mapping[Label, float] | list[dict[Label, float]] | Literal["balanced"]

# Training

# ``function(score, target)``: loss of each sample, or one number for all; the target is None for
# losses that compare with nothing.
LossFunction: TypeAlias = Callable[..., Tensor]


class Splitter(Protocol):
    """Divides samples into training and validation sets, as scikit-learn's splitters do."""

    def split(
        self, X: Features, y: Targets = None, groups: GroupLabels = None
    ) -> Iterator[tuple[Array, Array]]:
        """Row numbers, or masks, of each pair of sets."""


# What ``cv`` takes: a number of folds, a splitter, or pairs of row numbers.
CrossValidation: TypeAlias = int | Splitter | Iterable[tuple[ArrayLike, ArrayLike]] | None
