"""Translations of CatBoost's estimators."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ...file_writing import write_checked
from ...modules import Head, RegressionHead, TreeEnsemble
from ...registry import Example, Objective, Translation, register
from ..target_refusals import constant, one_class
from . import _model_json, _objectives, _validation
from ._cbm_categories import confused_in_json
from ._cbm_structure import model_trees
from ._model_json import Content, saved

_READABLE = {"Borders", "Buckets", "Counter"}
# Names of the number of boosting rounds and of the learning rate.
_ROUNDS = ("iterations", "n_estimators", "num_boost_round", "num_trees")
_RATES = {"learning_rate", "eta"}


class Boosted(Translation):
    """Leaf values and bias train; CatBoost itself looks up categories."""

    data = "missing"
    sparse = True
    missing = True
    file_suffixes = (".cbm", ".json")
    kept: ClassVar[tuple[str, ...]] = ("monotone", "features", "probabilities", "positive")
    differentiable = False
    has_splits = True
    refused_inputs: ClassVar[Any] = {
        "one-dimensional": "CatBoost returns a scalar for a single row; a module returns rows",
    }

    def to_torch(self, operator: Any) -> nn.Module:
        return _model_json.to_module(Content(operator))

    def write_back(self, module: TreeEnsemble, operator: Any) -> None:
        _model_json.write_back(module, operator)
        # CatBoost keeps the attributes that it computed during the fit.
        if getattr(operator, "_prediction_values_change", None) is not None:
            change = operator.get_feature_importance(type="PredictionValuesChange")
            operator._prediction_values_change = change

    def duplicate(self, operator: Any) -> Any:
        # CatBoost's copy loses the number of columns, among other attributes.
        new = copy.deepcopy(operator)
        known = {name: value for name, value in vars(operator).items() if name != "_object"}
        vars(new).update(copy.deepcopy(known))
        return new

    def trainable(self, operator: Any) -> bool:
        return True

    def refuse(self, operator: Any) -> str | None:
        if not operator.is_fitted():
            return None  # The model is not fitted yet, so trees and features are not available.
        if not operator.tree_count_:
            return "it holds no trees"
        if operator.get_text_feature_indices():
            return "text_features: the saved model does not store how to convert texts"
        if operator.get_embedding_feature_indices():
            return "embedding_features: the saved model does not store how to convert them"
        content = Content(operator)
        if content.misses_columns():
            return "drop_unused_features: the model no longer knows all columns of its data"
        if not content.has_statistics():
            return "final_ctr_computation_mode='Skip': CatBoost itself cannot evaluate such a model"
        unread = content.ctr_types() - _READABLE
        if unread:
            return f"{', '.join(sorted(unread))}: CatBoost itself misreads these from its JSON form"
        if content.named_classes():
            outputs = len(content.bias)
            return (
                f"{content.named_classes()} classes were named, but the training data had {outputs}"
            )
        if content.ctr_types() and confused_in_json(model_trees(saved(operator, "cbm"))):
            return "TargetBorderCount: CatBoost itself confuses statistics that differ in it alone"
        return None

    def rounds(self, operator: Any) -> int | None:
        return None if operator.get_cat_feature_indices() else int(operator.tree_count_)

    def grow(self, operator: Any, X: Any, y: Any, weight: Any, rounds: int) -> None:
        known = operator.get_params()
        name = next((one for one in _ROUNDS if one in known), "iterations")
        # The default rate depends on the number of rounds.
        rate = {} if _RATES & known.keys() else {"learning_rate": operator.learning_rate_}
        # CatBoost accepts no other parameters once it is fitted.
        new = type(operator)(**{**known, **rate, name: rounds})
        new.fit(X, y, sample_weight=weight, init_model=operator)
        new._init_params = known
        vars(operator).clear()
        vars(operator).update(vars(new))

    def save(self, operator: Any, path: Path) -> None:
        write_checked(path, _model_json.saved(operator, path.suffix[1:].lower()))

    def quantiles(self, operator: Any) -> tuple[float, ...] | None:
        name, options = _objectives.loss(operator)
        if name != "MultiQuantile":
            return None
        return tuple(float(level) for level in options["alpha"].split(","))

    def encode(self, operator: Any, X: Any) -> Any:
        _validation.ask(operator, X)
        return _validation.numbers(operator, X)

    def reads_raw_numbers(self, operator: Any) -> bool:
        return not operator.get_cat_feature_indices()

    def head(self, operator: Any) -> Head:
        return RegressionHead()

    def objective(self, operator: Any) -> Objective | None:
        return _objectives.objective(operator)


_FEW = {
    "iterations": 4,
    "depth": 3,
    "verbose": 0,
    "allow_writing_files": False,
    "thread_count": 1,
    "random_seed": 0,
}
_QUERIES = [row // 16 for row in range(80)]
_DEEP = {**_FEW, "grow_policy": "Depthwise", "min_data_in_leaf": 3}
_LEAFY = {k: v for k, v in _FEW.items() if k != "depth"}


@register("catboost.CatBoostRegressor")
class Regressor(Boosted):
    """The score is the mean or, for counts, its logarithm."""

    examples: ClassVar[Any] = (
        _FEW,
        {**_FEW, "nan_mode": "Max"},
        _DEEP,
        {**_LEAFY, "grow_policy": "Lossguide", "max_leaves": 6},
        {**_FEW, "loss_function": "MAE"},
        {**_FEW, "loss_function": "Quantile:alpha=0.8"},
        {**_FEW, "loss_function": "MultiQuantile:alpha=0.2,0.8"},
        {**_FEW, "loss_function": "Huber:delta=2"},
        {**_FEW, "boost_from_average": False, "boosting_type": "Ordered"},
        Example({**_FEW, "nan_mode": "Forbidden"}, data="regression"),
        Example({**_FEW, "loss_function": "Poisson"}, data="counts"),
        Example({**_FEW, "loss_function": "Tweedie:variance_power=1.5"}, data="counts"),
        Example({**_FEW, "loss_function": "MultiRMSE"}, data="multioutput"),
        Example(_FEW, data="sparse"),
    )

    def refuse(self, operator: Any) -> str | None:
        if _objectives.loss(operator)[0] == "RMSEWithUncertainty":
            return "loss_function='RMSEWithUncertainty' predicts a variance besides the mean"
        return super().refuse(operator)

    def head(self, operator: Any) -> Head:
        return _objectives.mean_head(operator)

    def objective(self, operator: Any) -> Objective | None:
        return _objectives.mean_objective(operator)

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return constant(y)


@register("catboost.CatBoostClassifier")
class Classifier(Boosted):
    """The score is a logit, or the logits of several classes or labels."""

    data = "multiclass"
    examples: ClassVar[Any] = (
        _FEW,
        {**_FEW, "loss_function": "MultiClassOneVsAll"},
        {**_FEW, "auto_class_weights": "Balanced"},
        _DEEP,
        Example(_FEW, data="missing_binary"),
        Example(_FEW, data="binary"),
        Example({**_FEW, "loss_function": "CrossEntropy", "nan_mode": "Max"}, data="binary"),
        Example({**_FEW, "loss_function": "MultiClass"}, data="binary_strings"),
        Example({**_FEW, "scale_pos_weight": 3.0}, data="binary"),
        Example({**_FEW, "loss_function": "MultiLogloss"}, data="multilabel"),
        Example({**_FEW, "cat_features": [0, 1]}, data="categories"),
        Example({**_FEW, "cat_features": [0, 1], "one_hot_max_size": 10}, data="categories"),
        Example(
            {**_DEEP, "cat_features": ["color", "size"], "one_hot_max_size": 3}, data="categories"
        ),
    )

    def head(self, operator: Any) -> Head:
        return _objectives.class_head(operator)

    def objective(self, operator: Any) -> Objective | None:
        return _objectives.class_objective(operator)

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)


@register("catboost.CatBoost")
class Native(Boosted):
    """The prediction is the raw score, whatever the loss."""

    examples: ClassVar[Any] = (
        {"params": _FEW},
        Example({"params": {**_FEW, "loss_function": "Logloss"}}, data="binary"),
        Example({"params": {**_DEEP, "loss_function": "MultiClass"}}, data="multiclass"),
        Example({"params": {**_FEW, "loss_function": "MultiRMSE"}}, data="multioutput"),
        Example({"params": {**_FEW, "loss_function": "RMSEWithUncertainty"}}),
    )

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return constant(y)


@register("catboost.CatBoostRanker")
class Ranker(Boosted):
    """The score ranks the rows of a query; its loss needs queries, so the user names another."""

    def rounds(self, operator: Any) -> int | None:
        return None  # Further rounds need the queries of the rows.

    data = "ranked"
    examples: ClassVar[Any] = (
        Example({**_FEW, "loss_function": "YetiRank"}, fit={"group_id": _QUERIES}),
        Example({**_DEEP, "loss_function": "QueryRMSE"}, fit={"group_id": _QUERIES}),
        Example({**_FEW, "loss_function": "PairLogit"}, fit={"group_id": _QUERIES}),
    )
