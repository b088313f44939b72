"""Stages that put columns together, select them, or compute new ones without learned numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...named.operators import Step
from ..folder import Stage
from ..plan import Plan, reads
from ..unsupported import require_columns
from .categories import Indicators


@dataclass(eq=False, kw_only=True)
class Assemble(Step):
    """Numbers and vectors side by side."""

    invalid: str


@reads("feature.VectorAssembler")
def _assembler(stage: Stage, plan: Plan) -> None:
    names = stage.texts("inputCols")
    if not names:
        stage.fail("it has no input columns.")
    operator = Assemble(invalid=stage.text("handleInvalid", "error"))
    made = stage.text("outputCol")
    plan.name(stage, made, plan.step(stage, operator, *[plan.column(n) for n in names]))


@dataclass(eq=False, kw_only=True)
class SelectEntries(Step):
    """Some entries of a vector."""

    places: list[int]


@reads(
    "feature.VectorSlicer",
    "feature.ChiSqSelectorModel",
    "feature.UnivariateFeatureSelectorModel",
    "feature.VarianceThresholdSelectorModel",
)
def _selector(stage: Stage, plan: Plan) -> None:
    if stage.kind == "VectorSlicer":
        if stage.texts("names"):
            require_columns(stage, plan, "names of entries are attributes, which are not saved")
            return
        places: Any = stage.given("indices")
        source, made = stage.text("inputCol"), stage.text("outputCol")
    else:
        found: Any = stage.row().get("selectedFeatures")
        places = sorted(found) if _are_places(found) else None
        source = stage.text("featuresCol", "features")
        made = stage.text("outputCol")
    if not _are_places(places):
        stage.fail("its selection is damaged.")
    step = plan.step(stage, SelectEntries(places=places), plan.column(source))
    plan.name(stage, made, step)


def _are_places(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(p, int) and 0 <= p < 1 << 31 for p in found)


@dataclass(eq=False, kw_only=True)
class CheckSize(Step):
    """A vector whose size is checked."""

    size: int
    invalid: str


@reads("feature.VectorSizeHint")
def _size_hint(stage: Stage, plan: Plan) -> None:
    # The output has the name of the input.
    source = stage.text("inputCol")
    invalid = stage.text("handleInvalid", "error")
    operator = CheckSize(size=stage.integer("size", 0), invalid=invalid)
    plan.columns[source] = plan.step(stage, operator, plan.column(source))


@dataclass(eq=False, kw_only=True)
class Binarize(Step):
    """Whether entries exceed a threshold."""

    threshold: float


@reads("feature.Binarizer")
def _binarizer(stage: Stage, plan: Plan) -> None:
    pairs = stage.inputs_and_outputs()
    several = stage.numbers("thresholds")
    thresholds = several or [stage.number("threshold", 0.0)] * len(pairs)
    if len(thresholds) != len(pairs):
        stage.fail("it has another number of thresholds than of columns.")
    for (source, made), threshold in zip(pairs, thresholds, strict=True):
        operator = Binarize(threshold=threshold)
        plan.name(stage, made, plan.step(stage, operator, plan.column(source), name=made))


@dataclass(eq=False, kw_only=True)
class UnitNorm(Step):
    """Vectors divided by their p-norm."""

    p: float


@dataclass(eq=False, kw_only=True)
class Products(Step):
    """All products of entries up to a degree."""

    degree: int


@dataclass(eq=False, kw_only=True)
class Cosines(Step):
    """The discrete cosine transform of vectors."""

    inverse: bool


@dataclass(eq=False, kw_only=True)
class Multiply(Step):
    """Vectors times fixed factors."""

    factors: list[float]


@dataclass(eq=False, kw_only=True)
class OuterProducts(Step):
    """All products of one entry of each input."""


@reads("feature.Normalizer")
def _normalizer(stage: Stage, plan: Plan) -> None:
    _one_to_one(stage, plan, UnitNorm(p=stage.number("p", 2.0)))


@reads("feature.PolynomialExpansion")
def _polynomial(stage: Stage, plan: Plan) -> None:
    _one_to_one(stage, plan, Products(degree=stage.integer("degree", 2)))


@reads("feature.DCT")
def _cosines(stage: Stage, plan: Plan) -> None:
    _one_to_one(stage, plan, Cosines(inverse=stage.flag("inverse", False)))


@reads("feature.ElementwiseProduct")
def _product(stage: Stage, plan: Plan) -> None:
    given = stage.given("scalingVec")
    try:
        dense = given["type"] == 1 if isinstance(given, dict) else True
        factors = [float(v) for v in (given["values"] if isinstance(given, dict) else given)]
        if not dense:
            full = [0.0] * int(given["size"])
            for place, factor in zip(given["indices"], factors, strict=True):
                full[place] = factor
            factors = full
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        stage.fail("its factors are damaged.")
    _one_to_one(stage, plan, Multiply(factors=factors))


@reads("feature.Interaction")
def _interaction(stage: Stage, plan: Plan) -> None:
    inputs = []
    for name in stage.texts("inputCols"):
        step = plan.column(name)
        if name in plan.labels:  # Spark encodes indices of texts.
            size = len(plan.labels[name][1])
            encode = Indicators(size=size, drop_last=False, invalid="error")
            step = plan.step(stage, encode, step, name=name)
        inputs.append(step)
    if not inputs:
        stage.fail("it has no input columns.")
    plan.name(stage, stage.text("outputCol"), plan.step(stage, OuterProducts(), *inputs))


def _one_to_one(stage: Stage, plan: Plan, operator: Step) -> None:
    ((source, made),) = stage.inputs_and_outputs()
    plan.name(stage, made, plan.step(stage, operator, plan.column(source)))
