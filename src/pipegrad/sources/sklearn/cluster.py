"""Centroid-based clustering."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from ...modules import Distances, Head, NearestHead
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
