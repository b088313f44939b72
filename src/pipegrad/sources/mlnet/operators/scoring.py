"""Computes the columns Score, Probability and PredictedLabel of a predictor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..binary import Numbers
from ..builder import Builder
from ..node import Node
from ..plan import ModelOutput
from ..readers import read_calibrator, read_predictor, transform
from ..schema import Column
from ..types import BOOLEAN, NUMBERS, SINGLE, ColumnType, key_type
from ._base import Entry, Operator, Predictor
from .calibrators import Platt


@dataclass(eq=False, kw_only=True)
class Exponential(Operator):
    """Converts log-rates to rates."""


@dataclass(eq=False, kw_only=True)
class Sigmoid(Operator):
    """Converts log-odds to probabilities."""


@dataclass(eq=False, kw_only=True)
class Softmax(Operator):
    """Converts class scores to probabilities."""


@dataclass(eq=False, kw_only=True)
class Above(Operator):
    """Whether the score is above a threshold; as a key, 2 or 1."""

    threshold: Numbers | None
    key: bool = False


@dataclass(eq=False, kw_only=True)
class Largest(Operator):
    """The key of the largest or smallest score."""

    smallest: bool = False


def columns_of_predictor(
    builder: Builder,
    node: Node,
    predictor: Predictor,
    features: tuple[Column, ...],
    *,
    threshold: Numbers | None = None,
    by: str = "Score",
    label: Column | None = None,
    target: str | None = None,
    names: tuple[str, str, str] = ("PredictedLabel", "Score", "Probability"),
) -> None:
    """Add the label, score and probability columns of a predictor; record them as its outputs."""
    entry = predictor.score.entry
    entry.label, entry.calibrated = target or "", predictor.calibrator is not None
    label_name, score_name, probability_name = names
    inputs = tuple(column.value for column in features)
    raw = builder.step(
        predictor.score,
        inputs,
        score_name,
        node,
        "score" if predictor.task != "anomaly" else "transform",
    )
    output = value = raw
    predictor.score.entry.column = "" if predictor.link else score_name
    if predictor.link is not None:
        predictor.link.entry = Entry(score_name, raw)
        value = builder.step(predictor.link, (raw,), f"{score_name}/link", node)
    size = predictor.classes if predictor.task in ("multiclass", "clustering") else None
    score = Column(score_name, SINGLE.sized(size), value)
    probability = None
    if predictor.calibrator is not None:
        output, given = _calibrated(builder, node, predictor.calibrator, raw, probability_name)
        probability = Column(probability_name, SINGLE, given)
    # Entry points give only the score of an anomaly detector.
    unlabelled = predictor.task == "anomaly" and threshold is None
    if unlabelled or predictor.task in ("regression", "ranking"):
        builder.add([score])
        builder.answer = ModelOutput(predictor.task, output, score)
        return
    decided = _label(
        builder, node, predictor, score, probability, threshold, by, label, label_name, raw
    )
    builder.add([decided, score] + ([] if probability is None else [probability]))
    classes = np.array([False, True]) if decided.type is BOOLEAN else decided.type.values
    proba = score if predictor.probabilities else probability
    builder.answer = ModelOutput(predictor.task, output, decided, proba, classes, score)


def _calibrated(
    builder: Builder, node: Node, calibrator: Operator, raw: str, name: str
) -> tuple[str, str]:
    """The step on which the loss is computed, and the step that computes the probability."""
    predictor = builder.steps[raw].operator.entry.of or raw
    calibrator.entry = Entry(name, predictor)
    if isinstance(calibrator, Sigmoid):
        return raw, builder.step(calibrator, (raw,), name, node)
    if isinstance(calibrator, Platt):
        sigmoid = Sigmoid(loader=calibrator.loader, entry=Entry(name, predictor))
        calibrator.entry.column = ""
        odds = builder.step(calibrator, (raw,), f"{name}/log-odds", node, "score")
        return odds, builder.step(sigmoid, (odds,), name, node)
    return raw, builder.step(calibrator, (raw,), name, node)


def _label(
    builder: Builder,
    node: Node,
    predictor: Predictor,
    score: Column,
    probability: Column | None,
    threshold: Numbers | None,
    by: str,
    label: Column | None,
    name: str,
    raw: str,
) -> Column:
    if predictor.task in ("multiclass", "clustering"):
        kind = _label_type(label, predictor)
        place = Entry(name, raw)
        operator: Operator = Largest(smallest=predictor.task == "clustering", entry=place)
        return Column(name, kind, builder.step(operator, (score.value,), name, node))
    keyed = label is not None and label.type.kind == "Key" and label.type.count == 2
    kind = _label_type(label, predictor) if keyed else BOOLEAN
    of = probability if by == "Probability" and probability is not None else score
    above = Above(threshold=threshold, key=keyed, entry=Entry(name, raw))
    step = builder.step(above, (of.value,), name, node)
    return Column(name, kind, step)


def _label_type(label: Column | None, predictor: Predictor) -> ColumnType:
    count = predictor.classes or 2
    values = label.type.values if label is not None and label.type.kind == "Key" else None
    if values is not None and len(values) == count:
        return key_type(values, count)
    return key_type(predictor.labels, count)


# -- steps of a chain ------------------------------------------------------------------------


@transform("BIN PRED", "ANOMPRED")
def read_binary(node: Node, builder: Builder) -> None:
    """Read a predictor whose label is a thresholded score."""
    reader = node.block.reader()
    name, threshold, by = reader.text(), reader.number(finite=False), reader.name()
    reader.done()
    # A prior predictor reads no features; any column gives the number of rows.
    features, predictor = _features(node, builder, name or builder.schema.columns[0].name)
    columns_of_predictor(builder, node, predictor, (features,), threshold=threshold, by=by)


@transform("REG PRED", "RANKPRED", "CLUSPRED")
def read_plain(node: Node, builder: Builder) -> None:
    """Read a predictor without a threshold."""
    reader = node.block.reader()
    features, predictor = _features(node, builder, reader.name())
    reader.done()
    columns_of_predictor(builder, node, predictor, (features,))


@transform("MC  PRED", versions=(0x00010001, 0x00010002))
def read_multiclass(node: Node, builder: Builder) -> None:
    """Read a multiclass predictor."""
    reader = node.block.reader()
    name, label = reader.name(), reader.text()
    names = ("Score", "PredictedLabel")
    if node.block.version > 0x00010001:
        names = (reader.name(), reader.name())
    reader.done()
    features, predictor = _features(node, builder, name)
    seen = builder.schema.find(label) if label else None
    answers = (names[1], names[0], "Probability")
    columns_of_predictor(
        builder, node, predictor, (features,), label=seen, target=label, names=answers
    )


@transform("FAFMPRED")
def read_fields(node: Node, builder: Builder) -> None:
    """Read a factorization machine, which takes one column per field."""
    reader = node.block.reader()
    texts = []
    while reader.left > 8:
        builder.archive.charge(10)
        texts.append(reader.name())
    threshold, by = reader.number(finite=False), reader.name()
    fields = tuple(builder.require_column(name, where=node.path) for name in texts)
    width = sum(column.type.width for column in fields)
    predictor = read_predictor(node.child("Model"), width)
    columns_of_predictor(builder, node, predictor, fields, threshold=threshold, by=by)


@transform("CALTRANS")
def read_calibration(node: Node, builder: Builder) -> None:
    """Read a calibrator that was added to a fitted predictor."""
    node.block.reader().done()
    calibrator = read_calibrator(node.child("Calibrator"))
    score = builder.require_column("Score", 1, node.path)
    raw = builder.steps[score.value]
    output, given = _calibrated(builder, node, calibrator, score.value, "Probability")
    probability = Column("Probability", SINGLE, given)
    builder.add([probability])
    if builder.answer is not None and builder.answer.output == raw.name:
        builder.answer.output, builder.answer.proba = output, probability


@transform("BINCLSCR", versions=(0x00010004,))
def read_binary_scorer(node: Node, builder: Builder) -> None:
    """Read a binary predictor inside an entry-point graph."""
    reader = node.block.reader()
    suffix, roles = reader.text() or "", _roles(reader)
    kind, by = reader.name(), reader.name()
    reader.float_size()
    threshold = reader.number(finite=False)
    reader.done()
    if kind != "BinaryClassification":
        raise node.unsupported_error()
    _scorer(node, builder, suffix, roles, threshold=threshold, by=by)


@transform("MULCLSCR", "CLSTRSCR", versions=(0x00010001, 0x00010002, 0x00010003))
def read_multiclass_scorer(node: Node, builder: Builder) -> None:
    """Read a multiclass or clustering predictor inside an entry-point graph."""
    reader = node.block.reader()
    suffix, roles = reader.text() or "", _roles(reader)
    _scorer(node, builder, suffix, roles)


@transform("GNRICSCR", versions=(0x00010001, 0x00010002, 0x00010003, 0x00010004))
def read_generic_scorer(node: Node, builder: Builder) -> None:
    """Read any other predictor inside an entry-point graph."""
    reader = node.block.reader()
    suffix, roles = reader.text() or "", _roles(reader)
    _scorer(node, builder, suffix, roles)


def _roles(reader: Any) -> list[tuple[str, str]]:
    return [(reader.name(), reader.name()) for _ in range(reader.count(8, "roles"))]


def _scorer(
    node: Node, builder: Builder, suffix: str, roles: list[tuple[str, str]], **options: Any
) -> None:
    wanted = dict(roles)
    if "Feature" not in wanted:
        raise node.block.fail("names no column of features")
    features = builder.require_column(wanted["Feature"], where=node.path)
    inner, labels = _bound(node)
    predictor = read_predictor(inner, features.type.width)
    if labels is not None and len(labels) == predictor.classes:
        predictor.labels = labels
    names = ("PredictedLabel" + suffix, "Score" + suffix, "Probability" + suffix)
    target = wanted.get("Label")
    columns_of_predictor(
        builder, node, predictor, (features,), target=target, names=names, **options
    )


def _bound(node: Node) -> tuple[Node, Any]:
    """The predictor of a scorer, and its label names if a wrapper stores them."""
    mapper, labels = node.child("SchemaBindableMapper"), None
    while mapper.block.signature == "LABNAMBM":
        labels = _labels(mapper.block.reader())
        mapper = mapper.child("InnerMapper")
    return mapper.child("Predictor"), labels


def _labels(reader: Any) -> Any:
    if reader.inline() != "VBuffer":
        return None
    codec, count = reader.vector()
    if codec == "TextSpan":
        return reader.texts(count)
    return reader.array(count, np.dtype(NUMBERS[codec]).str) if codec in NUMBERS else None


def _features(node: Node, builder: Builder, name: str) -> tuple[Column, Predictor]:
    features = builder.require_column(name, where=node.path)
    return features, read_predictor(node.child("Model"), features.type.width)


# -- the last predictor of an entry-point graph -----------------------------------------------


def read_last(archive: Any, builder: Builder) -> None:
    """Read the predictor next to the chain; a role-mapping file names its columns."""
    roles = _role_mapping(archive)
    if "Feature" not in roles:
        raise archive.fail("TrainingInfo/RoleMapping.txt names no column of features.")
    node = Node(archive, "Predictor")
    features = builder.require_column(roles["Feature"], where="Predictor")
    label = builder.schema.find(roles.get("Label", ""))
    predictor = read_predictor(node, features.type.width)
    columns_of_predictor(
        builder, node, predictor, (features,), label=label, target=roles.get("Label")
    )


def _role_mapping(archive: Any) -> dict[str, str]:
    try:
        text = archive.unpack("TrainingInfo/RoleMapping.txt").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise archive.fail("TrainingInfo/RoleMapping.txt is not text.") from None
    lines = [line for line in text.splitlines() if line and not line.startswith("#@")]
    pairs = [line.split("\t") for line in lines[1:1000]]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
