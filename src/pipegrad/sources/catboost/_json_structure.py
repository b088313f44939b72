"""Checks the content of a CatBoost model in JSON before the library reads it.

CatBoost trusts the counts and the indices of a file, and takes zero for what has another type: it
would read outside of its arrays, divide by zero, or predict from another model than the file says.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..document import Place, read_json
from ._json_features import check_features

MOST_FEATURES = 2**20
"""A file may state more features only if it is longer: predictions take memory for all."""

MOST_CLASSES = 2**16
"""A file may state more classes only if it is longer."""

# CatBoost stores the distance between nodes in 16 bits.
_FARTHEST = 2**16 - 1
_DEEPEST = 30


def check(content: bytes, suffix: str, name: str) -> None:
    """Reject a file that is malformed or inconsistent.

    Parameters
    ----------
    content : bytes
        The content of the file.
    suffix : str
        Its ending, ".json".
    name : str
        The name of the file, for errors.

    Raises
    ------
    ModelFileError
        If CatBoost could not read the file, or would predict anything but what it says.
    """
    document = read_json(content, name)
    splits = check_features(document, max(MOST_FEATURES, len(content)))
    symmetric, others = document.get("oblivious_trees"), document.get("trees")
    if (symmetric is None) == (others is None):
        document.fail("needs either oblivious_trees or trees.")
    if symmetric is not None:
        outputs = _check_symmetric(symmetric, splits)
    else:
        assert others is not None
        outputs = _check_nested(others, splits)
    _check_scale(document, outputs)
    _check_information(document, outputs, len(content))


def _check_symmetric(trees: Place, splits: int) -> int:
    """Trees with one split for each level; returns the number of outputs."""
    outputs, weighted = 0, None
    for tree in trees.elements():
        listed = tree.get("splits")
        levels = [] if listed is None or listed.value is None else list(listed.elements())
        if len(levels) > _DEEPEST:
            tree["splits"].fail(f"{len(levels)} levels are too many.")
        for split in levels:
            split["split_index"].integer(0, splits - 1)
        leaves, values = 2 ** len(levels), tree["leaf_values"]
        count = len(values.numbers(finite=True))
        outputs = outputs or count // leaves
        if count != leaves * outputs or not outputs:
            values.fail(f"{count} numbers do not fit {leaves} leaves and {outputs} outputs.")
        weights = tree.get("leaf_weights")
        if weights is not None:
            weights.numbers(leaves, finite=True)
        if weighted not in (None, weights is not None):
            tree.fail("leaf_weights are there in some trees only.")
        weighted = weights is not None
    return outputs or 1


def _check_nested(trees: Place, splits: int) -> int:
    """Trees of nodes; returns the number of outputs."""
    outputs = 0
    for tree in trees.elements():
        for node, before in _nodes(tree):
            if "value" not in node.object():
                # A tree without any split may have a leaf alone.
                node["split"]["split_index"].integer(0, splits - 1)
                if before > _FARTHEST:
                    node.fail(f"its left side has more than {_FARTHEST} nodes.")
                continue
            count = _check_leaf(node)
            outputs = outputs or count
            if count != outputs:
                node["value"].fail(f"has {count} numbers, where other leaves have {outputs}.")
    return outputs or 1


def _check_leaf(node: Place) -> int:
    value = node["value"]
    if isinstance(value.value, list):
        count = len(value.numbers(finite=True))
        if not count:
            value.fail("has no numbers.")
    else:
        value.number()
        count = 1
    node["weight"].number()
    return count


def _nodes(tree: Place) -> Iterator[tuple[Place, int]]:
    """Each node with the number of nodes from it to its right child, children first."""
    waiting: list[tuple[Place, bool]] = [(tree, False)]
    sizes: list[int] = []
    while waiting:
        node, done = waiting.pop()
        if "value" in node.object():
            sizes.append(1)
            yield node, 0
        elif not done:
            waiting += [(node, True), (node["right"], False), (node["left"], False)]
        else:
            right, left = sizes.pop(), sizes.pop()
            sizes.append(1 + left + right)
            yield node, 1 + left


def _check_scale(document: Place, outputs: int) -> None:
    known = document.get("scale_and_bias")
    if known is None:
        return
    scale, bias = known.elements(2)
    scale.number()
    if isinstance(bias.value, list):
        count = len(bias.numbers(finite=True))
        if count not in (0, outputs):
            bias.fail(f"has {count} numbers for {outputs} outputs.")
    else:
        bias.number()


def _check_information(document: Place, outputs: int, length: int) -> None:
    """The options of the fit, which the classes and the constraints are read from."""
    information = document.get("model_info")
    if information is None:
        return
    for key, place in information.members():
        # CatBoost reads these as JSON again, to any depth.
        if (key.endswith("params") or key in ("output_options", "training")) and place.value != "":
            _object(place)
    for key in ("class_params", "multiclass_params"):
        classes = information.get(key)
        if outputs > 1 and classes is not None:
            check_classes(_object(classes), outputs, max(MOST_CLASSES, length))
            break
    params = information.get("params")
    if params is not None and params.value != "":
        _check_constraints(_object(params))


def check_classes(known: Place, outputs: int, most: int) -> None:
    """Check the class that each output belongs to.

    Parameters
    ----------
    known : Place
        The options of the classes.
    outputs : int
        Number of outputs of the model, more than one.
    most : int
        How many classes there may be.
    """
    names, count = known.get("class_names"), known.get("classes_count")
    classes = max(
        0 if names is None else len(names.array()), 0 if count is None else count.integer(0, most)
    )
    labels = known["class_to_label"].numbers(outputs)
    if not classes:
        return
    if (labels != np.floor(labels)).any() or labels.min() < 0 or labels.max() >= classes:
        known["class_to_label"].fail(f"must hold the numbers of classes, below {classes}.")
    if len(np.unique(labels)) != outputs:
        known["class_to_label"].fail("names a class twice.")


def _check_constraints(options: Place) -> None:
    """Monotone constraints by column."""
    for key in ("tree_learner_options", "monotone_constraints"):
        inner = options.get(key)
        if inner is None:
            return
        options = inner
    for key, place in options.members():
        place.integer(-1, 1)
        if not (key.isascii() and key.isdigit()):
            options.fail("must have the index of a feature as its key.", at=key)


def _object(place: Place) -> Place:
    """The object, which can stand in a text."""
    inside = place.parsed(place.value) if isinstance(place.value, str) else place
    inside.object()
    return inside
