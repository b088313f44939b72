"""Stages with a learned number for each entry, and projections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...named.operators import Step
from ..folder import Stage
from ..numbers import Numbers, find
from ..plan import Plan, reads


@dataclass(eq=False, kw_only=True)
class Scale(Step):
    """``(x - center) / spread``; entries without spread become zero.

    Parameters
    ----------
    center, spread : Numbers, optional
        Numbers of each entry.
    keeps : bool
        Whether entries without spread stay as they are instead.
    """

    center: Numbers | None
    spread: Numbers | None
    keeps: bool = False


@reads("feature.StandardScalerModel")
def _standard(stage: Stage, plan: Plan) -> None:
    center = find(stage, "mean") if stage.flag("withMean", False) else None
    spread = find(stage, "std") if stage.flag("withStd", True) else None
    _scaled(stage, plan, Scale(center=center, spread=spread))


@reads("feature.RobustScalerModel")
def _robust(stage: Stage, plan: Plan) -> None:
    center = find(stage, "median") if stage.flag("withCentering", False) else None
    spread = find(stage, "range") if stage.flag("withScaling", True) else None
    _scaled(stage, plan, Scale(center=center, spread=spread))


@reads("feature.MaxAbsScalerModel")
def _max_abs(stage: Stage, plan: Plan) -> None:
    _scaled(stage, plan, Scale(center=None, spread=find(stage, "maxAbs"), keeps=True))


def _scaled(stage: Stage, plan: Plan, operator: Scale) -> None:
    _check_alike(stage, operator.center, operator.spread)
    ((source, made),) = stage.inputs_and_outputs()
    plan.name(stage, made, plan.step(stage, operator, plan.column(source)))


def _check_alike(stage: Stage, *several: Numbers | None) -> None:
    if len({numbers.values.shape for numbers in several if numbers is not None}) > 1:
        stage.fail("its numbers differ in size.")


@dataclass(eq=False, kw_only=True)
class ToRange(Step):
    """Entries mapped linearly from one range to another; constant ones to the middle."""

    smallest: Numbers
    largest: Numbers
    low: float
    high: float


@reads("feature.MinMaxScalerModel")
def _min_max(stage: Stage, plan: Plan) -> None:
    smallest, largest = find(stage, "originalMin"), find(stage, "originalMax")
    _check_alike(stage, smallest, largest)
    low, high = stage.number("min", 0.0), stage.number("max", 1.0)
    operator = ToRange(smallest=smallest, largest=largest, low=low, high=high)
    ((source, made),) = stage.inputs_and_outputs()
    plan.name(stage, made, plan.step(stage, operator, plan.column(source)))


@dataclass(eq=False, kw_only=True)
class Project(Step):
    """Vectors times a matrix; Spark's PCA does not center them."""

    matrix: Numbers


@reads("feature.PCAModel")
def _pca(stage: Stage, plan: Plan) -> None:
    operator = Project(matrix=find(stage, "pc", kind="matrix"))
    ((source, made),) = stage.inputs_and_outputs()
    plan.name(stage, made, plan.step(stage, operator, plan.column(source)))


@dataclass(eq=False, kw_only=True)
class Fill(Step):
    """A number in the place of missing ones."""

    fill: Numbers
    missing: float


@reads("feature.ImputerModel")
def _imputer(stage: Stage, plan: Plan) -> None:
    for source, made in stage.inputs_and_outputs():
        fill = find(stage, source, kind="number")
        operator = Fill(fill=fill, missing=stage.number("missingValue", float("nan")))
        plan.name(stage, made, plan.step(stage, operator, plan.column(source), name=made))


@dataclass(eq=False, kw_only=True)
class TermWeights(Step):
    """Counts of terms times their weights."""

    weights: Numbers


@reads("feature.IDFModel")
def _idf(stage: Stage, plan: Plan) -> None:
    weights = find(stage, "idf")
    if not np.isfinite(weights.values).all():
        stage.fail("its weights are not finite.")
    ((source, made),) = stage.inputs_and_outputs()
    step = plan.step(stage, TermWeights(weights=weights), plan.column(source))
    plan.name(stage, made, step)
