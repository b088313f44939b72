"""Propagation of labels to rows without one, and from all of these rows to new rows."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from ...modules import (
    Block,
    Distributions,
    Head,
    Kernel,
    KernelDistributions,
    NeighborDistributions,
    ProbabilityHead,
)
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation
from ._neighbors import MOST_NUMBERS, Answers, stored_rows, ties_depend_on_type
from .kernels import callable_kernel, stored_points, written_points

_SURE = ("transduction_",)
_STORED = ("X_",)


class Nearest(Answers):
    """The nearest stored rows of rows of a module, as the source's own search finds them."""

    def __call__(self, x: Block) -> Tensor:
        """Rows (n, features) to indices (n, neighbors)."""
        found = self._ask("kneighbors", self._rows(x))[1]
        return torch.as_tensor(found, dtype=torch.int64, device=x.device)


class LabelGraph(SklearnTranslation):
    """label_distributions_ train, and with a kernel X_ as well; transduction_ follows."""

    data = "partly_labeled"
    kept: ClassVar[tuple[str, ...]] = ("probabilities",)
    sparse = True
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "norms and products of rows treat them differently"
    }
    adds_entries = False
    unchanged_attributes: ClassVar[Any] = {}

    def refuse(self, operator: Any) -> str | None:
        if callable(operator.kernel):
            return callable_kernel(operator)
        rows = operator.X_
        if operator.kernel == "knn" and sparse.issparse(rows):
            size = math.prod(rows.shape)
            if size > MOST_NUMBERS:
                needed = f"{8 * size / 1e9:.3g} GB"
                return f"its sparse stored rows would need {needed} as dense ones for gradients"
        return None

    def depends_on_type(self, operator: Any, dtype: Any) -> bool:
        if operator.kernel == "knn":
            return ties_depend_on_type(operator.nn_fit, dtype)
        # The kernel of far rows is zero in single precision.
        return bool(dtype == np.float32 and operator.X_.dtype == np.float32)

    def to_torch(self, operator: Any) -> nn.Module:
        shares = Distributions(to_tensor(operator.label_distributions_))
        if operator.kernel == "knn":
            search = operator.nn_fit
            find = Nearest(search, "kneighbors")
            return NeighborDistributions(stored_rows(search), shares, search.n_neighbors, find)
        kernel = Kernel("rbf", gamma=float(operator.gamma))
        return KernelDistributions(stored_points(operator.X_), shares, kernel)

    def write_back(self, module: Any, operator: Any) -> None:
        shares = to_array(module.distributions(), operator.label_distributions_)
        operator.label_distributions_ = shares
        operator.transduction_ = operator.classes_[np.argmax(shares, axis=1)].ravel()
        if isinstance(module, KernelDistributions):
            operator.X_ = written_points(module, operator.X_)

    def head(self, operator: Any) -> Head:
        return ProbabilityHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("negative_log_likelihood")


@register("sklearn.semi_supervised.LabelPropagation")
class LabelPropagation(LabelGraph):
    """Rows with a label keep it during the fit."""

    examples = (
        Example({"gamma": 1e-3}, unchanged_attributes=_SURE),
        Example({"kernel": "knn"}, unchanged_attributes=_STORED),
        Example({"gamma": 0.1}, data="sparse_multiclass", unchanged_attributes=_SURE),
    )


@register("sklearn.semi_supervised.LabelSpreading")
class LabelSpreading(LabelGraph):
    """A share ``alpha`` of each row comes from its neighbors during the fit."""

    examples = (
        {"gamma": 1e-3, "alpha": 0.9},
        Example({"kernel": "knn", "n_neighbors": 9}, unchanged_attributes=_STORED),
        Example({"gamma": 1e-3}, data="binary_strings", unchanged_attributes=_SURE),
    )
