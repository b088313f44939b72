"""Centroid-based clustering."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.extmath import row_norms
from torch import nn

from ...modules import Distances, Head, NearestHead, PooledColumns
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation

_FITTED = "records how the source was fitted"


@register("sklearn.cluster.KMeans", "sklearn.cluster.MiniBatchKMeans")
class KMeans(SklearnTranslation):
    """cluster_centers_ are trainable; scores are distances, and the nearest center is predicted."""

    examples = (
        {"n_clusters": 3, "random_state": 0, "n_init": 1},
        {"n_clusters": 1, "random_state": 0, "n_init": 1},
        Example({"n_clusters": 4, "random_state": 0, "n_init": 1}, data="sparse"),
    )
    sparse = True
    adds_entries = False
    refused_inputs: ClassVar[Any] = {
        "csr with entries stored twice": "distances to the sum of both use the norms of each"
    }
    unchanged_attributes = {
        "labels_": "cluster labels of the source's training rows, which are not stored",
        "inertia_": "inertia on the source's training rows, which are not stored",
        "n_steps_": _FITTED,
    }

    def to_torch(self, operator: Any) -> nn.Module:
        return Distances(to_tensor(operator.cluster_centers_))

    def write_back(self, module: Distances, operator: Any) -> None:
        operator.cluster_centers_ = to_array(module.centers, operator.cluster_centers_)

    def head(self, operator: Any) -> Head:
        return NearestHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("inertia")


_ROWS = "cluster labels of the source's training rows, which are not stored"


class Centers(KMeans):
    """cluster_centers_ are trainable; the nearest center is predicted."""

    refused_inputs: ClassVar[Any] = {}
    adds_entries = True


@register("sklearn.cluster.MeanShift")
class MeanShift(Centers):
    """cluster_centers_, the modes of a density, are trainable; the nearest one is predicted."""

    sparse = False
    examples: ClassVar[Any] = (
        {"bandwidth": 60.0},
        {"bandwidth": 80.0, "bin_seeding": True, "min_bin_freq": 2, "cluster_all": False},
    )
    unchanged_attributes: ClassVar[Any] = {"labels_": _ROWS}


@register("sklearn.cluster.AffinityPropagation")
class AffinityPropagation(Centers):
    """cluster_centers_, the exemplars, are trainable; the nearest one is predicted."""

    adds_entries = False
    refused_inputs: ClassVar[Any] = KMeans.refused_inputs
    examples: ClassVar[Any] = (
        {"random_state": 0, "damping": 0.8},
        Example({"random_state": 0, "preference": -2.0}, data="sparse"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "affinity_matrix_": "similarities of the source's training rows",
        "cluster_centers_indices_": "training rows that were the exemplars",
        "labels_": _ROWS,
    }

    def refuse(self, operator: Any) -> str | None:
        if operator.affinity == "precomputed":
            return "affinity='precomputed' predicts nothing for new rows"
        if not operator.cluster_centers_.shape[0]:
            return "it did not converge and has no cluster centers"
        return None

    def to_torch(self, operator: Any) -> nn.Module:
        centers = operator.cluster_centers_
        return Distances(to_tensor(centers.toarray() if sparse.issparse(centers) else centers))

    def write_back(self, module: Distances, operator: Any) -> None:
        before = operator.cluster_centers_
        if sparse.issparse(before):
            operator.cluster_centers_ = type(before)(to_array(module.centers))
        else:
            operator.cluster_centers_ = to_array(module.centers, before)


@register("sklearn.cluster.BisectingKMeans")
class BisectingKMeans(Centers):
    """cluster_centers_ are trainable, and are the leaves of the tree that predicts.

    Predictions descend the tree in scikit-learn; the centers of its inner nodes do not train.
    """

    examples: ClassVar[Any] = (
        {"n_clusters": 4, "random_state": 0, "init": "k-means++"},
        {"n_clusters": 3, "random_state": 0, "bisecting_strategy": "largest_cluster", "n_init": 2},
        Example({"n_clusters": 4, "random_state": 0, "algorithm": "elkan"}, data="sparse"),
        {"n_clusters": 1, "random_state": 0},
    )

    def head(self, operator: Any) -> Head:
        return NearestHead(responses=())

    def write_back(self, module: Distances, operator: Any) -> None:
        super().write_back(module, operator)
        mean = getattr(operator, "_X_mean", 0.0)
        for leaf in operator._bisecting_tree.iter_leaves():
            leaf.center = operator.cluster_centers_[leaf.label] - mean


@register("sklearn.cluster.Birch")
class Birch(Centers):
    """subcluster_centers_ are trainable; the label of the nearest one is predicted.

    The tree that `partial_fit` grows keeps the centers of the source's fit.
    """

    # Many rows are centers, and the root of their distance magnifies rounding.
    export_tolerance = tolerance = 1e-7
    examples: ClassVar[Any] = (
        {"threshold": 30.0},
        {"threshold": 30.0, "n_clusters": None, "branching_factor": 10, "compute_labels": False},
        Example({"threshold": 0.8, "n_clusters": 4}, data="sparse"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "dummy_leaf_": "the tree that partial_fit grows",
        "labels_": _ROWS,
        "root_": "the tree that partial_fit grows",
        "subcluster_labels_": "the cluster of each subcluster does not change",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        return Distances(to_tensor(operator.subcluster_centers_))

    def head(self, operator: Any) -> Head:
        labels = np.asarray(operator.subcluster_labels_, dtype=np.int64)
        return NearestHead(torch.from_numpy(labels.copy()))

    def write_back(self, module: Distances, operator: Any) -> None:
        before = operator.subcluster_centers_
        operator.subcluster_centers_ = to_array(module.centers, before)
        operator._subcluster_norms = row_norms(operator.subcluster_centers_, squared=True)


_POOLINGS = {
    np.mean: "mean",
    np.sum: "sum",
    np.max: "amax",
    np.min: "amin",
    np.prod: "prod",
    np.median: "median",
    np.var: "var",
    np.std: "std",
}


@register("sklearn.cluster.FeatureAgglomeration")
class FeatureAgglomeration(SklearnTranslation):
    """Groups of columns, pooled. Nothing is trainable; gradients pass through."""

    examples: ClassVar[Any] = (
        {"n_clusters": 3},
        {"n_clusters": 2, "pooling_func": np.max, "linkage": "average", "metric": "cosine"},
        {"n_clusters": 4, "pooling_func": np.min, "compute_distances": True},
        {"n_clusters": None, "distance_threshold": 100.0, "pooling_func": np.sum},
        {"n_clusters": 2, "pooling_func": np.median},
        {"n_clusters": 2, "pooling_func": np.std},
        {"n_clusters": 2, "pooling_func": np.var},
        {"n_clusters": 3, "pooling_func": np.prod},
    )

    def refuse(self, operator: Any) -> str | None:
        if operator.pooling_func in _POOLINGS:
            return None
        known = ", ".join(f"np.{function.__name__}" for function in _POOLINGS)
        return f"pooling_func={operator.pooling_func!r} is none of {known}"

    def to_torch(self, operator: Any) -> nn.Module:
        groups = torch.from_numpy(np.asarray(operator.labels_, dtype=np.int64).copy())
        return PooledColumns(groups, _POOLINGS[operator.pooling_func])  # type: ignore[arg-type]

    def write_back(self, module: nn.Module, operator: Any) -> None:
        pass
