"""Gradient-boosted trees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn._loss.loss import ExponentialLoss, HalfBinomialLoss
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble._gb import _init_raw_predictions
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.validation import _check_monotonic_cst
from torch import Tensor, nn

from ...modules import (
    BernoulliHead,
    Head,
    InitializedBoosting,
    MulticlassHead,
    Predictor,
    RegressionHead,
    TreeEnsemble,
)
from ...registry import Example, Objective, Translation, lookup, register
from ..arrays import to_array, to_tensor
from ..target_refusals import all_zero, one_class
from ._base import SklearnTranslation, validate
from ._flat_trees import flatten, flatten_trees, leaf_values, monotone_values, write_trees
from .trees import Trees

_FIT = "records how the source was fitted"
_STRUCTURE = "the structure of the trees does not change"


_RENEWED = (
    "monotone constraints that the fitted model itself violates, as the absolute error allows "
    "(`to_torch` warns)"
)


class GradientBoosting(Trees):
    """Leaf values are trainable, and so is the initial estimator unless it is constant."""

    missing = False
    kept: ClassVar[tuple[str, ...]] = ("features", "probabilities", "zeros")
    unchanged_attributes: ClassVar[Any] = {
        "n_estimators_": _FIT,
        "train_score_": _FIT,
        "oob_improvement_": _FIT,
        "oob_scores_": _FIT,
        "oob_score_": _FIT,
        "max_features_": _STRUCTURE,
        "n_trees_per_iteration_": _STRUCTURE,
        "n_classes_": _STRUCTURE,
    }

    def trees(self, operator: Any) -> list[Any]:
        return list(operator.estimators_.ravel())

    def refuse(self, operator: Any) -> str | None:
        start = operator.init_
        if isinstance(start, str) or _is_constant(start):
            return None
        name = type(start).__name__
        if isinstance(start, DummyClassifier):
            return f"init={name} is random"
        row = lookup(type(start))
        if not isinstance(row, Translation) or not row.raw_numbers:
            return f"init={name} has no module"
        reason = row.refuse(start)
        return None if reason is None else f"init={name}: {reason}"

    def to_torch(self, operator: Any) -> nn.Module:
        start = _start(operator)
        trees = self._ensemble(operator, _constant(operator) if start is None else None)
        if start is None:
            return trees
        return InitializedBoosting(
            start, trees, _link(operator), _smallest_probability(), single=True
        )

    def _ensemble(self, operator: Any, base: NDArray[Any] | None) -> TreeEnsemble:
        parts = [tree.tree_ for tree in self.trees(operator)]
        rounds, outputs = operator.estimators_.shape
        return TreeEnsemble(
            **flatten_trees(parts).structure,
            leaf_values=to_tensor(leaf_values(parts)[:, :, 0]),
            single=True,
            tree_weights=to_tensor(np.full(len(parts), float(operator.learning_rate))),
            tree_output=torch.arange(outputs).repeat(rounds) if outputs > 1 else None,
            outputs=outputs,
            base=None if base is None else to_tensor(base),
            train_base=False,
            squeeze=outputs == 1,
        )

    def write_back(self, module: Any, operator: Any) -> None:
        trees = module
        if isinstance(module, InitializedBoosting):
            trees = module.trees
            row = lookup(type(operator.init_))
            assert isinstance(row, Translation)
            assert isinstance(module.start, Predictor)
            row.write_back(module.start.body, operator.init_)
        parts = [tree.tree_ for tree in self.trees(operator)]
        write_trees(trees, parts, to_array(trees.leaf_table(), leaf_values(parts)))

    def rounds(self, operator: Any) -> int | None:
        return len(operator.estimators_)

    def grow(self, operator: Any, X: Any, y: Any, weight: Any, rounds: int) -> None:
        total = len(operator.estimators_) + rounds
        with _parameters(operator, n_estimators=total, warm_start=True, n_iter_no_change=None):
            operator.fit(X, y, sample_weight=weight)

    def keeps_zeros(self, operator: Any) -> bool:
        row = lookup(type(operator.init_))
        return isinstance(row, Translation) and row.keeps_zeros(operator.init_)

    def head(self, operator: Any) -> Head:
        if not is_classifier(operator):
            return RegressionHead()
        if operator.n_trees_per_iteration_ > 1:
            return MulticlassHead("softmax")
        exponential = isinstance(operator._loss, ExponentialLoss)
        return BernoulliHead("softmax" if exponential else "logistic", inclusive=True)

    def objective(self, operator: Any) -> Objective:
        if is_classifier(operator):
            return Objective("exponential" if operator.loss == "exponential" else "log_loss")
        if operator.loss == "huber":
            return Objective("huber", {"delta": float(operator._loss.closs.delta)})
        if operator.loss == "quantile":
            return Objective("pinball", {"quantile": operator.alpha})
        return Objective(operator.loss)


@contextmanager
def _parameters(operator: Any, **values: Any) -> Iterator[None]:
    """Context in which an estimator has other parameters."""
    before = {name: operator.get_params(deep=False)[name] for name in values}
    operator.set_params(**values)
    try:
        yield
    finally:
        operator.set_params(**before)


def _is_constant(start: Any) -> bool:
    if isinstance(start, DummyClassifier):
        return start.strategy != "stratified"
    return isinstance(start, DummyRegressor)


def _constant(operator: Any) -> NDArray[Any] | None:
    if isinstance(operator.init_, str):
        return None
    row = np.zeros((1, operator.n_features_in_))
    scores = _init_raw_predictions(row, operator.init_, operator._loss, is_classifier(operator))
    return np.asarray(scores[0])


def _start(operator: Any) -> Predictor | None:
    start = operator.init_
    if isinstance(start, str) or _is_constant(start):
        return None
    row = lookup(type(start))
    assert isinstance(row, Translation)
    head = row.head(start)
    assert head is not None
    method = "predict_proba" if is_classifier(operator) else "predict"
    return Predictor(row.to_torch(start), head, method)


def _link(operator: Any) -> Any:
    if not is_classifier(operator):
        return "identity"
    if operator.n_trees_per_iteration_ > 1:
        return "multinomial_logit"
    return "half_logit" if isinstance(operator._loss, ExponentialLoss) else "logit"


@cache
def _smallest_probability() -> float:
    """Return the bound that keeps scikit-learn's probabilities off 0 and 1; versions differ."""

    class Sure:
        @staticmethod
        def predict_proba(X: Any) -> Any:
            return np.array([[0.0, 1.0]])

    score = _init_raw_predictions(np.zeros((1, 1)), Sure(), HalfBinomialLoss(), True)
    return float(np.finfo(np.float64 if score[0, 0] > 20 else np.float32).eps)


