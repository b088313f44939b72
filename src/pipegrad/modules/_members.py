"""Composites of several predictors: their raw scores side by side, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._base import Module
from ._heads import BernoulliHead, Head, MultioutputHead, RegressionHead, Task
from ._side_by_side import SideBySide

_OF_TORCH = frozenset(vars(nn.Module()))


class JoinScores(Module):
    """The raw scores of several predictors side by side; that of a single one stays as it is."""

    takes_side_by_side: ClassVar[str] = "any"

    def forward(self, *scores: Any) -> Tensor:
        """Scores (n,) or (n, k_i), or all of them side by side, to (n, sum of k_i)."""
        if len(scores) == 1:
            only = scores[0]
            return only.columns if isinstance(only, SideBySide) else only
        return torch.cat([s[:, None] if s.ndim == 1 else s for s in scores], 1)


class ConstantHead(Head):
    """The score is the prediction itself, and the probability of the second class."""

    task: Task = "classification"
    responses = ("predict", "predict_proba", "decision_function")

    def predict(self, score: Tensor) -> Tensor:
        """The score."""
        return score

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, 2)."""
        return torch.stack([1 - score, score], 1)

    def columns(self, classes: int) -> int:
        """None: the score is (n,)."""
        return 0


class MembersHead(Head):
    """Base class of heads for the scores that `JoinScores` gives.

    Parameters
    ----------
    heads : sequence of Head
        The head of each member.
    widths : sequence of int
        Number of columns of each member's score; 0 means (n,).
    used : sequence of str
        The method of each member that decides: "decision_function", "predict_proba" (of the second
        class), or "predict" for regressors.
    """

    def __init__(self, heads: Sequence[Head], widths: Sequence[int], used: Sequence[str]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.widths, self.used = tuple(widths), tuple(used)
        self._alike = len(heads) > 1 and not any(widths) and _are_alike(heads)

    def parts(self, score: Tensor) -> list[Tensor]:
        """The score of each member."""
        if len(self.widths) == 1:
            return [score]
        parts = score.split([max(width, 1) for width in self.widths], 1)
        pairs = zip(parts, self.widths, strict=True)
        return [part if width else part[:, 0] for part, width in pairs]

    def columns(self, classes: int) -> int:
        """Those of all members; a single member has its own."""
        if len(self.widths) == 1:
            return self.widths[0]
        return sum(max(width, 1) for width in self.widths)

    def confidences(self, score: Tensor) -> Tensor:
        """How sure each member is of its second class, (n, members)."""
        if self._alike and len(set(self.used)) == 1:
            return self._together(score, self.used[0])
        members = zip(self.heads, self.parts(score), self.used, strict=True)
        return torch.stack([_confidence(head, part, how) for head, part, how in members], 1)

    def class_scores(self, score: Tensor) -> Tensor:
        """What decides between classes: (n, classes), or (n,) for two."""
        return self.decision_function(score)

    def votes(self, score: Tensor) -> Tensor:
        """One-hot votes (n, classes): hard in the forward pass, soft in the backward pass."""
        if "predict_proba" in self.responses:
            return super().votes(score)
        values = self.class_scores(score)
        soft = torch.softmax(torch.stack([-values, values], 1) if values.ndim == 1 else values, 1)
        hard = functional.one_hot(self.predict(score), soft.shape[1]).to(soft.dtype)
        return hard + (soft - soft.detach())

    def second_shares(self, score: Tensor) -> Tensor:
        """The probability of each member's second class, (n, members)."""
        if self._alike:
            return self._together(score, "predict_proba")
        members = zip(self.heads, self.parts(score), strict=True)
        return torch.stack([_confidence(head, part, "predict_proba") for head, part in members], 1)

    def _together(self, score: Tensor, method: str) -> Tensor:
        """What alike members answer, (n, members), in one call."""
        return _confidence(self.heads[0], score.reshape(-1), method).view(score.shape)


def _are_alike(heads: Sequence[Head]) -> bool:
    """Whether heads give the same for each score, which they map on its own."""
    settings = [{k: v for k, v in vars(head).items() if k not in _OF_TORCH} for head in heads]
    one = type(heads[0])
    same = all(type(head) is one for head in heads) and all(s == settings[0] for s in settings)
    return same and one in (BernoulliHead, RegressionHead)


def _confidence(head: nn.Module, score: Tensor, method: str) -> Tensor:
    assert isinstance(head, Head)
    if method == "predict_proba":
        return head.predict_proba(score)[:, 1]
    if method == "predict":
        return head.predict(score).to(score.dtype)
    return head.decision_function(score)


class OneVsRestHead(MembersHead):
    """A member for each class or label, which tells it from all others.

    Two classes have one member, for the second class.

    Parameters
    ----------
    heads, widths, used
        See `MembersHead`.
    boundary : float
        Confidence above which a member's class or label is predicted, if it has no rivals.
    labels : bool
        Whether the members stand for labels, any number of which a row has.
    alone : bool
        Whether there is one class only, which is always predicted.
    responses : tuple of str
        Methods that the source has.
    last : bool
        Whether the last of several classes of the same confidence is predicted.
    zeros : bool
        Whether the probabilities of a row that no member claims are zero instead of NaN.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        widths: Sequence[int],
        used: Sequence[str],
        boundary: float = 0.0,
        labels: bool = False,
        alone: bool = False,
        responses: tuple[str, ...] = ("predict",),
        last: bool = False,
        zeros: bool = True,
    ) -> None:
        super().__init__(heads, widths, used)
        self.task: Task = "multilabel" if labels else "classification"
        self.last, self.zeros = last, zeros
        self.boundary, self.alone, self.responses = boundary, alone, responses
        self.joined = any(self.widths)

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,), or zeros and ones (n, labels)."""
        confidences = self.confidences(score)
        if self.task == "multilabel":
            return (confidences > self.boundary).long()
        if len(self.heads) > 1:
            if self.last:
                return len(self.heads) - 1 - confidences.flip(1).argmax(1)
            return confidences.argmax(1)
        chosen = (confidences[:, 0] > self.boundary).long()
        return torch.zeros_like(chosen) if self.alone else chosen

    def decision_function(self, score: Tensor) -> Tensor:
        """The decision value of each member, (n,) for a single one."""
        if len(self.heads) == 1:
            return _confidence(self.heads[0], score, "decision_function")
        return self.confidences(score)

    def class_scores(self, score: Tensor) -> Tensor:
        """The confidence of each member, (n,) above the boundary for a single one."""
        found = self.confidences(score)
        return found if len(self.heads) > 1 else found[:, 0] - self.boundary

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, classes); those of labels do not add to one."""
        shares = self.second_shares(score)
        if len(self.heads) == 1:
            shares = torch.cat([1 - shares, shares], 1)
        if self.task == "multilabel":
            return shares
        total = shares.sum(1, keepdim=True)
        if self.zeros:
            total = torch.where(total == 0, torch.ones_like(total), total)
        return shares / total


class PairsHead(MembersHead):
    """A member for each pair of classes, which is sure of the second one; ties go to the first.

    The value of a class is the number of its votes with a fraction that grows with the confidences.

    Parameters
    ----------
    heads, widths, used
        See `MembersHead`.
    classes : int
        Number of classes.
    boundary : float
        Value above which the second of two classes is predicted.
    """

    task: Task = "classification"
    responses = ("predict", "decision_function")

    def __init__(
        self,
        heads: Sequence[Head],
        widths: Sequence[int],
        used: Sequence[str],
        classes: int,
        boundary: float = 0.0,
    ) -> None:
        super().__init__(heads, widths, used)
        self.classes, self.boundary = classes, boundary
        self.joined = classes > 2 or any(self.widths)

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        values = self.decision_function(score)
        return (values > self.boundary).long() if self.classes == 2 else values.argmax(1)

    def decision_function(self, score: Tensor) -> Tensor:
        """Values (n, classes), of two classes that of the second (n,).

        The votes are hard in the forward pass, and soft in the backward pass.
        """
        sure = self.confidences(score)
        first, second = self._ballots(score, sure)
        counts = [torch.zeros_like(sure[:, 0])] * self.classes
        totals = list(counts)
        for k, (i, j) in enumerate(combinations(range(self.classes), 2)):
            totals[i], totals[j] = totals[i] - sure[:, k], totals[j] + sure[:, k]
            counts[i], counts[j] = counts[i] + first[:, k], counts[j] + second[:, k]
        total = torch.stack(totals, 1)
        values = torch.stack(counts, 1) + total / (3 * (total.abs() + 1))
        return values[:, 1] if self.classes == 2 else values

    def _ballots(self, score: Tensor, sure: Tensor) -> tuple[Tensor, Tensor]:
        """The votes of each member for its first class and for its second one."""
        members = zip(self.heads, self.parts(score), strict=True)
        chosen = torch.stack([head.predict(part) for head, part in members], 1)  # type: ignore[operator]
        scaled = torch.tensor([how == "decision_function" for how in self.used], device=sure.device)
        soft = torch.where(scaled, torch.sigmoid(sure), sure)
        slope = soft - soft.detach()
        # Regressors vote only where they predict exactly zero or one.
        return (chosen == 0).to(sure.dtype) - slope, (chosen == 1).to(sure.dtype) + slope


class OutputCodeHead(MembersHead):
    """The class whose row of a code book is nearest to the confidences of the members.

    Parameters
    ----------
    heads, widths, used
        See `MembersHead`.
    book : Tensor, shape (classes, members)
        What each class expects of each member.
    """

    task: Task = "classification"
    book: Tensor

    def __init__(
        self, heads: Sequence[Head], widths: Sequence[int], used: Sequence[str], book: Tensor
    ) -> None:
        super().__init__(heads, widths, used)
        self.register_buffer("book", book)
        self.joined = True

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        return self.class_scores(score).argmax(1)

    def class_scores(self, score: Tensor) -> Tensor:
        """Minus the squared distance to the row of each class, (n, classes)."""
        gaps = self.confidences(score)[:, None] - self.book
        return -gaps.square().sum(2)


class ThresholdHead(Head):
    """Two classes of another head, with a threshold of its own.

    Parameters
    ----------
    inner : Head
        Head of the classifier.
    method : {"predict_proba", "decision_function"}
        What is compared with the threshold.
    threshold : float
        Value from which the positive class is predicted.
    positive : {0, 1}
        Index of the positive class.
    """

    task: Task = "classification"

    def __init__(self, inner: Head, method: str, threshold: float, positive: int = 1) -> None:
        super().__init__()
        self.inner, self.method = inner, method
        self.threshold, self.positive = threshold, positive
        self.responses = inner.responses
        self.joined = inner.joined

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        if self.method == "predict_proba":
            value = self.inner.predict_proba(score)[:, self.positive]
        else:
            value = self.inner.decision_function(score)
            value = value if self.positive else -value
        chosen = value >= self.threshold
        return (chosen if self.positive else ~chosen).long()

    def decision_function(self, score: Tensor) -> Tensor:
        """The decision values of the classifier (n,)."""
        return self.inner.decision_function(score)

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, 2)."""
        return self.inner.predict_proba(score)

    def predict_log_proba(self, score: Tensor) -> Tensor:
        """Logarithms of the probabilities (n, 2)."""
        return self.inner.predict_log_proba(score)

    def columns(self, classes: int) -> int:
        """As many as the classifier has."""
        return self.inner.columns(classes)


