"""Predictions from the nearest stored rows, with gradients for the rows that ask."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ._answers import answered, is_exported
from ._base import Module, Positive, parameter
from ._distances import city_block_distances, distances
from ._distributions import Distributions, in_shares
from ._heads import MulticlassHead
from ._metrics import Metric
from ._sparse import Block, SparseRows

# Rows beside the nearest ones that take part in gradients, as a multiple of their number.
_CANDIDATES = 4
# Width of the soft edge of a radius, relative to the radius.
_EDGE = 0.1


class _ValuedPoints(Module):
    """Stored rows with values, of which each row of the input is given a mean."""

    points: Tensor
    values: Tensor

    def __init__(self, points: Tensor, values: Tensor, metric: Metric, inverse: bool) -> None:
        super().__init__()
        self.register_buffer("points", points)
        self.register_buffer("values", values)
        self.metric, self.inverse = metric, inverse


class NeighborMean(_ValuedPoints):
    """Mean of the values of the nearest stored rows.

    Weights are soft, so that gradients move rows towards neighbors with better values: the softmax
    of negative squared distances in units of the distance to the last neighbor, over a few times as
    many rows (as in neighborhood components analysis; Goldberger and others, 2004). Weights of the
    inverse distance are smooth themselves.

    Parameters
    ----------
    points : Tensor, shape (stored, features)
        Stored rows, which do not train.
    values : Tensor, shape (stored,) or (stored, k)
        Their values, such as targets or indicators of classes.
    count : int
        Number of neighbors.
    metric : Metric
        Distance between rows.
    inverse : bool
        Whether values weigh by the inverse distance.
    """

    def __init__(
        self, points: Tensor, values: Tensor, count: int, metric: Metric, inverse: bool = False
    ) -> None:
        super().__init__(points, values, metric, inverse)
        self.count = count

    def forward(self, x: Block, soft: bool = True) -> Tensor:
        """Map (n, features) to (n,) or (n, k)."""
        gaps = self.metric(x, self.points)
        if soft and not self.inverse:
            weights, index = soft_weights(gaps, self.count)
        else:
            near, index = gaps.topk(self.count, largest=False)
            weights = inverse_weights(near) if self.inverse else torch.ones_like(near)
        mean = weighted_mean if soft or self.inverse else mean_of_chosen
        return mean(weights, self.values[index])


class NeighborDistributions(Module):
    """The mean of the distributions of the nearest stored rows; the distributions train.

    Parameters
    ----------
    points : Tensor, shape (stored, features)
        Stored rows, which do not train.
    distributions : Distributions
        Shares of the classes in each stored row.
    count : int
        Number of neighbors.
    nearest : callable
        ``nearest(x)`` gives the indices (n, count) of the neighbors; exported programs, which
        cannot call Python functions, find them by distances.
    """

    points: Tensor

    def __init__(
        self,
        points: Tensor,
        distributions: Distributions,
        count: int,
        nearest: Callable[[Block], Tensor],
    ) -> None:
        super().__init__()
        self.register_buffer("points", points)
        self.distributions = distributions
        self.count, self.nearest = count, nearest

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, classes); rows without any share become NaN."""
        shares = self.distributions()
        if is_exported():
            gaps = Metric()(x, self.points)
            return in_shares(shares[gaps.topk(self.count, largest=False)[1]].sum(1))
        values = x.values if isinstance(x, SparseRows) else x
        exact = in_shares(shares[answered(x, self.nearest)].sum(1))
        if not values.requires_grad:
            return exact
        weights, index = soft_weights(Metric()(x, self.points), self.count)
        near = weighted_mean(weights, shares.detach()[index])
        return exact + (near - near.detach())