_ROUNDS = {"n_estimators": 4, "random_state": 0}
_ZERO = {**_ROUNDS, "init": "zero"}


def _from_constant(data: str | None = None, **params: Any) -> Example:
    return Example({**_ROUNDS, **params}, data=data, unchanged_attributes=("init_",))


@register("sklearn.ensemble.GradientBoostingRegressor")
class BoostedRegressor(GradientBoosting):
    """The score is the predicted mean."""

    examples: ClassVar[Any] = (
        _from_constant(),
        _from_constant(loss="absolute_error"),
        _from_constant(loss="huber", alpha=0.8),
        _from_constant(loss="quantile", alpha=0.7),
        _from_constant(subsample=0.6, learning_rate=0.5, max_features=2),
        _from_constant(n_estimators=20, n_iter_no_change=2, max_leaf_nodes=4),
        _from_constant(init=DummyRegressor(strategy="constant", constant=3.0)),
        _ZERO,
        Example({**_ROUNDS, "init": LinearRegression()}, tolerance=1e-6),
        Example({**_ROUNDS, "init": DecisionTreeRegressor(max_depth=2)}),
        _from_constant("sparse"),
    )


@register("sklearn.ensemble.GradientBoostingClassifier")
class BoostedClassifier(GradientBoosting):
    """The score is the logit (two classes) or the vector of logits."""

    data = "multiclass"
    examples: ClassVar[Any] = (
        _from_constant(),
        _from_constant(learning_rate=0.5, max_depth=2, subsample=0.7),
        _from_constant("binary_strings"),
        _from_constant("binary", loss="exponential"),
        _from_constant("binary", init=DummyClassifier(strategy="uniform")),
        _ZERO,
        Example(_ZERO, data="binary"),
        # The source computes these initial scores in float32.
        Example({**_ROUNDS, "init": LogisticRegression(C=1e-4)}, tolerance=1e-5),
        Example({**_ROUNDS, "init": LogisticRegression(C=1e-4)}, "binary", tolerance=1e-5),
        Example(
            {**_ROUNDS, "init": LogisticRegression(C=1e-4), "loss": "exponential"},
            "binary",
            tolerance=1e-5,
        ),
        _from_constant("sparse_multiclass"),
    )

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)


