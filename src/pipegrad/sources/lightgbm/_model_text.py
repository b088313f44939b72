"""LightGBM's text model: read into arrays, and written back with new learned parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...modules import AS_ZERO, NAN, ZERO, TreeEnsemble
from ..arrays import to_array, to_tensor
from ..sklearn._flat_trees import monotone_values

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
# Meaning of the two bits of the decision type that describe missing values.
_MISSING = np.array([AS_ZERO, ZERO, NAN, NAN])


def whole_text(booster: Any) -> str:
    """The text of the model, including the trees after the best iteration."""
    return str(booster.model_to_string(num_iteration=-1))


class Header:
    """The parts of a model before and after the trees: the objective and the training parameters.

    Parameters
    ----------
    text : str
        The text of a model; a single tree suffices.
    """

    def __init__(self, text: str) -> None:
        first, _, rest = text.partition("\nTree=")
        lines = first.split("\n")
        self.values = dict(line.split("=", 1) for line in lines if "=" in line)
        self.average = "average_output" in lines
        self.outputs = int(self.values["num_tree_per_iteration"])
        parameters = rest.partition("\nparameters:")[2] or first.partition("\nparameters:")[2]
        self.parameters = dict(re.findall(r"^\[(\w+): (.*)\]$", parameters, re.MULTILINE))

    @property
    def constraints(self) -> NDArray[np.int64]:
        """The monotone constraint of each column; empty if there are none."""
        given = self.parameters.get("monotone_constraints", "")
        return np.array(given.split(",") if given else [], dtype=np.int64)

    @property
    def objective(self) -> tuple[str, dict[str, str]]:
        """Name and options of the objective; the name of a custom objective is ""."""
        name, *options = self.values.get("objective", "").split() or [""]
        return name, {key: value for key, _, value in (o.partition(":") for o in options)}


def header(booster: Any) -> Header:
    """The header of a booster, read without dumping all trees."""
    return Header(booster.model_to_string(num_iteration=1))


class Model:
    """The trees used for prediction, as flat arrays.

    Parameters
    ----------
    text : str
        The text of the whole model.
    rounds : int
        Number of boosting rounds used (the best iteration); all if not positive.
    """

    def __init__(self, text: str, rounds: int = -1) -> None:
        self.before, mark, rest = text.partition("\nTree=")
        trees, end, after = rest.partition("\nend of trees")
        self.after = end + after
        self.trees = [f"Tree={tree}" for tree in trees.split("\nTree=")] if mark else []
        self.header = Header(f"{self.before}\nTree={self.after}")
        outputs = self.header.outputs
        self.rounds = len(self.trees) // outputs
        if 0 < rounds < self.rounds:
            self.rounds = rounds
        self.used = self.rounds * outputs
        self.lines = [dict(_pairs(tree)) for tree in self.trees[: self.used]]
        self._leaves = self._count("num_leaves")
        self._nodes = self._leaves - 1

    # -- reading -----------------------------------------------------------------------------

    def module(self) -> TreeEnsemble:
        """The trees as a module that shares no memory with the model."""
        header, linear = self.header, self.linear
        several = header.outputs > 1
        output = torch.arange(self.used) % header.outputs if several else None
        weights = None
        if header.average:
            weights = torch.full((self.used,), 1 / self.rounds, dtype=torch.float64)
        return TreeEnsemble(
            **self._structure(),
            **self._categories(),
            leaf_values=to_tensor(self.leaf_values)[:, None],
            tree_weights=weights,
            tree_output=output,
            outputs=header.outputs if several else None,
            linear=None if linear is None else _tensors(*linear),
            squeeze=not several,
            monotone=self._monotone(),
        )

    @cached_property
    def leaf_values(self) -> NDArray[np.float64]:
        """Values of the leaves, shape (leaves,)."""
        return self._floats("leaf_value")

    @cached_property
    def threshold(self) -> NDArray[np.float64]:
        """Thresholds of the nodes; at categorical nodes, the index of the category set."""
        return self._floats("threshold")

    @cached_property
    def decision(self) -> NDArray[np.int64]:
        """Decision type of each node: bits for categories, default direction and missing values."""
        return self._integers("decision_type")

    @cached_property
    def categorical(self) -> NDArray[np.bool_]:
        """Mask of the categorical nodes."""
        return (self.decision & _CATEGORICAL) > 0

    @cached_property
    def linear(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
        """Constants, columns and coefficients of the linear models in the leaves, if any."""
        if not self._linear_trees.any():
            return None
        inside = np.repeat(self._linear_trees, self._leaves)
        constant = self.leaf_values.copy()
        constant[inside] = self._floats("leaf_const")
        count = np.zeros(len(constant), dtype=np.int64)
        count[inside] = self._integers("num_features")
        width = max(1, int(count.max()))
        filled = np.arange(width) < count[:, None]
        column = np.full(filled.shape, -1)
        coefficient = np.zeros(filled.shape)
        column[filled] = self._integers("leaf_features")
        coefficient[filled] = self._floats("leaf_coeff")
        return constant, column, coefficient

    @cached_property
    def _linear_trees(self) -> NDArray[np.bool_]:
        return np.array([tree.get("is_linear") == "1" for tree in self.lines])

    def _structure(self) -> dict[str, Any]:
        node, leaf = _starts(self._nodes), _starts(self._leaves)
        of_node, of_leaf = np.repeat(node, self._nodes), np.repeat(leaf, self._nodes)
        sides = {}
        for side in ("left", "right"):
            child = self._integers(f"{side}_child")
            sides[side] = torch.from_numpy(np.where(child < 0, child - of_leaf, child + of_node))
        compared = np.where(self.categorical, 0.0, self.threshold)
        default = ~self.categorical & ((self.decision & _DEFAULT_LEFT) > 0)
        return {
            "roots": torch.from_numpy(np.where(self._nodes > 0, node, ~leaf)),
            "feature": torch.from_numpy(self._integers("split_feature")),
            "threshold": to_tensor(compared),
            "default_left": torch.from_numpy(default),
            "missing": torch.from_numpy(_MISSING[(self.decision >> 2) & 3]),
            **sides,
        }

    def _categories(self) -> dict[str, Any]:
        """Width of each node's category set, and the categories that go left."""
        if not self.categorical.any():
            return {}
        width = np.zeros(len(self.threshold), dtype=np.int64)
        words = []
        for tree, first, count in zip(self.lines, _starts(self._nodes), self._nodes, strict=True):
            if tree.get("num_cat", "0") == "0":
                continue
            bounds = np.array(tree["cat_boundaries"].split(), dtype=np.int64)
            bits = np.array(tree["cat_threshold"].split(), dtype="<u4")
            for node in first + np.flatnonzero(self.categorical[first : first + count]):
                start, end = bounds[int(self.threshold[node]) :][:2]
                words.append(bits[start:end])
                width[node] = 32 * (end - start)
        left = np.unpackbits(np.concatenate(words).view(np.uint8), bitorder="little")
        return {
            "category_width": torch.from_numpy(width),
            "category_left": torch.from_numpy(left.astype(bool)),
        }

    def _monotone(self) -> torch.Tensor | None:
        """The constraint of the feature of each node; None if all are free."""
        constraints = self.header.constraints
        if self.linear is not None or not constraints.any():
            return None
        return torch.from_numpy(constraints[self._integers("split_feature")])

    def _count(self, key: str) -> NDArray[np.int64]:
        return np.array([int(tree[key]) for tree in self.lines], dtype=np.int64)

    def _tokens(self, key: str) -> list[str]:
        return " ".join([tree.get(key, "") for tree in self.lines]).split()

    def _floats(self, key: str) -> NDArray[np.float64]:
        return np.array(self._tokens(key), dtype=np.float64)

    def _integers(self, key: str) -> NDArray[np.int64]:
        return np.array(self._tokens(key), dtype=np.int64)

    # -- writing -----------------------------------------------------------------------------

    def with_numbers(self, module: TreeEnsemble) -> str:
        """The text of the model with the leaf values and thresholds of a module."""
        moved = to_array(module.moved_thresholds(to_tensor(self.threshold)))
        values = _kept(self.leaf_values, module.leaf_table()[:, 0])
        values = monotone_values(module, values, np.where(self.categorical, 0.0, moved))
        new = {"threshold": np.where(self.categorical, self.threshold, moved)}
        if self.linear is not None:
            constant, column, coefficient = self.linear
            inside = np.repeat(self._linear_trees, self._leaves)
            constant = _kept(constant, module.linear_constant)
            # The value of a leaf without a linear model is its constant.
            values = np.where(inside, values, constant)
            new["leaf_const"] = constant[inside]
            new["leaf_coeff"] = _kept(coefficient, module.linear_weight)[column >= 0]
        new["leaf_value"] = values
        tokens = {key: self._new_tokens(key, numbers) for key, numbers in new.items()}
        if (values != self.leaf_values).any():
            tokens["internal_value"] = self._inner_values(values - self.leaf_values)
        return self._joined({key: iter(parts) for key, parts in tokens.items()})

    def _new_tokens(self, key: str, numbers: NDArray[np.float64]) -> list[str]:
        tokens = self._tokens(key)
        changed = np.flatnonzero(np.array(tokens, dtype=np.float64) != numbers)
        for place, number in zip(changed.tolist(), numbers[changed].tolist(), strict=True):
            tokens[place] = repr(number)
        return tokens

    def _inner_values(self, change: NDArray[np.float64]) -> list[str]:
        """Values of inner nodes: each moves by the mean change of the leaves below it."""
        tokens, leaf = [], 0
        for tree in self.lines:
            old = tree.get("internal_value", "").split()
            count = len(old) + 1
            here = _mean_below(tree, change[leaf : leaf + count].tolist()) if old else []
            tokens += [f"{float(a) + b:g}" for a, b in zip(old, here, strict=True)]
            leaf += count
        return tokens

    def _joined(self, tokens: dict[str, Any]) -> str:
        trees = []
        for tree in self.trees[: self.used]:
            lines = tree.split("\n")
            for i, line in enumerate(lines):
                key, equals, old = line.partition("=")
                if equals and key in tokens:
                    lines[i] = f"{key}={_in_place(old, tokens[key])}"
            trees.append("\n".join(lines))
        trees += self.trees[self.used :]
        # LightGBM locates each tree by these sizes, which include the preceding line break.
        sizes = " ".join(str(len(tree.encode()) + 1) for tree in trees)
        before = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", self.before, flags=re.MULTILINE)
        return "\n".join([before, *trees]) + self.after


