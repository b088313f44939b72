"""What a score means: predictions, decisions and probabilities derived from it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ._base import Module

Task = Literal["regression", "classification", "multilabel", "several", "clustering"]
Link = Literal[
    "identity", "log", "logistic", "softmax", "softplus", "signed_square", "sign", "largest"
]


def inverse_link(score: Tensor, link: Link, scale: float = 1.0) -> Tensor:
    """From a score, times ``scale``, to a mean: exp, logistic function, softmax of a row and so on.

    "sign" gives one above zero and zero elsewhere, "largest" (n, k) the place of the largest (n,).
    """
    score = score if scale == 1 else scale * score
    if link == "softplus":
        return torch.logaddexp(score, torch.zeros_like(score))
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
    """Derives what a predictor answers from its raw score.

    The score has the shape of the source's own answer: (n,) for one target or two classes,
    (n, k) otherwise. Classes are indices here; the labels live with the source.
    """

    task: Task = "regression"
    responses: tuple[str, ...] = ("predict",)

    def predict(self, score: Tensor) -> Tensor:
        """Predicted values (n,) or (n, k), or class indices (n,) of int64."""
        raise NotImplementedError

    def decision_function(self, score: Tensor) -> Tensor:
        """The raw decision values."""
        return score

    def predict_proba(self, score: Tensor) -> Tensor:
        """Class probabilities (n, classes)."""
        raise NotImplementedError(f"{type(self).__name__} has no probabilities")

    def predict_log_proba(self, score: Tensor) -> Tensor:
        """Logarithms of the class probabilities."""
        return torch.log(self.predict_proba(score))

    def rest_proba(self, score: Tensor) -> Tensor:
        """Probabilities without the first class, which the others imply."""
        return self.predict_proba(score)[:, 1:]

    def votes(self, score: Tensor) -> Tensor:
        """One-hot votes (n, classes): hard going forward, soft for the gradient."""
        if "predict_proba" in self.responses:
            soft = self.predict_proba(score)
        else:
            two = torch.stack([-score, score], 1) if score.ndim == 1 else score
            soft = torch.softmax(two, 1)
        chosen = self.predict(score).reshape(-1)
        hard = functional.one_hot(chosen, soft.shape[1]).to(soft.dtype)
        return hard + (soft - soft.detach())

    def features(self, score: Tensor) -> Tensor:
        """Columns for later steps: the score, and the probabilities where there are any.

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

    def respond(self, score: Tensor, method: str) -> Tensor:
        """Answer to one method: ``score``, ``predict``, ``predict_proba`` and so on."""
        return score if method in ("score", "transform") else getattr(self, method)(score)


class RegressionHead(Head):
    """Regression: the prediction is the score through an inverse link.

    Parameters
    ----------
    link : {"identity", "log", "logistic", "softmax", "sign", "largest", ...}
        "log" when the score is a log-rate; see `inverse_link`.
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
    """The source answers with the score, whatever it is asked.

    Parameters
    ----------
    responses : tuple of str
        What it may be asked.
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
        """The score, times a factor."""
        return score if self.raw == 1 else self.raw * score


