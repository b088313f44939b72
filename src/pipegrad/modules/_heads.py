"""Heads: maps from raw scores to predictions, decision values and probabilities."""

from __future__ import annotations

import math
import sys
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ._base import Module

Task = Literal["regression", "classification", "multilabel", "several", "clustering"]
Link = Literal[
    "identity", "log", "logistic", "softmax", "softplus", "signed_square", "sign", "largest"
]

_LARGEST_EXPONENT = math.log(sys.float_info.max)


def inverse_link(score: Tensor, link: Link, scale: float = 1.0) -> Tensor:
    """The mean for a raw score, by the inverse of a link function.

    Parameters
    ----------
    score : Tensor, shape (n,) or (n, k)
        Raw scores.
    link : str
        Name of the link: "log" means exp, "logistic" the logistic function, "softmax" the softmax
        of each row. "sign" is 1 for positive scores and 0 otherwise, "largest" the index (n,) of
        the largest score.
    scale : float
        Factor of the score.

    Returns
    -------
    Tensor
        Means with the shape of the score, or indices (n,) for "largest".
    """
    score = score if scale == 1 else scale * score
    if link == "softplus":
        mean = torch.logaddexp(score, torch.zeros_like(score))
        # Sources compute log(1 + exp(score)) in double precision, which overflows.
        return torch.where(score > _LARGEST_EXPONENT, torch.inf, mean)
    if link == "signed_square":
        return score * score.abs()
    if link == "log":
        return torch.exp(score)
    if link == "logistic":
        return torch.sigmoid(score)
    if link == "softmax":
        return torch.softmax(score, 1)
    if link == "sign":
        return (score > 0).to(score.dtype)
    return score.argmax(1).to(score.dtype) if link == "largest" else score


class Head(Module):
    """Base class: maps the raw score of a predictor to its outputs.

    The score has the shape that the source uses: (n,) for one target or two classes, (n, k)
    otherwise. Classes are indices here; the source keeps the labels.
    """

    task: Task = "regression"
    responses: tuple[str, ...] = ("predict",)
    pairwise: bool = False
    """Whether the columns of the score are pairs of classes, not classes."""
    joined: bool = False
    """Whether the score consists of scores of several members, whose columns are no classes."""
    order: tuple[int, ...] | None = None
    """Place of each target in the source's list of class labels; that of the target if None."""

    def predict(self, score: Tensor) -> Tensor:
        """Predicted values (n,) or (n, k), or class indices (n,) of int64."""
        raise NotImplementedError

    def decision_function(self, score: Tensor) -> Tensor:
        """Decision values."""
        return score

    def predict_proba(self, score: Tensor) -> Tensor:
        """Class probabilities (n, classes)."""
        raise NotImplementedError(f"{type(self).__name__} has no probabilities")

    def predict_log_proba(self, score: Tensor) -> Tensor:
        """Logarithms of the class probabilities."""
        return torch.log(self.predict_proba(score))

    def score_samples(self, score: Tensor) -> Tensor:
        """Scores of the rows, such as log-likelihoods (n,)."""
        return score

    def mahalanobis(self, score: Tensor) -> Tensor:
        """Squared Mahalanobis distances (n,) of the rows."""
        raise NotImplementedError(f"{type(self).__name__} has no distances")

    def rest_proba(self, score: Tensor) -> Tensor:
        """Probabilities without the first class, which is redundant; of all targets in a row."""
        found = self.predict_proba(score)
        if isinstance(found, list):
            return torch.cat([part[:, 1:] for part in found], 1)
        return found[:, 1:]

    def label_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, labels) that labels hold, whether they are a list of tables or not."""
        found: Any = self.predict_proba(score)
        return self.rest_proba(score) if isinstance(found, list) else found

    def votes(self, score: Tensor) -> Tensor:
        """One-hot votes (n, classes): hard in the forward pass, soft in the backward pass."""
        if "predict_proba" in self.responses:
            soft = self.predict_proba(score)
        else:
            two = torch.stack([-score, score], 1) if score.ndim == 1 else score
            soft = torch.softmax(two, 1)
        chosen = self.predict(score).reshape(-1)
        hard = functional.one_hot(chosen, soft.shape[1]).to(soft.dtype)
        return hard + (soft - soft.detach())

    def features(self, score: Tensor) -> Tensor:
        """Feature columns for later steps: decision values and probabilities, as far as defined.

        Two classes give one column of probabilities (of the second class), as in the paper's
        Figure 1.
        """
        if self.task in ("regression", "clustering"):
            out = self.predict(score).to(score.dtype)
            return out if out.ndim > 1 else out[:, None]
        columns = []
        if "decision_function" in self.responses:
            raw = self.decision_function(score)
            columns.append(raw if raw.ndim > 1 else raw[:, None])
        if "predict_proba" in self.responses:
            probability = self.predict_proba(score)
            columns.append(probability[:, 1:] if probability.shape[1] == 2 else probability)
        return torch.cat(columns, 1)

    def columns(self, classes: int) -> int:
        """The number of columns of the score with that many classes; 0 if the score is (n,).

        Regression has no classes (0), and one target.
        """
        return classes

    def respond(self, score: Tensor, method: str) -> Tensor:
        """The output of a method by name: "score", "predict", "predict_proba" and so on."""
        return score if method in ("score", "transform") else getattr(self, method)(score)


class RegressionHead(Head):
    """Regression: the prediction is the inverse link of the score.

    Parameters
    ----------
    link : {"identity", "log", "logistic", "softmax", "sign", "largest", ...}
        Link function, such as "log" if the score is a log-rate; see `inverse_link`.
    scale : float
        Factor of the score.
    """

    def __init__(self, link: Link = "identity", scale: float = 1.0) -> None:
        super().__init__()
        self.link = link
        self.scale = scale

    def predict(self, score: Tensor) -> Tensor:
        """The mean, with the score's shape."""
        return inverse_link(score, self.link, self.scale)