class HistTrees(SklearnTranslation):
    """Leaf values and the baseline prediction are trainable."""

    missing = True
    differentiable = False
    has_splits = True
    kept: ClassVar[tuple[str, ...]] = ("monotone", "features", "probabilities", "positive")
    not_kept = _RENEWED
    unchanged_attributes: ClassVar[Any] = {
        "is_categorical_": _STRUCTURE,
        "n_trees_per_iteration_": _STRUCTURE,
        "train_score_": _FIT,
        "validation_score_": _FIT,
    }

    def reads_raw_numbers(self, operator: Any) -> bool:
        return operator._preprocessor is None

    def encode(self, operator: Any, X: Any) -> Any:
        if operator._preprocessor is None:
            return validate(operator, X, finite=False)
        return operator._preprocess_X(X, reset=False)

    def refuse(self, operator: Any) -> str | None:
        return None if isinstance(operator.loss, str) else "its loss is a custom object"

    def rounds(self, operator: Any) -> int | None:
        # A further fit would number the categories of the new rows anew.
        return len(operator._predictors) if operator.is_categorical_ is None else None

    def grow(self, operator: Any, X: Any, y: Any, weight: Any, rounds: int) -> None:
        scores = operator._raw_predict(X)
        total = len(operator._predictors) + rounds
        # A further fit bins the new rows anew, and the bins of the trees are those of the old rows.
        operator._raw_predict = lambda binned, n_threads=None: scores.copy(order="F")
        try:
            with _parameters(operator, max_iter=total, warm_start=True, early_stopping=False):
                operator.fit(X, y, sample_weight=weight)
        finally:
            del operator._raw_predict

    def to_torch(self, operator: Any) -> nn.Module:
        parts = _predictors(operator)
        nodes = np.concatenate([part.nodes for part in parts])
        leaf = nodes["is_leaf"].astype(bool)
        starts = np.cumsum([0, *(len(part.nodes) for part in parts)])
        spans = [slice(a, b) for a, b in pairwise(starts)]
        left, right = (
            np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right")
        )
        flat = flatten(
            [left[span] for span in spans],
            [right[span] for span in spans],
            nodes["feature_idx"],
            nodes["num_threshold"],
        )
        rounds, outputs = len(operator._predictors), operator.n_trees_per_iteration_
        return TreeEnsemble(
            **flat.structure,
            leaf_values=to_tensor(nodes["value"][leaf][:, None]),
            default_left=torch.from_numpy(nodes["missing_go_to_left"][~leaf].astype(bool)),
            **_categories(operator, parts),
            tree_output=torch.arange(outputs).repeat(rounds) if outputs > 1 else None,
            outputs=outputs,
            base=to_tensor(np.ravel(operator._baseline_prediction)),
            squeeze=outputs == 1,
            monotone=_monotone(operator, nodes["feature_idx"][~leaf]),
        )

    def write_back(self, module: TreeEnsemble, operator: Any) -> None:
        baseline = np.asarray(operator._baseline_prediction)
        assert module.base is not None
        operator._baseline_prediction = to_array(module.base, baseline)
        parts = _predictors(operator)
        values = to_array(module.leaf_table())[:, 0]
        before = np.concatenate([p.nodes["num_threshold"][p.nodes["is_leaf"] == 0] for p in parts])
        thresholds = to_array(module.moved_thresholds(to_tensor(before)), before)
        values = monotone_values(module, values, thresholds)
        leaf = node = 0
        for part in parts:
            is_leaf = part.nodes["is_leaf"].astype(bool)
            count, inner = int(is_leaf.sum()), int((~is_leaf).sum())
            part.nodes["value"][is_leaf] = values[leaf : leaf + count]
            span = slice(node, node + inner)
            if not np.array_equal(before[span], thresholds[span]):
                _write_thresholds(operator, part.nodes, ~is_leaf, thresholds[span])
            leaf, node = leaf + count, node + inner


def _monotone(operator: Any, feature: NDArray[Any]) -> Tensor | None:
    """Return the constraint of the feature of each node; None if all are free."""
    if getattr(operator, "monotonic_cst", None) is None:
        return None
    given = _check_monotonic_cst(operator, operator.monotonic_cst)
    if operator.is_categorical_ is not None:
        # The trees see the categorical columns first.
        given = np.concatenate([given[operator.is_categorical_], given[~operator.is_categorical_]])
    return torch.from_numpy(given.astype(np.int64)[feature])


def _predictors(operator: Any) -> list[Any]:
    return [part for each in operator._predictors for part in each]


