"""What all estimators with stored rows share: distances, checks, and questions to the source."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.metrics import DistanceMetric
from torch import Tensor, nn

from ...graph import copy_source
from ...modules import METRICS, NO_NEIGHBOR, Block, Metric, SparseRows
from ...warning_filters import ignored_warnings
from ..arrays import to_csr, to_tensor, without_tensors
from ._base import SklearnTranslation, reject_entries_stored_twice, validate

# Stored sparse rows become dense as long as they have no more numbers than this.
MOST_NUMBERS = 1 << 28
_SAME = {
    "p": "minkowski",
    "euclidean": "minkowski",
    "l2": "minkowski",
    "infinity": "chebyshev",
}
_CITY_BLOCK = ("manhattan", "cityblock", "l1")


class Answers:
    """What a method of an operator gives for rows of a module, as tensors.

    Trees count the queries that they answer, so that a copy of the operator is asked, which is no
    part of pickles.

    Parameters
    ----------
    operator : object
        The fitted operator.
    method : str
        Name of the method.
    """

    def __init__(self, operator: Any, method: str) -> None:
        self.operator, self.method = operator, method
        self._asked_operator: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_asked_operator": None}

    def __call__(self, x: Block) -> Tensor:
        """Rows (n, features) to (n,) or (n, k)."""
        out = self._asked(self._rows(x))
        return torch.as_tensor(out, dtype=x.dtype, device=x.device)

    def _rows(self, x: Block) -> Any:
        rows: Any = to_csr(x) if isinstance(x, SparseRows) else without_tensors(x)
        if getattr(self.operator._fit_X, "dtype", None) == np.float32:
            narrow = rows.astype(np.float32)
            # In float32, the source breaks ties in another way.
            if _same_numbers(narrow, rows):
                return narrow
        return rows

    def _ask(self, method: str, rows: Any, *arguments: Any, **options: Any) -> Any:
        if self._asked_operator is None:
            self._asked_operator = copy_source(self.operator)
        with ignored_warnings("X does not have valid feature names"):
            return getattr(self._asked_operator, method)(rows, *arguments, **options)

    def _asked(self, rows: Any) -> NDArray[Any]:
        out = self._ask(self.method, rows)
        if isinstance(out, list):
            return np.hstack(out)
        if self.method != "predict_proba":
            return np.asarray(out)
        return self._as_predicted(rows, out)

    def _as_predicted(self, rows: Any, shares: NDArray[Any]) -> NDArray[Any]:
        """The probabilities, where the predicted class is ahead also of one that is equal to it.

        The source adds up weights in another order where it predicts.
        """
        if getattr(self.operator, "weights", None) != "distance" or shares.shape[1] < 2:
            return shares
        second, first = np.partition(shares, -2, axis=1)[:, -2:].T
        close = np.flatnonzero((first - second < 1e-12) & (first > 0))
        if close.size:
            labels = self._ask("predict", rows[close])
            place = np.searchsorted(self.operator.classes_, labels)
            wrong = shares[close].argmax(1) != place
            shares[close[wrong], place[wrong]] = np.nextafter(first[close[wrong]], 2.0)
        return shares


def _same_numbers(one: Any, other: Any) -> bool:
    if sparse.issparse(one):
        return bool((one != other).sum() == 0)
    return np.array_equal(one, other, equal_nan=True)


class Found(Answers):
    """Numbers and indices of stored rows side by side, in a type that holds each index."""

    def __call__(self, x: Block) -> Tensor:
        """Rows (n, features) to (n, 2 * k)."""
        return torch.as_tensor(self._asked(self._rows(x)), dtype=torch.float64, device=x.device)


class FoundNearest(Found):
    """The distances and the indices of the nearest stored rows, side by side.

    Parameters
    ----------
    operator : object
        The fitted operator.
    count : int
        Number of neighbors.
    """

    def __init__(self, operator: Any, count: int) -> None:
        super().__init__(operator, "kneighbors")
        self.count = count

    def _asked(self, rows: Any) -> NDArray[Any]:
        return np.hstack(self._ask(self.method, rows, self.count))


class FoundWithin(Found):
    """The distances and the indices of the stored rows within the radius, side by side.

    Parameters
    ----------
    operator : object
        The fitted operator.
    """

    def __init__(self, operator: Any) -> None:
        super().__init__(operator, "radius_neighbors")

    def _asked(self, rows: Any) -> NDArray[Any]:
        gaps, index = self._ask(self.method, rows)
        counts = np.array([len(places) for places in index], dtype=int)
        if not counts.all():
            raise ValueError(f"Row {int(counts.argmin())} of X has no neighbors within the radius.")
        flat = [np.concatenate([*parts, np.zeros(0)]) for parts in (gaps, index)]
        return _side_by_side(flat[0], flat[1], counts)


class FoundByGraph(Found):
    """The distances and the indices of the entries of a graph, side by side.

    Parameters
    ----------
    operator : object
        A fitted transformer whose columns are the stored rows.
    """

    def __init__(self, operator: Any) -> None:
        super().__init__(operator, "transform")

    def _asked(self, rows: Any) -> NDArray[Any]:
        graph = self._ask(self.method, rows)
        return _side_by_side(graph.data, graph.indices, np.diff(graph.indptr))


def _side_by_side(gaps: Any, index: Any, counts: NDArray[Any]) -> NDArray[Any]:
    """The values of rows of different lengths in two tables, filled with no neighbors."""
    width = int(counts.max(initial=0))
    here = np.arange(width) < counts[:, None]
    tables = np.zeros((2, *here.shape))
    tables[1] = NO_NEIGHBOR
    for table, values in zip(tables, (gaps, index), strict=True):
        table[here] = values
    return np.hstack(list(tables))


def metric_of(operator: Any) -> Metric | None:
    """The distance of an operator with stored rows; None if there is no module of it."""
    return metric_by_name(operator.effective_metric_, operator.effective_metric_params_)


def metric_by_name(name: Any, options: Mapping[str, Any] | None) -> Metric | None:
    """The distance of a name and its options in the source; None if there is no module of it."""
    if not isinstance(name, str):
        return None
    left = {key: value for key, value in (options or {}).items() if value is not None}
    found = _metric(name, left)
    return None if left else found


def _metric(name: str, options: dict[str, Any]) -> Metric | None:
    """The distance; options that it takes are removed from ``options``."""
    if name in _CITY_BLOCK:
        return Metric(power=1)
    name = _SAME.get(name, name)
    if name == "minkowski":
        power, weights = float(options.pop("p", 2)), options.pop("w", None)
        return Metric(power=power, weights=None if weights is None else _numbers(weights))
    if name == "seuclidean":
        variances = options.pop("V", None)
        return None if variances is None else Metric(weights=1 / _numbers(variances))
    if name == "mahalanobis":
        return _mahalanobis(options)
    if name == "nan_euclidean":
        return Metric(name, missing=float(options.pop("missing_values", math.nan)))
    return Metric(name) if name in (*METRICS, "precomputed") else None


def _mahalanobis(options: dict[str, Any]) -> Metric | None:
    inverse, covariance = options.pop("VI", None), options.pop("V", None)
    if inverse is None and covariance is None:
        return None
    matrix = np.linalg.inv(np.asarray(covariance)) if inverse is None else inverse
    return Metric("mahalanobis", matrix=_numbers(matrix))


def _numbers(values: Any) -> Tensor:
    return to_tensor(np.asarray(values, dtype=np.float64))


class Neighbors(SklearnTranslation):
    """Checks and conversions that all estimators with stored rows share."""

    limit: ClassVar[str] = "n_neighbors"
    """Name of the option that limits the neighbors."""
    sparse = True
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "distances to the sum of both use the norms of each"
    }

    def refuse(self, operator: Any) -> str | None:
        if metric_of(operator) is None:
            return without_metric(operator.metric, operator.metric_params)
        if getattr(operator, self.limit, 0) is None:
            return f"{self.limit}=None finds no neighbors"
        if callable(getattr(operator, "weights", None)):
            return "weights is Python code that torch cannot differentiate"
        if getattr(operator, "_tree", None) is not None and not _same_metric(operator):
            return "it was fitted to a tree with another metric than its own"
        return too_many_numbers(operator._fit_X)

    def is_differentiable(self, operator: Any) -> bool:
        metric = metric_of(operator)
        return self.differentiable and metric is not None and metric.smooth

    def depends_on_type(self, operator: Any, dtype: Any) -> bool:
        return ties_depend_on_type(operator, dtype)

    def encode(self, operator: Any, X: Any) -> Any:
        # Only this distance skips missing entries.
        finite = "allow-nan" if operator.metric == "nan_euclidean" else True
        out = validate(operator, X, sparse=True, finite=finite)
        reject_entries_stored_twice(operator, out)
        return out

    def duplicate(self, operator: Any) -> Any:
        rows = getattr(operator, "_fit_X", None)  # Members that ensembles clone are not fitted.
        if rows is None or isinstance(rows, np.ndarray) or sparse.issparse(rows):
            return None
        # The rows of a tree that the user fitted it to, which cannot be copied.
        plain = copy.copy(operator)
        plain._fit_X = np.array(rows)
        return copy.deepcopy(plain)

    def write_back(self, module: nn.Module, operator: Any) -> None:
        """Do nothing: stored rows do not train."""


def ties_depend_on_type(search: Any, dtype: Any) -> bool:
    """Whether a search among stored rows breaks ties otherwise than the module has it asked.

    The source has a search of its own for rows of the type of the stored ones, and another for the
    rest. The module asks in float32 where the stored rows have it, and in double precision.
    """
    stored = getattr(search._fit_X, "dtype", None)
    alone = np.float32 if stored == np.float32 else np.float64
    return dtype.kind in "fiub" and bool(dtype != alone)


def _same_metric(operator: Any) -> bool:
    """Whether the tree measures the operator's distance; a tree of the user's own may not."""
    state = operator._tree.__getstate__()
    theirs = next(part for part in state if isinstance(part, DistanceMetric))
    params = operator.effective_metric_params_
    own = DistanceMetric.get_metric(operator.effective_metric_, **params)
    pairs = zip(own.__getstate__(), theirs.__getstate__(), strict=True)
    return type(own) is type(theirs) and all(np.array_equal(one, other) for one, other in pairs)


def without_metric(name: Any, options: Any) -> str:
    """Why a distance has no module."""
    told = f"metric={getattr(name, '__name__', name)!r}"
    return f"{told}{f' with {options}' if options else ''} has no gradient in torch"


def too_many_numbers(rows: Any) -> str | None:
    """Why sparse stored rows have no module if they are too many for dense ones, or None."""
    if sparse.issparse(rows) and math.prod(rows.shape) > MOST_NUMBERS:
        size = 8 * math.prod(rows.shape) / 1e9
        return f"its sparse stored rows would need {size:.3g} GB as dense ones for gradients"
    return None


def stored_rows(operator: Any) -> Tensor:
    """The stored rows in double precision; none where distances are given."""
    rows = operator._fit_X
    if operator.effective_metric_ == "precomputed":
        return torch.zeros(0, 0, dtype=torch.float64)
    dense = rows.toarray() if sparse.issparse(rows) else rows
    return to_tensor(np.asarray(dense, dtype=np.float64))
