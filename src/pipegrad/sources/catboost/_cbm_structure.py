"""Checks a binary CatBoost model before the library reads it.

CatBoost verifies the bounds of the main part alone, and follows whatever indices are in it.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import UntranslatableError
from ..document import Place
from ..faults import fail, in_file
from ._cbm_categories import check_statistics, read_statistics, statistic_base
from ._flatbuffer import Buffer, Table
from ._json_structure import MOST_CLASSES, check_classes

_VERSION = "FlabuffersModel_v1"
_STATISTICS = "static_provider_v1"
_ELSEWHERE = {"text_process": "text_features", "embed_process": "embedding_features"}
_DEEPEST = 16
# Beyond it, CatBoost and Python's reader of JSON follow nested trees too deeply.
_DEEPEST_OTHER = 200
_UNUSED = 2**32 - 1


def check(content: bytes, suffix: str, name: str) -> None:
    """Check that a file holds a model that CatBoost can read and evaluate.

    Parameters
    ----------
    content : bytes
        The whole file.
    suffix : str
        The suffix of the file, ``.cbm``.
    name : str
        The name of the file, for the message.

    Raises
    ------
    ModelFileError
        With the place and the fault, if the file is damaged.
    UntranslatableError
        If the model has features of texts or embeddings, whose statistics are not checked.
    """
    with in_file(name):
        _check(content)


def _check(content: bytes) -> None:
    if content[:4] != b"CBM1":
        fail("byte 0", "it must begin with CBM1")
    core, at = sized_part(content, 4, "model core")
    root = Buffer(core, "model core").root()
    version = root.text(0, "FormatVersion")
    if version != _VERSION:
        fail("FormatVersion", f"{version!r:.40}, but it must be {_VERSION!r}")
    features = _Features(root.table(1, "ModelTrees"))
    _check_trees(features)
    _check_information(root, len(content))
    parts = root.texts(3, "ModelPartIds")
    for part in parts:
        if part != _STATISTICS and not part.startswith(tuple(_ELSEWHERE)):
            fail("ModelPartIds", f"{part!r:.60} is unknown")
    if len(set(parts)) < len(parts):
        fail("ModelPartIds", "a part is there twice")
    _refuse_private(features, parts)
    tables: dict[Any, tuple[int, int]] = {}
    if parts:
        tables, at = read_statistics(content, at)
    if at != len(content):
        fail(f"byte {at}", "bytes after the last part")
    if _STATISTICS in parts:
        check_statistics(features.statistics, tables)


def model_trees(content: bytes) -> Table:
    """The table of features and trees in a file."""
    return (
        Buffer(sized_part(content, 4, "model core")[0], "model core").root().table(1, "ModelTrees")
    )


def sized_part(content: bytes, at: int, place: str) -> tuple[bytes, int]:
    """A part of the file that begins with its size, and the place behind it."""
    size = int(Buffer(content, place).number(at, "I", place))
    if size > len(content) - at - 4:
        fail(place, f"{size} bytes, but the file ends after {max(0, len(content) - at - 4)}")
    return content[at + 4 : at + 4 + size], at + 4 + size


def _refuse_private(features: _Features, parts: list[str]) -> None:
    """Refuse models whose other parts CatBoost alone understands, before it reads them."""
    kinds = [
        kind
        for beginning, kind in _ELSEWHERE.items()
        if kind in features.private or any(part.startswith(beginning) for part in parts)
    ]
    if kinds:
        _refuse(f"{kinds[0]}: the saved model does not store how to convert them")
    if features.statistics and _STATISTICS not in parts:
        _refuse("final_ctr_computation_mode='Skip': CatBoost itself cannot evaluate such a model")


def _refuse(reason: str) -> NoReturn:
    raise UntranslatableError([("catboost", "catboost.CatBoost", reason)], 1)


# -- the features -------------------------------------------------------------------------------


class _Features:
    """The features, and the number of splits that they allow.

    Parameters
    ----------
    trees : Table
        The table that also holds the trees.
    """

    def __init__(self, trees: Table) -> None:
        self.trees = trees
        size = len(trees.buffer.content)
        self.floats = self._positions(5, "FloatFeatures", (1, 2), size)
        self.categories = self._positions(4, "CatFeatures", (0, 1), size)
        self.splits = self._count_borders()
        self.private = self._check_private(size)
        self._check_flat()
        used = {
            c.number(0, "Index", "i", -1): c.number(3, "UsedInModel", "b", 1)
            for c in trees.tables(4, "CatFeatures")
        }
        self.used = {index for index, flag in used.items() if flag}
        self.one_hot: set[tuple[int, int]] = set()
        self._check_one_hot()
        self.statistics = self._check_statistics()

    def _positions(
        self, field: int, name: str, numbers: tuple[int, int], size: int
    ) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for feature in self.trees.tables(field, name):
            pair = [
                int(feature.number(number, key, "i", -1))
                for number, key in zip(numbers, ("Index", "FlatIndex"), strict=True)
            ]
            # A feature may be missing in the file, but not any number of them.
            if not 0 <= pair[0] <= pair[1] < 8 * size + 2**20:
                fail(feature.place, f"Index {pair[0]} and FlatIndex {pair[1]} are impossible")
            if found and not (found[-1][0] < pair[0] and found[-1][1] < pair[1]):
                fail(feature.place, "Index and FlatIndex must rise from feature to feature")
            found.append((pair[0], pair[1]))
        return found

    def _check_flat(self) -> None:
        flat = [pair[1] for pair in self.floats + self.categories]
        if len(set(flat)) < len(flat):
            fail(self.trees.place, "two features have the same FlatIndex")
        complete = not self.private and sorted(flat) == list(range(len(flat)))
        for name, pairs in (("FloatFeatures", self.floats), ("CatFeatures", self.categories)):
            if complete and [pair[0] for pair in pairs] != list(range(len(pairs))):
                fail(self.trees.named(name), "Index must count them")

    def _count_borders(self) -> int:
        self.borders: dict[int, set[float]] = {}
        count = 0
        for (index, _), feature in zip(
            self.floats, self.trees.tables(5, "FloatFeatures"), strict=True
        ):
            borders = rising(feature, 3)
            self.borders[index] = set(borders.tolist())
            if feature.number(5, "NanValueTreatment", "b", 0) not in (0, 1, 2):
                fail(feature.named("NanValueTreatment"), "it must be 0, 1 or 2")
            if feature.number(0, "HasNans", "b", 0) not in (0, 1):
                fail(feature.named("HasNans"), "it must be 0 or 1")
            _check_name(feature, 4)
            count += len(borders)
        for feature in self.trees.tables(4, "CatFeatures"):
            _check_name(feature, 2)
        return count

    def _check_private(self, size: int) -> list[str]:
        found = []
        for field, name in ((12, "TextFeatures"), (18, "EmbeddingFeatures")):
            if self._positions(field, name, (0, 1), size):
                found.append("text_features" if field == 12 else "embedding_features")
        for feature in self.trees.tables(13, "EstimatedFeatures"):
            self.splits += len(feature.array(3, "Borders", "<f4"))
            found = found or ["text_features"]
        return found

    def _check_one_hot(self) -> None:
        last = -1
        for feature in self.trees.tables(6, "OneHotFeatures"):
            index = int(feature.number(0, "Index", "i", -1))
            values = feature.array(1, "Values", "<i4").tolist()
            texts = feature.texts(2, "StringValues")
            if index not in self.used:
                fail(feature.named("Index"), f"there is no used categorical feature {index}")
            if index <= last:
                fail(feature.named("Index"), "it must rise from feature to feature")
            if len(set(values)) < len(values):
                fail(feature.named("Values"), "a value is there twice")
            if texts and len(texts) != len(values):
                fail(feature.named("StringValues"), f"{len(texts)} for {len(values)} values")
            self.one_hot.update((index, value) for value in values)
            self.splits += len(values)
            last = index

    def _check_statistics(self) -> list[Any]:
        """The features made of statistics of categories: place, kind of statistic, and class."""
        found = []
        for feature in self.trees.tables(7, "CtrFeatures"):
            statistic = feature.table(0, "Ctr")
            self.splits += len(rising(feature, 1))
            for number, key in enumerate(("PriorNum", "PriorDenom", "Shift", "Scale"), 2):
                value = statistic.number(number, key, "f", 0.0)
                if not np.isfinite(value):
                    fail(statistic.named(key), f"{value} is not finite")
            base = statistic_base(statistic.table(0, "Base"))
            self._check_combination(statistic.place, base)
            found.append((statistic.place, base, statistic.number(1, "TargetBorderIdx", "i", 0)))
        return found

    def _check_combination(self, place: str, base: Any) -> None:
        _, columns, splits, values, _ = base
        if not columns or not set(columns) <= self.used:
            fail(
                place,
                f"it combines the categorical features {columns[:9]}, some of which are not used",
            )
        for index, border in splits:
            if border not in self.borders.get(index, ()):
                fail(place, f"feature {index} has no border {border:g}")
        for index, value in values:
            if (index, value) not in self.one_hot:
                fail(place, f"categorical feature {index} has no value {value}")


def _check_name(feature: Table, field: int) -> None:
    if "\0" in (feature.text(field, "FeatureId") or ""):
        fail(feature.named("FeatureId"), "a zero in the name of a feature")


def rising(feature: Table, field: int) -> NDArray[np.float32]:
    """The borders of a feature."""
    borders = feature.array(field, "Borders", "<f4")
    if not np.isfinite(borders).all():
        fail(feature.named("Borders"), "they must be finite")
    if (np.diff(borders) <= 0).any():
        fail(feature.named("Borders"), "they must rise")
    return borders


# -- the trees ----------------------------------------------------------------------------------


def _check_trees(features: _Features) -> None:
    trees = features.trees
    split = trees.array(1, "TreeSplits", "<i4").astype(np.int64)
    size = trees.array(2, "TreeSizes", "<i4").astype(np.int64)
    start = trees.array(3, "TreeStartOffsets", "<i4")
    step = trees.array(10, "NonSymmetricStepNodes", "<u2, <u2")
    end = trees.array(11, "NonSymmetricNodeIdToLeafId", "<u4").astype(np.int64)
    if (size < 0).any():
        fail(trees.named("TreeSizes"), "negative numbers")
    if not np.array_equal(start, np.cumsum(size) - size):
        fail(trees.named("TreeStartOffsets"), "they do not agree with TreeSizes")
    if len(split) != size.sum():
        fail(trees.named("TreeSplits"), f"{len(split)}, but TreeSizes add to {size.sum()}")
    symmetric = not len(step) and not len(end)
    bare = not symmetric and not features.splits and not split.any()
    if not bare and ((split < 0) | (split >= features.splits)).any():
        fail(trees.named("TreeSplits"), f"the features have {features.splits} splits")
    if symmetric:
        if (size > _DEEPEST).any():
            fail(trees.named("TreeSizes"), f"a depth of more than {_DEEPEST}")
        leaves = int((1 << size).sum())
    else:
        leaves = _count_leaves(trees, size, step, end)
    _check_leaves(trees, leaves, symmetric, end)


def _check_leaves(trees: Table, leaves: int, symmetric: bool, end: NDArray[np.int64]) -> None:
    width = int(trees.number(0, "ApproxDimension", "i", 0))
    value, weight = (
        trees.array(field, name, "<f8") for field, name in ((8, "LeafValues"), (9, "LeafWeights"))
    )
    bias = trees.array(16, "MultiBias", "<f8")
    values = len(value)
    if not 0 < width <= max(values, len(bias), 1):
        fail(trees.named("ApproxDimension"), f"{width}, with {values} values in leaves")
    if values != leaves * width:
        fail(trees.named("LeafValues"), f"{values}, but {leaves} leaves need {leaves * width}")
    if len(weight) != leaves and (len(weight) or not symmetric):
        fail(trees.named("LeafWeights"), f"{len(weight)}, but there are {leaves} leaves")
    if len(bias) not in (0, width):
        fail(trees.named("MultiBias"), f"{len(bias)} numbers, but ApproxDimension={width}")
    scale, shift = trees.number(14, "Scale", "d", 1.0), trees.number(15, "Bias", "d", 0.0)
    finite = {"Scale": scale, "Bias": shift, "MultiBias": bias}
    for name, numbers in {**finite, "LeafValues": value, "LeafWeights": weight}.items():
        if not np.isfinite(numbers).all():
            fail(trees.named(name), "it is not finite")
    last = end[end != _UNUSED]
    if (last % width).any() or (last >= max(1, values)).any():
        fail(trees.named("NonSymmetricNodeIdToLeafId"), f"there are {values} values in leaves")


def _count_leaves(
    trees: Table, size: NDArray[np.int64], step: NDArray[Any], end: NDArray[np.int64]
) -> int:
    """Check trees whose nodes say how far their children are, and count their leaves."""
    place, count = trees.named("NonSymmetricStepNodes"), int(size.sum())
    if not len(step) == len(end) == count:
        fail(place, f"{len(step)} nodes and {len(end)} places of leaves for {count} splits")
    if (size < 1).any():
        fail(trees.named("TreeSizes"), "a tree without a node")
    node = np.arange(count)
    last = np.repeat(np.cumsum(size), size)
    parents, deep = np.zeros(count, dtype=np.int64), np.full(count, -1)
    stops = np.zeros(count, dtype=bool)
    for side in ("f0", "f1"):
        child = node + step[side]
        stops |= child == node
        if (child >= last).any():
            fail(place, "a child beyond its tree")
        inner = child > node
        np.add.at(parents, child[inner], 1)
        deep[child[inner]] = node[inner]
    parents[np.cumsum(size) - size] += 1
    if (parents != 1).any():
        fail(place, f"node {int(np.flatnonzero(parents != 1)[0])} must have one parent")
    _check_depth(place, deep.tolist())
    width = max(1, int(trees.number(0, "ApproxDimension", "i", 0)))
    leaf, tree = end[stops] // width, np.repeat(np.arange(len(size)), size)[stops]
    order = np.lexsort((leaf, tree))
    if not np.array_equal(leaf[order], np.arange(len(leaf))):
        where = trees.named("NonSymmetricNodeIdToLeafId")
        fail(where, "the leaves of the trees must follow each other, each once")
    return len(leaf)


def _check_depth(place: str, parent: list[int]) -> None:
    depth = [0] * len(parent)
    for node, above in enumerate(parent):
        depth[node] = 0 if above < 0 else depth[above] + 1
    if max(depth, default=0) > _DEEPEST_OTHER:
        fail(place, f"a depth of more than {_DEEPEST_OTHER}")


# -- what is known about the training -----------------------------------------------------------


def _check_information(root: Table, length: int) -> None:
    outputs = int(root.table(1, "ModelTrees").number(0, "ApproxDimension", "i", 0))
    for pair in root.tables(2, "InfoMap"):
        key, value = pair.text(0, "Key"), pair.text(1, "Value")
        if key is None or value is None:
            fail(pair.place, "it has no key or no value")
        # CatBoost itself writes these as JSON again.
        if key in ("output_options", "training") or (key.endswith("params") and value):
            found = _check_json(f"InfoMap, {key}", value)
            if key == "class_params" and outputs > 1:
                known = Place(found, f"InfoMap, {key}")
                check_classes(known, outputs, max(MOST_CLASSES, length))


def _check_json(place: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        fail(place, f"no JSON ({error!s:.80})")
    if not isinstance(found, dict):
        fail(place, "no object in JSON")
    if place.endswith(", params"):
        _check_constraints(place, found.get("tree_learner_options", {}))
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")


def _check_constraints(place: str, options: Any) -> None:
    if not isinstance(options, dict):
        fail(f"{place}, tree_learner_options", "no object in JSON")
    given = options.get("monotone_constraints") or {}
    if not isinstance(given, dict) or not set(map(str, given.values())) <= {"-1", "0", "1"}:
        fail(f"{place}, monotone_constraints", "they must be -1, 0 or 1 for some features")
