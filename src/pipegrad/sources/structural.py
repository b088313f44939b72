"""Translations for the structural steps between the children of composites."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from scipy import sparse
from torch import nn

from .. import glue, modules
from ..modules import (
    BernoulliHead,
    Head,
    MulticlassHead,
    ProbabilityHead,
    RegressionHead,
    VotesHead,
)
from ..registry import Objective, Translation, lookup, register
from .arrays import to_tensor


class GlueTranslation(Translation):
    """Base class: nothing is trainable, and nothing is written back."""

    examples = ()
    sparse = True
    missing = True

    def trainable(self, operator: Any) -> bool:
        return False

    def write_back(self, module: Any, operator: Any) -> None:
        """Do nothing: there are no learned parameters."""

    def encode(self, operator: Any, X: Any) -> Any:
        if sparse.issparse(X):
            return X.tocsr().astype(np.float64)
        return np.asarray(X, dtype=np.float64)


@register("pipegrad.glue.Columns")
class Columns(GlueTranslation):
    """Columns of a block, selected by position."""

    def to_torch(self, operator: glue.Columns) -> nn.Module:
        return modules.Select(to_tensor(np.asarray(operator.indices, dtype=int)).long())

    def refuse(self, operator: glue.Columns) -> str | None:
        return "one-dimensional columns hold text" if operator.scalar else None


@register("pipegrad.glue.Checked")
class Checked(GlueTranslation):
    """The identity: tensors need no further checks."""

    def to_torch(self, operator: glue.Checked) -> nn.Module:
        return modules.Concatenate()

    def encode(self, operator: glue.Checked, X: Any) -> Any:
        return operator.run(X)


@register("pipegrad.glue.Concatenate")
class Concatenate(GlueTranslation):
    """Horizontally concatenated blocks."""

    def to_torch(self, operator: glue.Concatenate) -> nn.Module:
        return modules.Concatenate(operator.sparse, operator.weights)


@register("pipegrad.glue.Average")
class Average(GlueTranslation):
    """Means of predictions, of probabilities (soft voting) or of votes."""

    def to_torch(self, operator: glue.Average) -> nn.Module:
        return modules.Average(operator.weights, operator.places, operator.classes)

    def head(self, operator: glue.Average) -> Head:
        return RegressionHead() if operator.task == "regression" else ProbabilityHead()

    def objective(self, operator: glue.Average) -> Objective:
        if operator.task == "regression":
            return Objective("squared_error")
        if operator.task == "votes":  # The share of the right class may be zero.
            return Objective("log_loss")
        return Objective("negative_log_likelihood")


@register("pipegrad.glue.Vote")
class Vote(GlueTranslation):
    """The majority of hard votes."""

    def to_torch(self, operator: glue.Vote) -> nn.Module:
        return modules.Vote(operator.weights)

    def head(self, operator: glue.Vote) -> Head:
        return VotesHead()

    def objective(self, operator: glue.Vote) -> Objective:
        return Objective("log_loss")


@register("pipegrad.glue.Median")
class Median(GlueTranslation):
    """The weighted median of predictions."""

    def to_torch(self, operator: glue.Median) -> nn.Module:
        return modules.Median(to_tensor(np.asarray(operator.weights)))

    def head(self, operator: glue.Median) -> Head:
        return RegressionHead()

    def objective(self, operator: glue.Median) -> Objective:
        return Objective("absolute_error")


@register("pipegrad.glue.BoostedVotes")
class BoostedVotes(GlueTranslation):
    """The weighted mean of votes."""

    def to_torch(self, operator: glue.BoostedVotes) -> nn.Module:
        return modules.BoostedVotes(operator.weights, operator.total)

    def head(self, operator: glue.BoostedVotes) -> Head:
        if operator.classes == 2:
            return BernoulliHead("logistic")
        return MulticlassHead("softmax", scale=1 / (operator.classes - 1))

    def objective(self, operator: glue.BoostedVotes) -> Objective:
        return Objective("log_loss", {"scale": 1 / (operator.classes - 1)})


@register("pipegrad.glue.Members")
class Members(GlueTranslation):
    """Scores of the members of a composite side by side."""

    def to_torch(self, operator: glue.Members) -> nn.Module:
        return modules.JoinScores()

    def head(self, operator: glue.Members) -> Head:
        # A module of its own, which may be cast and moved.
        head: Head = deepcopy(operator.head)
        return head

    def objective(self, operator: glue.Members) -> Objective:
        objective: Objective = operator.objective
        return objective


@register("pipegrad.glue.Response")
class Response(GlueTranslation):
    """The answer of a member that is a column of the next member of a chain."""

    def to_torch(self, operator: glue.Response) -> nn.Module:
        labels = None
        if operator.classes is not None:
            labels = to_tensor(np.asarray(operator.classes, dtype=np.float64))
        return modules.Response(deepcopy(operator.head), operator.method, labels)

    def is_differentiable(self, operator: glue.Response) -> bool:
        return operator.classes is None or operator.method != "predict"


@register("pipegrad.glue.InverseTarget")
class InverseTarget(GlueTranslation):
    """Predictions transformed back to the scale of the user's target."""

    def to_torch(self, operator: glue.InverseTarget) -> nn.Module:
        inverse = _inverse(operator)
        assert inverse is not None
        return modules.Inverse(inverse.requires_grad_(False), operator.squeeze)

    def refuse(self, operator: glue.InverseTarget) -> str | None:
        if _inverse(operator) is None:
            return f"{type(operator.transformer).__name__} has no differentiable inverse"
        return None

    def head(self, operator: glue.InverseTarget) -> Head:
        return RegressionHead()

    def objective(self, operator: glue.InverseTarget) -> Objective:
        return Objective("squared_error")


