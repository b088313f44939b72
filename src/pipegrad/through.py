"""Steps without gradients of their own: their own library computes them inside of the module.

The forward pass is the operator's own answer; the gradient is an estimate that the user chose.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import is_regressor
from torch import Tensor, nn

from .errors import ArgumentError
from .glue import Glue
from .graph import INPUT, Graph, Step, with_updates
from .host import call_operator, in_container
from .modules import (
    FiniteDifferences,
    GradientOf,
    Head,
    ProbabilityHead,
    RegressionHead,
    StraightThrough,
)
from .registry import Objective, Translation
from .sources.arrays import without_tensors

Way: TypeAlias = Literal["straight-through", "finite-differences"] | nn.Module
Through: TypeAlias = Mapping[str, Way]

WAYS = ("straight-through", "finite-differences")


def check_through(through: Any) -> None:
    """Reject an argument that is no dict from patterns of steps to ways of estimation."""
    if through is None:
        return
    known = f"{', '.join(map(repr, WAYS))} or a torch module"
    if not isinstance(through, Mapping):
        raise ArgumentError(
            f"through must be a dict of step patterns, got {through!r:.80}.\n"
            f"Hint: through={{'step': way}}, where the way is {known}."
        )
    for pattern, way in through.items():
        if not isinstance(pattern, str):
            raise ArgumentError(f"through must name steps by strings, got {pattern!r:.80}.")
        if not (isinstance(way, nn.Module) or (isinstance(way, str) and way in WAYS)):
            raise ArgumentError(f"through[{pattern!r}] must be {known}, got {way!r:.80}.")


def with_estimates(
    graph: Graph, through: Through | None, has_module: Callable[[Step], bool]
) -> Graph:
    """A graph in which the named steps run in their own library, with estimated gradients.

    Parameters
    ----------
    graph : Graph
        The graph of a fitted pipeline.
    through : mapping of str to way, optional
        By patterns of steps, how gradients are estimated; the first that names a step counts. A
        pattern applies to steps without a module, and to any step whose whole name it is.
    has_module : callable
        Whether a step has a module.

    Returns
    -------
    Graph
        The same graph, with `Step.through` set.

    Raises
    ------
    ArgumentError
        When a pattern names no such step.
    """
    check_through(through)
    changes: dict[str, dict[str, Any]] = {}
    for pattern, way in (through or {}).items():
        named = graph.select([pattern], "through")
        steps = [graph[name] for name in sorted(named)]
        found = [one for one in steps if _is_name(pattern, one) or not has_module(one)]
        if not found:
            raise ArgumentError(
                f"through={pattern!r} must name a step without a module, but "
                f"{', '.join(map(repr, sorted(named)))} has one."
            )
        for step in found:
            changes.setdefault(step.name, {"through": _estimate(graph, step, way)})
    return with_updates(graph, changes)


def _is_name(pattern: str, step: Step) -> bool:
    """Whether a pattern is the whole name of a step; structural steps are not meant by that."""
    return pattern in step.paths()[-2:] and not isinstance(step.operator, Glue)


def _estimate(graph: Graph, step: Step, way: Way) -> Estimate:
    source = graph[step.inputs[0]] if step.inputs[0] != INPUT else None
    before = None if source is None or source.method != "transform" else source.operator
    way = copy.deepcopy(way) if isinstance(way, nn.Module) else way
    return Estimate(way, step.name, step.method, len(step.inputs), before)


class Estimate(Translation):
    """A step that its own library computes, with an estimated gradient.

    Parameters
    ----------
    way : str or torch.nn.Module
        How the gradient is estimated.
    step : str
        Name of the step.
    method : str
        Method of the operator that the step stands for.
    inputs : int
        Number of inputs of the step.
    before : object, optional
        The operator whose ``transform`` the step takes.
    """

    examples = ()
    missing = True

    def __init__(self, way: Way, step: str, method: str, inputs: int, before: Any) -> None:
        self.way, self.step, self.method = way, step, method
        self.inputs, self.before = inputs, before

    @property
    def how(self) -> str:
        """The estimate in words."""
        if isinstance(self.way, nn.Module):
            return f"gradient of a {type(self.way).__name__}"
        return self.way.replace("-", " ", 1) if self.way == WAYS[1] else self.way

    def to_torch(self, operator: Any) -> nn.Module:
        """The module that calls the operator."""
        answer = OperatorAnswer(operator, self._asked(operator), self.before)
        if isinstance(self.way, nn.Module):
            return GradientOf(answer, self.step, copy.deepcopy(self.way))
        kind = StraightThrough if self.way == "straight-through" else FiniteDifferences
        return kind(answer, self.step)

    def write_back(self, module: Any, operator: Any) -> None:
        """Do nothing: the operator stays as fitted."""

    def trainable(self, operator: Any) -> bool:
        return False

    def refuse(self, operator: Any) -> str | None:
        if self.inputs != 1:
            return "a step with several inputs has no estimated gradient"
        return self._refused_score(operator) if self.method == "score" else None

    def _refused_score(self, operator: Any) -> str | None:
        if _is(is_regressor, operator) or hasattr(operator, "predict_proba"):
            return None
        return "as the last step it needs probabilities, or has to be a regressor"

    def _asked(self, operator: Any) -> str:
        if self.method != "score":
            return self.method
        return "predict" if _is(is_regressor, operator) else "predict_proba"

    def head(self, operator: Any) -> Head | None:
        if self.method != "score":
            return None
        if self._asked(operator) == "predict":
            return RegressionHead()
        head = ProbabilityHead()
        head.responses = (
            "predict_proba",
        )  # The operator may predict otherwise than by the largest.
        return head

    def objective(self, operator: Any) -> Objective | None:
        if self.method != "score":
            return None
        regression = self._asked(operator) == "predict"
        return Objective("squared_error" if regression else "negative_log_likelihood")


def _is(kind: Any, operator: Any) -> bool:
    try:
        return bool(kind(operator))
    except (AttributeError, TypeError):  # Operators without tags, for scikit-learn since 1.7.
        return getattr(operator, "_estimator_type", None) == kind.__name__.removeprefix("is_")


@dataclass(eq=False)
class OperatorAnswer:
    """Rows as tensors to the answer of an operator, in tensors.

    Parameters
    ----------
    operator : object
        The fitted operator.
    method : str
        Its method, or one of those that only graphs know.
    before : object, optional
        The operator whose ``transform`` it takes.
    """

    operator: Any
    method: str
    before: Any = None

    def __call__(self, x: Tensor) -> Tensor:
        """The answer (n, k) or (n,) for rows (n, d), with their dtype and on their device."""
        rows = np.array(without_tensors(x))  # A copy, since the operator may overwrite it.
        if isinstance(self.operator, Glue):
            found = self.operator.run(rows)
        else:
            found = call_operator(self.operator, self.method, self._as_fitted(rows))
        return torch.from_numpy(self._numbers(found)).to(dtype=x.dtype, device=x.device)

    def _as_fitted(self, rows: NDArray[Any]) -> Any:
        """Rows in the container in which the operator gets them in the pipeline."""
        if hasattr(self.before, "get_feature_names_out"):
            rows = in_container(self.before, rows)
        names = getattr(self.operator, "feature_names_in_", None)
        if isinstance(rows, np.ndarray) and names is not None and len(names) == rows.shape[1]:
            import pandas as pd

            return pd.DataFrame(rows, columns=names)
        return rows

    def _numbers(self, found: Any) -> NDArray[Any]:
        found = found.toarray() if sparse.issparse(found) else found
        values = None if isinstance(found, list) else np.asarray(found)
        if values is None or values.dtype.kind not in "fiub" or values.ndim not in (1, 2):
            kind = type(found).__name__ if values is None else f"values of type {values.dtype}"
            raise ArgumentError(
                f"through must name steps that give a table of numbers, but the "
                f"{type(self.operator).__name__} gives {kind}."
            )
        return np.array(values, dtype=np.float64)
