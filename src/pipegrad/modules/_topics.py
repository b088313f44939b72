"""Shares of topics in documents, by variational inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._base import Module, Positive
from ._operators import count_of_rows, one_by_one, put_together, taken_apart
from ._sparse import Block, SparseRows

_EULER = 0.577215664901532860606512090082402431
# Numbers of one block of documents.
_AT_ONCE = 2**21


@dataclass(frozen=True)
class Inference:
    """How the shares of a document are found.

    Parameters
    ----------
    prior : float or tuple of float
        Prior of all topics of a document, or of each.
    limit : int
        Largest number of iterations.
    tolerance : float
        Mean change of the counts of topics at which a document is done.
    start : float or tuple of float
        The counts of all topics before the first iteration, or of each.
    commons : bool
        Whether to compute as Spark does: with the digamma function of Apache Commons Math, with
        likelihoods that may be as small as 1e-100, and without topics for a document of no words.
    """

    prior: float | tuple[float, ...]
    limit: int = 100
    tolerance: float = 1e-3
    start: float | tuple[float, ...] = 1.0
    commons: bool = False


class TopicShares(Module):
    """Shares of topics in each document, which add up to one.

    Latent Dirichlet allocation; see Hoffman, Blei and Bach, *Online learning for latent Dirichlet
    allocation*, 2010. Gradients are those of the point at which the iterations would end.

    Parameters
    ----------
    words : Tensor, shape (topics, words)
        Positive counts of words in topics.
    inference : Inference
        How the shares are found.
    """

    def __init__(self, words: Tensor, inference: Inference) -> None:
        super().__init__()
        self.words = Positive(words)
        self.inference = inference

    def forward(self, x: Block) -> Tensor:
        """Map counts of words (n, words) to (n, topics)."""
        how = self.inference
        weights = weights_of_words(self.words(), how.commons)
        prior, start = (weights.new_tensor(value).reshape(-1) for value in (how.prior, how.start))
        counts: Tensor = _counts_of_topics(
            *taken_apart(x), weights, prior, start, how.limit, how.tolerance, how.commons
        )
        shares = counts / counts.sum(1, keepdim=True)
        return shares * _has_words(x)[:, None] if how.commons else shares

    def reset_parameters(self) -> None:
        """Draw counts around one."""
        super().reset_parameters()
        torch.nn.init.uniform_(self.words.initial, 0.5, 1.5)


def _has_words(rows: Block) -> Tensor:
    used = (_values(rows) != 0).to(rows.dtype)
    return (rows.row_sums(used) if isinstance(rows, SparseRows) else used.sum(1)) > 0


def weights_of_words(counts: Tensor, commons: bool = False) -> Tensor:
    """The exponential function of the expected logarithms of Dirichlet variables, by row."""
    digamma = _commons_digamma if commons else _digamma
    found = digamma(torch.cat([counts, counts.sum(-1, keepdim=True)], -1))
    return torch.exp(found[:, :-1] - found[:, -1:])


def _digamma(x: Tensor) -> Tensor:
    """The digamma function of positive numbers in the approximation of Bernardo (1976).

    torch's own function has more digits than scikit-learn's.
    """
    small = x <= 1e-6
    near_zero = -_EULER - 1 / torch.where(small, x, 1.0)
    x = torch.where(small, 6.0, x)
    ladder = x[..., None] + torch.arange(6, dtype=x.dtype, device=x.device)
    low = ladder < 6
    shift = torch.where(low, 1 / ladder, 0.0).sum(-1)
    x = x + low.sum(-1)
    r = 1 / x
    square = r * r
    series = square * (1 / 12 - square * (1 / 120 - square * (1 / 252)))
    return torch.where(small, near_zero, (torch.log(x) - 0.5 * r) - shift - series)


def _commons_digamma(x: Tensor) -> Tensor:
    """The digamma function of positive numbers in Apache Commons Math.

    It adds terms of the series beyond 49 whose signs are the wrong ones, which is an error of 3e-9
    that all smaller numbers inherit.
    """
    above = x + torch.ceil(49 - x).clamp(min=0)
    square = 1 / (above * above)
    return torch.digamma(x) - square * square * (1 / 60 - square / 126)


@torch.library.custom_op("pipegrad::counts_of_topics", mutates_args=())
def _counts_of_topics(
    values: Tensor,
    starts: Tensor,
    columns: Tensor,
    weights: Tensor,
    prior: Tensor,
    start: Tensor,
    limit: int,
    tolerance: float,
    commons: bool,
) -> Tensor:
    rows = put_together(values, starts, columns, weights.shape[1])
    inference = Inference(tuple(prior.tolist()), limit, tolerance, tuple(start.tolist()), commons)
    width = max(1, len(values) * len(weights) // max(1, rows.shape[0]))
    size = max(1, _AT_ONCE // (width if isinstance(rows, SparseRows) else rows.shape[1]))
    parts = [
        _inferred(_some(rows, slice(first, first + size)), weights, inference)
        for first in range(0, rows.shape[0], size)
    ]
    return torch.cat(parts) if parts else weights.new_zeros(0, len(weights))


@_counts_of_topics.register_fake
def _like_counts(
    values: Tensor, starts: Tensor, columns: Tensor, weights: Tensor, *_: Any
) -> Tensor:
    return values.new_empty(count_of_rows(values, starts), weights.shape[0])


def _some(rows: Block, index: Any) -> Block:
    return rows.take(index) if isinstance(rows, SparseRows) else rows[index]


def _inferred(rows: Block, weights: Tensor, inference: Inference) -> Tensor:
    """The counts of topics in each document; each document ends by itself."""
    prior, start = (weights.new_tensor(value) for value in (inference.prior, inference.start))
    counts = start.expand(rows.shape[0], len(weights))
    found, index = counts.clone(), torch.arange(len(counts), device=counts.device)
    shares = weights_of_words(counts, inference.commons)
    for _ in range(inference.limit):
        before = counts
        counts = _step(rows, shares, weights, inference.commons) + prior
        shares = weights_of_words(counts, inference.commons)
        done = (before - counts).abs().sum(1) / counts.shape[1] < inference.tolerance
        found[index] = counts
        if bool(done.all()):
            break
        if bool(done.any()):
            left = torch.nonzero(~done)[:, 0]
            rows, index = _some(rows, left), index[left]
            counts, shares = counts[left], shares[left]
    return found


def _step(rows: Block, shares: Tensor, weights: Tensor, commons: bool) -> Tensor:
    """The counts of topics, without the prior, that belong to the shares of topics."""
    quotient = _values(rows) / _likelihoods(rows, shares, weights, commons)
    return shares * _with_values(rows, quotient).matmul(weights.T)


def _likelihoods(rows: Block, shares: Tensor, weights: Tensor, commons: bool) -> Tensor:
    """The likelihood of each word that a document has."""
    limits = torch.finfo(weights.dtype)
    smallest = max(1e-100, limits.tiny) if commons else limits.eps
    if not isinstance(rows, SparseRows):
        return shares @ weights + smallest
    return (shares[rows.rows()] * weights.T[rows.columns]).sum(1) + smallest


def _values(rows: Block) -> Tensor:
    return rows.values if isinstance(rows, SparseRows) else rows


def _with_values(rows: Block, values: Tensor) -> Block:
    return rows.with_values(values) if isinstance(rows, SparseRows) else values


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4], output)
    ctx.commons = inputs[-1]


def _gradients(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
    values, starts, columns, weights, counts = ctx.saved_tensors
    with torch.enable_grad():
        values, weights = (v.detach().requires_grad_() for v in (values, weights))
        rows = put_together(values, starts, columns, weights.shape[1])
        shares = weights_of_words(counts.detach(), ctx.commons)
        again = _step(rows, shares, weights, ctx.commons)
        with torch.no_grad():
            likelihoods = _likelihoods(rows, shares, weights, ctx.commons)
            solved = _solved(slope, rows, counts, shares, weights, likelihoods)
        found = torch.autograd.grad(again, (values, weights), solved)
    return (found[0], None, None, found[1], *[None] * 5)


def _solved(
    cotangent: Tensor,
    rows: Block,
    counts: Tensor,
    shares: Tensor,
    weights: Tensor,
    likelihoods: Tensor,
) -> Tensor:
    """The cotangent times the inverse of what a step leaves of a change of the counts."""
    count = len(weights)
    pulls = _with_values(rows, _values(rows) / likelihoods).matmul(weights.T)
    pairs = (weights[:, None] * weights).reshape(count * count, -1).T
    bends = _with_values(rows, _values(rows) / likelihoods.square()).matmul(pairs)
    bends = bends.reshape(-1, count, count)
    by_shares = torch.diag_embed(pulls) - shares[:, :, None] * bends
    total = torch.polygamma(1, counts.sum(1))[:, None, None]
    by_counts = torch.diag_embed(shares * torch.polygamma(1, counts)) - shares[:, :, None] * total
    identity = torch.eye(count, dtype=counts.dtype, device=counts.device)
    left = identity - by_shares @ by_counts
    solved, _ = torch.linalg.solve_ex(left.mT, cotangent)
    return torch.where(solved.isfinite(), solved, 0.0)


_counts_of_topics.register_autograd(_gradients, setup_context=_keep)
_counts_of_topics.register_vmap(one_by_one(_counts_of_topics))