@register("pipegrad.glue.Labels")
class Labels(GlueTranslation):
    """Class labels passed between steps."""

    differentiable = False

    def to_torch(self, operator: glue.Labels) -> nn.Module:
        targets = [np.asarray(one, dtype=np.float64) for one in _targets(operator)]
        table = np.zeros((len(targets), max(map(len, targets))))
        for row, labels in zip(table, targets, strict=True):
            row[: len(labels)] = labels
        return modules.Labels(to_tensor(table if isinstance(operator.classes, list) else table[0]))

    def refuse(self, operator: glue.Labels) -> str | None:
        if any(np.asarray(one).dtype.kind not in "iufb" for one in _targets(operator)):
            return "its labels are not numbers"
        return None


@register("pipegrad.glue.MissingFlags")
class MissingFlags(GlueTranslation):
    """Indicators of missing entries."""

    differentiable = False

    def to_torch(self, operator: glue.MissingFlags) -> nn.Module:
        return modules.Missing(operator.missing, operator.columns)


@register("pipegrad.glue.ImputedColumn")
class ImputedColumn(GlueTranslation):
    """Predictions in the place of the missing entries of a column."""

    def to_torch(self, operator: glue.ImputedColumn) -> nn.Module:
        return modules.ImputedColumn(
            operator.column, operator.raw, operator.missing, operator.low, operator.high
        )


@register("pipegrad.glue.UnlessAllMissing")
class UnlessAllMissing(GlueTranslation):
    """One of two tables, by what is missing in a third one."""

    def to_torch(self, operator: glue.UnlessAllMissing) -> nn.Module:
        return modules.UnlessAllMissing(operator.missing, operator.columns)


def _targets(operator: glue.Labels) -> list[Any]:
    return operator.classes if isinstance(operator.classes, list) else [operator.classes]


def _inverse(operator: glue.InverseTarget) -> nn.Module | None:
    row = lookup(type(operator.transformer))
    return None if row is None else row.inverse(operator.transformer)
