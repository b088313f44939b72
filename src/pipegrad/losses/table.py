"""Losses by name: what the last operator of a pipeline minimises, row by row.

A loss takes the raw score of a predictor and its target:

- regression: both of shape (n,) or (n, k); several outputs are averaged;
- two classes: score (n,), positive for the second class; target (n,) of class indices;
- several classes: score (n, k); target (n,) of class indices;
- several labels: score and target (n, k), the target of zeros and ones.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import ArgumentError
from ..registry import Objective
from .loss_metric import LossMetric, tweedie_deviance

# Rows that each row is compared with.
_MOST_PAIRED = 1024

_TINY = 1e-300
# Where the numbers of losses lie.
_BOUNDS = {
    "quantile": (0.0, 1.0, "from 0 to 1"),
    "gamma": (0.0, math.inf, "of at least 0"),
    "epsilon": (0.0, math.inf, "of at least 0"),
    "delta": (_TINY, math.inf, "above 0"),
    "slope": (_TINY, math.inf, "above 0"),
    "c": (_TINY, math.inf, "above 0"),
    "nu": (0.0, 1.0, "from 0 to 1"),
}

Target = Literal["value", "class", "none"]


@dataclass(frozen=True)
class Range:
    """Where the targets of a loss lie.

    Parameters
    ----------
    words : str
        The range in words.
    low, high : float
        Smallest and largest target.
    above : bool
        Whether targets lie above ``low`` and do not reach it.
    """

    words: str
    low: float = 0.0
    high: float = math.inf
    above: bool = False

    def outside(self, target: Tensor) -> Tensor:
        """Which targets are outside, with the shape of ``target``."""
        below = target <= self.low if self.above else target < self.low
        return below | (target > self.high)


_COUNTS = Range("non-negative")
_POSITIVE = Range("positive", above=True)
_SHARES = Range("between 0 and 1", high=1.0)


Terms = Callable[..., Tensor]


@dataclass(frozen=True)
class Loss:
    """A loss of the table.

    Parameters
    ----------
    name : str
        Its name.
    terms : callable
        ``terms(score, target, **options)``: (n,), or (n, k) where outputs or classes add up.
    target : {"value", "class", "none"}
        What it is compared with: numbers, classes (or labels), nothing.
    options : mapping
        Numbers of the loss and their defaults.
    likelihood : bool
        Whether it is a negative log-likelihood of classes: one certain and wrong prediction is then
        no infinite loss where losses are compared.
    tweedie_power : int, optional
        The power of the Tweedie family that this loss is, for links other than its own.
    elicits_mean : bool
        Whether its minimizer is the mean of the target, so that predictions can be calibrated.
    ordinal : bool
        Whether it depends on the order of scores alone.
    calibration : {"logit", "log", "mean"}, optional
        The scale on which scores of an operator with this objective can be recalibrated.
    distorts_scale : bool
        Whether it leaves probabilities too near to one half, or too far from it.
    pairwise : bool
        Whether the columns of the score are pairs of classes.
    shown : LossMetric or callable, optional
        The metric that histories and reports show, or a function of the options that gives it; by
        default the loss itself.
    range : Range, optional
        Where targets lie; anywhere by default.
    """

    name: str
    terms: Terms
    target: Target
    options: Mapping[str, Any]
    likelihood: bool = False
    tweedie_power: int | None = None
    elicits_mean: bool = True
    ordinal: bool = False
    calibration: Literal["logit", "log", "mean"] | None = None
    distorts_scale: bool = False
    pairwise: bool = False
    shown: LossMetric | Callable[..., LossMetric] | None = None
    range: Range | None = None

    def metric(self, **options: Any) -> LossMetric:
        """The metric that histories and reports show for this loss with these options."""
        if self.shown is None:
            return LossMetric(self.name.replace("_", " "))
        if isinstance(self.shown, LossMetric):
            return self.shown
        return self.shown(**{**self.options, **options})

    def range_with(self, **options: Any) -> Range | None:
        """The range of targets with these options."""
        if options.get("above") is not None:
            return None
        if self.name != "tweedie":
            return self.range
        power = options.get("power", self.options["power"])
        return None if power < 1 else _COUNTS if power < 2 else _POSITIVE

    @property
    def bounds(self) -> dict[str, tuple[float, float, str]]:
        """For each bounded option: the smallest and the largest value, and both in words."""
        return {option: _BOUNDS[option] for option in self.options if option in _BOUNDS}

    def __call__(self, score: Tensor, target: Tensor | None = None, **options: Any) -> Tensor:
        """Loss of each row, shape (n,)."""
        terms = self.terms(score, target, **{**self.options, **options})
        if terms.ndim == 1:
            return terms
        return terms.mean(1) if self.target == "value" else terms.sum(1)


LOSSES: dict[str, Loss] = {}


def get_loss(name: str) -> Loss:
    """The loss of that name.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.

    Returns
    -------
    Loss
        Called with score and target, it gives the loss of each row.

    Examples
    --------
    >>> import torch
    >>> from pipegrad.finetune.losses import get_loss
    >>> get_loss("pinball")(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0]), quantile=0.75)
    tensor([0.7500, 0.5000])
    """
    if name not in LOSSES:
        raise ArgumentError(
            f"loss={name!r} is not known.\nHint: the names are {', '.join(sorted(LOSSES))}; "
            "a callable (score, y) -> tensor works as well."
        )
    return LOSSES[name]


def find_loss(name: object) -> Loss | None:
    """The loss of that name; None for names, functions and objects that the table does not have."""
    return LOSSES.get(name) if isinstance(name, str) else None


def named(name: str, **options: Any) -> Objective:
    """The loss of that name with options of your own, for ``loss=``.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.
    **options
        Numbers of that loss; what is left out keeps its default.

    Returns
    -------
    Objective
        ``net.fit(X, y, loss=named("pinball", quantile=0.9))``.

    Raises
    ------
    ArgumentError
        When there is no such loss, it has no such option, or the number makes no sense there.

    Examples
    --------
    >>> from pipegrad.finetune import losses
    >>> losses.named("pinball", quantile=0.9)
    Objective(name='pinball', options={'quantile': 0.9}, class_weight=None)
    """
    loss = get_loss(name)
    known = loss.options
    for option in options:
        if option not in known:
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            raise ArgumentError(f"loss {name!r} has no option {option}.\nHint: {has}.")
        _check_option(loss, option, options[option])
    return Objective(name, options)


def _check_option(loss: Loss, option: str, value: Any) -> None:
    """Refuse numbers with which a loss would be lowest at infinity, or none."""
    if option not in loss.bounds:
        return
    low, high, expected = loss.bounds[option]
    right = isinstance(value, numbers.Real) and low <= float(value) <= high
    if not right:
        raise ArgumentError(
            f"loss {loss.name!r}: {option} must be a number {expected}, got {value!r}."
        )


def _loss(
    target: Target, facts: Mapping[str, Any] | None = None, /, **options: Any
) -> Callable[[Terms], Terms]:
    """Add a loss to the table; ``facts`` are fields of `Loss`, ``options`` numbers of the loss."""

    def add(terms: Terms) -> Terms:
        name = terms.__name__
        LOSSES[name] = Loss(name, terms, target, options, **(facts or {}))
        return terms

    return add


def signs(score: Tensor, target: Tensor) -> Tensor:
    """Plus one where the class or label holds, minus one elsewhere; the shape of ``score``."""
    if target.shape == score.shape:
        return (2 * target - 1).to(score.dtype)
    out = torch.full_like(score, -1.0)
    return out.scatter_(1, target.long()[:, None], 1.0)


def _against(score: Tensor, target: Tensor, scale: float) -> Tensor:
    """The scaled score, with the other sign where the class or label holds."""
    if target.shape == score.shape:
        factor = (1 - 2 * target).to(score.dtype)
    else:
        factor = torch.ones_like(score).scatter_(1, target.long()[:, None], -1.0)
    return (factor if scale == 1 else scale * factor) * score


# Numbers


@_loss("value", {"calibration": "mean", "shown": LossMetric("mean squared error", 2.0)})
def squared_error(score: Tensor, target: Tensor) -> Tensor:
    return (target - score).square() / 2


@_loss("value", {"shown": LossMetric("mean absolute error")})
def absolute_error(score: Tensor, target: Tensor) -> Tensor:
    return (target - score).abs()


@_loss("value", delta=1.0)
def huber(score: Tensor, target: Tensor, delta: float) -> Tensor:
    return functional.huber_loss(score, target, reduction="none", delta=delta)


@_loss("value", slope=1.0)
def pseudo_huber(score: Tensor, target: Tensor, slope: float) -> Tensor:
    return slope**2 * (torch.sqrt(1 + ((target - score) / slope).square()) - 1)


@_loss(
    "value",
    {
        "shown": LossMetric("mean squared log error", 2.0),
        "range": Range("above -1", low=-1.0, above=True),
    },
)
def squared_log_error(score: Tensor, target: Tensor) -> Tensor:
    # Below -1 there is no logarithm; there the source stops the score as well.
    score = score.clamp(min=-1 + 1e-6)
    return squared_error(torch.log1p(score), torch.log1p(target))


@_loss(
    "value",
    {"shown": LossMetric("log loss"), "range": _SHARES},
    positive=1.0,
    scale=1.0,
    above=None,
)
def cross_entropy(
    score: Tensor, target: Tensor, positive: float, scale: float, above: float | None
) -> Tensor:
    """Shares between zero and one, their logits, and a weight for shares of one.

    With ``above``, the shares are one for all targets above that number, and zero for all others.
    """
    if above is not None:
        target = (target > above).to(score.dtype)
    weight = torch.where(target == 1, positive, 1.0)
    return weight * (functional.softplus(scale * score) - target * scale * score)


@_loss("value", {"elicits_mean": False, "shown": LossMetric("mean pinball loss")}, quantile=0.5)
def pinball(score: Tensor, target: Tensor, quantile: float) -> Tensor:
    short = target - score
    return quantile * short.clamp(min=0) + (1 - quantile) * (-short).clamp(min=0)


@_loss("value", epsilon=0.1)
def epsilon_insensitive(score: Tensor, target: Tensor, epsilon: float) -> Tensor:
    return ((target - score).abs() - epsilon).clamp(min=0)


@_loss("value", epsilon=0.1)
def squared_epsilon_insensitive(score: Tensor, target: Tensor, epsilon: float) -> Tensor:
    return epsilon_insensitive(score, target, epsilon).square()


@_loss(
    "value",
    {"tweedie_power": 1, "calibration": "log", "shown": tweedie_deviance(1), "range": _COUNTS},
)
def poisson(score: Tensor, target: Tensor) -> Tensor:
    return torch.exp(score) - target * score


@_loss(
    "value",
    {"tweedie_power": 2, "calibration": "log", "shown": tweedie_deviance(2), "range": _POSITIVE},
)
def gamma(score: Tensor, target: Tensor) -> Tensor:
    return score + target * torch.exp(-score)


@_loss("value", {"shown": LossMetric("mean absolute error above the tube")}, nu=0.5)
def nu_insensitive(score: Tensor, target: Tensor, nu: float) -> Tensor:
    """The tube around the scores leaves out a share ``nu`` of the batch, and its width counts.

    Schölkopf, Smola, Williams, Bartlett, *New support vector algorithms*, 2000.
    """
    gap = (target - score).abs()
    width = torch.quantile(gap.flatten(), 1 - nu)
    return nu * width + (gap - width).clamp(min=0)


@_loss("value", c=1.0)
def fair(score: Tensor, target: Tensor, c: float) -> Tensor:
    gap = (target - score).abs() / c
    return c * c * (gap - torch.log1p(gap))


@_loss("value")
def relative_error(score: Tensor, target: Tensor) -> Tensor:
    return (target - score).abs() / target.abs().clamp(min=1)


@_loss("value", {"shown": LossMetric("mean squared error of roots", 2.0)})
def squared_error_of_roots(score: Tensor, target: Tensor) -> Tensor:
    """The score stands for the root of the target, with its sign."""
    return squared_error(score, target.sign() * target.abs().sqrt())


@_loss("value", {"shown": LossMetric("mean absolute error of roots")})
def absolute_error_of_roots(score: Tensor, target: Tensor) -> Tensor:
    return absolute_error(score, target.sign() * target.abs().sqrt())


@_loss("value", {"calibration": "log", "shown": tweedie_deviance}, power=1.5, link="log")
def tweedie(score: Tensor, target: Tensor, power: float, link: str) -> Tensor:
    """Half the deviance, up to what depends on the target alone where a logarithm is in it."""
    log = link == "log"
    if power == 0:
        return squared_error(torch.exp(score) if log else score, target)
    if power == 1:
        return poisson(score, target) if log else score - torch.xlogy(target, score)
    if power == 2:
        return gamma(score, target) if log else torch.log(score) + target / score
    first, second = 1 - power, 2 - power
    raised = torch.exp(first * score) if log else score**first
    twice = torch.exp(second * score) if log else score**second
    constant = target.clamp(min=0) ** second / (first * second)
    return constant - target * raised / first + twice / second


# Classes and labels


@_loss("class", {"likelihood": True, "calibration": "logit"}, scale=1.0, positive=1.0)
def log_loss(score: Tensor, target: Tensor, scale: float, positive: float) -> Tensor:
    if target.shape == score.shape:
        loss = functional.softplus(_against(score, target, scale))
        return loss if positive == 1 else loss * torch.where(target == 1, positive, 1.0)
    return functional.cross_entropy(scale * score, target.long(), reduction="none")


@_loss("class", {"likelihood": True}, scale=1.0)
def one_vs_rest_log_loss(score: Tensor, target: Tensor, scale: float) -> Tensor:
    return functional.softplus(_against(score, target, scale))


@_loss("class", {"shown": LossMetric("hinge loss")})
def hinge(score: Tensor, target: Tensor) -> Tensor:
    return (1 - signs(score, target) * score).clamp(min=0)


@_loss("class", {"pairwise": True, "shown": LossMetric("hinge loss of pairs")})
def one_vs_one_hinge(score: Tensor, target: Tensor) -> Tensor:
    """The score of each pair of classes; rows of other classes do not count."""
    classes = math.isqrt(2 * score.shape[1]) + 1
    first, second = torch.triu_indices(classes, classes, 1, device=score.device)
    sign = (target[:, None] == first).to(score.dtype) - (target[:, None] == second).to(score.dtype)
    return (1 - sign * score).clamp(min=0) * sign.abs()


@_loss("class", {"shown": LossMetric("squared hinge loss")})
def squared_hinge(score: Tensor, target: Tensor) -> Tensor:
    return hinge(score, target).square()


@_loss("class")
def exponential(score: Tensor, target: Tensor) -> Tensor:
    return torch.exp(-signs(score, target) * score)


@_loss("class")
def perceptron(score: Tensor, target: Tensor) -> Tensor:
    return (-signs(score, target) * score).clamp(min=0)


@_loss("class")
def modified_huber(score: Tensor, target: Tensor) -> Tensor:
    margin = signs(score, target) * score
    return torch.where(margin >= -1, (1 - margin).clamp(min=0).square(), -4 * margin)


@_loss("class", {"shown": LossMetric("hinge loss")})
def crammer_singer(score: Tensor, target: Tensor) -> Tensor:
    own = score.gather(1, target[:, None])
    others = score.scatter(1, target[:, None], -torch.inf)
    return (1 + others.amax(1) - own.squeeze(1)).clamp(min=0)


@_loss("class", {"shown": LossMetric("mean squared error of signs", 2.0)})
def squared_error_on_signs(score: Tensor, target: Tensor) -> Tensor:
    return squared_error(score, signs(score, target))


@_loss("class", delta=1.0)
def huber_on_signs(score: Tensor, target: Tensor, delta: float) -> Tensor:
    return huber(score, signs(score, target), delta)


@_loss("class", epsilon=0.1)
def epsilon_insensitive_on_signs(score: Tensor, target: Tensor, epsilon: float) -> Tensor:
    return epsilon_insensitive(score, signs(score, target), epsilon)


@_loss("class", epsilon=0.1)
def squared_epsilon_insensitive_on_signs(score: Tensor, target: Tensor, epsilon: float) -> Tensor:
    return squared_epsilon_insensitive(score, signs(score, target), epsilon)


@_loss("class", {"likelihood": True, "shown": LossMetric("log loss")}, counts=())
def negative_log_likelihood(score: Tensor, target: Tensor, counts: tuple[int, ...] = ()) -> Tensor:
    """The score is the table of probabilities itself; zeros are raised to the smallest step.

    Their gradient, which would be infinite, is that of a probability of one percent, so that an
    outcome that was impossible can become possible. ``counts`` has the numbers of classes of
    several targets, whose terms are columns.
    """
    if counts:
        parts = zip(score.split(counts, 1), target.unbind(1), strict=True)
        return torch.stack([negative_log_likelihood(p, t) for p, t in parts], 1)
    chosen = score.gather(1, target[:, None]).squeeze(1)
    least = torch.finfo(score.dtype).eps
    slope = 100 * (chosen - chosen.detach())
    return -torch.log(chosen.clamp(min=least)) - torch.where(chosen < least, slope, 0.0)


@_loss("class", {"shown": LossMetric("Brier score")}, counts=())
def brier_score(score: Tensor, target: Tensor, counts: tuple[int, ...] = ()) -> Tensor:
    """The squared error of the table of probabilities, which has a slope at zeros, too.

    ``counts`` has the numbers of classes of several targets, whose terms are columns.
    """
    if counts:
        parts = zip(score.split(counts, 1), target.unbind(1), strict=True)
        return torch.stack([brier_score(p, t) for p, t in parts], 1)
    return (score - functional.one_hot(target, score.shape[1])).square().sum(1)


# What sources do not minimise themselves


@_loss("class", {"distorts_scale": True}, gamma=2.0)
def focal(score: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Log loss that counts rows the less, the surer they are: times ``(1 - p) ** gamma``.

    Lin, Goyal, Girshick, He, Dollar, *Focal Loss for Dense Object Detection*, 2017.
    """
    loss = log_loss(score, target, scale=1.0, positive=1.0)
    # The share that is left to other classes; its root has no slope at zero.
    rest = -torch.expm1(-loss)
    return rest.clamp(min=torch.finfo(score.dtype).tiny) ** gamma * loss


