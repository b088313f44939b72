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
    group and ``m`` the mean of all rows; for two groups with shares p and 1 - p it equals
    ``p (1 - p) (m_1 - m_0)²``. It needs ``groups=`` in ``fit``. Predictions do not use the groups.

    Parameters
    ----------
    loss : str, Objective, callable or None
        The per-sample loss to minimize; None means the objective of the last operator.
    strength : float
        Non-negative factor of the penalty.
    of : {"prediction", "loss", "score"}
        The quantity whose group means should agree. "prediction" (demographic parity) is the
        probability of the second class (of each class, if there are more than two) or the
        predicted number. "loss" (equal errors) is the per-sample loss. "score" is the raw score.

    Notes
    -----
    Rows are weighted by ``sample_weight``. Class weights affect the loss, not the group means of
    predictions. A prediction is the output of the last operator: with a transformed target, it is
    on the transformed scale.

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
    """A per-sample loss; the caller, which knows the groups, adds the penalty."""

    def __init__(self, function: LossFunction, penalty: Penalty) -> None:
        self.function, self.penalty = function, penalty
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, score: Tensor, target: Tensor | None) -> Tensor:
        return self.function(score, target)


@dataclass(frozen=True)
class Groups:
    """The groups of some rows of a data set.

    Attributes
    ----------
    codes : Tensor of int64, shape (n,)
        The group of each row.
    weight : Tensor, shape (n,)
        Weight of each row, with mean one over the data set.
    shares : Tensor, shape (groups,)
        Share of each group in the total weight of the data set.
    count : int
        Number of rows in the data set.
    """

    codes: Tensor
    weight: Tensor
    shares: Tensor
    count: int

    @classmethod
    def of(cls, codes: Tensor, weight: Tensor) -> Groups:
        """Groups of a data set that consists of all given rows."""
        return cls(codes, weight, weight[:0], len(codes)).part(torch.arange(len(codes)))

    def part(self, index: Tensor) -> Groups:
        """Restrict the data set to the rows ``index``; other rows can still be looked up."""
        weight = self.weight / self.weight[index].mean()
        shares = torch.zeros(int(self.codes.max()) + 1).to(weight)
        shares.index_add_(0, self.codes[index], weight[index] / len(index))
        return Groups(self.codes, weight, shares, len(index))

    def __getitem__(self, index: Tensor | slice) -> Groups:
        return Groups(self.codes[index], self.weight[index], self.shares, self.count)


@dataclass(frozen=True)
class Penalty:
    """``strength`` times the between-group variance of the measured quantity.

    Parameters
    ----------
    strength : float
        The factor.
    measure : callable, optional
        Maps scores to the compared quantity, (n,) or (n, k); None compares per-sample losses.
    """

    strength: float
    measure: Callable[[Tensor], Tensor] | None

    def __call__(self, score: Tensor, losses: Tensor, groups: Groups) -> Tensor:
        """Estimate the penalty from a batch; exact if the batch is the whole data set.

        The between-group variance within a batch is biased upwards by the noise of the group
        means: it would penalize any spread of predictions, more so in small batches, and ignore
        groups that the batch lacks. So the penalty of the data set is written as a mean over
        pairs of rows, ``q_i q_j (1{same group} / share - 1)``, and estimated from the pairs of the
        batch: the pair of a row with itself is weighted by the inverse probability of drawing a
        row, a pair of two rows by the inverse probability of drawing a pair. The estimate is
        unbiased (Horvitz and Thompson) whichever groups the batch contains, because the shares
        come from the data set. Full-batch and stochastic training thus minimize the same function.
        The penalty is invariant to a shift of all q; in a batch, q is centered on the batch mean,
        which removes a known share of each square and of each product (`_pairs`).
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
        """Return one term per row of a whole data set, (n,); their mean is the penalty.

        Each term is the first-order contribution of a row (the influence function of the
        between-group variance): ``d² + 2 d (q - m_g)`` with ``d = m_g - m``. The mean of these
        terms has the standard error of the penalty itself, so that two models can be compared row
        by row, as with any loss. Equal terms for all rows would have no variance, and any
        difference between two models would look significant.
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
    """Number of pairs among ``size`` rows, reduced by the effect of centering on their mean."""
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
            "Hint: of='score' compares the raw outputs."
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
    """Encode the group of each row as an integer, (n,).

    Raises
    ------
    ArgumentError
        If the number of labels differs from the number of rows, or a label is missing.
    """
    labels = np.asarray(groups)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or (count is not None and len(labels) != count):
        raise ArgumentError(
            f"{name}groups has shape {labels.shape}; it needs one label for each of {count} rows.\n"
            "Hint: combine several columns into one label: [f'{a}, {b}' for a, b in zip(...)]."
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
