"""Ensembles that may consist of trees, and trees fitted without a target."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.ensemble._iforest import _average_path_length
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
from torch import nn

from ... import glue
from ...errors import ArgumentError
from ...graph import join
from ...modules import (
    BernoulliHead,
    Constant,
    Head,
    Isolation,
    LeafIndicators,
    MulticlassHead,
    OutlierHead,
    RegressionHead,
    SplitRelaxation,
    TreeEnsemble,
    WeightedMedian,
)
from ...registry import Builder, Example, Expansion, Objective, register
from ..arrays import to_array, to_tensor
from ._base import SKLEARN, parse_version, validate
from ._flat_trees import flatten_trees, leaf_values, write_trees
from .trees import Averaged, Trees, check_width_of_float32

_TREES = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
_SEVERAL = {"n_estimators": 4, "random_state": 0}
_SMALL = DecisionTreeClassifier(max_depth=3)
_ONE_CLASS = parse_version("1.6") <= SKLEARN


def _not_trees(operator: Any) -> str | None:
    for member in operator.estimators_:
        if type(member) not in _TREES:
            return f"its members are not trees but {type(member).__name__}"
    return None


class AnyMembers(Expansion):
    """The mean of the outputs of members that are not trees; without probabilities, they vote."""

    responses = ("predict", "predict_proba")
    separate = ("decision_function",)

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        classifies, votes = hasattr(operator, "classes_"), _votes_of_members(operator)
        sure = method == "decision_function"
        asked = "votes" if votes else "predict_proba" if classifies else "predict"
        asked = method if sure else asked
        checked = glue.Checked(operator, _checked)
        source = builder.add(join(path, "checked"), checked, (source,))
        values = []
        members = zip(operator.estimators_, operator.estimators_features_, strict=True)
        for number, (member, columns) in enumerate(members):
            through, name = source, join(path, f"estimators_/{number}")
            if not np.array_equal(columns, np.arange(operator.n_features_in_)):
                picked = glue.Columns(np.asarray(columns))
                through = builder.add(f"{name}/columns", picked, (source,))
            values.append(builder.expand(member, through, name, asked))
        task = "votes" if votes else "classification" if classifies else "regression"
        joint = glue.Average("regression" if sure else task)
        if sure:
            return builder.add(join(path, "average"), joint, tuple(values), "predict")
        if classifies and (operator.n_classes_ == 1 or not _complete(operator)):
            joint.places = tuple(tuple(m.classes_.tolist()) for m in operator.estimators_)
            joint.classes = operator.n_classes_
        value = builder.add(join(path, "average"), joint, tuple(values), method)
        if method == "predict" and classifies:
            value = builder.add(join(path, "labels"), glue.Labels(operator.classes_), (value,))
        return value


def _complete(operator: Any) -> bool:
    """Return whether all members saw every class."""
    return all(len(member.classes_) == operator.n_classes_ for member in operator.estimators_)


def _votes_of_members(operator: Any) -> bool:
    """Return whether the members vote because they have no probabilities."""
    classifies = hasattr(operator, "classes_")
    return classifies and not hasattr(operator.estimators_[0], "predict_proba")


def _checked(operator: Any, X: Any) -> Any:
    return validate(operator, X, sparse=True, finite=False)


_ANY = AnyMembers()


class BoostedMembers(Expansion):
    """Members of AdaBoost that are not trees: the weighted median, or weighted votes.

    The weights stay.
    """

    def expand(self, operator: Any, builder: Builder, source: str, path: str, method: str) -> str:
        classifies = hasattr(operator, "classes_")
        checked = glue.Checked(operator, _checked_finite)
        source = builder.add(join(path, "checked"), checked, (source,))
        asked = "votes" if classifies else "predict"
        values = tuple(
            builder.expand(member, source, join(path, f"estimators_/{number}"), asked)
            for number, member in enumerate(operator.estimators_)
        )
        weights = operator.estimator_weights_
        joint = _boosted_votes(operator) if classifies else glue.Median(weights[: len(values)])
        value = builder.add(join(path, "joint"), joint, values, method)
        if method == "predict" and classifies:
            value = builder.add(join(path, "labels"), glue.Labels(operator.classes_), (value,))
        return value


def _boosted_votes(operator: Any) -> glue.BoostedVotes:
    weights = operator.estimator_weights_
    used = tuple(float(weight) for weight in weights[: len(operator.estimators_)])
    return glue.BoostedVotes(used, float(weights.sum()), operator.n_classes_)


def _checked_finite(operator: Any, X: Any) -> Any:
    return validate(operator, X, sparse=True)


_BOOSTED = BoostedMembers()


class Bagging(Averaged):
    """Trees fitted on random samples and features."""

    def expansion(self, operator: Any) -> Expansion | None:
        unlike = hasattr(operator, "classes_") and not _complete(operator)
        return _ANY if unlike or _not_trees(operator) else None

    def encode(self, operator: Any, X: Any) -> Any:
        # Each tree checks only the columns that it uses.
        X = validate(operator, X, sparse=True, finite=False)
        seen = X[:, np.unique(np.concatenate(self.columns(operator)))]
        values = seen.data if sparse.issparse(seen) else seen
        if not operator.estimators_[0]._support_missing_values(X) and np.isnan(values).any():
            raise ValueError("Input X contains NaN.")
        check_width_of_float32(seen)
        return X

    def columns(self, operator: Any) -> list[Any]:
        return list(operator.estimators_features_)


@register("sklearn.ensemble.BaggingClassifier")
class BaggingClassifier(Bagging):
    """The mean of its members' probabilities or votes; trees become one module, others steps."""

    data = "multiclass"
    examples = (
        _SEVERAL,
        {**_SEVERAL, "estimator": _SMALL, "max_features": 0.5},
        {**_SEVERAL, "estimator": _SMALL, "bootstrap_features": True, "oob_score": True},
        Example({**_SEVERAL, "estimator": _SMALL}, data="binary_strings"),
        Example({**_SEVERAL, "estimator": _SMALL}, data="sparse_multiclass"),
        Example({**_SEVERAL, "estimator": _SMALL}, data="missing_binary"),
    )


