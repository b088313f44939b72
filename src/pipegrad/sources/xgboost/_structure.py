"""Checks the content of an XGBoost model file before the library reads it.

XGBoost trusts the counts and the indices of a file: with wrong ones it reads outside of its arrays,
walks in circles or asks for any amount of memory. What it reports itself is checked here only where
the place of the fault would otherwise be unknown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..document import Place, read_json, shown, single
from ._categories import check_categories
from ._trees import check_tree
from ._ubjson import read_ubjson

LARGEST = 2**31 - 1
MOST_FEATURES = 2**24
"""A file may state more features only if it is longer: predictions take memory for all."""

# XGBoost does not decode the escape sequences of JSON, so that it would miss an escaped key.
_KEYS = frozenset(
    """
    learner version attributes feature_names feature_types gradient_booster objective
    learner_model_param base_score boost_from_average num_class num_feature num_target name model
    gbtree weight_drop weights boosted_rounds gbtree_model_param num_parallel_tree num_trees trees
    iteration_indptr tree_info cats enc feature_segments sorted_idx offsets values type id
    tree_param num_deleted num_nodes size_leaf_vector base_weights leaf_weights left_children
    right_children parents split_conditions split_indices split_type default_left loss_changes
    sum_hessian categories categories_nodes categories_segments categories_sizes
    reg_loss_param scale_pos_weight pseudo_huber_param huber_slope tweedie_regression_param
    tweedie_variance_power quantile_loss_param quantile_alpha softmax_multiclass_param
    """.split()  # noqa: SIM905
)
_LOGISTIC = ("reg:logistic", "binary:logistic")


@dataclass(frozen=True)
class Shape:
    """The numbers on which the parts of a model have to agree.

    Parameters
    ----------
    features : int
        Number of features.
    outputs : int
        Number of scores that the model predicts for a row.
    """

    features: int
    outputs: int


def check(content: bytes, suffix: str, name: str) -> None:
    """Reject a file that is malformed or inconsistent.

    Parameters
    ----------
    content : bytes
        The content of the file.
    suffix : str
        ".ubj" for UBJSON, else JSON.
    name : str
        The name of the file, for errors.

    Raises
    ------
    ModelFileError
        If XGBoost could not read the file, or would predict anything but what it says.
    """
    document = (
        read_ubjson(content, name)
        if suffix.lower() == ".ubj"
        else read_json(content, name, constants=True, verbatim=_KEYS)
    )
    learner = document["learner"]
    if not content.startswith(b"{"):
        document.fail("an XGBoost model begins with '{'.")
    version = document.get("version")
    if version is not None:
        version.integers(0, LARGEST, 3)
    shape = _shape(learner, len(content))
    _check_objective(learner, shape)
    _check_texts(learner)
    booster = learner["gradient_booster"]
    kind = booster["name"].one_of(("gbtree", "dart", "gblinear"))
    if kind == "gblinear":
        _check_weights(booster["model"], shape)
        return
    if kind == "dart":
        inner = booster["gbtree"]
        inner["name"].one_of(("gbtree",))
        count, vectors = _check_trees(inner["model"], shape, len(content))
        booster["weight_drop"].numbers(count, finite=shape.outputs > 1)
        if vectors:
            booster.fail("trees with several outputs have no dropout (DART).")
        return
    _check_trees(booster["model"], shape, len(content))


def _shape(learner: Place, length: int) -> Shape:
    known = learner["learner_model_param"]
    features = known["num_feature"].integer_text(1, max(MOST_FEATURES, length))
    classes = known["num_class"].integer_text(0, length)
    targets = known.get("num_target")
    labels = 1 if targets is None else targets.integer_text(1, length)
    if classes > 1 and labels > 1:
        known.fail(f"{classes} classes and {labels} targets exclude each other.")
    average = known.get("boost_from_average")
    if average is not None:
        average.integer_text(0, LARGEST)
    shape = Shape(features, max(1, classes, labels))
    base = known["base_score"]
    scores = _float_list(base)
    if len(scores) not in (1, shape.outputs):
        base.fail(f"holds {len(scores)} numbers for {shape.outputs} outputs.")
    if not np.isfinite(single(scores)).all():
        base.fail("must be finite.")
    if (
        learner["objective"]["name"].text() in _LOGISTIC
        and not 0 <= min(scores) <= max(scores) <= 1
    ):
        base.fail("must be a probability.")
    return shape


def _float_list(place: Place) -> list[float]:
    """A number or a list of numbers, in a text."""
    text = place.text().strip()
    if text.startswith("(") and text.endswith(")"):
        text = f"[{text[1:-1]}]"
    if not text.startswith("["):
        return [place.number_text(finite=False)]
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        place.fail(f"{shown(text)} is no list of numbers.")
    if not values or not set(map(type, values)) <= {int, float}:
        place.fail(f"{shown(text)} is no list of numbers.")
    try:
        return [float(value) for value in values]
    except OverflowError:
        place.fail("holds a number with too many digits.")


def _check_objective(learner: Place, shape: Shape) -> None:
    objective = learner["objective"]
    name = objective["name"].text()
    settings = {key: place for key, place in objective.members() if key != "name"}
    for place in settings.values():
        for _, value in place.members():
            value.text()
    if name.startswith("multi:"):
        classes = learner["learner_model_param"]["num_class"].integer_text(0, LARGEST)
        if classes != shape.outputs:
            objective.fail(f"{name} needs a num_class, not {classes}.")
    for part, key, low, high in _RANGES:
        if part in settings and key in settings[part].object():
            value = settings[part][key]
            if not low <= value.number_text() <= high:
                value.fail(f"lies outside of {low} to {high}.")
    if name == "reg:quantileerror":
        levels = objective["quantile_loss_param"]["quantile_alpha"]
        numbers = _float_list(levels)
        if not all(0 <= level <= 1 for level in numbers) or len(numbers) != shape.outputs:
            levels.fail(f"must be {shape.outputs} quantile levels between 0 and 1.")


_RANGES = (
    ("reg_loss_param", "scale_pos_weight", 0, float("inf")),
    ("pseudo_huber_param", "huber_slope", float("-inf"), float("inf")),
    ("tweedie_regression_param", "tweedie_variance_power", 1, 2),
)


def _check_texts(learner: Place) -> None:
    """Attributes and names, which XGBoost hands to Python."""
    for key, value in learner["attributes"].members():
        value.text()
        if key == "best_iteration":
            value.integer_text(-LARGEST, LARGEST)
    for key in ("feature_names", "feature_types"):
        names = learner.get(key)
        if names is not None:
            names.texts()


def _check_weights(model: Place, shape: Shape) -> None:
    rounds = model.get("boosted_rounds")
    trained = rounds is None or rounds.integer(0, LARGEST) > 0
    weights = model["weights"]
    if trained or len(weights.numbers()):
        weights.numbers((shape.features + 1) * shape.outputs)


def _check_trees(model: Place, shape: Shape, length: int) -> tuple[int, bool]:
    """Check the trees; their number, and whether their leaves are vectors."""
    known = model["gbtree_model_param"]
    trees = model["trees"]
    count = len(trees.array())
    stated = known["num_trees"].integer_text(0, LARGEST)
    if stated != count:
        known.fail(f"{stated} trees are stated, but there are {count}.", at="num_trees")
    groups = model["tree_info"].integers(0, shape.outputs - 1, count)
    _check_rounds(model, groups)
    widths, room = set(), MOST_FEATURES * 4 + 64 * length
    for tree in trees.elements():
        width, taken = check_tree(tree, shape.features, finite=shape.outputs > 1)
        if width > 1 and width != shape.outputs:
            tree.fail(f"leaves with {width} values in a model of {shape.outputs} outputs.")
        widths.add(width)
        room -= taken
        if room < 0:
            tree.fail("its categories need too much memory for a file of this size.")
    if len(widths) > 1:
        trees.fail("some have vectors as leaves, others numbers.")
    _check_order(trees, count)
    if model.get("cats") is not None:
        check_categories(model["cats"], shape.features)
    return count, max(widths, default=1) > 1


def _check_order(trees: Place, count: int) -> None:
    places = [tree["id"] for tree in trees.elements()]
    seen = np.zeros(count, dtype=bool)
    for place in places:
        number = place.integer(0, count - 1)
        if seen[number]:
            place.fail(f"two trees have the number {number}.")
        seen[number] = True


def _check_rounds(model: Place, groups: NDArray[np.int64]) -> None:
    """Check which trees belong to each boosting round."""
    count = len(groups)
    known = model["gbtree_model_param"].get("num_parallel_tree")
    parallel = 1 if known is None else known.integer_text(1, LARGEST)
    starts: Any = model.get("iteration_indptr")
    if starts is None:
        layer = parallel * (int(groups.max(initial=0)) + 1)
        if count == 0 or count % layer:
            model.fail(f"{count} trees are no whole number of rounds of {layer}.")
        return
    ends = starts.integers(0, count)
    if not len(ends) or ends[0] != 0 or ends[-1] != count or (np.diff(ends) < 0).any():
        starts.fail(f"must increase from 0 to the number of trees, {count}.")