class IdentityHead(Head):
    """Every method returns the raw score.

    Parameters
    ----------
    responses : tuple of str
        Methods that the source has.
    raw : float
        Factor of the score in ``decision_function``.
    """

    def __init__(self, responses: tuple[str, ...] = ("predict",), raw: float = 1.0) -> None:
        super().__init__()
        self.responses, self.raw = responses, raw

    def predict(self, score: Tensor) -> Tensor:
        """The score."""
        return score

    def predict_proba(self, score: Tensor) -> Tensor:
        """The score."""
        return score

    def decision_function(self, score: Tensor) -> Tensor:
        """The score times a factor."""
        return score if self.raw == 1 else self.raw * score


class LinkHead(Head):
    """Classification by the inverse link of the score; the most likely class is predicted.

    Parameters
    ----------
    link : {"identity", "logistic", "softmax", ...}
        Link function. A single score belongs to the second class. Several probabilities sum to one
        only with "softmax".
    scale : float
        Factor of the score before the link.
    raw : float
        Factor of the score in ``decision_function``.
    responses : tuple of str
        Methods that the source has.
    boundary : float
        Probability above which the second of two classes is predicted.
    column : bool
        Whether the source returns predictions as a column (n, 1).
    """

    task: Task = "classification"

    def __init__(
        self,
        link: Link,
        scale: float = 1.0,
        raw: float = 1.0,
        responses: tuple[str, ...] = ("predict", "predict_proba"),
        boundary: float = 0.5,
        column: bool = False,
    ) -> None:
        super().__init__()
        self.link = link
        self.scale, self.raw, self.responses = scale, raw, responses
        self.boundary, self.column = boundary, column

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,), or (n, 1)."""
        shares = self.predict_proba(score)
        if self.boundary != 0.5 and score.ndim == 1:
            return (shares[:, 1] > self.boundary).long()
        return shares.argmax(1, keepdim=self.column)

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, classes)."""
        mean = inverse_link(score, self.link, self.scale)
        return torch.stack([1 - mean, mean], 1) if mean.ndim == 1 else mean

    def columns(self, classes: int) -> int:
        """One for each class; two classes have a single score (n,) unless a softmax links them."""
        return 0 if classes == 2 and self.link != "softmax" else classes

    def decision_function(self, score: Tensor) -> Tensor:
        """The score times a factor."""
        return score if self.raw == 1 else self.raw * score


class ShareHead(Head):
    """Probability of the second class, or of each label, with the decision threshold one half.

    Parameters
    ----------
    link : {"identity", "log", "logistic", "sign"}
        Link function from probability to score; see `inverse_link`.
    labels : bool
        Whether there are several labels with a score each, instead of two classes.
    responses : tuple of str
        Methods that the source has.
    first : bool
        Whether the first class is always predicted, for a source that knows only one.
    """

    def __init__(
        self,
        link: Link = "logistic",
        labels: bool = False,
        responses: tuple[str, ...] = ("predict", "predict_proba"),
        first: bool = False,
    ) -> None:
        super().__init__()
        self.link, self.responses, self.first = link, responses, first
        self.task = "multilabel" if labels else "classification"

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,), or zeros and ones (n, k)."""
        chosen = (inverse_link(score, self.link) > 0.5).long()
        return torch.zeros_like(chosen) if self.first else chosen

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, 2), or of each label (n, k)."""
        share = inverse_link(score, self.link)
        return share if self.task == "multilabel" else torch.stack([1 - share, share], 1)

    def columns(self, classes: int) -> int:
        """None for two classes; labels have one each."""
        return classes if self.task == "multilabel" else 0


