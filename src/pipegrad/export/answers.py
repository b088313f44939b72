"""The answers of a pipeline as one module from tensors to tensors, for exporters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..modules import Block, Head, OutlierHead, dense, with_results_held
from ..network import PipelineNetwork
from ..registry import lookup


class Answers(nn.Module):
    """The answers of a pipeline to the blocks of its neural part.

    Parameters
    ----------
    net : PipelineNetwork
        The translated pipeline, which is copied.
    ports : list of str
        Names of the blocks, in the order of the arguments.
    note : callable
        Gets the names of the outputs in a pass; a trace would restore an attribute.
    """

    def __init__(
        self, net: PipelineNetwork, ports: list[str], note: Callable[[list[str]], None]
    ) -> None:
        super().__init__()
        self.net: PipelineNetwork = in_dense_rows(net)
        self.ports = ports
        self.inverse = _inverse(net)
        self.kinds = _kinds(net)
        self.note = note

    def forward(self, *blocks: Tensor) -> tuple[Tensor, ...]:
        """The outputs, whose names are noted."""
        given = dict(zip(self.ports, blocks, strict=True))
        net = self.net
        if self.kinds == list(NEIGHBORS):
            self.note(list(NEIGHBORS))
            return net.step_module(net.graph.output).search(*blocks)  # type: ignore[operator]
        score = net.evaluate_steps(given, net.host_part.needed)[net.graph.output]
        found: dict[str, Tensor] = {}
        for name in self.kinds:
            found |= self._answer(name, score)
        self.note(list(found))
        return tuple(found.values())

    def _answer(self, kind: str, score: Block) -> dict[str, Tensor]:
        head = self.net.head
        if head is None:
            return {kind: as_table(dense(score))}
        assert isinstance(score, Tensor)
        if kind == "variable":
            return {kind: as_table(self._unscaled(head.predict(score)))}
        if kind == "label":
            label = head.predict(score)
            return {kind: as_table(label) if isinstance(head, OutlierHead) else label}
        method = next(m for m in SCORES if m in _responses(self.net))
        answer: Any = head.respond(score, method)
        if isinstance(answer, list):
            return {f"{kind}_{i}": as_table(part) for i, part in enumerate(answer)}
        return {kind: as_table(answer)}

    def _unscaled(self, prediction: Tensor) -> Tensor:
        """A prediction in the unit of the user's target."""
        if self.inverse is None:
            return prediction
        return self.inverse(as_table(prediction))


# What the second output of a predictor is, the first that there is.
SCORES = ("predict_proba", "decision_function", "transform", "score_samples", "mahalanobis")


def _responses(net: PipelineNetwork) -> tuple[str, ...]:
    """The methods that the module of the last step answers."""
    assert net.head is not None
    more = ("transform",) if net.head.task == "clustering" else ()
    known = (*net.head.responses, *more)
    return tuple(name for name in known if hasattr(net.source, name))


NEIGHBORS = ("distance", "index")
"""The outputs of a search for neighbors."""


def _kinds(net: PipelineNetwork) -> list[str]:
    head = net.head
    if head is None:
        return ["variable"] if hasattr(net.source, "transform") else list(NEIGHBORS)
    if "predict" in _responses(net) and _gives_numbers(head):
        return ["variable"]
    found = ["label"] if "predict" in _responses(net) else []
    method = next((name for name in SCORES if name in _responses(net)), None)
    if method is None:
        return found
    if method != "predict_proba":
        return [*found, "scores"]
    return [*found, "probabilities"]


def _gives_numbers(head: Head) -> bool:
    return head.task == "regression" and not isinstance(head, OutlierHead)


def _inverse(net: PipelineNetwork) -> nn.Module | None:
    """The module that transforms predictions back to the scale of the user's target."""
    owner = net.graph.target
    if owner is None:
        return None
    row = lookup(type(owner.transformer_))
    return None if row is None else row.inverse(owner.transformer_)


def refused_target(net: PipelineNetwork) -> str | None:
    """Why predictions cannot be transformed back to the user's target, or None."""
    if net.graph.target is None or _inverse(net) is not None:
        return None
    return f"{type(net.graph.target.transformer_).__name__} has no inverse module"


def in_dense_rows(net: PipelineNetwork) -> PipelineNetwork:
    """A copy in evaluation mode that nothing trains, whose modules return no sparse rows."""
    own = copy.deepcopy(net).eval().requires_grad_(False)
    for part in own.modules():
        if getattr(part, "sparse", False) is True:
            vars(part)["sparse"] = False
    with_results_held(own)
    return own


def as_table(values: Tensor) -> Tensor:
    """Values (n, k); a vector (n,) becomes a column."""
    return values[:, None] if values.ndim == 1 else values


def example_blocks(widths: list[int], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """A few rows for a trace, which does not depend on their values."""
    return tuple(torch.ones(3, width, dtype=dtype) for width in widths)