class MultioutputMembersHead(MembersHead):
    """A classifier for each target.

    Parameters
    ----------
    heads, widths, used
        See `MembersHead`.
    responses : tuple of str
        Methods that the source has.
    binary : bool
        Whether all targets have two classes, and probabilities (n, targets) are those of the
        second class; otherwise they are a list of tables.
    order : sequence of int, optional
        Place of each target in the source's list of class labels.
    """

    task: Task = "several"

    def __init__(
        self,
        heads: Sequence[Head],
        widths: Sequence[int],
        used: Sequence[str],
        responses: tuple[str, ...] = ("predict",),
        binary: bool = False,
        order: Sequence[int] | None = None,
    ) -> None:
        super().__init__(heads, widths, used)
        self.responses, self.binary = responses, binary
        self.order = None if order is None else tuple(order)
        self.joined = any(self.widths)

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n, targets)."""
        if self._alike:
            chosen: Tensor = self.heads[0].predict(score.reshape(-1))  # type: ignore[operator]
            return chosen.view(score.shape)
        members = zip(self.heads, self.parts(score), strict=True)
        return torch.stack([head.predict(part) for head, part in members], 1)  # type: ignore[operator]

    def decision_function(self, score: Tensor) -> Tensor:
        """Decision values (n, targets)."""
        return self.confidences(score)

    def predict_proba(self, score: Tensor) -> Any:
        """Probabilities of the second classes (n, targets), or a list of tables (n, classes)."""
        if self.binary:
            return self.second_shares(score)
        members = zip(self.heads, self.parts(score), strict=True)
        return [head.predict_proba(part) for head, part in members]  # type: ignore[operator]

    def features(self, score: Tensor) -> Tensor:
        """Decision values and probabilities of all targets; of two classes, the second only."""
        columns = [self.confidences(score)] if "decision_function" in self.responses else []
        if "predict_proba" in self.responses:
            found = self.predict_proba(score)
            for p in found if isinstance(found, list) else [found]:
                columns.append(p[:, 1:] if p.shape[1] == 2 else p)
        return torch.cat(columns, 1)


class MultioutputRegressionHead(MembersHead):
    """A regressor for each target."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__(heads, [0] * len(heads), ["predict"] * len(heads))

    def predict(self, score: Tensor) -> Tensor:
        """Predictions (n, targets)."""
        return self.confidences(score)


