"""Non-negative weights of components that add up to each row."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor

from ._base import Module, NonNegative
from ._coordinate_descent import nonnegative_weights
from ._operators import count_of_rows, one_by_one, put_together, taken_apart
from ._sparse import Block, SparseRows

# Sums up to this size count as this size in divisions.
_SMALL = torch.finfo(torch.float32).eps
_TINY = torch.finfo(torch.float64).eps
# Share of the mean curvature that is added to all of it, for components that depend on others.
_RIDGE = 1e-12


@dataclass(frozen=True)
class Factorization:
    """The loss of non-negative weights, and the rule by which its minimization ends.

    Parameters
    ----------
    beta : float
        Order of the divergence of a row and its approximation: 2 for the squared error, 1 for
        Kullback and Leibler's, 0 for Itakura and Saito's.
    absolute, squared : float
        Penalties of the weights.
    limit : int
        Largest number of iterations.
    tolerance : float
        The smaller, the longer.
    rule : {"slope", "loss", "change"}
        Coordinate descent until the slopes are a share of the first ones; or multiplicative updates
        until ten of them reduce the divergence by less than a share, or until the weights change by
        less than a share.
    """

    beta: float = 2.0
    absolute: float = 0.0
    squared: float = 0.0
    limit: int = 200
    tolerance: float = 1e-4
    rule: str = "slope"

    @property
    def exponent(self) -> float:
        """Exponent of the multiplicative updates (Févotte and Idier, 2011)."""
        if self.beta < 1:
            return 1 / (2 - self.beta)
        return 1 / (self.beta - 1) if self.beta > 2 else 1.0


class NonNegativeWeights(Module):
    """Weights of at least zero of components, for each row.

    All rows of a call end their iterations together, so that the digits beyond the tolerance depend
    on which rows are passed together. Gradients are those of the exact solution with the weights
    above zero that it has.

    Parameters
    ----------
    components : Tensor, shape (components, features)
        Components as rows, at least zero.
    factorization : Factorization
        The loss, and the rule by which its minimization ends.
    orders : Tensor of int64, shape (limit, components), optional
        Order of the components in each sweep of coordinate descent; their own order by default.
    """

    orders: Tensor

    def __init__(
        self, components: Tensor, factorization: Factorization, orders: Tensor | None = None
    ) -> None:
        super().__init__()
        self.components = NonNegative(components)
        self.factorization = factorization
        none = torch.empty(0, len(components), dtype=torch.int64)
        self.register_buffer("orders", none if orders is None else orders, persistent=False)

    def forward(self, x: Block) -> Tensor:
        """Map (n, features) to (n, components)."""
        found: Tensor = _weights(
            *taken_apart(x), self.components(), self.orders, *astuple(self.factorization)
        )
        return found

    def reset_parameters(self) -> None:
        """Draw components uniformly between zero and one."""
        torch.nn.init.uniform_(self.components.weight)


@torch.library.custom_op("pipegrad::nonnegative_weights", mutates_args=())
def _weights(
    values: Tensor,
    starts: Tensor,
    columns: Tensor,
    components: Tensor,
    orders: Tensor,
    beta: float,
    absolute: float,
    squared: float,
    limit: int,
    tolerance: float,
    rule: str,
) -> Tensor:
    rows = put_together(values, starts, columns, components.shape[1])
    problem = Factorization(beta, absolute, squared, limit, tolerance, rule)
    if rule == "slope":
        return _by_descent(rows, components, orders, problem)
    return _by_updates(rows, components, problem)


@_weights.register_fake
def _like_weights(
    values: Tensor, starts: Tensor, columns: Tensor, components: Tensor, *_: Any
) -> Tensor:
    return values.new_empty(count_of_rows(values, starts), components.shape[0])


def _by_descent(rows: Block, components: Tensor, orders: Tensor, problem: Factorization) -> Tensor:
    products = rows.matmul(components.T) - problem.absolute
    gram = _with_squares(components @ components.T, problem)
    return nonnegative_weights(gram, products, problem.limit, problem.tolerance, orders)


def _with_squares(gram: Tensor, problem: Factorization) -> Tensor:
    """Inner products with the penalty of squares on the diagonal."""
    return gram + problem.squared * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)


def _by_updates(rows: Block, components: Tensor, problem: Factorization) -> Tensor:
    """Weights by multiplicative updates (Févotte and Idier, 2011)."""
    count, width = rows.shape
    total = rows.values.sum() if isinstance(rows, SparseRows) else rows.sum()
    start = torch.sqrt(total / (count * width) / len(components))
    weights = start.expand(count, len(components)).clone()
    update = _Update(rows, components, problem)
    first = last = weights.new_zeros(())
    if problem.rule == "loss":
        first = last = _root_divergence(rows, weights, components, problem.beta)
    for number in range(1, problem.limit + 1):
        before, weights = weights, update(weights)
        if problem.rule == "change":
            change = torch.linalg.norm(weights - before) / torch.linalg.norm(weights)
            if problem.tolerance > 0 and bool(change <= problem.tolerance):
                break
            continue
        if problem.beta < 1:
            weights = torch.where(weights < _TINY, 0.0, weights)
        if problem.tolerance > 0 and number % 10 == 0:
            now = _root_divergence(rows, weights, components, problem.beta)
            if bool((last - now) / first < problem.tolerance):
                break
            last = now
    return weights


class _Update:
    """The multiplicative update of the weights, with what does not depend on them.

    With the rule "loss" and a divergence of order 1, the penalty of absolute values grows with each
    update, as it does in scikit-learn.
    """

    def __init__(self, rows: Block, components: Tensor, problem: Factorization) -> None:
        self.rows, self.components, self.problem = rows, components, problem
        if problem.beta == 2:
            self.products = rows.matmul(components.T)
            self.gram = components @ components.T
        self.grows = problem.rule == "loss" and problem.beta == 1
        self.penalty = problem.absolute

    def __call__(self, weights: Tensor) -> Tensor:
        above, below = self._sides(weights)
        problem = self.problem
        if problem.absolute > 0:
            below = below + self.penalty
            self.penalty += problem.absolute if self.grows else 0.0
        if problem.squared > 0:
            below = below + problem.squared * weights
        ratio = above / torch.where(below == 0, _SMALL, below)
        return weights * (ratio if problem.exponent == 1 else ratio**problem.exponent)

    def _sides(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The parts of the slope that pull the weights up, and down."""
        beta, components = self.problem.beta, self.components
        if beta == 2:
            return self.products, weights @ self.gram
        return (
            _pull(self.rows, weights, components, beta),
            _push(weights, components, beta),
        )


