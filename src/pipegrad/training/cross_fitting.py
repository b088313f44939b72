"""Out-of-fold features for the training rows, which avoid target leakage.

A stack fits its final estimator to out-of-fold predictions, and a `TargetEncoder` passes on
cross-fitted encodings. Applied to their own training rows, the fitted steps would give leaked
features: a nearest neighbor of a training row is the row itself. This module repeats the
cross-fitting and stores the difference to the fitted step as an offset.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.base import clone, is_classifier
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import TargetEncoder

from ..errors import ArgumentError
from ..featurizer import Featurizer
from ..glue import Concatenate, Glue
from ..graph import INPUT, Composite, Graph, Step, join
from ..host import Encoded, HostPart, steps_between, whole_composites
from ..sources.arrays import to_block
from ..typing import (
    Array,
    Estimator,
    Features,
    FloatArray,
    HostValue,
    SampleWeight,
    Splitter,
    Targets,
)
from ..warning_filters import ignored_warnings
from .deadline import Deadline, Pace, TimeLimitReached
from .metadata import takes_weight
from .seeding import isolated_numpy_rng, own_generator, seeded

if TYPE_CHECKING:
    from ..network import PipelineNetwork
    from .data import Data

_STACKS = (StackingRegressor, StackingClassifier)
# These composites fit their members on the rows and targets that they receive.
_PASS_ON = (Pipeline, FeatureUnion, ColumnTransformer, VotingRegressor, BaseSearchCV)

Copy = Callable[[dict[str, HostValue]], HostValue]


def cross_fitted(
    net: PipelineNetwork,
    data: Data,
    X: Features,
    y: Targets,
    weight: SampleWeight,
    seed: int | None,
    pace: Pace | None = None,
) -> Data:
    """Return the data with out-of-fold features for the first set of rows.

    For each neural step that cross-fits during its fit, a block ``"+step"`` holds the out-of-fold
    output minus the output of the fitted step; it is added to the output of the step. Steps on the
    host need no offset: the input of the neural part is computed from the out-of-fold output.

    Parameters
    ----------
    net : PipelineNetwork
        The network, translated from a pipeline that was fitted on these rows or on similar ones.
    data : Data
        The encoded rows.
    X, y, weight : array and the like
        The rows of the first set, as given by the user.
    seed : int, optional
        Seed for estimators that draw random numbers.
    pace : Pace, optional
        Stops before a step that would take too long.

    Returns
    -------
    Data
        The data with the additional blocks.

    Raises
    ------
    ArgumentError
        If a step cannot be fitted on one of the folds.
    TimeLimitReached
        If there is no time for another step.
    """
    if y is None or net.head is None or net.head.task == "clustering":
        return data
    walk = CrossFit(net, np.asarray(y), weight, pace, seed)
    if not walk.copies:
        return data
    try:
        # The first fit gave the same warnings.
        with isolated_numpy_rng(seed), own_generator(seed), ignored_warnings():
            blocks = walk.blocks(X)
    except TimeLimitReached:
        raise
    except Exception as error:
        raise ArgumentError(
            f"Cross-fitting the training rows failed: {error}\n"
            "Hint: net.fit(..., cross_fit=False) trains on the output of the fitted steps."
        ) from error
    like = net.reference_tensor()
    found = {name: to_block(block, like.dtype, like.device) for name, block in blocks.items()}
    first = Encoded({**data.blocks[0].blocks, **found})
    return replace(data, blocks=(first, *data.blocks[1:]))


class CrossFit(HostPart):
    """Evaluates a graph as the source does during its fit, with cross-fitted `copies` of steps.

    Parameters
    ----------
    net : PipelineNetwork
        The translated pipeline.
    y : array of shape (n,) or (n, k)
        Targets in the user's own form.
    weight : array of shape (n,), optional
        Weight of each row.
    pace : Pace, optional
        Stops before a step that would take too long.
    seed : int, optional
        Seed for estimators that draw random numbers.
    """

    def __init__(
        self,
        net: PipelineNetwork,
        y: Array,
        weight: SampleWeight,
        pace: Pace | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(net.graph)
        self.pace = Pace(Deadline()) if pace is None else pace
        self.y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
        self.weight = None if weight is None else np.asarray(weight, dtype=np.float64)
        self.random = net.init == "random"
        self.seeds = None if seed is None else np.random.RandomState(seed % 2**32)
        self.offsets: dict[str, FloatArray] = {}
        self.copies: dict[str, Copy] = {}
        for place, composite in enumerate(self.graph.composites):
            if isinstance(composite.operator, _STACKS) and composite.operator.cv != "prefit":
                self._add_stack(composite, self.graph.composites[place + 1 :])
        for step in self.graph:
            if type(step.operator) is TargetEncoder and not self._is_random({step.name}):
                self._add_encoder(step)
        # Composites that contain cross-fitted steps are evaluated step by step.
        every = {step.name for step in self.graph}
        self._whole = whole_composites(self.graph, every, without=self.copies.keys())

    def blocks(self, X: Features) -> dict[str, HostValue]:
        """Return the offsets of neural steps, and the blocks from cross-fitted host steps."""
        values: dict[str, HostValue] = {INPUT: X}
        for name in self.copies:
            if name in self.needed - self.host:
                self.value(name, values)
        after = self.graph.descendants(self.host.intersection(self.copies))
        behind = {step for step, source in self.ports if source in after}
        found = self.run(X, behind & self.needed, values) if behind else {}
        return {**found, **{f"+{name}": offset for name, offset in self.offsets.items()}}

    def _missing(self, name: str, values: dict[str, HostValue]) -> list[str]:
        # A cross-fitted copy takes other rows than the steps before it, and draws its random
        # numbers before they do.
        return [] if name in self.copies else super()._missing(name, values)

    def _compute(self, name: str, values: dict[str, HostValue]) -> HostValue:
        copy = self.copies.get(name)
        if copy is None:
            return self._fitted(name, values)
        with self.pace:
            out_of_fold = copy(values)
        if name not in self.host:
            fitted = np.asarray(self._fitted(name, values))
            self.offsets[name] = (
                np.asarray(out_of_fold, dtype=np.float64).reshape(fitted.shape) - fitted
            )
        return out_of_fold

    def _fitted(self, name: str, values: dict[str, HostValue]) -> HostValue:
        """Output of a fitted step; the head computes the joint prediction of a vote."""
        value, step = super()._compute(name, values), self.graph[name]
        row = step.translation
        head = None if row is None else row.head(step.operator)
        if head is None or name in self._whole or not isinstance(step.operator, Glue):
            return value
        return head.respond(torch.as_tensor(value), step.method).numpy()

    def _add_encoder(self, step: Step) -> None:
        y = _target_reaching(self.y, step.name, self.graph.composites)
        if y is not None:
            (source,) = step.inputs
            encoder = seeded(clone(step.operator), self.seeds)
            self.copies[step.name] = lambda values: clone(encoder).fit_transform(
                self.value(source, values), y
            )

    def _add_stack(self, composite: Composite, around: tuple[Composite, ...]) -> None:
        y = _target_reaching(self.y, composite.name, around)
        layer = _layer(self.graph, composite)
        if y is None or layer is None:
            return
        stack = composite.operator
        y = _codes(stack, y)
        # As in FineTuner, only the final predictor receives weights.
        weight = self.weight if composite.value == self.graph.output else None
        # The copy of a random splitter keeps its state, so that all members share the splits.
        cv = deepcopy(check_cv(stack.cv, y=y, classifier=is_classifier(stack)))
        if self.seeds is not None and getattr(cv, "random_state", 0) is None:
            cv.random_state = self.seeds.randint(np.iinfo(np.int32).max)
        for name, member, method in zip(
            layer.inputs, stack.estimators_, stack.stack_method_, strict=False
        ):
            if not self._is_random(steps_between(self.graph, composite.source, name)):
                params = _weights(member, weight)
                self.copies[name] = self._member(composite, member, method, y, cv, params)

    def _member(
        self,
        composite: Composite,
        member: Estimator,
        method: str,
        y: Array,
        cv: Splitter,
        params: dict[str, FloatArray] | None,
    ) -> Copy:
        member = seeded(clone(member), self.seeds)

        def copy(values: dict[str, HostValue]) -> HostValue:
            out_of_fold = cross_val_predict(
                clone(member),
                self.value(composite.source, values),
                y,
                cv=deepcopy(cv),
                method=method,
                n_jobs=composite.operator.n_jobs,
                params=params,
            )
            if isinstance(out_of_fold, list):  # one table for each label
                return np.hstack([part[:, 1:] for part in out_of_fold])
            two = method == "predict_proba" and len(composite.operator.classes_) == 2
            return out_of_fold[:, 1:] if two else out_of_fold

        return copy

    def _is_random(self, names: set[str]) -> bool:
        """Whether a step was re-initialized at random: then there is no leakage to correct."""
        return self.random and any(self.graph[name].status == "trainable" for name in names)


def _layer(graph: Graph, stack: Composite) -> Step | None:
    """Return the step that concatenates the predictions of the members."""
    path = join(stack.name, "concatenate")
    names = [path, f"{path}#2"]  # The second name applies if a member has the first.
    found = [s for s in graph if s.name in names and isinstance(s.operator, Concatenate)]
    return found[-1] if found else None


def _target_reaching(y: Array, name: str, composites: tuple[Composite, ...]) -> Array | None:
    """Return the target that a step was fitted on; None if it saw other rows or was not fitted."""
    for composite in reversed(composites):
        path = composite.name
        if not _within(name, path):
            continue
        operator = composite.operator
        if isinstance(operator, _STACKS):
            final = _within(name, join(path, "final_estimator"))
            if operator.cv == "prefit" and not final:
                return None
            y = _codes(operator, y)
        elif isinstance(operator, VotingClassifier):
            y = operator.le_.transform(y)
        elif isinstance(operator, TransformedTargetRegressor):
            y = _column(operator.transformer_.transform(y.reshape(len(y), -1)))
        elif isinstance(operator, Featurizer):
            y = y if operator.target is None else np.asarray(operator.target(y))
        elif not isinstance(operator, _PASS_ON):
            return None
    return y


def _within(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}/")


def _codes(stack: Estimator, y: Array) -> Array:
    """Encode the classes as numbers, as the members of the stack see them."""
    encoder = getattr(stack, "_label_encoder", None)
    if isinstance(encoder, list):
        columns = zip(encoder, np.asarray(y).T, strict=True)
        return np.column_stack([one.transform(column) for one, column in columns])
    return y if encoder is None else encoder.transform(y)


def _column(y: Targets) -> Array:
    values = np.asarray(y)
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _weights(member: Estimator, weight: FloatArray | None) -> dict[str, FloatArray] | None:
    """Return the additional arguments of the member's ``fit``."""
    if weight is None:
        return None
    return {"sample_weight": weight} if takes_weight(member) else None
