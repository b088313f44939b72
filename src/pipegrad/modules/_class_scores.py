"""Functions of class scores: both scores of a margin, thresholds of classes, links of means."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._base import Module


def two_scores(margin: Tensor) -> Tensor:
    """The scores (n, 2) of both classes for a margin (n,)."""
    return torch.stack([-margin, margin], 1)


def two_shares(share: Tensor) -> Tensor:
    """The probabilities (n, 2) of both classes for that of the second (n,)."""
    return torch.stack([1 - share, share], 1)


def second_column(x: Tensor) -> Tensor:
    """The second column (n,)."""
    return x[:, 1]


def softmax_above_zero(scores: Tensor) -> Tensor:
    """Softmax (n, k) that shifts scores by their maximum only if it is positive.

    NaN where all scores are so negative that their exponentials vanish.
    """
    weights = torch.exp(scores - scores.amax(1, keepdim=True).clamp(min=0.0))
    return weights / weights.sum(1, keepdim=True)


def bounded_log_odds(share: Tensor) -> Tensor:
    """The log-odds of shares, not below -19, which itself is that of zero."""
    inside = share.clamp(1e-9, 1 - 1e-9)
    return torch.log(inside / (1 - inside)).clamp(min=-19.0)


def first_less_second(x: Tensor) -> Tensor:
    """The difference (n,) of two columns."""
    return x[:, 0] - x[:, 1]


def place_of_largest(x: Tensor) -> Tensor:
    """The index (n,) of the largest entry of each row, the first of several."""
    return x.argmax(1).to(x.dtype)


def place_of_smallest(x: Tensor) -> Tensor:
    """The index (n,) of the smallest entry of each row, the first of several."""
    return x.argmin(1).to(x.dtype)


def place_of_smallest_finite(x: Tensor) -> Tensor:
    """The index of the smallest number of each row; -1 where none is finite."""
    nearest, place = x.nan_to_num(nan=torch.inf, posinf=torch.inf).min(1)
    return torch.where(torch.isfinite(nearest), place, -1).to(x.dtype)


def place_of_first_positive(x: Tensor) -> Tensor:
    """The index of the first positive score of each row; their number if there is none."""
    hit = x > 0
    return torch.where(hit.any(1), hit.to(x.dtype).argmax(1), x.shape[1]).to(x.dtype)


def away_from_zero(x: Tensor, smallest: float) -> Tensor:
    """The same numbers, but those nearer to zero than ``smallest`` move there; zero upwards."""
    return torch.where(x < 0, x.clamp(max=-smallest), x.clamp(min=smallest))


def ordered_shares(logits: Tensor) -> Tensor:
    """Probabilities (n, k + 1) of ordered classes.

    Parameters
    ----------
    logits : Tensor, shape (n, k)
        The logit of the probability of each class but the last and those before it.
    """
    below = torch.sigmoid(logits)
    first, last = torch.zeros_like(below[:, :1]), torch.ones_like(below[:, :1])
    return torch.diff(torch.cat([first, below, last], 1), dim=1)


def shares_with_floor(log_weights: Tensor) -> Tensor:
    """Shares (n, k) of weights given by their logarithms, each raised by the rounding error of one.

    Where all weights vanish, the shares are equal.
    """
    weights = torch.exp(log_weights) + torch.finfo(torch.float64).eps
    return weights / weights.sum(1, keepdim=True)


class ReweightedShares(Module):
    """Weights of classes, times fixed factors, divided by their sum; rows without any stay zero.

    Parameters
    ----------
    factors : Tensor, shape (classes,)
        Factor of each class.
    """

    factors: Tensor

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors.clone())

    def forward(self, weights: Tensor) -> Tensor:
        """Same shape out as in."""
        scaled = weights * self.factors
        # One after the other, as sources add them, so that equal weights give equal shares.
        total = sum(scaled.unbind(1), torch.zeros_like(scaled[:, 0]))[:, None]
        some = total > 0
        return torch.where(some, scaled / torch.where(some, total, 1.0), scaled)


class ScaledLargest(Module):
    """The index of the largest probability relative to the threshold of its class.

    Parameters
    ----------
    thresholds : Tensor, shape (classes,)
        Thresholds, of which one may be zero: its class wins unless its probability is zero.
    """

    thresholds: Tensor

    def __init__(self, thresholds: Tensor) -> None:
        super().__init__()
        self.register_buffer("thresholds", thresholds.clone())

    def forward(self, shares: Tensor) -> Tensor:
        """Probabilities (n, classes) to indices (n,)."""
        scaled = shares / self.thresholds
        return place_of_largest(scaled.masked_fill(torch.isnan(scaled), -torch.inf))


class InverseLink(Module):
    """The mean for a linear predictor, by the inverse of a link function.

    Parameters
    ----------
    link : {"identity", "log", "logit", "inverse", "sqrt", "probit", "cloglog", "power"}
        The link.
    power : float
        The exponent of the link "power".
    """

    def __init__(self, link: str, power: float = 1.0) -> None:
        super().__init__()
        self.link, self.power = link, power

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        if self.link == "log":
            return torch.exp(x)
        if self.link == "logit":
            return torch.sigmoid(x)
        if self.link == "inverse":
            return 1 / x
        if self.link == "sqrt":
            return x * x
        if self.link == "probit":
            return 0.5 * torch.erfc(-x / math.sqrt(2))
        if self.link == "cloglog":
            return 1 - torch.exp(-torch.exp(x))
        return x if self.link == "identity" else x ** (1 / self.power)


class Multiples(Module):
    """Each entry of a column times fixed factors.

    Parameters
    ----------
    factors : Tensor, shape (k,) or ()
        The factors; a single one keeps the shape of the input.
    """

    factors: Tensor

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(n,) to (n, k), or any shape to the same."""
        return x * self.factors if self.factors.ndim == 0 else x[:, None] * self.factors


class Product(Module):
    """A block whose rows are multiplied by a column."""

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        """(n, k) and (n,) to (n, k)."""
        return x * factor[:, None]


class Total(Module):
    """The sum of blocks of one shape."""

    def forward(self, *parts: Tensor) -> Tensor:
        """Same shape out as in."""
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class MarginSides(Module):
    """A margin for each of two classes, one apart, on the side that a threshold decides for.

    Parameters
    ----------
    threshold : float
        Larger margins decide for the second class.
    least : float
        The least margin of the second class when it is decided for; it is below this otherwise.
    """

    def __init__(self, threshold: float, least: float) -> None:
        super().__init__()
        self.threshold, self.least = threshold, least

    def forward(self, margin: Tensor) -> Tensor:
        """(n,) to (n, 2)."""
        above = margin > self.threshold
        low = torch.where(margin >= self.least, self.least - 1, margin)
        second = torch.where(above, margin.clamp(min=self.least), low)
        return torch.stack([torch.where(above, second - 1, second + 1), second], 1)