def _pull(rows: Block, weights: Tensor, components: Tensor, beta: float) -> Tensor:
    """The part of the negative slope that the rows have, (n, components)."""
    near = _at_values(rows, weights, components)
    if beta < 2:
        near = near.clamp(min=_SMALL)
    # For a divergence of order 1, a division is faster than a power.
    values = _values(rows) / near if beta == 1 else _values(rows) * near ** (beta - 2)
    return _with_values(rows, values).matmul(components.T)


def _push(weights: Tensor, components: Tensor, beta: float, smooth: bool = False) -> Tensor:
    """The part of the slope that the rows do not have, (n, components) or (1, components).

    ``smooth`` says whether derivatives have to be finite.
    """
    if beta == 1:
        return components.sum(1)[None]
    near = weights @ components
    if beta < 1 or (smooth and beta < 2):
        near = near.clamp(min=_SMALL)
    return near ** (beta - 1) @ components.T


def _values(rows: Block) -> Tensor:
    return rows.values if isinstance(rows, SparseRows) else rows


def _with_values(rows: Block, values: Tensor) -> Block:
    return rows.with_values(values) if isinstance(rows, SparseRows) else values


def _at_values(rows: Block, weights: Tensor, components: Tensor) -> Tensor:
    """The approximation of the rows, at the entries that they store."""
    if not isinstance(rows, SparseRows):
        return weights @ components
    return (weights[rows.rows()] * components.T[rows.columns]).sum(1)


def _root_divergence(rows: Block, weights: Tensor, components: Tensor, beta: float) -> Tensor:
    """The square root of twice the divergence."""
    if beta == 2:
        return _distance(rows, weights, components)
    near, values = _at_values(rows, weights, components), _values(rows)
    some = values > _SMALL
    near, values = near[some].clamp(min=_SMALL), values[some]
    if beta == 1:
        total = weights.sum(0) @ components.sum(1)
        found = values @ torch.log(values / near) + (total - values.sum())
    elif beta == 0:
        ratio = values / near
        found = ratio.sum() - rows.shape[0] * rows.shape[1] - torch.log(ratio).sum()
    else:
        whole = ((weights @ components) ** beta).sum()
        found = (values**beta).sum() - beta * (values @ near ** (beta - 1))
        found = (found + whole * (beta - 1)) / (beta * (beta - 1))
    return torch.sqrt(2 * found.clamp(min=0))


