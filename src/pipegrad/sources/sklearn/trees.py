"""Decision trees and forests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from ...modules import Head, MultioutputHead, ProbabilityHead, RegressionHead, TreeEnsemble
from ...registry import Example, Objective, register
from ..arrays import to_array, to_tensor
from ..target_refusals import all_zero
from ._base import SklearnTranslation, validate
from ._flat_trees import flatten_trees, leaf_values, write_trees

_STRUCTURE = "the structure of the trees does not change"
_FIT = "records how the source was fitted"


def check_width_of_float32(X: Any) -> None:
    """Refuse values that become infinite in float32, the dtype that trees compare in."""
    values = X.data if sparse.issparse(X) else X
    with np.errstate(invalid="ignore", over="ignore"):
        rounded = values.astype(np.float32, copy=False)
    if np.isinf(rounded).any():
        raise ValueError("Input X contains infinity or a value too large for dtype('float32').")


class Trees(SklearnTranslation):
    """Base class for scikit-learn's trees, which compare values in float32."""

    sparse = True
    missing = True
    differentiable = False
    has_splits = True
    kept: ClassVar[tuple[str, ...]] = ("monotone", "features", "probabilities")

    def encode(self, operator: Any, X: Any) -> Any:
        first = self.trees(operator)[0]
        takes_nan = self.missing and first._support_missing_values(X)
        X = validate(operator, X, sparse=True, finite="allow-nan" if takes_nan else True)
        check_width_of_float32(X)
        return X

    def trees(self, operator: Any) -> list[Any]:
        """Return the fitted trees."""
        return list(operator.estimators_)

    def columns(self, operator: Any) -> list[Any] | None:
        """Return the columns that each tree uses; None if each uses all."""
        return None

    def monotone(self, operator: Any) -> Tensor | None:
        """Return the constraint of the feature of each node; None if all are free."""
        trees = self.trees(operator)
        if all(getattr(tree, "monotonic_cst", None) is None for tree in trees):
            return None
        return torch.from_numpy(np.concatenate([_constraints(tree) for tree in trees]))


def _constraints(tree: Any) -> NDArray[np.int64]:
    """Return the constraint of the feature of each node of a fitted tree."""
    feature = tree.tree_.feature[tree.tree_.children_left >= 0]
    given = tree.monotonic_cst
    if given is None:
        return np.zeros(len(feature), dtype=np.int64)
    return np.asarray(given, dtype=np.int64)[feature]


class Averaged(Trees):
    """One tree or the mean of many; leaves hold means or class proportions."""

    unchanged_attributes: ClassVar[Any] = {
        "n_classes_": _STRUCTURE,
        "n_outputs_": _STRUCTURE,
        "max_features_": _STRUCTURE,
        "estimator_": "the template that the trees were cloned from",
        "estimators_features_": _STRUCTURE,
        "oob_score_": _FIT,
        "oob_prediction_": _FIT,
        "oob_decision_function_": _FIT,
    }

    def to_torch(self, operator: Any) -> nn.Module:
        parts = [tree.tree_ for tree in self.trees(operator)]
        flat = flatten_trees(parts, self.columns(operator))
        values = self.values(operator)
        classifies = hasattr(operator, "classes_")
        counts = class_counts(operator) if classifies else ()
        if classifies:
            values = values[:, _known_classes(counts)][:, None]
        return TreeEnsemble(
            **flat.structure,
            leaf_values=to_tensor(values.reshape(len(values), -1)),
            single=True,
            average=len(parts) > 1,
            probabilities=counts if classifies else None,
            positive=not classifies and self.criterion(operator) == "poisson",
            squeeze=not classifies and values.shape[1] == 1,
            monotone=self.monotone(operator),
        )

    def values(self, operator: Any) -> NDArray[Any]:
        """Return the values of all leaves, shape (leaves, outputs, classes)."""
        return leaf_values([tree.tree_ for tree in self.trees(operator)])

    def write_back(self, module: TreeEnsemble, operator: Any) -> None:
        values = self.values(operator).copy()
        if hasattr(operator, "classes_"):
            known = _known_classes(class_counts(operator))
            values[:, known] = to_array(module.leaf_table(), values[:, known])
        else:
            values = to_array(module.leaf_table(), values)
        write_trees(module, [tree.tree_ for tree in self.trees(operator)], values)

    def criterion(self, operator: Any) -> str:
        """Return the split criterion."""
        return str(self.trees(operator)[0].criterion)

    def head(self, operator: Any) -> Head:
        if not hasattr(operator, "classes_"):
            return RegressionHead()
        counts = class_counts(operator)
        return ProbabilityHead(log=True) if len(counts) == 1 else MultioutputHead(counts)

    def objective(self, operator: Any) -> Objective:
        if hasattr(operator, "classes_"):
            tree = self.trees(operator)[0]
            weight = getattr(operator, "class_weight", tree.class_weight)
            weight = "balanced" if weight == "balanced_subsample" else weight
            counts = class_counts(operator)
            options = {"counts": counts} if len(counts) > 1 else {}
            return Objective("negative_log_likelihood", options, weight)
        criterion = self.criterion(operator)
        if criterion == "poisson":
            return Objective("tweedie", {"power": 1.0, "link": "identity"})
        return Objective("absolute_error" if criterion == "absolute_error" else "squared_error")


