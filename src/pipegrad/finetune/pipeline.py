"""The pipeline and the data that `FineTuner` is given: checked, fitted, translated, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, _num_samples, has_fit_parameter

from ..errors import ArgumentError, UntranslatableError
from ..module import PipelineModule
from ..modules import SplitMode
from ..registry import dotted_name, lookup, why_missing
from ..training.samples import Samples


def checked_weight(weight: Any, X: Any) -> NDArray[np.float64] | None:
    """The weight of each row of ``X`` (n,), none of them negative."""
    if weight is None:
        return None
    weight = _check_sample_weight(weight, X, dtype=np.float64)
    if (weight < 0).any():
        raise ArgumentError(
            "sample_weight must not be negative.\nHint: rows of weight 0 are left out."
        )
    return np.asarray(weight)


def usable_rows(
    estimator: Any, X: Any, y: Any, weight: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """The rows that weigh something, and the class of each where there are classes."""
    rows = np.arange(_num_samples(X))
    if weight is not None:
        rows = rows[weight > 0]
    if len(rows) < 2:
        raise ValueError(
            f"Found array with {len(rows)} sample(s) (n_samples={len(rows)}) while a minimum "
            "of 2 is required: some rows train, the others validate."
        )
    classes = None
    if y is not None and is_classifier(estimator):
        check_classification_targets(y)
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim == 1:
            classes = np.unique(labels[rows], return_inverse=True)[1]
    return rows, classes


def weight_argument(estimator: Any, weight: Any) -> dict[str, Any]:
    """Under which name the estimator's ``fit`` takes the weights."""
    if weight is None:
        return {}
    from sklearn import get_config
    from sklearn.pipeline import Pipeline

    prefix, last = "", estimator
    if not get_config().get("enable_metadata_routing"):
        while isinstance(last, Pipeline):
            name, last = [s for s in last.steps if s[1] not in (None, "passthrough")][-1]
            prefix += f"{name}__"
    inner = getattr(last, "estimator", getattr(last, "regressor", last))
    if not isinstance(last, Pipeline) and not has_fit_parameter(inner, "sample_weight"):
        raise ArgumentError(
            f"sample_weight was given, but {type(last).__name__}.fit does not take it.\n"
            "Hint: leave it out, or end the pipeline in a step that weighs rows."
        )
    return {f"{prefix}sample_weight": weight}


def check_last_step(estimator: Any) -> None:
    """Refuse, before anything is fitted, what could not be translated afterwards."""
    from sklearn.pipeline import Pipeline  # loads rich, which waits until it is needed

    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise ArgumentError(f"FineTuner takes an estimator, not {estimator!r:.60}.")
    path, last, steps = "", estimator, 1
    while isinstance(last, Pipeline) and last.steps:
        steps = len(last.steps)
        name, last = last.steps[-1]
        path = f"{path}/{name}" if path else name
    if last is None or isinstance(last, str):
        return
    row = lookup(type(last))
    reason = why_missing(type(last)) if row is None else _refusal(row, last)
    if reason is not None:
        name = path or type(last).__name__.lower()
        raise UntranslatableError(
            [(name, dotted_name(type(last)), reason)], steps, "nothing was fitted yet."
        )


def _refusal(row: Any, operator: Any) -> str | None:
    try:
        return row.refuse(operator)
    except Exception:
        return None  # It asks for what only a fitted operator has.


@dataclass
class TunablePipeline:
    """An unfitted pipeline with the way in which it becomes a module, and back.

    Parameters
    ----------
    estimator : estimator
        The user's pipeline; it is cloned, never changed.
    train, freeze : sequence of str, optional
        Patterns of the steps to train, or to leave as fitted.
    trees : {"leaves", "soft", "straight-through"}
        How decision trees train.
    own_loss : bool
        Whether the pipeline trains on the objective of its last operator.
    frozen : list of str
        Steps that `translate` left as fitted because what follows them has no module.
    """

    estimator: Any
    train: Sequence[str] | None = None
    freeze: Sequence[str] | None = None
    trees: SplitMode = "leaves"
    own_loss: bool = True
    frozen: list[str] = field(default_factory=list)

    def fit(self, samples: Samples) -> Any:
        """Return a clone of the pipeline, fitted on the samples."""
        fitted = clone(self.estimator)
        return fitted.fit(samples.X, samples.y, **weight_argument(fitted, samples.weight))

    def translate(self, fitted: Any) -> PipelineModule:
        """Translate a fitted pipeline; steps in front of one without a module are frozen."""
        from ..training.criterion import shrinking_steps
        from ..translate import to_torch

        self.frozen = []
        try:
            net = to_torch(fitted, train=self.train, freeze=self.freeze, trees=self.trees)
            frozen = shrinking_steps(net, net.objective) if self.own_loss else []
            if not frozen or self.train is not None:
                return net
        except UntranslatableError as error:
            if not error.freeze or self.train is not None:
                raise
            # What cannot become a module runs in its own library; nothing before it trains then.
            frozen = error.freeze
        self.frozen = list(frozen)
        return to_torch(fitted, freeze=[*(self.freeze or []), *frozen], trees=self.trees)

    def write_back(self, net: PipelineModule) -> Any:
        """Translate a trained module back into a fitted pipeline."""
        from ..translate import from_torch

        return from_torch(net)