class RadiusMean(_ValuedPoints):
    """Mean of the values of the stored rows within a radius, whose edge is soft.

    Parameters
    ----------
    points : Tensor, shape (stored, features)
        Stored rows, which do not train.
    values : Tensor, shape (stored,) or (stored, k)
        Their values.
    radius : float
        Largest distance of a neighbor.
    metric : Metric
        Distance between rows.
    inverse : bool
        Whether values weigh by the inverse distance.
    """

    def __init__(
        self, points: Tensor, values: Tensor, radius: float, metric: Metric, inverse: bool = False
    ) -> None:
        super().__init__(points, values, metric, inverse)
        self.radius = radius

    def forward(self, x: Block, soft: bool = True) -> Tensor:
        """Map (n, features) to (n,) or (n, k)."""
        gaps = self.metric(x, self.points)
        if soft:
            weights = torch.sigmoid((self.radius - gaps) / max(_EDGE * self.radius, 1e-300))
        else:
            weights = (gaps <= self.radius).to(gaps.dtype)
        if self.inverse:
            weights = weights * inverse_weights(gaps)
        mean = weighted_mean if soft or self.inverse else mean_of_chosen
        return mean(weights, self.values.expand(gaps.shape[0], *self.values.shape))


def soft_weights(gaps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Soft weights of the nearest stored rows and of some beyond them, and their indices."""
    near, index = gaps.topk(min(_CANDIDATES * count, gaps.shape[1]), largest=False)
    last = near[:, count - 1 : count].detach()
    unit = torch.where((last > 0) & (last < torch.inf), last, 1.0)
    return torch.softmax(-(near / unit).square(), 1), index


def inverse_weights(gaps: Tensor) -> Tensor:
    """Inverse distances; rows at distance zero share the weight alone."""
    zero = gaps == 0
    weights = 1 / torch.where(zero, 1.0, gaps)
    return torch.where(zero.any(1, keepdim=True), zero.to(gaps.dtype), weights)


def weighted_mean(weights: Tensor, values: Tensor) -> Tensor:
    """The mean over the second dimension of values (n, m) or (n, m, k)."""
    total = weights.sum(1, keepdim=True)
    share = weights / torch.where(total > 0, total, 1.0)
    return (share * values).sum(1) if values.ndim == 2 else (share[:, :, None] * values).sum(1)


class LocalOutlierFactor(Module):
    """How much denser the neighborhoods of a row's neighbors are than its own, negative.

    See Breunig, Kriegel, Ng and Sander, *LOF: identifying density-based local outliers*, 2000.

    Parameters
    ----------
    points : Tensor, shape (stored, features)
        Stored rows, which do not train.
    reach : Tensor, shape (stored,)
        Distance of each stored row to its own last neighbor.
    density : Tensor, shape (stored,)
        Local reachability density of each stored row.
    offset : float
        Threshold, which is subtracted.
    count : int
        Number of neighbors.
    metric : Metric
        Distance between rows.
    """

    points: Tensor
    reach: Tensor
    density: Tensor

    def __init__(
        self,
        points: Tensor,
        reach: Tensor,
        density: Tensor,
        offset: float,
        count: int,
        metric: Metric,
    ) -> None:
        super().__init__()
        self.register_buffer("points", points)
        self.register_buffer("reach", reach)
        self.register_buffer("density", density)
        self.offset, self.count, self.metric = offset, count, metric

    def forward(self, x: Block, soft: bool = True) -> Tensor:
        """Map (n, features) to (n,)."""
        near, index = self.metric(x, self.points).topk(self.count, largest=False)
        reached = torch.maximum(near, self.reach[index])
        own = 1 / (reached.mean(1) + 1e-10)
        return -(self.density[index] / own[:, None]).mean(1) - self.offset


class KernelDensity(Module):
    """Logarithm of a kernel density estimate; the bandwidth trains.

    Parameters
    ----------
    points : Tensor, shape (stored, features)
        Stored rows, which do not train.
    log_weights : Tensor, shape (stored,)
        Logarithms of their weights, which add up to one.
    bandwidth : Tensor, shape ()
        Bandwidth of the kernel.
    kernel : str
        One of "gaussian", "tophat", "epanechnikov", "exponential", "linear" and "cosine".
    log_norm : float
        Logarithm of the kernel's integral for a bandwidth of one.
    metric : Metric
        Distance between rows.
    """

    points: Tensor
    log_weights: Tensor

    def __init__(
        self,
        points: Tensor,
        log_weights: Tensor,
        bandwidth: Tensor,
        kernel: str,
        log_norm: float,
        metric: Metric,
    ) -> None:
        super().__init__()
        self.register_buffer("points", points)
        self.register_buffer("log_weights", log_weights)
        self.bandwidth = Positive(bandwidth)
        self.kernel, self.log_norm, self.metric = kernel, log_norm, metric

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n,)."""
        bandwidth = self.bandwidth()
        unit = self.metric(x, self.points) / bandwidth
        terms = _LOG_KERNELS[self.kernel](unit) + self.log_weights
        scale = self.points.shape[1] * torch.log(bandwidth)
        return torch.logsumexp(terms, 1) - self.log_norm - scale


def _inside(unit: Tensor, height: Callable[[Tensor], Tensor]) -> Tensor:
    """The logarithm of a height within one bandwidth, and of zero outside."""
    within = unit < 1
    return torch.where(within, torch.log(height(torch.where(within, unit, 0.0))), -torch.inf)


_LOG_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda unit: -unit.square() / 2,
    "tophat": lambda unit: _inside(unit, torch.ones_like),
    "epanechnikov": lambda unit: _inside(unit, lambda u: 1 - u.square()),
    "exponential": lambda unit: -unit,
    "linear": lambda unit: _inside(unit, lambda u: 1 - u),
    "cosine": lambda unit: _inside(unit, lambda u: torch.cos(torch.pi / 2 * u)),
}