def since_1_6(examples: tuple[Any, ...]) -> tuple[Any, ...]:
    """Mark the examples with missing values as requiring scikit-learn 1.6."""
    return tuple(
        replace(e, since="1.6") if isinstance(e, Example) and "missing" in str(e.data) else e
        for e in examples
    )


def class_counts(operator: Any) -> tuple[int, ...]:
    """Return the number of classes of each target."""
    return tuple(int(count) for count in np.atleast_1d(operator.n_classes_))


def _known_classes(counts: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask over (targets, classes) of the entries that stand for a class."""
    return np.arange(max(counts)) < np.array(counts)[:, None]


_DEPTH = {"max_depth": 4, "random_state": 0}


class OneTree(Averaged):
    """A single decision tree."""

    def trees(self, operator: Any) -> list[Any]:
        return [operator]


@register("sklearn.tree.DecisionTreeClassifier")
class TreeClassifier(OneTree):
    """The leaves' class proportions are trainable and remain proportions."""

    data = "multiclass"
    examples = (
        _DEPTH,
        {"random_state": 0},
        {"class_weight": "balanced", "criterion": "entropy", **_DEPTH},
        {"ccp_alpha": 0.02, "random_state": 0},
        {"max_leaf_nodes": 7, "random_state": 0},
        {"max_depth": 1, "criterion": "log_loss", "random_state": 0},
        {"splitter": "random", "min_samples_leaf": 3, "max_features": 3, "random_state": 0},
        Example(_DEPTH, data="binary_strings"),
        Example({"class_weight": {0: 1.0, 1: 3.0}, **_DEPTH}, data="binary"),
        Example({"monotonic_cst": [1, 0, 0, 0, 0, -1], **_DEPTH}, data="binary"),
        Example(_DEPTH, data="sparse_multiclass"),
        Example(_DEPTH, data="missing_binary"),
        Example(_DEPTH, data="several"),
        Example({"class_weight": "balanced", **_DEPTH}, data="several"),
    )


@register("sklearn.tree.ExtraTreeClassifier")
class ExtraTreeClassifier(TreeClassifier):
    """A classification tree with randomized splits."""

    examples = since_1_6(TreeClassifier.examples)


@register("sklearn.tree.DecisionTreeRegressor")
class TreeRegressor(OneTree):
    """The leaves' means are trainable."""

    examples = (
        _DEPTH,
        {"random_state": 0},
        {"criterion": "absolute_error", **_DEPTH},
        {"criterion": "friedman_mse", **_DEPTH},
        {"splitter": "random", "min_samples_leaf": 3, "random_state": 0},
        {"min_samples_split": 1000},
        Example({"criterion": "poisson", **_DEPTH}, data="positive"),
        Example(_DEPTH, data="multioutput"),
        Example(_DEPTH, data="sparse"),
        Example(_DEPTH, data="missing"),
    )

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return all_zero(y) if self.criterion(operator) == "poisson" else None


@register("sklearn.tree.ExtraTreeRegressor")
class ExtraTreeRegressor(TreeRegressor):
    """A regression tree with randomized splits."""

    examples = since_1_6(TreeRegressor.examples)


_FEW = {"n_estimators": 5, "random_state": 0}


@register("sklearn.ensemble.RandomForestClassifier")
class ForestClassifier(Averaged):
    """The mean of the trees' class proportions, which are trainable."""

    data = "multiclass"
    examples = (
        _FEW,
        {**_FEW, "max_depth": 3, "class_weight": "balanced_subsample"},
        {**_FEW, "n_estimators": 1},
        {**_FEW, "bootstrap": True, "oob_score": True, "max_samples": 0.7},
        {**_FEW, "criterion": "entropy", "max_leaf_nodes": 6, "ccp_alpha": 0.01},
        Example({**_FEW, "class_weight": "balanced"}, data="binary_strings"),
        Example(_FEW, data="sparse_multiclass"),
        Example(_FEW, data="missing_binary"),
        Example({**_FEW, "max_depth": 4}, data="several"),
    )


@register("sklearn.ensemble.ExtraTreesClassifier")
class ExtraTreesClassifier(ForestClassifier):
    """A classification forest with randomized splits."""

    examples = since_1_6(ForestClassifier.examples)


@register("sklearn.ensemble.RandomForestRegressor")
class ForestRegressor(Averaged):
    """The mean of the trees' leaf means, which are trainable."""

    examples = (
        _FEW,
        {**_FEW, "max_depth": 3, "criterion": "absolute_error"},
        {**_FEW, "n_estimators": 1},
        {**_FEW, "bootstrap": True, "oob_score": True},
        Example({**_FEW, "criterion": "poisson"}, data="positive"),
        Example(_FEW, data="multioutput"),
        Example(_FEW, data="sparse"),
        Example(_FEW, data="missing"),
    )

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return all_zero(y) if self.criterion(operator) == "poisson" else None


@register("sklearn.ensemble.ExtraTreesRegressor")
class ExtraTreesRegressor(ForestRegressor):
    """A regression forest with randomized splits."""

    examples = since_1_6(ForestRegressor.examples)
