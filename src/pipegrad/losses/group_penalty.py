"""A penalty on differences between groups of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ArgumentError
from ..modules import Head
from ..registry import Objective
from ..typing import GroupLabels, Label, LossFunction
from .composition import Composed, LossLike, Make, _weight

_OF = ("prediction", "loss", "score")


@dataclass(frozen=True)
class GroupPenalty(Composed):
    """A loss plus ``strength`` times the variance between group means.

    The penalty is the mean of ``(m_g - m)²`` over rows, where ``m_g`` is the mean of the row's
    group and ``m`` that of all rows; of two groups with shares p and 1 - p it is
    ``p (1 - p) (m_1 - m_0)²``. It needs ``groups=`` in ``fit``. Predictions never see the groups.

    Parameters
    ----------
    loss : str, Objective, callable or None
        The per-sample loss to minimize; None is the objective of the last operator.
    strength : float
        Non-negative factor of the penalty.
    of : {"prediction", "loss", "score"}
        Whose means are to agree: "prediction" is the probability of the second class (of each
        class, of more than two) or the predicted number: demographic parity. "loss" is the loss of
        a row: equal errors. "score" is the raw score.

    Notes
    -----
    Rows count by their ``sample_weight``. Classes weigh in the loss, not in the groups' means of
    predictions. What the last operator predicts is meant: where a target is transformed, the
    transformed one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> import pipegrad as pg
    >>> rng = np.random.default_rng(0)
    >>> group = rng.integers(0, 2, 300)
    >>> X = np.c_[group + rng.normal(size=300), rng.normal(size=300)]
    >>> y = (X.sum(1) + rng.normal(size=300) > 0.5).astype(int)
    >>> loss = pg.finetune.losses.GroupPenalty("log_loss", strength=30.0)
    >>> pipe = LogisticRegression()
    >>> tuner = pg.FineTuner(pipe, loss=loss, random_state=0).fit(X, y, groups=group)
    >>> def gap(model):
    ...     chance = model.predict_proba(X)[:, 1]
    ...     return abs(chance[group == 1].mean() - chance[group == 0].mean())
    >>> bool(gap(tuner) < 0.3 * gap(pipe.fit(X, y)))
    True
    """

    loss: LossLike | None = None
    strength: float = 1.0
    of: Literal["prediction", "loss", "score"] = "prediction"

    def __post_init__(self) -> None:
        _weight("strength", self.strength)
        if self.of not in _OF:
            raise ArgumentError(f"of must be one of {', '.join(map(repr, _OF))}, got {self.of!r}.")

    @property
    def parts(self) -> tuple[LossLike | None, ...]:
        return (self.loss,)

    def bind(self, make: Make, head: Head | None) -> tuple[LossFunction, Objective]:
        function, objective = make(self.loss)
        measure = None if self.of == "loss" else _measure(self.of, head)
        return Penalised(function, Penalty(float(self.strength), measure)), objective


class Penalised:
    """A loss of rows; the penalty is added by whoever knows the groups."""

    def __init__(self, function: LossFunction, penalty: Penalty) -> None:
        self.function, self.penalty = function, penalty
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, score: Tensor, target: Tensor | None) -> Tensor:
        return self.function(score, target)


@dataclass(frozen=True)
class Groups:
    """The groups of some rows of a part.

    Attributes
    ----------
    codes : Tensor of int64, shape (n,)
        The group of each row.
    weight : Tensor, shape (n,)
        Weight of each row, of mean one over the part.
    shares : Tensor, shape (groups,)
        The weight of each group in the part, of all.
    count : int
        Rows of the part.
    """

    codes: Tensor
    weight: Tensor
    shares: Tensor
    count: int

    @classmethod
    def of(cls, codes: Tensor, weight: Tensor) -> Groups:
        """All rows as one part."""
        return cls(codes, weight, weight[:0], len(codes)).part(torch.arange(len(codes)))

    def part(self, index: Tensor) -> Groups:
        """The rows ``index`` are the part now; others may still be asked for."""
        weight = self.weight / self.weight[index].mean()
        shares = torch.zeros(int(self.codes.max()) + 1).to(weight)
        shares.index_add_(0, self.codes[index], weight[index] / len(index))
        return Groups(self.codes, weight, shares, len(index))

    def __getitem__(self, index: Tensor | slice) -> Groups:
        return Groups(self.codes[index], self.weight[index], self.shares, self.count)


@dataclass(frozen=True)
class Penalty:
    """``strength`` times the variance between groups of what is measured.

    Parameters
    ----------
    strength : float
        The factor.
    measure : callable, optional
        From a score to what groups are compared by, (n,) or (n, k); None: the loss of each row.
    """

    strength: float
    measure: Callable[[Tensor], Tensor] | None

    def __call__(self, score: Tensor, losses: Tensor, groups: Groups) -> Tensor:
        """An estimate from a batch; exact where the batch is the whole part.

        The plain variance between the groups of a batch is too large by the noise of its means:
        it would punish predictions for differing at all, the more the smaller the batch, and say
        nothing of groups that are missing. So the penalty of the part is written as a mean over
        pairs of its rows, ``q_i q_j (1{same group} / share - 1)``, and pairs of a batch stand for
        it: a row with itself as often as rows are drawn, two rows as often as pairs are. That has
        no bias (Horvitz and Thompson), whichever groups a batch has, because the shares are those
        of the part. Full-batch and stochastic training hence lower the same function. The penalty
        does not change if all q shift; in a batch that is so around its own mean, which takes a
        known share of each square and of each product (`_pairs`).
        """
        q = self._measured(score, losses)
        size = len(q)
        if size < 2:
            return self.strength * 0.0 * q.sum()
        weight = groups.weight[:, None]
        a = weight * (q - (weight * q).sum(0) / weight.sum().clamp(min=1e-12))
        shares = groups.shares.clamp(min=1e-12)
        own = ((1 / shares - 1)[groups.codes][:, None] * a.square()).sum()
        sums = _by_group(a, groups)
        pairs = (sums.square() / shares[:, None]).sum() - a.sum(0).square().sum() - own
        rows = groups.count
        own, pairs = own * (rows - 1) / (size - 1), pairs * _pairs(rows) / _pairs(size)
        return self.strength * (own + pairs) / rows**2

    def rows(self, score: Tensor, losses: Tensor, groups: Groups) -> Tensor:
        """A term for each row of a whole part, (n,): their mean is the penalty.

        The terms are what each row contributes to first order (the influence function of the
        variance between groups): ``d² + 2 d (q - m_g)`` with ``d = m_g - m``. The spread of the
        mean of these terms is that of the penalty itself, so that rows of two models may be
        compared one by one, as those of any loss. An even share for each row would have no spread,
        and any difference between two models would look certain.
        """
        q = self._measured(score, losses)
        weight = groups.weight[:, None]
        totals = _by_group(weight, groups).clamp(min=1e-12)
        means = _by_group(weight * q, groups) / totals
        apart = (means - (weight * q).sum(0) / weight.sum())[groups.codes]
        terms = apart.square() + 2 * apart * (q - means[groups.codes])
        return self.strength * groups.weight * terms.sum(1)

    def _measured(self, score: Tensor, losses: Tensor) -> Tensor:
        q = losses if self.measure is None else self.measure(score)
        return q.reshape(len(q), -1)


def _pairs(size: int) -> float:
    """How many pairs so many rows have, each as far as the rows' own mean leaves it."""
    return size * (size - 1) * ((1 - 1 / size) ** 2 + 1 / size**2)


