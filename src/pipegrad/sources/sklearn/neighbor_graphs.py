"""Distances and graphs of nearest stored rows, and the linear map that neighbors learn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import nn

from ...modules import Linear, Metric, NeighborDistances, NeighborGraph, NeighborSearch
from ...registry import Example, register
from ..arrays import to_array, to_tensor
from ._base import SklearnTranslation
from ._neighbors import FoundByGraph, FoundNearest, Neighbors, metric_of, stored_rows


def metric(operator: Any) -> Metric:
    """Return the distance of an operator that is not refused."""
    found = metric_of(operator)
    assert found is not None
    return found


@register("sklearn.neighbors.NearestNeighbors")
class NearestNeighbors(Neighbors):
    """Distances to the nearest rows; `kneighbors` and the like run in scikit-learn."""

    examples = (
        {"n_neighbors": 3},
        {"n_neighbors": 3, "algorithm": "ball_tree", "metric": "canberra"},
        {"n_neighbors": 4, "algorithm": "kd_tree", "p": 1, "leaf_size": 5, "radius": 150.0},
        Example({"metric": "precomputed"}, data="similarities"),
        Example({"metric": "cosine"}, data="sparse"),
    )
    refused_inputs: ClassVar[Any] = {}  # `kneighbors` runs in the source.

    def refuse(self, operator: Any) -> str | None:
        if operator.n_neighbors is None:
            return "n_neighbors=None tells no number of columns for the distances to neighbors"
        return super().refuse(operator)

    def to_torch(self, operator: Any) -> nn.Module:
        count = int(operator.n_neighbors)
        find = FoundNearest(operator, count)
        return NeighborDistances(
            NeighborSearch(stored_rows(operator), metric(operator), find, count)
        )


class _Graph(Neighbors):
    """CSR rows with an entry for each neighbor, zeros included. Nothing is trainable."""

    def is_differentiable(self, operator: Any) -> bool:
        return operator.mode == "distance" and super().is_differentiable(operator)

    def limits(self, operator: Any) -> dict[str, Any]:
        """Return the number of neighbors or the radius."""
        raise NotImplementedError

    def to_torch(self, operator: Any) -> nn.Module:
        find = FoundByGraph(operator)
        search = NeighborSearch(
            stored_rows(operator), metric(operator), find, **self.limits(operator)
        )
        return NeighborGraph(search, operator.n_samples_fit_, operator.mode == "connectivity")


_GRAPHS: tuple[dict[str, Any], ...] = (
    {},
    {"mode": "connectivity"},
    {"metric": "manhattan", "algorithm": "ball_tree", "leaf_size": 5},
    {"metric": "minkowski", "p": 3, "algorithm": "kd_tree", "mode": "connectivity"},
    {"metric": "minkowski", "metric_params": {"w": np.arange(6.0)}},
)


@register("sklearn.neighbors.KNeighborsTransformer")
class KNeighborsTransformer(_Graph):
    """Distances to the nearest rows, one of them the row itself, as CSR rows."""

    examples = (
        *({**params, "n_neighbors": 40} for params in _GRAPHS),
        Example({"metric": "precomputed"}, data="similarities"),
        Example({"n_neighbors": 40}, data="sparse"),
        Example({"metric": "cosine", "mode": "connectivity"}, data="sparse"),
    )

    def limits(self, operator: Any) -> dict[str, Any]:
        return {"count": int(operator.n_neighbors) + (operator.mode == "distance")}


@register("sklearn.neighbors.RadiusNeighborsTransformer")
class RadiusNeighborsTransformer(_Graph):
    """Distances to the rows within a radius as CSR rows, which may be empty."""

    limit: ClassVar[str] = "radius"

    examples = (
        *({**params, "radius": 300.0} for params in _GRAPHS),
        Example({"metric": "precomputed", "radius": 0.1}, data="similarities"),
        Example({"radius": 2.0}, data="sparse"),
    )

    def limits(self, operator: Any) -> dict[str, Any]:
        return {"radius": float(operator.radius)}


@register("sklearn.neighbors.NeighborhoodComponentsAnalysis")
class NeighborhoodComponentsAnalysis(SklearnTranslation):
    """components_ train with the steps after them."""

    data = "multiclass"
    examples = (
        {"max_iter": 5, "random_state": 0},
        {"n_components": 2, "max_iter": 5, "random_state": 0, "tol": 1e-3},
        {"n_components": 2, "init": "pca", "max_iter": 5, "random_state": 0},
        {"n_components": 2, "init": "lda", "max_iter": 5},
        {"n_components": 3, "init": "random", "max_iter": 5, "random_state": 0},
        {"init": "identity", "max_iter": 5, "warm_start": True},
        {"init": np.eye(4, 6), "max_iter": 5},
    )
    unchanged_attributes: ClassVar[Any] = {
        "random_state_": "describes how the source was fitted",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        return Linear(to_tensor(operator.components_.T))

    def write_back(self, module: Linear, operator: Any) -> None:
        operator.components_ = to_array(module.weight.T, operator.components_)
