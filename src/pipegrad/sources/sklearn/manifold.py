"""Embeddings of manifolds that map new rows: locally linear embedding and Isomap.

Stored rows are data and do not train; the coordinates of the embedding do.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold._locally_linear import barycenter_weights
from torch import nn

from ...modules import (
    BarycentricMap,
    KernelFeatures,
    NeighborSearch,
    Sequential,
    ShortestPaths,
)
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation, reject_entries_stored_twice, validate
from ._neighbors import (
    Found,
    FoundNearest,
    FoundWithin,
    metric_of,
    stored_rows,
    ties_depend_on_type,
    too_many_numbers,
    without_metric,
)
from .kernel_machines import KernelPCA, same_numbers


class Barycenters(Found):
    """The weights of the nearest stored rows that reconstruct each row, and their indices.

    Parameters
    ----------
    operator : LocallyLinearEmbedding
        The fitted embedding.
    """

    def __init__(self, operator: Any) -> None:
        super().__init__(operator.nbrs_, "kneighbors")
        self.count, self.penalty = operator.n_neighbors, operator.reg

    def _asked(self, rows: Any) -> NDArray[Any]:
        index = self._ask(self.method, rows, self.count, return_distance=False)
        if not len(rows):
            return np.zeros((0, 2 * self.count))
        weights = barycenter_weights(rows, self.operator._fit_X, index, reg=self.penalty)
        return np.hstack([weights, index])


_SMALL = {"n_neighbors": 7, "random_state": 0, "eigen_solver": "dense"}


@register("sklearn.manifold.LocallyLinearEmbedding")
class LocallyLinearEmbedding(SklearnTranslation):
    """embedding_ trains; a new row is the barycenter of its nearest rows."""

    examples = (
        {"n_neighbors": 4, "eigen_solver": "dense", "random_state": 0},
        {**_SMALL, "n_components": 3, "reg": 1e-2, "neighbors_algorithm": "brute"},
        {**_SMALL, "method": "modified", "modified_tol": 1e-10, "neighbors_algorithm": "kd_tree"},
        {**_SMALL, "method": "hessian", "hessian_tol": 1e-3, "neighbors_algorithm": "ball_tree"},
        {**_SMALL, "method": "ltsa", "eigen_solver": "arpack", "tol": 1e-7, "max_iter": 200},
    )
    unchanged_attributes: ClassVar[Any] = {
        "nbrs_": "stored rows do not train",
        "reconstruction_error_": "describes how the source was fitted",
    }

    def depends_on_type(self, operator: Any, dtype: Any) -> bool:
        return ties_depend_on_type(operator.nbrs_, dtype)

    def to_torch(self, operator: Any) -> nn.Module:
        count = int(operator.n_neighbors)
        metric = metric_of(operator.nbrs_)
        assert metric is not None
        find = FoundNearest(operator.nbrs_, count)
        search = NeighborSearch(stored_rows(operator.nbrs_), metric, find, count)
        weigh = Barycenters(operator)
        return BarycentricMap(search, to_tensor(operator.embedding_), weigh, float(operator.reg))

    def write_back(self, module: BarycentricMap, operator: Any) -> None:
        operator.embedding_ = to_array(module.coordinates, operator.embedding_)


@register("sklearn.manifold.Isomap")
class Isomap(SklearnTranslation):
    """kernel_pca_ trains; distances along the manifold stay."""

    sparse = True
    examples = (
        {"n_neighbors": 4},
        {"n_neighbors": 6, "n_components": 3, "metric": "manhattan", "path_method": "FW"},
        {"n_neighbors": None, "radius": 300.0, "path_method": "D", "eigen_solver": "dense"},
        {"n_neighbors": 6, "eigen_solver": "arpack", "tol": 1e-9, "max_iter": 300},
        {"n_neighbors": 6, "p": 3, "neighbors_algorithm": "ball_tree"},
        {"n_neighbors": 6, "metric_params": {"w": np.arange(1.0, 7.0)}},
        Example({"metric": "precomputed", "n_neighbors": 12}, data="similarities"),
        Example({"n_neighbors": 8}, data="sparse"),
    )
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "distances to the sum of both use the norms of each"
    }
    unchanged_attributes: ClassVar[Any] = {
        "nbrs_": "stored rows do not train",
        "dist_matrix_": "the distances of stored rows do not train",
    }

    def depends_on_type(self, operator: Any, dtype: Any) -> bool:
        return ties_depend_on_type(operator.nbrs_, dtype)

    def refuse(self, operator: Any) -> str | None:
        if metric_of(operator.nbrs_) is None:
            return without_metric(operator.metric, operator.metric_params)
        return too_many_numbers(operator.nbrs_._fit_X)

    def is_differentiable(self, operator: Any) -> bool:
        metric = metric_of(operator.nbrs_)
        return metric is not None and metric.smooth

    def encode(self, operator: Any, X: Any) -> Any:
        finite = "allow-nan" if operator.metric == "nan_euclidean" else True
        out = validate(operator.nbrs_, X, sparse=True, finite=finite)
        reject_entries_stored_twice(operator, out)
        return out

    def to_torch(self, operator: Any) -> nn.Module:
        searched, metric = operator.nbrs_, metric_of(operator.nbrs_)
        assert metric is not None
        points = stored_rows(searched)
        if operator.n_neighbors is None:
            find, radius = FoundWithin(searched), float(operator.radius)
            search = NeighborSearch(points, metric, find, radius=radius)
        else:
            count = int(operator.n_neighbors)
            search = NeighborSearch(points, metric, FoundNearest(searched, count), count)
        paths = ShortestPaths(search, to_tensor(np.asarray(operator.dist_matrix_)))
        return Sequential(paths, KernelPCA().to_torch(operator.kernel_pca_))

    def write_back(self, module: Sequential, operator: Any) -> None:
        row, components = KernelPCA(), module.links[1]
        assert isinstance(components, KernelFeatures)
        before = row.to_torch(operator.kernel_pca_)
        row.write_back(components, operator.kernel_pca_)
        if not same_numbers(before, components):
            similarities = operator.dist_matrix_**2
            similarities *= -0.5
            operator.embedding_ = operator.kernel_pca_.transform(similarities)
