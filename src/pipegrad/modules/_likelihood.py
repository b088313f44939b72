"""Classes and components by their likelihood: log-probabilities, and what follows from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._base import Module, parameter
from ._heads import Head, Task
from ._sparse import Block


class LikelihoodHead(Head):
    """The scores are logarithms of joint probabilities of each row and each class or component.

    Parameters
    ----------
    task : {"classification", "clustering"}
        Whether predictions are classes or components.
    responses : tuple of str
        Methods that the source has.
    rounded : bool
        Whether log-probabilities are logarithms of the rounded probabilities, and so may be
        infinite.
    """

    def __init__(
        self,
        task: Task = "classification",
        responses: tuple[str, ...] = ("predict", "predict_proba", "predict_log_proba"),
        rounded: bool = False,
    ) -> None:
        super().__init__()
        self.task, self.responses, self.rounded = task, responses, rounded

    def predict(self, score: Tensor) -> Tensor:
        """Indices (n,) of the classes or components."""
        return score.argmax(1)

    def decision_function(self, score: Tensor) -> Tensor:
        """The scores (n, classes), or how far the second of two classes is ahead (n,)."""
        return score[:, 1] - score[:, 0] if score.shape[1] == 2 else score

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, classes)."""
        return torch.exp(self._log_shares(score))

    def predict_log_proba(self, score: Tensor) -> Tensor:
        """Logarithms of the probabilities (n, classes)."""
        shares = self._log_shares(score)
        return torch.log(torch.exp(shares)) if self.rounded else shares

    @staticmethod
    def _log_shares(score: Tensor) -> Tensor:
        return score - torch.logsumexp(score, 1, keepdim=True)


class DiscriminantHead(Head):
    """Classification by discriminant functions, whose log-probabilities are always finite.

    Parameters
    ----------
    pair : bool
        Whether there are two classes and one score, which is positive for the second class.
    """

    task: Task = "classification"
    responses: tuple[str, ...] = (
        "predict",
        "predict_proba",
        "predict_log_proba",
        "decision_function",
    )

    def __init__(self, pair: bool) -> None:
        super().__init__()
        self.pair = pair

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        return (score > 0).long() if self.pair else score.argmax(1)

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, classes)."""
        if not self.pair:
            return torch.softmax(score, 1)
        second = torch.sigmoid(score)
        return torch.stack([1 - second, second], 1)

    def predict_log_proba(self, score: Tensor) -> Tensor:
        """Logarithms of the probabilities; zero counts as the smallest number above it."""
        shares = self.predict_proba(score)
        least = torch.finfo(shares.dtype).tiny
        return torch.log(torch.where(shares == 0, least, shares))

    def columns(self, classes: int) -> int:
        """One for each class; two classes have a single score (n,)."""
        return 0 if self.pair else classes


class LogProbabilities(Module):
    """Logarithms of probabilities, of which each group keeps its sum while they train.

    What is impossible stays so: a probability of zero does not train.

    Parameters
    ----------
    initial : Tensor, shape (rows, outcomes)
        Initial log-probabilities.
    groups : tuple of int, optional
        Numbers of outcomes of several distributions side by side; a single one by default.
    """

    impossible: Tensor
    total: Tensor

    def __init__(self, initial: Tensor, groups: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.groups = groups or (initial.shape[1],)
        impossible = initial == -torch.inf
        self.weight = parameter(initial.masked_fill(impossible, 0.0))
        self.register_buffer("impossible", impossible)
        self.register_buffer("total", self._sums(initial))

    def forward(self) -> Tensor:
        """The current log-probabilities, with the shape of ``initial``."""
        present = self.weight.masked_fill(self.impossible, -torch.inf)
        # Zero for numbers that did not change, so that these stay bit-identical.
        surplus = self.total - self._sums(present)
        return present + surplus.masked_fill(self.total == -torch.inf, 0.0)

    def _sums(self, values: Tensor) -> Tensor:
        """The logarithm of the sum of each group, at each of its outcomes."""
        parts = values.split(self.groups, 1)
        return torch.cat([torch.logsumexp(p, 1, keepdim=True).expand_as(p) for p in parts], 1)

    def reset_parameters(self) -> None:
        """Nearly uniform distributions."""
        nn.init.normal_(self.weight, std=0.1)


class JointLogLikelihood(Module):
    """Log-likelihoods of the classes plus logarithms of their prior probabilities.

    Parameters
    ----------
    likelihood : Module
        Module from (n, features) to (n, classes).
    prior : Tensor, shape (classes,), optional
        Logarithm of the prior probability of each class.
    fixed : bool
        Whether the prior does not train.
    offset : Tensor, shape (classes,), optional
        Fixed constants that are added.
    """

    offset: Tensor | None

    def __init__(
        self,
        likelihood: nn.Module,
        prior: Tensor | None = None,
        fixed: bool = False,
        offset: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.prior = None if prior is None else LogProbabilities(prior[None])
        if self.prior is not None:
            self.prior.weight.requires_grad_(not fixed)
        self.register_buffer("offset", None if offset is None else offset.clone())

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, classes)."""
        out = self.likelihood(x)
        if self.prior is not None:
            out = out + self.prior()
        return out if self.offset is None else out + self.offset
