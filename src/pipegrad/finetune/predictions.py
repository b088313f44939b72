"""Predictions for metrics, from the raw scores that a run recorded on its validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import _num_samples
from torch import Tensor

from ..glue import InverseTarget
from ..losses.table import find_loss
from ..modules import Head, OutlierHead
from ..report.metrics import Predictions
from ..typing import Array, FloatArray, ScoreArray

if TYPE_CHECKING:
    from ..module import PipelineModule


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
    """

    net: PipelineModule
    y: Any
    weight: FloatArray | None

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
        head, values = self.net.head, torch.from_numpy(np.asarray(score, dtype=np.float64))
        assert head is not None
        predicted = head.predict(values).numpy()
        owner = self.net.graph.target
        if owner is not None:
            inverse = InverseTarget(owner.transformer_, owner._training_dim == 1)
            predicted = inverse.run(predicted)
        shares = None
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


def _ranking(head: Head, values: Tensor, shares: Array | None) -> Array | None:
    """What orders the rows by class: decision values as in scikit-learn, else probabilities."""
    if shares is None or shares.shape[1] == 2:
        decision = None
        if "decision_function" in head.responses:
            decision = head.decision_function(values).numpy()
        if shares is None or (decision is not None and decision.ndim == 1):
            return decision
    return shares[:, 1] if shares.shape[1] == 2 and head.task == "classification" else shares