class BernoulliHead(Head):
    """Binary classification with one score, which is positive for the second class.

    Parameters
    ----------
    probability : {"logistic", "softmax", "modified_huber"}, optional
        Map from scores to probabilities; none if the source has no probabilities. "softmax" is the
        softmax of (-score, score).
    inclusive : bool
        Whether a score of zero means the second class.
    log : bool
        Whether the source has log-probabilities as well.
    """

    task: Task = "classification"

    def __init__(
        self, probability: str | None = None, inclusive: bool = False, log: bool = True
    ) -> None:
        super().__init__()
        self.probability = probability
        self.inclusive = inclusive
        self.responses = ("predict", "decision_function")
        if probability is not None:
            self.responses += ("predict_proba", "predict_log_proba")[: 1 + log]

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        return (score >= 0 if self.inclusive else score > 0).long()

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, 2)."""
        if self.probability == "logistic":
            second = torch.sigmoid(score)
            return torch.stack([1 - second, second], 1)
        if self.probability == "softmax":
            return torch.softmax(torch.stack([-score, score], 1), 1)
        if self.probability == "modified_huber":
            second = (torch.clamp(score, -1, 1) + 1) / 2
            return torch.stack([1 - second, second], 1)
        return super().predict_proba(score)

    def columns(self, classes: int) -> int:
        """None: the score is (n,)."""
        return 0


class MulticlassHead(Head):
    """Multiclass classification with a score for each class; the largest score wins.

    Parameters
    ----------
    probability : {"softmax", "one_vs_rest", "modified_huber"}, optional
        Map from scores to probabilities; none if the source has no probabilities.
    share : bool
        Whether a row with zero probability for all classes gets equal probabilities instead of NaN.
    scale : float
        Factor of the scores in the softmax.
    log : bool
        Whether the source has log-probabilities as well.
    """

    task: Task = "classification"

    def __init__(
        self,
        probability: str | None = None,
        share: bool = True,
        scale: float = 1.0,
        log: bool = True,
    ) -> None:
        super().__init__()
        self.probability = probability
        self.share = share
        self.scale = scale
        self.responses = ("predict", "decision_function")
        if probability is not None:
            self.responses += ("predict_proba", "predict_log_proba")[: 1 + log]

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        return score.argmax(1)

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, classes)."""
        if self.probability == "softmax":
            return torch.softmax(score if self.scale == 1 else self.scale * score, 1)
        if self.probability == "one_vs_rest":
            return self._normalise(torch.sigmoid(score))
        if self.probability == "modified_huber":
            return self._normalise((torch.clamp(score, -1, 1) + 1) / 2)
        return super().predict_proba(score)

    def _normalise(self, claims: Tensor) -> Tensor:
        if self.share:
            unclaimed = claims.sum(1, keepdim=True) == 0
            claims = torch.where(unclaimed, torch.ones_like(claims), claims)
        return claims / claims.sum(1, keepdim=True)


class MultilabelHead(Head):
    """Multilabel classification with a score for each label."""

    task: Task = "multilabel"
    responses = ("predict", "decision_function")

    def predict(self, score: Tensor) -> Tensor:
        """Zeros and ones (n, k)."""
        return (score > 0).long()


class ProbabilityHead(Head):
    """The scores are the class probabilities themselves (soft voting, decision trees).

    Parameters
    ----------
    log : bool
        Whether the source has log-probabilities as well.
    last : bool
        Whether the last of several classes of the same probability is predicted.
    """

    task: Task = "classification"

    def __init__(self, log: bool = False, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.responses = ("predict", "predict_proba")
        if log:
            self.responses += ("predict_log_proba",)

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        if self.last:
            return score.shape[1] - 1 - score.flip(1).argmax(1)
        return score.argmax(1)

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, classes)."""
        return score


class MultioutputHead(Head):
    """Several classification targets; the score is the concatenation of their probabilities.

    Parameters
    ----------
    counts : tuple of int
        Number of classes of each target.
    """

    task: Task = "several"
    responses = ("predict", "predict_proba", "predict_log_proba")

    def __init__(self, counts: tuple[int, ...]) -> None:
        super().__init__()
        self.counts = counts

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n, targets)."""
        return torch.stack([part.argmax(1) for part in score.split(self.counts, 1)], 1)

    def predict_proba(self, score: Tensor) -> Any:
        """Probabilities (n, classes) of each target, as a list."""
        return list(score.split(self.counts, 1))

    def predict_log_proba(self, score: Tensor) -> Any:
        """Logarithms of the probabilities of each target, as a list."""
        return [torch.log(part) for part in score.split(self.counts, 1)]

    def features(self, score: Tensor) -> Tensor:
        """The probabilities of all targets; for two classes, only that of the second."""
        parts = score.split(self.counts, 1)
        return torch.cat([p[:, 1:] if p.shape[1] == 2 else p for p in parts], 1)


class VotesHead(Head):
    """The scores are votes for each class; ties go to the first class."""

    task: Task = "classification"

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        return score.argmax(1)
