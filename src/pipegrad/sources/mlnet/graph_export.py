"""Reconstructs ML.NET's trainers and transforms from the steps of a model file.

A file holds learned parameters, not training options: only options that follow from the parameters
are stated, and a linear model gets the simplest trainer of its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...errors import ArgumentError
from ...graph import Graph, Step
from .entry_point import EntryPoint
from .operators import categories, factors, linear, normalizers, plumbing, projections, trees
from .operators._base import Input, Operator

_TYPES = {
    "Single": "R4", "Double": "R8", "Boolean": "BL", "SByte": "I1", "Byte": "U1", "Int16": "I2",
    "UInt16": "U2", "Int32": "I4", "UInt32": "U4", "Int64": "I8", "UInt64": "U8",
}  # fmt: skip
_TREES = {
    "FTREE BC": "FastTreeBinaryClassifier",
    "FTREE RE": "FastTreeRegressor",
    "FTREE RA": "FastTreeRanker",
    "FTREE TW": "FastTreeTweedieRegressor",
    "FFORE BC": "FastForestBinaryClassifier",
    "FFORE RE": "FastForestRegressor",
    "LGBBINCL": "LightGbmBinaryClassifier",
    "LGBSIREG": "LightGbmRegressor",
    "LGBMRANK": "LightGbmRanker",
}
_NORMS = {"l1": "L1", "l2": "L2", "max": "Infinity", "std": "StandardDeviation"}
Options = tuple[str, dict[str, Any]]


def entry_points(graph: Graph) -> list[EntryPoint]:
    """List trainers and transforms in order.

    Raises
    ------
    ArgumentError
        If steps have no entry point; the message names all of them.
    """
    return _Writer(graph).points()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.visible: dict[str, str] = {}
        self.found: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = []
        self.problems: list[str] = []
        self.hidden: list[str] = []
        self.merged = self._merged()
        self.aliases = self._aliases()

    def points(self) -> list[EntryPoint]:
        for step in self.graph:
            operator = step.operator
            if not isinstance(operator, Operator):
                raise ArgumentError("Only graphs of ML.NET models have entry points.")
            if isinstance(operator, Input) and not operator.missing:
                self.visible[operator.name] = step.name
                self._copy(step.name, operator.name)
            elif step.name not in self.merged and not operator.entry.of:
                self._add(step)
        if self.problems:
            names = ", ".join(self.problems)
            raise ArgumentError(f"ML.NET has no entry points for {names}.")
        if self.hidden:
            names = ", ".join(map(repr, self.hidden))
            raise ArgumentError(f"Entry points cannot read columns that others hide: {names}.")
        return self._grouped()

    def _merged(self) -> set[str]:
        """Keys that are directly one-hot encoded, since ML.NET does both in one transform."""
        found = set()
        for step in self.graph:
            if isinstance(step.operator, categories.Indicator | categories.Bits):
                source = self.graph[step.inputs[0]]
                keys = isinstance(source.operator, categories.Vocabulary | categories.Hash)
                alone = len(self.graph.consumers(source.name)) == 1
                same = source.operator.entry.column == step.operator.entry.column
                if keys and alone and same:
                    found.add(source.name)
        return found

    def _aliases(self) -> dict[str, list[str]]:
        """Names of copied columns, by step."""
        found: dict[str, list[str]] = {}
        for name, step in self.graph.columns.items():
            if name != self._own(step) and not _is_hidden(name):
                found.setdefault(step, []).append(name)
        return found

    def _own(self, name: str) -> str:
        operator = self.graph[name].operator
        return operator.name if isinstance(operator, Input) else operator.entry.column

    def _add(self, step: Step) -> None:
        trainer = _trainer(step.operator)
        if trainer is not None:
            self._add_trainer(step, *trainer)
            return
        options = self._transform(step)
        if options is None:
            self.problems.append(f"{step.name!r} ({step.operator.loader})")
            return
        name, shared, own, sources = options
        column = step.operator.entry.column
        taken: Any = [self._name_of(source) for source in sources]
        taken = taken if name == "Transforms.ColumnConcatenator" else taken[0]
        self._give(step.name, name, {"Name": column, "Source": taken, **own}, shared)
        self.visible[column] = step.name
        self._copy(step.name, column)

    def _add_trainer(self, step: Step, name: str, options: dict[str, Any]) -> None:
        features = [self._name_of(source) for source in step.inputs]
        own = {"FeatureColumnName": features[0] if len(features) == 1 else features}
        label = step.operator.entry.label
        if label:
            own["LabelColumnName"] = label
        parts = [s for s in self.graph if s.name == step.name or s.operator.entry.of == step.name]
        options = {**own, **options, "NormalizeFeatures": "No"}
        scores = [c for s in parts if (c := s.operator.entry.column).startswith("Score_")]
        if scores:
            options["Suffix"] = scores[0].removeprefix("Score")
        self.found.append((step.name, f"Trainers.{name}", {}, options))
        for part in parts:
            if part.operator.entry.column:
                self.visible[part.operator.entry.column] = part.name
        for part in parts:
            if part.operator.entry.column:
                self._copy(part.name, part.operator.entry.column)

    def _give(self, step: str, name: str, column: dict[str, Any], shared: dict[str, Any]) -> None:
        self.found.append((step, name, column, shared))

    def _copy(self, step: str, column: str) -> None:
        for name in self.aliases.get(step, []):
            if name in self.visible:
                continue  # The copy would hide another column.
            self._give("copies", "Transforms.ColumnCopier", {"Name": name, "Source": column}, {})
            self.visible[name] = step

    def _name_of(self, step: str) -> str:
        """A name under which later steps see the output of a step."""
        for name, owner in reversed(self.visible.items()):
            if owner == step:
                return name
        self.hidden.append(self._own(step))
        return self.hidden[-1]

    def _transform(
        self, step: Step
    ) -> tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]] | None:
        operator = step.operator
        if step.inputs[0] in self.merged:
            source = self.graph[step.inputs[0]]
            kind = "Binary"
            if isinstance(operator, categories.Indicator):
                kind = "Bag" if operator.bag else "Indicator"
            shared = {"OutputKind": kind}
            if isinstance(source.operator, categories.Vocabulary):
                return "Transforms.CategoricalOneHotVectorizer", shared, {}, source.inputs
            own = {"NumberOfBits": source.operator.bits, "Seed": source.operator.seed}
            return "Transforms.CategoricalHashOneHotVectorizer", shared, own, source.inputs
        describe = _TRANSFORMS.get(type(operator))
        if describe is None:
            return None
        name, shared, own = describe(operator)
        return f"Transforms.{name}", shared, own, step.inputs

    def _grouped(self) -> list[EntryPoint]:
        """Merge columns computed by the same transform into one node."""
        points: list[EntryPoint] = []
        reached = ""
        for step, name, column, shared in self.found:
            if name.startswith("Trainers."):
                scored = step != self.found[-1][0]
                points.append(EntryPoint(name, shared, scored))
                reached = ""
                continue
            place = f"{step.rpartition('/')[0] or step}:{name}:{shared}"
            if place == reached:
                points[-1].options["Column"].append(column)
            else:
                points.append(EntryPoint(name, {"Column": [column], **shared}))
            reached = place
        return points


def _is_hidden(name: str) -> bool:
    head, _, tail = name.rpartition("@")
    return bool(head) and tail.isdigit()


# -- transforms: name, options of all columns, options of a single column -------------------------

Described = tuple[str, dict[str, Any], dict[str, Any]]


def _affine(operator: normalizers.Affine) -> Described:
    return "MinMaxNormalizer", {"FixZero": operator.offset is None}, {}


def _cumulative(operator: normalizers.Cumulative) -> Described:
    name = "LogMeanVarianceNormalizer" if operator.logarithm else "MeanVarianceNormalizer"
    return name, {"UseCdf": True}, {}


def _binning(operator: normalizers.Binning) -> Described:
    bins = max(len(bounds) for bounds in operator.bounds)
    return "BinNormalizer", {"NumBins": bins, "FixZero": operator.fix_zero}, {}


def _row_norm(operator: normalizers.RowNorm) -> Described:
    if not operator.center and operator.scale == 1:
        return "LpNormalizer", {"Norm": _NORMS[operator.norm]}, {}
    shared = {"EnsureZeroMean": operator.center, "Scale": operator.scale}
    return "GlobalContrastNormalizer", shared, {}


def _fill(operator: normalizers.ReplaceMissing) -> Described:
    shared = {"ImputeBySlot": operator.fill.values.size > 1, "ReplacementKind": "Mean"}
    return "MissingValueSubstitutor", shared, {}


def _projection(operator: projections.Projection) -> Described:
    rank = len(operator.directions.values)
    return "PcaCalculator", {}, {"Rank": rank, "Center": operator.origin is not None}


def _conversion(operator: Any) -> Described:
    kind = "Boolean" if isinstance(operator, plumbing.Truth) else operator.kind
    return "ColumnTypeConverter", {"ResultType": _TYPES[kind]}, {}


_TRANSFORMS: dict[type, Callable[[Any], Described]] = {
    categories.Vocabulary: lambda _: ("TextToKeyConverter", {}, {}),
    categories.CategoryNumber: lambda _: ("KeyToTextConverter", {}, {}),
    categories.CategoryText: lambda _: ("KeyToTextConverter", {}, {}),
    plumbing.Concatenate: lambda _: ("ColumnConcatenator", {}, {}),
    plumbing.ConcatenateTexts: lambda _: ("ColumnConcatenator", {}, {}),
    plumbing.Convert: _conversion,
    plumbing.Parse: _conversion,
    plumbing.Truth: _conversion,
    normalizers.IsMissing: lambda _: ("MissingValueIndicator", {}, {}),
    normalizers.ReplaceMissing: _fill,
    normalizers.Affine: _affine,
    normalizers.Cumulative: _cumulative,
    normalizers.Binning: _binning,
    normalizers.RowNorm: _row_norm,
    normalizers.Robust: lambda _: ("RobustScaler", {}, {}),
    projections.Projection: _projection,
}


# -- trainers ------------------------------------------------------------------------------------


def _trainer(operator: Operator) -> Options | None:
    if type(operator) is trees.Trees:
        leaves = max(len(values.values) for values in operator.values)
        count = "NumberOfIterations" if operator.kind.startswith("LGB") else "NumberOfTrees"
        return _TREES[operator.kind], {count: len(operator.trees), "NumberOfLeaves": leaves}
    describe = _TRAINERS.get(type(operator))
    return None if describe is None else describe(operator)


def _linear(operator: linear.Linear) -> Options:
    if operator.kind == "binary":
        calibrated = operator.entry.calibrated
        name = "LogisticRegression" if calibrated else "LinearSvm"
        return f"{name}BinaryClassifier", {}
    if operator.kind == "poisson":
        return "PoissonRegressor", {}
    squares = operator.loader.startswith("Ols")
    name = "OrdinaryLeastSquares" if squares else "StochasticDualCoordinateAscent"
    return f"{name}Regressor", {}


def _multiclass(operator: linear.MulticlassLinear) -> Options:
    name = "LogisticRegression" if operator.probabilities else "StochasticDualCoordinateAscent"
    return f"{name}Classifier", {}


def _additive(operator: factors.Additive) -> Options:
    binary = operator.loader.startswith("Binary")
    return f"GeneralizedAdditiveModel{'BinaryClassifier' if binary else 'Regressor'}", {}


def _machine(operator: factors.LocalMachine) -> Options:
    leaves = len(operator.route.values) + 1
    return "LocalDeepSvmBinaryClassifier", {"TreeDepth": int(math.log2(leaves))}


_TRAINERS: dict[type, Callable[[Any], Options]] = {
    linear.Linear: _linear,
    linear.MulticlassLinear: _multiclass,
    factors.Additive: _additive,
    factors.LocalMachine: _machine,
    factors.NaiveBayes: lambda _: ("NaiveBayesClassifier", {}),
    factors.Factorization: lambda operator: (
        "FieldAwareFactorizationMachineBinaryClassifier",
        {"LatentDimension": operator.latent.values.shape[-1]},
    ),
    projections.Centroids: lambda operator: (
        "KMeansPlusPlusClusterer",
        {"K": len(operator.centers)},
    ),
    projections.Residual: lambda operator: (
        "PcaAnomalyDetector",
        {"Rank": len(operator.directions.values)},
    ),
}