@register("sklearn.ensemble.BaggingRegressor")
class BaggingRegressor(Bagging):
    """The mean of its members' predictions; trees become one module, other members steps."""

    examples = (
        _SEVERAL,
        {**_SEVERAL, "max_features": 3, "max_samples": 0.5, "bootstrap": False},
        {**_SEVERAL, "estimator": ExtraTreeRegressor(max_depth=4)},
        Example({**_SEVERAL, "max_features": 3}, data="sparse"),
    )


@register("sklearn.ensemble.AdaBoostClassifier")
class AdaBoostClassifier(Trees):
    """The trees' weights are trainable; a leaf votes for one class, which is fixed."""

    data = "multiclass"
    missing = False
    examples = (
        Example(_SEVERAL, since="1.6"),
        Example({**_SEVERAL, "estimator": _SMALL, "learning_rate": 0.4}, since="1.6"),
        Example(_SEVERAL, data="binary_strings", since="1.6"),
        Example({**_SEVERAL, "estimator": _SMALL}, data="sparse_multiclass", since="1.6"),
        Example({**_SEVERAL, "algorithm": "SAMME"}, before="1.6"),
        Example({**_SEVERAL, "algorithm": "SAMME"}, data="binary_strings", before="1.6"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "estimators_": "a leaf votes for one class, which does not change",
        "estimator_": "the template that the trees were cloned from",
        "estimator_errors_": "records how the source was fitted",
        "n_classes_": "the number of classes does not change",
    }

    def expansion(self, operator: Any) -> Expansion | None:
        if self.refuse(operator) or _one_class(operator):
            return None
        return _BOOSTED if _not_trees(operator) else None

    def refuse(self, operator: Any) -> str | None:
        if getattr(operator, "algorithm", "") == "SAMME.R":
            return "algorithm='SAMME.R' has no module; later versions removed it"
        if _one_class(operator) and not _ONE_CLASS:
            return "it has only one class, which scikit-learn itself does not predict before 1.6"
        for member in operator.estimators_ if _not_trees(operator) else ():
            if not np.array_equal(member.classes_, operator.classes_):
                return "some of its members did not see every class"
        return None

    def trainable(self, operator: Any) -> bool:
        return not _one_class(operator)

    def to_torch(self, operator: Any) -> nn.Module:
        if _one_class(operator):
            return Constant(torch.zeros(1, dtype=torch.float64)).requires_grad_(False)
        two = operator.n_classes_ == 2
        return TreeEnsemble(
            **flatten_trees([tree.tree_ for tree in operator.estimators_]).structure,
            leaf_values=to_tensor(_votes(operator)),
            single=True,
            tree_weights=to_tensor(operator.estimator_weights_[: len(operator.estimators_)]),
            train_weights=True,
            average=True,
            squeeze=two,
            monotone=self.monotone(operator) if two else None,
        )

    def module(self, operator: Any, splits: SplitRelaxation, method: str = "score") -> nn.Module:
        if splits.soft and operator.n_classes_ == 2 and self.monotone(operator) is not None:
            raise ArgumentError(
                f"trees must be 'leaves' for an AdaBoostClassifier with monotonic_cst, got "
                f"{splits.way!r}: the votes of its leaves cannot follow thresholds that move."
            )
        return super().module(operator, splits)

    def write_back(self, module: Any, operator: Any) -> None:
        if _one_class(operator):
            return
        weights = np.array(operator.estimator_weights_)
        factors = module.tree_factors()
        assert factors is not None
        weights[: len(operator.estimators_)] = to_array(factors)
        operator.estimator_weights_ = weights
        parts = [tree.tree_ for tree in operator.estimators_]
        write_trees(module, parts, leaf_values(parts))

    def head(self, operator: Any) -> Head:
        if operator.n_classes_ == 2:
            return BernoulliHead("logistic")
        head = MulticlassHead("softmax", scale=_scale(operator))
        if _one_class(operator):
            # The zeros of the decision function are objects if X is sparse.
            head.responses = ("predict", "predict_proba", "predict_log_proba")
        return head

    def objective(self, operator: Any) -> Objective:
        return Objective("log_loss", {"scale": _scale(operator)})


def _one_class(operator: Any) -> bool:
    """Return whether the score is zero because there is one class only."""
    return bool(operator.n_classes_ == 1)


def _scale(operator: Any) -> float:
    return 1 / max(1, operator.n_classes_ - 1)


def _votes(operator: Any) -> NDArray[Any]:
    """Return a leaf's votes: 1 for its class, negative for others; one column for two classes."""
    count = operator.n_classes_
    votes = []
    for tree in operator.estimators_:
        shares = leaf_values([tree.tree_])[:, 0]
        place = np.searchsorted(operator.classes_, tree.classes_[shares.argmax(1)])
        votes.append(np.where(np.arange(count) == place[:, None], 1.0, -1.0 / (count - 1)))
    table = np.concatenate(votes)
    return 2 * table[:, 1:] if count == 2 else table


@register("sklearn.ensemble.AdaBoostRegressor")
class AdaBoostRegressor(Trees):
    """The weighted median of the trees' predictions; the leaf means are trainable."""

    missing = False
    examples = (
        _SEVERAL,
        {**_SEVERAL, "loss": "exponential", "learning_rate": 0.5},
        {**_SEVERAL, "estimator": DecisionTreeRegressor(max_depth=2), "loss": "square"},
        Example(_SEVERAL, data="sparse"),
    )
    unchanged_attributes: ClassVar[Any] = {
        "estimator_weights_": "a median has no gradient with respect to its weights",
        "estimator_": "the template that the trees were cloned from",
        "estimator_errors_": "records how the source was fitted",
    }

    def expansion(self, operator: Any) -> Expansion | None:
        return _BOOSTED if _not_trees(operator) else None

    def to_torch(self, operator: Any) -> nn.Module:
        parts = [tree.tree_ for tree in operator.estimators_]
        trees = TreeEnsemble(
            **flatten_trees(parts).structure,
            leaf_values=to_tensor(leaf_values(parts)[:, :, 0]),
            single=True,
            squeeze=True,
            monotone=self.monotone(operator),
        )
        return WeightedMedian(trees, to_tensor(operator.estimator_weights_[: len(parts)]))

    def write_back(self, module: WeightedMedian, operator: Any) -> None:
        parts = [tree.tree_ for tree in operator.estimators_]
        values = to_array(module.trees.leaf_table(), leaf_values(parts))
        write_trees(module.trees, parts, values)

    def head(self, operator: Any) -> Head:
        return RegressionHead()

    def objective(self, operator: Any) -> Objective:
        return Objective("absolute_error")


@register("sklearn.ensemble.IsolationForest")
class IsolationForest(Trees):
    """The score is the decision function. Without a loss, nothing is trainable."""

    kept: ClassVar[tuple[str, ...]] = ()

    has_splits = False

    examples = (
        _SEVERAL,
        {**_SEVERAL, "contamination": 0.2, "max_samples": 20},
        {**_SEVERAL, "max_features": 3, "bootstrap": True},
        {**_SEVERAL, "max_samples": 1},
        Example(_SEVERAL, data="sparse"),
        Example(_SEVERAL, data="missing", since="1.6"),
    )

    def encode(self, operator: Any, X: Any) -> Any:
        tags = getattr(operator, "__sklearn_tags__", None)
        if tags is not None and tags().input_tags.allow_nan:
            X = validate(operator, X, sparse=True, finite=False)
            if sparse.issparse(X):
                # The source compares a sparse NaN, and every comparison with NaN is false.
                X.data = np.where(np.isnan(X.data), np.inf, X.data)
            return X
        return super().encode(operator, X)

    def columns(self, operator: Any) -> list[Any]:
        return list(operator.estimators_features_)

    def trainable(self, operator: Any) -> bool:
        return False

    def to_torch(self, operator: Any) -> nn.Module:
        parts = [tree.tree_ for tree in operator.estimators_]
        lengths = [
            (depth + rest - 1.0)[part.children_left < 0]
            for part, depth, rest in zip(
                parts,
                operator._decision_path_lengths,
                operator._average_path_length_per_tree,
                strict=True,
            )
        ]
        trees = TreeEnsemble(
            **flatten_trees(parts, self.columns(operator)).structure,
            leaf_values=to_tensor(np.concatenate(lengths)[:, None]),
            single=True,
            squeeze=True,
        )
        typical = len(parts) * float(_average_path_length([operator._max_samples])[0])
        return Isolation(trees, typical, to_tensor(np.float64(operator.offset_)))

    def write_back(self, module: Isolation, operator: Any) -> None:
        """Do nothing: there are no trainable parameters."""

    def head(self, operator: Any) -> Head:
        return OutlierHead()


@register("sklearn.ensemble.RandomTreesEmbedding")
class RandomTreesEmbedding(Trees):
    """One indicator column per leaf of each tree."""

    kept: ClassVar[tuple[str, ...]] = ("features",)

    examples = (
        {**_SEVERAL, "max_depth": 3},
        {**_SEVERAL, "sparse_output": False, "max_leaf_nodes": 5},
        Example(_SEVERAL, data="sparse"),
    )

    def trainable(self, operator: Any) -> bool:
        return False

    def refuse(self, operator: Any) -> str | None:
        leaves = [int((tree.tree_.children_left < 0).sum()) for tree in operator.estimators_]
        known = [len(found) for found in operator.one_hot_encoder_.categories_]
        return None if leaves == known else "some of its leaves have no column"

    def to_torch(self, operator: Any) -> nn.Module:
        parts = [tree.tree_ for tree in operator.estimators_]
        count = sum(int((part.children_left < 0).sum()) for part in parts)
        trees = TreeEnsemble(
            **flatten_trees(parts).structure,
            leaf_values=torch.zeros(count, 1, dtype=torch.float64),
            single=True,
        )
        # Columns are sorted by tree and node, like the leaves.
        return LeafIndicators(trees, torch.arange(count), count, operator.sparse_output)

    def write_back(self, module: LeafIndicators, operator: Any) -> None:
        """Write back the splits if they were softened."""
        parts = [tree.tree_ for tree in operator.estimators_]
        write_trees(module.trees, parts, leaf_values(parts))