def _pairs(tree: str) -> Iterable[tuple[str, str]]:
    for line in tree.split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            yield key, value


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(sizes) - sizes


def _tensors(*arrays: NDArray[Any]) -> Any:
    return tuple(torch.from_numpy(array) for array in arrays)


def _kept(before: NDArray[Any], after: Any) -> NDArray[Any]:
    """The new values; unchanged values keep their original precision."""
    now = after.detach().cpu()
    same = torch.from_numpy(before).to(now.dtype) == now
    return np.where(same.numpy(), before, now.numpy().astype(before.dtype))


def _in_place(old: str, tokens: Any) -> str:
    """Replace the numbers in a line and keep its spaces, which assign numbers to leaves."""
    return re.sub(r"\S+", lambda _: next(tokens), old)


def _mean_below(tree: dict[str, str], change: list[float]) -> list[float]:
    """Mean change of the leaves below each node."""
    weight = [float(w) for w in tree.get("leaf_weight", "").split()]
    if len(weight) != len(change) or not min(weight) > 0:
        weight = [1.0] * len(change)
    left, right = ([int(c) for c in tree[f"{side}_child"].split()] for side in ("left", "right"))
    sums, weights = [0.0] * len(left), [0.0] * len(left)
    order = [0]
    for node in order:
        order += [child for child in (left[node], right[node]) if child >= 0]
    for node in reversed(order):
        for child in (left[node], right[node]):
            inner = child >= 0
            sums[node] += sums[child] if inner else change[~child] * weight[~child]
            weights[node] += weights[child] if inner else weight[~child]
    return [a / b for a, b in zip(sums, weights, strict=True)]