def _by_group(values: Tensor, groups: Groups) -> Tensor:
    """Sums of (n, k) over the rows of each group, (groups, k)."""
    empty = torch.zeros(len(groups.shares), values.shape[1]).to(values)
    return empty.index_add(0, groups.codes, values)


def _measure(of: str, head: Head | None) -> Callable[[Tensor], Tensor]:
    if of == "score":
        return lambda score: score
    if head is None or head.task == "clustering":
        raise ArgumentError(
            "GroupPenalty compares predictions, but the pipeline predicts no numbers.\n"
            "Hint: of='score' compares what comes out."
        )
    if head.task == "regression":
        return head.predict
    if "predict_proba" not in head.responses:
        raise ArgumentError(
            "GroupPenalty compares probabilities, but the last step has none.\n"
            "Hint: of='score' compares its raw scores."
        )
    if head.task == "classification":
        return lambda score: _chances(head, score)
    return lambda score: _flat(head.predict_proba(score))


def _chances(head: Head, score: Tensor) -> Tensor:
    chances = head.predict_proba(score)
    return chances[:, 1] if chances.shape[1] == 2 else chances


def _flat(chances: Tensor | list[Tensor]) -> Tensor:
    return torch.cat(chances, 1) if isinstance(chances, list) else chances


def group_codes(groups: GroupLabels, count: int | None, name: str) -> NDArray[np.int64]:
    """The group of each row as a number (n,).

    Raises
    ------
    ArgumentError
        When there is not one label for each row, one is missing, or all are the same.
    """
    labels = np.asarray(groups)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or (count is not None and len(labels) != count):
        raise ArgumentError(
            f"{name}groups has shape {labels.shape}; it needs one label for each of {count} rows.\n"
            "Hint: of several columns, make one label: [f'{a}, {b}' for a, b in zip(...)]."
        )
    places: dict[Label, int] = {}
    codes = np.empty(len(labels), dtype=np.int64)
    for row, label in enumerate(labels.tolist()):
        if _missing(label):
            raise ArgumentError(
                f"{name}groups has no label in row {row}.\n"
                "Hint: give such rows a group of their own, or leave them out."
            )
        codes[row] = places.setdefault(label, len(places))
    return codes


def _missing(label: object) -> bool:
    return label is None or type(label).__name__ in ("NAType", "NaTType") or label != label
