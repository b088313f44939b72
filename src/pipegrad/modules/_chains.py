"""A chain of linear predictors as one: each takes the answers of those before it, too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ._batching import AlikeModules, NotAlike, structure
from ._heads import BernoulliHead, RegressionHead
from ._linear import Linear
from ._members import Response
from ._side_by_side import SideBySide
from ._structural import Predictor, unwrap_head


@dataclass(frozen=True)
class _Link:
    """The answer of a member as a function of its score.

    Parameters
    ----------
    answer : callable
        ``answer(score, labels)`` with the labels (2,) of the member's classes.
    slope : callable
        The derivative, as a function of the answer.
    """

    answer: Callable[[Tensor, Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


_LINKS = {
    "identity": _Link(lambda score, _: score, torch.ones_like),
    "exp": _Link(lambda score, _: score.exp(), lambda answer: answer),
    "logistic": _Link(lambda score, _: score.sigmoid(), lambda answer: answer * (1 - answer)),
    "log_logistic": _Link(lambda score, _: score.sigmoid().log(), lambda answer: 1 - answer.exp()),
    "above": _Link(lambda score, two: torch.where(score > 0, two[1], two[0]), torch.zeros_like),
    "from": _Link(lambda score, two: torch.where(score >= 0, two[1], two[0]), torch.zeros_like),
}


def link_of(module: nn.Module) -> str | None:
    """What function of a member's score a `Response` is; None if a chain cannot compute it."""
    head = module.head if type(module) is Response else None
    if type(head) is RegressionHead and module.method == "predict" and head.scale == 1:
        return {"identity": "identity", "log": "exp", "logistic": "logistic"}.get(head.link)
    if type(head) is not BernoulliHead:
        return None
    if module.method == "predict":
        kind = "from" if head.inclusive else "above"
        return None if module.labels is None else kind
    if module.method == "decision_function":
        return "identity"
    known = {"predict_proba": "logistic", "predict_log_proba": "log_logistic"}
    return known.get(str(module.method)) if head.probability == "logistic" else None


def chained_structure(module: nn.Module) -> Hashable | None:
    """What members of a chain must have in common, whose weights differ in length."""
    body = unwrap_head(module)
    linear = type(body) is Linear and body.squeeze and body.shift is None
    plain = linear and isinstance(module, Predictor) and module.method == "score"
    return structure(module, fixed=("ndim",)) if plain else None


class ChainedModules(AlikeModules):
    """Linear predictors of which each takes the answers of all before it as further columns.

    Parameters
    ----------
    modules : sequence of Module
        Modules with the same `chained_structure`.
    responses : sequence of Response
        What each but the last answers, with the same `link_of`.
    """

    def __init__(self, modules: Sequence[nn.Module], responses: Sequence[Any]) -> None:
        super().__init__(modules)
        self.responses = list(responses)
        self._places: Tensor | None = None

    def __call__(self, x: Any) -> Chained:
        """The scores of all members for their common columns (n, features)."""
        count = len(self)
        weight = self._weights()
        features = len(weight) - count
        out = x.matmul(weight[:features])
        for more in ("bias", "offset"):
            if getattr(self.body, more) is not None:
                out = out + self.joined(more)
        kind = link_of(self.responses[0])
        assert kind is not None
        return Chained(*_scores(out, weight[features:], kind, self._labels(out)))

    def _weights(self) -> Tensor:
        """The weights of all members, (features + members, members); those of no column are 0."""
        weight = self.joined("weight")
        if self.body.nonnegative:
            weight = weight.clamp(min=0)
        zeros = self.zeros()
        if zeros is not None:
            weight = weight.masked_fill(zeros, 0.0)
        count = len(self)
        features = (len(weight) - count * (count - 1) // 2) // count
        if self._places is None or self._places.device != weight.device:
            places = [row * count + i for i in range(count) for row in range(features + i)]
            self._places = torch.tensor(places, device=weight.device)
        none = weight.new_zeros((features + count) * count)
        return none.index_copy(0, self._places, weight.flatten()).view(-1, count)

    def _labels(self, like: Tensor) -> Tensor:
        """The labels of each member's classes, (members, 2); zeros where they do not count."""
        labels = [like.new_zeros(2) if r.labels is None else r.labels for r in self.responses]
        return torch.stack([*labels, like.new_zeros(2)]).to(like.dtype)


class Chained(SideBySide):
    """The scores of the members of a chain.

    Parameters
    ----------
    columns : Tensor, shape (n, members)
        The scores.
    answers : Tensor, shape (n, members)
        The answers.
    """

    def __init__(self, columns: Tensor, answers: Tensor) -> None:
        super().__init__(columns, [1] * columns.shape[1], flat=True)
        self.answers = answers


def _scores(base: Tensor, weight: Tensor, kind: str, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and answers of the members of a chain, (n, members) each.

    Parameters
    ----------
    base : Tensor, shape (n, members)
        The scores as far as they depend on the common columns.
    weight : Tensor, shape (members, members)
        Weights of the answers, of member (row) for member (column); zero unless row < column.
    kind : str
        The answer of a score; see `link_of`.
    labels : Tensor, shape (members, 2)
        The labels of each member's classes.
    """
    if kind != "identity":
        found: tuple[Tensor, Tensor] = _Chain.apply(base, weight, labels, kind)
        return found
    one = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
    scores = torch.linalg.solve_triangular(
        one - weight, base, upper=True, left=False, unitriangular=True
    )
    return scores, scores


class _Chain(torch.autograd.Function):
    """The scores of members whose answers are no linear functions of them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        base: Tensor, weight: Tensor, labels: Tensor, kind: str
    ) -> tuple[Tensor, Tensor]:
        scores = base.t().clone(memory_format=torch.contiguous_format)
        answers = torch.empty_like(scores)
        _solve(scores, answers, weight.t(), labels, _LINKS[kind].answer)
        return scores.t(), answers.t()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _, weight, _, ctx.kind = inputs
        ctx.save_for_backward(weight, output[1])

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_scores: Tensor, of_answers: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        weight, answers = ctx.saved_tensors
        slopes = _LINKS[ctx.kind].slope(answers.t())
        of_base = of_scores.t().clone(memory_format=torch.contiguous_format)
        of_answers = of_answers.t().clone(memory_format=torch.contiguous_format)
        _transposed(of_base, of_answers, weight, slopes)
        return of_base.t(), (of_base @ answers).t(), None, None


def _solve(
    scores: Tensor, answers: Tensor, weight: Tensor, labels: Tensor, answer: Any
) -> None:
    """Complete the scores (members, n) in place: the first half, and then the rest with it."""
    count = len(scores)
    if count == 1:
        answers.copy_(answer(scores[0], labels[0])[None])
        return
    half = count // 2
    _solve(scores[:half], answers[:half], weight[:half, :half], labels[:half], answer)
    scores[half:] += weight[half:, :half] @ answers[:half]
    _solve(scores[half:], answers[half:], weight[half:, half:], labels[half:], answer)


def _transposed(of_scores: Tensor, of_answers: Tensor, weight: Tensor, slopes: Tensor) -> None:
    """The gradients (members, n) with respect to scores and answers, from the last to the first."""
    count = len(of_scores)
    if count == 1:
        of_scores += slopes * of_answers
        return
    half = count // 2
    _transposed(of_scores[half:], of_answers[half:], weight[half:, half:], slopes[half:])
    of_answers[:half] += weight[:half, half:] @ of_scores[half:]
    _transposed(of_scores[:half], of_answers[:half], weight[:half, :half], slopes[:half])