class CentroidScores(Module):
    """Scores of classes: minus a power of the distance to each centroid, plus a constant.

    Parameters
    ----------
    centroids : Tensor, shape (classes, features)
        Centroids of the classes.
    spread : Tensor, shape (features,), optional
        Scale of the features, which does not train; one by default.
    constant : Tensor, shape (classes,), optional
        Constants, such as twice the logarithms of prior probabilities; zero by default.
    power : int
        Power of the distances.
    city_block : bool
        Whether distances are sums of absolute differences.
    """

    spread: Tensor | None
    constant: Tensor | None

    def __init__(
        self,
        centroids: Tensor,
        spread: Tensor | None = None,
        constant: Tensor | None = None,
        power: int = 2,
        city_block: bool = False,
    ) -> None:
        super().__init__()
        self.centroids = parameter(centroids)
        self.register_buffer("spread", spread)
        self.register_buffer("constant", constant)
        self.power, self.city_block = power, city_block

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, classes)."""
        centroids: Tensor = self.centroids
        if self.spread is not None:
            x = x.divide(self.spread) if isinstance(x, SparseRows) else x / self.spread
            centroids = centroids / self.spread
        find = city_block_distances if self.city_block else distances
        out = -(find(x, centroids) ** self.power).to(centroids.dtype)
        return out if self.constant is None else out + self.constant

    def reset_parameters(self) -> None:
        """Draw standard normal centroids."""
        nn.init.normal_(self.centroids)


class VotesOfScores(MulticlassHead):
    """The largest score wins; the source has no other answer of these scores."""

    def __init__(self) -> None:
        super().__init__()
        self.responses = ("predict",)


class CentroidHead(MulticlassHead):
    """A score for each class; with two classes, the decision function is their difference."""

    def __init__(self) -> None:
        super().__init__("softmax")

    def decision_function(self, score: Tensor) -> Tensor:
        """Scores (n, classes), or their difference (n,)."""
        return score[:, 1] - score[:, 0] if score.shape[1] == 2 else score

    def predict_log_proba(self, score: Tensor) -> Tensor:
        """Logarithms of the class probabilities."""
        return torch.log_softmax(score, 1)


def mean_of_chosen(weights: Tensor, values: Tensor) -> Tensor:
    """The mean for weights of zero and one.

    Votes add up before they become shares, so that as many votes are equal shares in any order.
    """
    total = weights.sum(1, keepdim=True)
    total = torch.where(total > 0, total, 1.0)
    if values.ndim == 2:
        return (weights * values).sum(1) / total[:, 0]
    return (weights[:, :, None] * values).sum(1) / total
