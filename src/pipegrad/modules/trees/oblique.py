"""Trees that split rows by hyperplanes."""

from __future__ import annotations

import torch
from torch import Tensor

from .._base import Module
from .._sparse import Block, dense
from .ensemble import TreeEnsemble
from .routing import _captured

_CELLS = 1 << 21


class ObliqueTrees(Module):
    """Trees whose nodes send a row to the left unless it is in front of a hyperplane.

    See Hariri, Kind and Brunner, *Extended isolation forest*, 2018.

    Parameters
    ----------
    points, normals : Tensor, shape (nodes, features)
        A point on each hyperplane, and its normal.
    trees : TreeEnsemble
        The trees; node ``i`` tests column ``i``, the distance from hyperplane ``i``.
    """

    points: Tensor
    normals: Tensor

    def __init__(self, points: Tensor, normals: Tensor, trees: TreeEnsemble) -> None:
        super().__init__()
        self.register_buffer("points", points.clone())
        self.register_buffer("normals", normals.clone())
        self.trees = trees

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to the output of the trees."""
        rows = dense(x)
        if _captured():
            return self.trees(self.distances(rows))
        size = max(1, _CELLS // max(1, len(self.points)))
        return torch.cat([self.trees(self.distances(part)) for part in rows.split(size)])

    def distances(self, x: Tensor) -> Tensor:
        """The distances (n, nodes) from all hyperplanes, times the lengths of their normals."""
        total = x.new_zeros(x.shape[0], self.points.shape[0])
        # One feature after the other, as sources add them, so that no sign differs.
        for feature in range(self.points.shape[1]):
            point, normal = self.points[:, feature], self.normals[:, feature]
            total = total + (x[:, feature, None] - point) * normal
        return total
