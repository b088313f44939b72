"""Shares of topics in documents, by variational inference."""

from __future__ import annotations

from dataclasses import astuple, dataclass
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
    prior : float
        Prior of the topics of a document.
    limit : int
        Largest number of iterations.
    tolerance : float
        Mean change of the counts of topics at which a document is done.
    """

    prior: float
    limit: int = 100
    tolerance: float = 1e-3


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
        counts: Tensor = _counts_of_topics(
            *taken_apart(x), weights_of_words(self.words()), *astuple(self.inference)
        )
        return counts / counts.sum(1, keepdim=True)

    def reset_parameters(self) -> None:
        """Draw counts around one."""
        super().reset_parameters()
        torch.nn.init.uniform_(self.words.initial, 0.5, 1.5)


def weights_of_words(counts: Tensor) -> Tensor:
    """The exponential function of the expected logarithms of Dirichlet variables, by row."""
    found = _digamma(torch.cat([counts, counts.sum(-1, keepdim=True)], -1))
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


@torch.library.custom_op("pipegrad::counts_of_topics", mutates_args=())
def _counts_of_topics(
    values: Tensor,
    starts: Tensor,
    columns: Tensor,
    weights: Tensor,
    prior: float,
    limit: int,
    tolerance: float,
) -> Tensor:
    rows = put_together(values, starts, columns, weights.shape[1])
    inference = Inference(prior, limit, tolerance)
    width = max(1, len(values) * len(weights) // max(1, rows.shape[0]))
    size = max(1, _AT_ONCE // (width if isinstance(rows, SparseRows) else rows.shape[1]))
    parts = [
        _inferred(_some(rows, slice(start, start + size)), weights, inference)
        for start in range(0, rows.shape[0], size)
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
    counts = weights.new_ones(rows.shape[0], len(weights))
    found, index = counts.clone(), torch.arange(len(counts), device=counts.device)
    shares = weights_of_words(counts)
    for _ in range(inference.limit):
        before = counts
        counts = _step(rows, shares, weights) + inference.prior
        shares = weights_of_words(counts)
        done = (before - counts).abs().sum(1) / counts.shape[1] < inference.tolerance
        found[index] = counts
        if bool(done.all()):
            break
        if bool(done.any()):
            left = torch.nonzero(~done)[:, 0]
            rows, index = _some(rows, left), index[left]
            counts, shares = counts[left], shares[left]
    return found


def _step(rows: Block, shares: Tensor, weights: Tensor) -> Tensor:
    """The counts of topics, without the prior, that belong to the shares of topics."""
    quotient = _values(rows) / _likelihoods(rows, shares, weights)
    return shares * _with_values(rows, quotient).matmul(weights.T)


def _likelihoods(rows: Block, shares: Tensor, weights: Tensor) -> Tensor:
    """The likelihood of each word that a document has."""
    smallest = torch.finfo(weights.dtype).eps
    if not isinstance(rows, SparseRows):
        return shares @ weights + smallest
    return (shares[rows.rows()] * weights.T[rows.columns]).sum(1) + smallest


def _values(rows: Block) -> Tensor:
    return rows.values if isinstance(rows, SparseRows) else rows


def _with_values(rows: Block, values: Tensor) -> Block:
    return rows.with_values(values) if isinstance(rows, SparseRows) else values


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4], output)


def _gradients(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
    values, starts, columns, weights, counts = ctx.saved_tensors
    with torch.enable_grad():
        values, weights = (v.detach().requires_grad_() for v in (values, weights))
        rows = put_together(values, starts, columns, weights.shape[1])
        shares = weights_of_words(counts.detach())
        again = _step(rows, shares, weights)
        with torch.no_grad():
            solved = _solved(slope, rows, counts, shares, weights)
        found = torch.autograd.grad(again, (values, weights), solved)
    return (found[0], None, None, found[1], None, None, None)


def _solved(
    cotangent: Tensor, rows: Block, counts: Tensor, shares: Tensor, weights: Tensor
) -> Tensor:
    """The cotangent times the inverse of what a step leaves of a change of the counts."""
    count = len(weights)
    likelihoods = _likelihoods(rows, shares, weights)
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
