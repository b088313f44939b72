"""Predictions for metrics, from the raw scores that a run recorded on its validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples
from torch import Tensor

from ...losses.table import find_loss
from ...modules import Head, OutlierHead
from ...report.metrics import Predictions
from ...training.samples import Samples
from ...typing import Array, FloatArray, ScoreArray

if TYPE_CHECKING:
    from ...module import PipelineModule


@dataclass
class HeldOut:
    """The validation rows of one split, as far as metrics need them.

    Parameters
    ----------
    net : PipelineModule
        The translated pipeline; only its head and its classes are used.
    y : array of shape (n,) or (n, k), optional
        The user's targets.
    weight : array of shape (n,), optional
        The user's weight of each row.
    X : array, DataFrame, sparse matrix or list, optional
        The user's input, for scores that look at it.
    """

    net: PipelineModule
    y: Any
    weight: FloatArray | None
    X: Any = None

    def take(self, rows: NDArray[np.int64]) -> HeldOut:
        """Some of the rows."""
        part = Samples(self.X, self.y, self.weight).take(rows)
        return HeldOut(self.net, part.y, part.weight, part.X)

    @property
    def task(self) -> str:
        """The task, or "" where predictions cannot be compared with targets."""
        head, objective = self.net.head, self.net.objective
        known = None if objective is None else find_loss(objective.name)
        ranks = known is not None and known.ordinal
        if self.y is None or head is None or ranks or isinstance(head, OutlierHead):
            return ""
        return head.task

    @cached_property
    def weights(self) -> FloatArray:
        """The weight of each row, with mean one."""
        if self.weight is None:
            return np.ones(_num_samples(self.y))
        weight = np.asarray(self.weight, dtype=np.float64)
        return weight / weight.mean()

    @cached_property
    def target(self) -> Array:
        """Numbers in the user's unit, class indices, or zeros and ones."""
        if self.task == "regression":
            return np.asarray(self.y, dtype=np.float64)
        return self.net.encode_target(self.y).cpu().numpy()

    def predictions(self, score: ScoreArray) -> Predictions:
        """Targets and predictions for the raw scores of a checkpoint."""
        head, values = self._head, torch.from_numpy(np.asarray(score, dtype=np.float64))
        predicted, shares = self._predicted(values), None
        if "predict_proba" in head.responses and head.task != "several":
            shares = head.predict_proba(values).numpy()
        return Predictions(
            head.task,
            self.target,
            predicted.reshape(self.target.shape),
            shares,
            _ranking(head, values, shares),
            self.weights,
        )

    @property
    def classes(self) -> Any:
        """The labels of the classes, of each target, or of labels; None for numbers."""
        if self.task in ("classification", "several"):
            return self.net.target_classes
        return np.arange(2) if self.task == "multilabel" else None

    def answers(self, score: ScoreArray) -> dict[str, Any]:
        """What the methods of an estimator give for the raw scores of a checkpoint."""
        values = torch.from_numpy(np.asarray(score, dtype=np.float64))
        found: dict[str, Any] = {"predict": self.net.decoded(self._head.predict(values).numpy())}
        for method in ("predict_proba", "decision_function"):
            if method in self._head.responses:
                answer = self._head.respond(values, method)
                several = isinstance(answer, list)
                found[method] = [a.numpy() for a in answer] if several else answer.numpy()
        return found

    @property
    def _head(self) -> Head:
        assert self.net.head is not None
        return self.net.head

    def _predicted(self, values: Tensor) -> Array:
        """Predictions for raw scores: class indices, labels, or numbers in the user's unit."""
        return self.net.decode_target(self._head.predict(values).numpy())


def _ranking(head: Head, values: Tensor, shares: Array | None) -> Array | None:
    """What orders the rows by class: decision values as in scikit-learn, else probabilities."""
    if shares is None or shares.shape[1] == 2:
        decision = None
        if "decision_function" in head.responses:
            decision = head.decision_function(values).numpy()
        if shares is None or (decision is not None and decision.ndim == 1):
            return decision
    return shares[:, 1] if shares.shape[1] == 2 and head.task == "classification" else shares