class LinkHead(Head):
    """Classes whose probabilities are the score through a link; the largest wins.

    Parameters
    ----------
    link : {"identity", "logistic", "softmax", ...}
        A single score stands for the second class. Nothing but "softmax" makes several sum to one.
    scale : float
        Factor of the score before the link.
    raw : float
        Factor of the score in ``decision_function``.
    responses : tuple of str
        What the source gives.
    boundary : float
        The probability above which the second of two classes is predicted.
    column : bool
        Whether the source gives its predictions as a column (n, 1).
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

    def decision_function(self, score: Tensor) -> Tensor:
        """The score, times a factor."""
        return score if self.raw == 1 else self.raw * score


class ShareHead(Head):
    """The score gives the share of the second class, and a half decides; or that of each label.

    Parameters
    ----------
    link : {"identity", "log", "logistic", "sign"}
        How the share follows, see `inverse_link`.
    labels : bool
        Several labels, a score for each, instead of two classes.
    """

    responses = ("predict", "predict_proba")

    def __init__(self, link: Link = "logistic", labels: bool = False) -> None:
        super().__init__()
        self.link = link
        self.task = "multilabel" if labels else "classification"

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,), or zeros and ones (n, k)."""
        return (inverse_link(score, self.link) > 0.5).long()

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, 2), or those of each label (n, k)."""
        share = inverse_link(score, self.link)
        return share if self.task == "multilabel" else torch.stack([1 - share, share], 1)


class BernoulliHead(Head):
    """Two classes, one score: positive means the second class.

    Parameters
    ----------
    probability : {"logistic", "softmax", "modified_huber"}, optional
        How a probability follows; None when the source gives none. "softmax" is that of
        (-score, score).
    inclusive : bool
        Whether a score of zero means the second class.
    log : bool
        Whether the source gives the logarithms of probabilities as well.
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
            return torch.stack([1 - torch.sigmoid(score), torch.sigmoid(score)], 1)
        if self.probability == "softmax":
            return torch.softmax(torch.stack([-score, score], 1), 1)
        if self.probability == "modified_huber":
            second = (torch.clamp(score, -1, 1) + 1) / 2
            return torch.stack([1 - second, second], 1)
        return super().predict_proba(score)


class MulticlassHead(Head):
    """Several classes, a score for each: the largest wins.

    Parameters
    ----------
    probability : {"softmax", "one_vs_rest", "modified_huber"}, optional
        How probabilities follow; None when the source gives none.
    share : bool
        Whether a row that no class claims gives all the same probability, or NaN.
    scale : float
        Factor of the scores in the softmax.
    log : bool
        Whether the source gives the logarithms of probabilities as well.
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
    """Several yes-or-no targets, a score for each."""

    task: Task = "multilabel"
    responses = ("predict", "decision_function")

    def predict(self, score: Tensor) -> Tensor:
        """Zeros and ones (n, k)."""
        return (score > 0).long()


class ProbabilityHead(Head):
    """The score is the table of class probabilities itself (soft voting, decision trees).

    Parameters
    ----------
    log : bool
        Whether the source gives their logarithms as well.
    """

    task: Task = "classification"

    def __init__(self, log: bool = False) -> None:
        super().__init__()
        self.responses = ("predict", "predict_proba")
        if log:
            self.responses += ("predict_log_proba",)

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        return score.argmax(1)

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, classes)."""
        return score


class MultioutputHead(Head):
    """Several targets with classes of their own: the score holds all their probabilities.

    Parameters
    ----------
    counts : tuple of int
        Numbers of classes.
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
        """Probabilities (n, classes) of each target, a list."""
        return list(score.split(self.counts, 1))

    def predict_log_proba(self, score: Tensor) -> Any:
        """Logarithms of the probabilities of each target, a list."""
        return [torch.log(part) for part in score.split(self.counts, 1)]

    def features(self, score: Tensor) -> Tensor:
        """The probabilities of all targets; of two classes, the second's alone."""
        parts = score.split(self.counts, 1)
        return torch.cat([p[:, 1:] if p.shape[1] == 2 else p for p in parts], 1)


class VotesHead(Head):
    """The score counts votes for each class; the first of the largest wins."""

    task: Task = "classification"

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        return score.argmax(1)


class OutlierHead(Head):
    """A negative score marks an outlier: -1, and 1 elsewhere."""

    responses = ("predict", "decision_function")

    def predict(self, score: Tensor) -> Tensor:
        """-1 or 1 (n,)."""
        return torch.where(score < 0, -1, 1)


class NearestHead(Head):
    """Clustering: the score is the distance to each center, the nearest wins."""

    task: Task = "clustering"

    def predict(self, score: Tensor) -> Tensor:
        """Cluster indices (n,)."""
        return score.argmin(1)
