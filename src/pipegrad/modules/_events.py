"""Event models of naive Bayes: log-likelihoods of counts, of occurrences and of categories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._base import Module, clamp_at_zero, parameter
from ._likelihood import LogProbabilities
from ._sparse import Block

_MOST_LOG_ODDS = 15.0


class MultinomialEvents(Module):
    """Log-likelihoods of counts of events, up to a constant of each row.

    Parameters
    ----------
    log_probability : Tensor, shape (classes, features)
        Log-probability of each event in each class.
    """

    def __init__(self, log_probability: Tensor) -> None:
        super().__init__()
        self.log_probability = LogProbabilities(log_probability)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, classes)."""
        return x.matmul(self.weight().T)

    def weight(self) -> Tensor:
        """The weights (classes, features) of the counts."""
        return self.log_probability()


class ComplementEvents(MultinomialEvents):
    """Weights that are the larger, the less likely an event is in all other classes.

    See Rennie, Shih, Teevan and Karger, *Tackling the poor assumptions of naive Bayes text
    classifiers*, ICML 2003.

    Parameters
    ----------
    weight : Tensor, shape (classes, features)
        Weights of the counts.
    normalized : bool
        Whether the weights of a class add to one, instead of being negative log-probabilities.
    """

    initial: Tensor

    def __init__(self, weight: Tensor, normalized: bool) -> None:
        super().__init__(torch.log(weight) if normalized else -weight)
        self.normalized = normalized
        self.register_buffer("initial", weight.clone())

    def weight(self) -> Tensor:
        """The weights (classes, features) of the counts."""
        found = self.log_probability()
        if not self.normalized:
            return -found
        # Relative to the initial weights, so that what did not change is bit-identical.
        growth = (found - torch.log(self.initial)).masked_fill(self.initial == 0, 0.0)
        return self.initial * torch.exp(growth)


class BernoulliEvents(Module):
    """Log-likelihoods of whether events occur.

    Parameters
    ----------
    log_odds : Tensor, shape (classes, features)
        Log-odds of each event in each class. They train up to 15, or up to their initial value if
        that is larger: log-probabilities this close to zero no longer tell them apart.
    """

    most: Tensor

    def __init__(self, log_odds: Tensor) -> None:
        super().__init__()
        self.log_odds = parameter(log_odds)
        self.register_buffer("most", log_odds.clamp(min=_MOST_LOG_ODDS))

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, classes)."""
        odds = self._bounded()
        return x.matmul(odds.T) - functional.softplus(odds).sum(1)

    def log_probability(self) -> Tensor:
        """Log-probability (classes, features) of each event in each class."""
        return -functional.softplus(-self._bounded())

    def _bounded(self) -> Tensor:
        # Beyond the bound, gradients that lead back still pass.
        left = self.most - self.log_odds
        return torch.where(left < 0, self.most - clamp_at_zero(left), self.log_odds)

    def reset_parameters(self) -> None:
        """Events that are about as likely as not."""
        nn.init.normal_(self.log_odds, std=0.1)


class CategoryEvents(Module):
    """Log-likelihoods of categories, given as codes from zero.

    Parameters
    ----------
    log_probabilities : sequence of Tensor, shapes (classes, categories)
        Log-probability of each category of each column in each class.
    """

    starts: Tensor

    def __init__(self, log_probabilities: Sequence[Tensor]) -> None:
        super().__init__()
        sizes = tuple(table.shape[1] for table in log_probabilities)
        self.log_probability = LogProbabilities(torch.cat(list(log_probabilities), 1), sizes)
        ends = torch.tensor([0, *sizes], dtype=torch.int64).cumsum(0)
        self.register_buffer("starts", ends[:-1])

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, features) to (n, classes)."""
        places = codes.to(torch.int64) + self.starts
        return functional.embedding(places, self.log_probability().T).sum(1)

    def tables(self) -> list[Tensor]:
        """The log-probabilities as one tensor for each column."""
        return list(self.log_probability().split(self.log_probability.groups, 1))