def _write_thresholds(
    operator: Any, nodes: Any, inner: NDArray[np.bool_], thresholds: NDArray[Any]
) -> None:
    moved = np.flatnonzero(inner)[nodes["num_threshold"][inner] != thresholds]
    nodes["num_threshold"][inner] = thresholds
    # A fit that continues (warm_start) routes binned rows.
    for i in moved:
        if not nodes["is_categorical"][i]:
            edges = operator._bin_mapper.bin_thresholds_[nodes["feature_idx"][i]]
            place = np.searchsorted(edges, nodes["num_threshold"][i])
            nodes["bin_threshold"][i] = min(int(place), 254)


def _categories(operator: Any, parts: list[Any]) -> dict[str, Any]:
    """Return the direction of each of 256 categories at each categorical node."""
    nodes = [part.nodes[part.nodes["is_leaf"] == 0] for part in parts]
    joined = np.concatenate(nodes)
    chosen = joined["is_categorical"].astype(bool)
    if not chosen.any():
        return {}
    sets = [
        _bits(part.raw_left_cat_bitsets)[n["bitset_idx"][n["is_categorical"] == 1]]
        for part, n in zip(parts, nodes, strict=True)
        if n["is_categorical"].any()
    ]
    known_sets, place = operator._bin_mapper.make_known_categories_bitsets()
    known = _bits(known_sets)[place[joined["feature_idx"][chosen]]]
    default = joined["missing_go_to_left"].astype(bool)
    left = np.concatenate(sets)
    # An unknown category goes where missing values go.
    left |= ~known & default[chosen, None]
    return {
        "category_width": torch.from_numpy(np.where(chosen, 256, 0)),
        "category_left": torch.from_numpy(left.ravel()),
        "unknown_left": torch.from_numpy(default),
    }


def _bits(words: Any) -> NDArray[np.bool_]:
    """Unpack bit sets (sets, 8) of 32 bits each into booleans (sets, 256)."""
    octets = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    return np.unpackbits(octets, axis=1, bitorder="little").astype(bool)


_SHORT = {"max_iter": 6, "min_samples_leaf": 5, "max_leaf_nodes": 8}


@register("sklearn.ensemble.HistGradientBoostingRegressor")
class HistRegressor(HistTrees):
    """The score is the predicted mean or its logarithm."""

    examples = (
        _SHORT,
        {**_SHORT, "loss": "absolute_error"},
        {**_SHORT, "loss": "quantile", "quantile": 0.8},
        {**_SHORT, "learning_rate": 0.5, "l2_regularization": 2.0, "max_features": 0.5},
        {**_SHORT, "early_stopping": True, "n_iter_no_change": 2, "random_state": 0},
        {**_SHORT, "monotonic_cst": [1, -1, 0, 0, 0, 0], "interaction_cst": "pairwise"},
        {**_SHORT, "categorical_features": None, "max_depth": 2, "max_bins": 8},
        {"max_iter": 2},
        Example({**_SHORT, "loss": "gamma"}, data="positive"),
        Example({**_SHORT, "loss": "poisson"}, data="counts"),
        Example(_SHORT, data="missing"),
        Example({**_SHORT, "categorical_features": [5]}, data="codes"),
    )

    def head(self, operator: Any) -> Head:
        return RegressionHead("log" if operator.loss in ("gamma", "poisson") else "identity")

    def objective(self, operator: Any) -> Objective:
        if operator.loss == "quantile":
            return Objective("pinball", {"quantile": operator.quantile})
        return Objective(operator.loss)

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return all_zero(y) if operator.loss == "poisson" else None


@register("sklearn.ensemble.HistGradientBoostingClassifier")
class HistClassifier(HistTrees):
    """The score is the logit (two classes) or the vector of logits."""

    data = "multiclass"
    examples = (
        _SHORT,
        {**_SHORT, "class_weight": "balanced"},
        Example(_SHORT, data="binary_strings"),
        Example({**_SHORT, "class_weight": {0: 1.0, 1: 3.0}}, data="binary"),
        Example(_SHORT, data="missing_binary"),
        Example({**_SHORT, "categorical_features": [0, 1]}, data="categories"),
        Example({**_SHORT, "categorical_features": ["color", "size"]}, data="categories_missing"),
        Example({**_SHORT, "categorical_features": "from_dtype"}, data="categories_of_pandas"),
    )

    def head(self, operator: Any) -> Head:
        several = operator.n_trees_per_iteration_ > 1
        return (
            MulticlassHead("softmax", log=False)
            if several
            else BernoulliHead("logistic", log=False)
        )

    def objective(self, operator: Any) -> Objective:
        return Objective("log_loss", {}, operator.class_weight)
