"""A chain of linear predictors as one: each takes the answers of those before it, too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ._batching import AlikeModules, affine, structure
from ._heads import BernoulliHead, RegressionHead
from ._linear import Linear
from ._members import Response
from ._side_by_side import SideBySide
from ._structural import Predictor, unwrap_head

# The answer of a member as a function of its score, and the derivative by the answer.
_LINKS: dict[str, tuple[Callable[..., Any], Callable[[Tensor], Tensor] | None]] = {
    "identity": (torch.clone, torch.ones_like),
    "exp": (torch.exp, lambda answer: answer),
    "logistic": (torch.sigmoid, lambda answer: answer * (1 - answer)),
    "log_logistic": (
        lambda score, out: torch.sigmoid(score, out=out).log_(),
        lambda answer: 1 - answer.exp(),
    ),
    # One for the second class and zero for the first, which have no derivative.
    "above": (torch.gt, None),
    "from": (torch.ge, None),
}
_HARD = ("above", "from")
# So many members are computed one by one before others use their answers.
_BLOCK = 16


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
        weight = self._weights()
        features = len(weight) - len(self)
        base = affine(x, weight[:features], self.constant())
        links = weight[features:]
        kind = link_of(self.responses[0])
        labels = self._labels() if kind in _HARD else None
        if labels is None or torch.equal(labels, _zero_and_one(labels)):
            return Chained(*_scores(base, links, kind))
        first, step = labels[:, 0], labels[:, 1] - labels[:, 0]
        scores, second = _scores(base + first @ links, step[:, None] * links, kind)
        return Chained(scores, first + second * step)

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

    def _labels(self) -> Tensor:
        """The labels of each member's classes, (members, 2); the last member answers nobody."""
        if "labels" in self.kept:
            return self.kept["labels"]
        labels = [response.labels for response in self.responses]
        return torch.stack([*labels, labels[0]])

    def keep_buffers(self) -> None:
        """Join the buffers once, until `forget`, since nobody changes them."""
        super().keep_buffers()
        if link_of(self.responses[0]) in _HARD:
            self.kept["labels"] = self._labels()


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


def _zero_and_one(like: Tensor) -> Tensor:
    return torch.arange(2, dtype=like.dtype, device=like.device).expand_as(like)


def _scores(base: Tensor, weight: Tensor, kind: str | None) -> tuple[Tensor, Tensor]:
    """Scores and answers of the members of a chain, (n, members) each.

    Parameters
    ----------
    base : Tensor, shape (n, members)
        The scores as far as they depend on the common columns.
    weight : Tensor, shape (members, members)
        Weights of the answers, of member (row) for member (column); zero unless row < column.
    kind : str
        The answer of a score; see `link_of`.
    """
    if kind != "identity":
        found: tuple[Tensor, Tensor] = _Chain.apply(base, weight, kind)
        return found
    one = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
    scores = torch.linalg.solve_triangular(
        one - weight, base, upper=True, left=False, unitriangular=True
    )
    return scores, scores


class _Chain(torch.autograd.Function):
    """The scores of members whose answers are no linear functions of them."""

    @staticmethod
    def forward(base: Tensor, weight: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        answer = _LINKS[kind][0]
        if kind in _HARD:  # A tensor takes half of the time of a number.
            answer = partial(answer, other=base.new_zeros(()))
        scores = base.t().clone(memory_format=torch.contiguous_format)
        answers = torch.zeros_like(scores)
        for start in range(0, len(scores), _BLOCK):
            block = slice(start, start + _BLOCK)
            own, found = scores[block], answers[block]
            own.addmm_(weight[:start, block].t(), answers[:start])
            columns, weights = found.t(), weight[block, block].t().contiguous()
            for row, out, one in zip(own.unbind(), found.unbind(), weights.unbind(), strict=True):
                answer(row.addmv_(columns, one), out=out)
        return scores.t().contiguous(), answers.t()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _, weight, kind = inputs
        ctx.slope = _LINKS[kind][1]
        ctx.save_for_backward(weight, output[1])
        ctx.set_materialize_grads(False)
        if ctx.slope is None:
            ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(
        ctx: Any, of_scores: Tensor | None, of_answers: Tensor | None
    ) -> tuple[Tensor, Tensor, None]:
        weight, answers = ctx.saved_tensors
        if of_scores is None:
            of_scores = torch.zeros_like(answers)
        if ctx.slope is not None:
            whole = _Chain._differentiable if torch.is_grad_enabled() else _Chain._in_place
            of_scores = whole(of_scores, of_answers, weight, ctx.slope(answers))
        return of_scores, answers.t() @ of_scores, None

    @staticmethod
    def _differentiable(
        of_scores: Tensor, of_answers: Tensor | None, weight: Tensor, slopes: Tensor
    ) -> Tensor:
        """The gradient with respect to scores, also by what later members make of the answers."""
        total = of_scores[:, :0]
        for i in reversed(range(len(weight))):
            later = total @ weight[i, i + 1 :]
            later = later if of_answers is None else later + of_answers[:, i]
            own = of_scores[:, i] + slopes[:, i] * later
            total = torch.cat([own[:, None], total], 1)
        return total

    @staticmethod
    def _in_place(
        of_scores: Tensor, of_answers: Tensor | None, weight: Tensor, slopes: Tensor
    ) -> Tensor:
        """The same in place, with fewer and faster operations."""
        total = of_scores.t().clone(memory_format=torch.contiguous_format)
        later = (
            torch.zeros_like(total)
            if of_answers is None
            else of_answers.t().clone(memory_format=torch.contiguous_format)
        )
        slopes = slopes.t()
        for start in reversed(range(0, len(total), _BLOCK)):
            block = slice(start, start + _BLOCK)
            own, more = total[block], later[block]
            more.addmm_(weight[block, start + _BLOCK :], total[start + _BLOCK :])
            columns = own.t()
            parts = (
                own.unbind(),
                more.unbind(),
                weight[block, block].unbind(),
                slopes[block].unbind(),
            )
            for row, after, one, slope in reversed(list(zip(*parts, strict=True))):
                row.addcmul_(slope, after.addmv_(columns, one))
        return total.t()

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], base: Tensor, weight: Tensor, kind: str
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """Candidates one after the other."""
        each = [
            [one] * info.batch_size if place is None else one.unbind(place)
            for one, place in zip((base, weight), in_dims, strict=False)
        ]
        found = [_Chain.apply(*pair, kind) for pair in zip(*each, strict=True)]
        scores, answers = zip(*found, strict=True)
        return (torch.stack(scores), torch.stack(answers)), (0, 0)