@_loss("class", {"ordinal": True})
def pairwise_auc(score: Tensor, target: Tensor) -> Tensor:
    """What the area under the ROC curve counts, smoothed: pairs of rows in the wrong order.

    For each row the mean of ``log(1 + exp(-gap))`` over rows of the other class in the same batch,
    where the gap is how far the row of the second class is ahead. Two classes.
    """
    if target.shape != score.shape or score.ndim != 1:
        raise ArgumentError("loss='pairwise_auc' needs two classes.")
    return pairwise_logistic(score, target.to(score.dtype))


@_loss("value", {"elicits_mean": False, "ordinal": True})
def pairwise_logistic(score: Tensor, target: Tensor) -> Tensor:
    """Pairs of rows in the wrong order, smoothed, as in RankNet.

    For each row the mean of ``log(1 + exp(-gap))`` over rows of other targets in the same batch,
    where the gap is how far the row of the larger target is ahead; at most 1,024 of them.

    Burges and others, *Learning to Rank using Gradient Descent*, 2005.
    """
    if score[:1].numel() > 1:
        raise ArgumentError("loss='pairwise_logistic' needs one number for each row.")
    score, target = score.reshape(-1), target.reshape(-1)
    stride = max(1, -(-len(score) // _MOST_PAIRED))
    order = torch.sign(target[:, None] - target[None, ::stride])
    gap = order * (score[:, None] - score[None, ::stride])
    counts = order.abs()
    return (functional.softplus(-gap) * counts).sum(1) / counts.sum(1).clamp(min=1)


# Nothing but the score


@_loss("none", {"shown": LossMetric("mean squared distance")}, squared=False)
def inertia(score: Tensor, target: Tensor | None = None, squared: bool = False) -> Tensor:
    """The score holds distances to centers, or their squares; the nearest counts, squared."""
    nearest = score.amin(1)
    return nearest if squared else nearest.square()


@_loss("none", {"shown": LossMetric("negative log-likelihood")})
def mixture_negative_log_likelihood(score: Tensor, target: Tensor | None = None) -> Tensor:
    """The score holds the log-density of each component, with the logarithm of its weight."""
    return -torch.logsumexp(score, 1)


@_loss("none", {"shown": LossMetric("negative log-likelihood")})
def normal_negative_log_likelihood(score: Tensor, target: Tensor | None = None) -> Tensor:
    """The score holds the log-density and the squared distance from the mean of a normal law."""
    return -score[:, 0]


@_loss("none", {"shown": LossMetric("mean reconstruction error")})
def reconstruction_error(score: Tensor, target: Tensor | None = None) -> Tensor:
    """The score is the error of each row itself; rows whose error is not known do not count."""
    return score.masked_fill(torch.isnan(score), 0.0)