def _distance(rows: Block, weights: Tensor, components: Tensor) -> Tensor:
    if not isinstance(rows, SparseRows):
        return torch.linalg.norm(rows - weights @ components)
    inner = (rows.matmul(components.T) * weights).sum()
    own = ((weights.T @ weights @ components) * components).sum()
    return torch.sqrt(rows.values.square().sum() + own - 2 * inner)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    values, starts, columns, components, _, *problem = inputs
    ctx.save_for_backward(values, starts, columns, components, output)
    ctx.problem = Factorization(*problem)


def _gradients(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
    values, starts, columns, components, weights = ctx.saved_tensors
    with torch.enable_grad():
        values, components = (v.detach().requires_grad_() for v in (values, components))
        rows = put_together(values, starts, columns, components.shape[1])
        loss_slope = _slope(rows, weights, components, ctx.problem)
        with torch.no_grad():
            solved = _solved(slope, rows, weights, components, loss_slope, ctx.problem)
        found = torch.autograd.grad(loss_slope, (values, components), -solved)
    return (found[0], None, None, found[1], *(None,) * 7)


def _slope(rows: Block, weights: Tensor, components: Tensor, problem: Factorization) -> Tensor:
    """The slope of the loss in the weights, (n, components)."""
    penalty = problem.absolute + problem.squared * weights
    if problem.beta == 2:
        return weights @ (components @ components.T) - rows.matmul(components.T) + penalty
    pull = _pull(rows, weights, components, problem.beta)
    return _push(weights, components, problem.beta, smooth=True) - pull + penalty


def _solved(
    cotangent: Tensor,
    rows: Block,
    weights: Tensor,
    components: Tensor,
    slope: Tensor,
    problem: Factorization,
) -> Tensor:
    """The cotangent times the inverse of the curvature, among the weights above zero.

    Multiplicative updates never make a weight exactly zero. They end where the product of slope and
    weight is zero, whose derivative is the curvature plus the quotient of both.
    """
    curvature = _curvature(rows, weights, components, problem)
    mean = curvature.diagonal(dim1=1, dim2=2).mean(1, keepdim=True)
    extra = _RIDGE * mean.abs().expand_as(weights)
    above = weights > 0
    if problem.rule != "slope":
        extra = extra + slope.clamp(min=0) / torch.where(above, weights, 1.0)
    both = above[:, :, None] & above[:, None, :]
    inner = torch.where(both, curvature, 0.0) + torch.diag_embed(torch.where(above, extra, 1.0))
    solved, _ = torch.linalg.solve_ex(inner, torch.where(above, cotangent, 0.0))
    return torch.where(solved.isfinite(), solved, 0.0)


def _curvature(rows: Block, weights: Tensor, components: Tensor, problem: Factorization) -> Tensor:
    """Second derivatives of the loss of each row, (n, components, components)."""
    count, beta = len(components), problem.beta
    if beta == 2:
        return _with_squares(components @ components.T, problem).expand(weights.shape[0], -1, -1)
    pairs = (components[:, None] * components).reshape(count * count, -1).T
    near = _at_values(rows, weights, components).clamp(min=_SMALL)
    bend = _with_values(rows, (2 - beta) * _values(rows) * near ** (beta - 3))
    found = bend.matmul(pairs)
    if beta != 1:
        whole = (weights @ components).clamp(min=_SMALL)
        found = found + (beta - 1) * whole ** (beta - 2) @ pairs
    return _with_squares_of_each(found.reshape(-1, count, count), problem)


def _with_squares_of_each(curvature: Tensor, problem: Factorization) -> Tensor:
    size = curvature.shape[1]
    identity = torch.eye(size, dtype=curvature.dtype, device=curvature.device)
    return curvature + problem.squared * identity


_weights.register_autograd(_gradients, setup_context=_keep)
_weights.register_vmap(one_by_one(_weights))