class Response(Module):
    """What one method of a predictor of numbers or of two classes gives for its raw score.

    Parameters
    ----------
    head : Head
        What the score means.
    method : {"predict", "predict_proba", "predict_log_proba", "decision_function"}
        Probabilities are those of the second class.
    labels : Tensor, shape (classes,), optional
        Numeric labels of the classes; none for regression.
    """

    labels: Tensor | None

    def __init__(self, head: Head, method: str, labels: Tensor | None = None) -> None:
        super().__init__()
        self.head, self.method = head, method
        self.register_buffer("labels", labels)

    def forward(self, score: Tensor) -> Tensor:
        """Scores (n,) or (n, k) to (n,)."""
        out = self.head.respond(score, self.method)
        if self.method in ("predict_proba", "predict_log_proba"):
            return out[:, 1]
        return out if self.labels is None or self.method != "predict" else self.labels[out]


class FirstSharesHead(Head):
    """Another head of several labels, whose probabilities are those that labels do not hold.

    Parameters
    ----------
    inner : Head
        Head with a list of probabilities (n, 2), or without any.
    """

    def __init__(self, inner: Head) -> None:
        super().__init__()
        self.inner, self.task, self.joined = inner, inner.task, inner.joined
        lists = isinstance(inner, MultioutputHead | MultioutputMembersHead) and not getattr(
            inner, "binary", False
        )
        unlike = ("predict_log_proba",) if lists else ("predict_log_proba", "predict_proba")
        self.responses = tuple(m for m in inner.responses if m not in unlike)

    def predict(self, score: Tensor) -> Tensor:
        """Class indices, or zeros and ones (n, labels)."""
        return self.inner.predict(score)

    def decision_function(self, score: Tensor) -> Tensor:
        """Decision values (n, labels)."""
        return self.inner.decision_function(score)

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, labels)."""
        return torch.stack([part[:, 0] for part in self.inner.predict_proba(score)], 1)
