"""Classification by votes of pairs of classes ("one against one")."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ._base import Module
from ._heads import Head, Task

# What LIBSVM clips the probabilities of pairs to.
_LEAST = 1e-7
# Steps and tolerance of LIBSVM's iteration.
_STEPS, _TOLERANCE = 100, 0.005


class PlattScaling(Module):
    """The probability of the first of two classes, a logistic function of the score.

    See Platt, *Probabilistic outputs for support vector machines*, 1999.

    Parameters
    ----------
    slope, offset : Tensor, shape (pairs,)
        Coefficients; with a negative slope, the probability increases with the score.
    """

    slope: Tensor
    offset: Tensor

    def __init__(self, slope: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("slope", slope.clone())
        self.register_buffer("offset", offset.clone())

    def forward(self, score: Tensor) -> Tensor:
        """Same shape out as in, (n, pairs)."""
        share = torch.sigmoid(-(score * self.slope + self.offset))
        return share.clamp(_LEAST, 1 - _LEAST)


class OneVsOneHead(Head):
    """Each pair of classes has a score, and the class with the most votes wins.

    Ties go to the first class.

    Parameters
    ----------
    classes : int
        Number of classes. Two classes have one score (n,), positive for the second class; more have
        a score (n, pairs) for each pair, positive for its first class.
    per_class : bool
        Whether ``decision_function`` has a value for each class, the votes with a fraction that
        grows with the scores, and not for each pair.
    break_ties : bool
        Whether predictions take those values, and not only the votes.
    platt : PlattScaling, optional
        Probabilities of pairs; none if the source has no probabilities.
    """

    task: Task = "classification"

    def __init__(
        self,
        classes: int,
        per_class: bool = True,
        break_ties: bool = False,
        platt: PlattScaling | None = None,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.per_class, self.break_ties = per_class, break_ties
        self.pairwise = classes > 2
        self.platt = platt
        self.responses = ("predict", "decision_function")
        if platt is not None:
            self.responses += ("predict_proba", "predict_log_proba")

    def predict(self, score: Tensor) -> Tensor:
        """Class indices (n,)."""
        if not self.pairwise:
            return (score >= 0).long()
        if self.break_ties:
            return self.decision_function(score).argmax(1)
        # A score of zero is a vote for the second class here, and for the first one below.
        return self._sum_by_class((score > 0).to(score.dtype), True).argmax(1)

    def decision_function(self, score: Tensor) -> Tensor:
        """Scores of pairs, or values of classes (n, classes)."""
        if not (self.pairwise and self.per_class):
            return score
        soft = torch.sigmoid(score)
        ballots = (score >= 0).to(score.dtype) + (soft - soft.detach())
        confidence = self._sum_by_class(score, False)
        return self._sum_by_class(ballots, True) + confidence / (3 * (confidence.abs() + 1))

    def _sum_by_class(self, score: Tensor, shares: bool) -> Tensor:
        """What pairs give to their classes: the rest, or the opposite, goes to the second one."""
        out: list[Tensor | None] = [None] * self.classes
        for k, (i, j) in enumerate(_pairs(self.classes)):
            first = score[:, k]
            second = 1 - first if shares else -first
            for place, part in ((i, first), (j, second)):
                known = out[place]
                out[place] = part if known is None else known + part
        return torch.stack([part for part in out if part is not None], 1)

    def predict_proba(self, score: Tensor) -> Tensor:
        """Probabilities (n, classes), coupled from those of the pairs."""
        if self.platt is None:
            return super().predict_proba(score)
        first = self.platt(score if self.pairwise else -score[:, None])
        pairs = _pairs(self.classes)
        place = [[2 * len(pairs)] * self.classes for _ in range(self.classes)]
        for k, (i, j) in enumerate(pairs):
            place[i][j], place[j][i] = k, k + len(pairs)
        known = torch.cat([first, 1 - first, first.new_zeros(first.shape[0], 1)], 1)
        index = torch.tensor(place, device=score.device)
        table = known[:, index.flatten()].unflatten(1, index.shape)
        return coupled_probabilities(table)

    def columns(self, classes: int) -> int:
        """One for each pair of classes; two classes have a single score (n,)."""
        return classes * (classes - 1) // 2 if self.pairwise else 0

    def votes(self, score: Tensor) -> Tensor:
        """One-hot votes (n, classes): hard in the forward pass, soft in the backward pass."""
        if self.platt is not None or not self.pairwise:
            return super().votes(score)
        soft = torch.softmax(self._sum_by_class(torch.sigmoid(score), True), 1)
        hard = functional.one_hot(self.predict(score), self.classes).to(soft.dtype)
        return hard + (soft - soft.detach())


def _pairs(classes: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(classes) for j in range(i + 1, classes)]


def coupled_probabilities(pairs: Tensor) -> Tensor:
    """Class probabilities (n, classes) that agree best with those of pairs of classes.

    The second method of Wu, Lin and Weng, *Probability estimates for multi-class classification by
    pairwise coupling*, 2004, with the steps and the tolerance of LIBSVM.

    Parameters
    ----------
    pairs : Tensor, shape (n, classes, classes)
        Entry ``i, j`` is the probability of class ``i`` if it is one of both; the diagonal is zero.
    """
    classes = pairs.shape[1]
    table = -pairs.transpose(1, 2) * pairs
    table = table + torch.diag_embed(pairs.square().sum(1))
    shares = torch.full_like(pairs[:, 0], 1 / classes)
    exported = torch.jit.is_tracing() or torch.compiler.is_compiling()
    for _ in range(max(_STEPS, classes)):
        slope = (table @ shares[:, :, None]).squeeze(2)
        level = (shares * slope).sum(1)
        moving = (slope - level[:, None]).abs().amax(1) >= _TOLERANCE / classes
        if not exported and not bool(moving.any()):
            break
        shares = torch.where(moving[:, None], _sweep(table, shares, slope, level), shares)
    return shares


def _sweep(table: Tensor, shares: Tensor, slope: Tensor, level: Tensor) -> Tensor:
    """One step for each class in turn, each followed by a normalization."""
    unit = torch.eye(shares.shape[1], dtype=shares.dtype, device=shares.device)
    for t in range(shares.shape[1]):
        own = table[:, t, t]
        step = (level - slope[:, t]) / own
        level = (level + step * (step * own + 2 * slope[:, t])) / (1 + step) / (1 + step)
        slope = (slope + step[:, None] * table[:, t]) / (1 + step)[:, None]
        shares = (shares + step[:, None] * unit[t]) / (1 + step)[:, None]
    return shares
