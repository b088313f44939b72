"""Heads of outlier detection and of clustering."""

from __future__ import annotations

import torch
from torch import Tensor

from ._heads import Head, Task


class OutlierHead(Head):
    """Outlier detection: -1 for negative scores (outliers), and 1 otherwise.

    Parameters
    ----------
    inclusive : bool
        Whether a score of zero is an outlier, too.
    """

    responses = ("predict", "decision_function")

    def __init__(self, inclusive: bool = False) -> None:
        super().__init__()
        self.inclusive = inclusive

    def predict(self, score: Tensor) -> Tensor:
        """-1 or 1 (n,)."""
        return torch.where(score <= 0 if self.inclusive else score < 0, -1, 1)


class NormalHead(Head):
    """A normal law: the score holds the log-density and the squared distance from the mean."""

    task: Task = "clustering"  # It has no targets.
    responses = ("mahalanobis",)

    def mahalanobis(self, score: Tensor) -> Tensor:
        """Squared Mahalanobis distances (n,) of the rows."""
        return score[:, 1]


class ErrorHead(Head):
    """The scores are errors, such as those of reconstructed rows."""

    task: Task = "clustering"  # It has no targets.
    responses = ()


class NearestHead(Head):
    """Clustering: the scores are distances to the centers, and the nearest center wins.

    Parameters
    ----------
    labels : Tensor of int64, shape (centers,), optional
        Cluster of each center; by default, each center has its own.
    responses : tuple of str
        Methods that the distances answer.
    """

    task: Task = "clustering"
    labels: Tensor | None

    def __init__(
        self, labels: Tensor | None = None, responses: tuple[str, ...] = ("predict",)
    ) -> None:
        super().__init__()
        self.responses = responses
        self.register_buffer("labels", labels)

    def predict(self, score: Tensor) -> Tensor:
        """Cluster indices (n,)."""
        nearest = score.argmin(1)
        return nearest if self.labels is None else self.labels[nearest]
