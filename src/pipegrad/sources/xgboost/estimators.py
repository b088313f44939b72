"""Translations of XGBoost's estimators and its `Booster`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from ...file_writing import write_checked
from ...modules import Head, RegressionHead
from ...registry import Example, Objective, Translation, register
from ..target_refusals import one_class
from . import _model_json, _objectives, _validation
from ._model_json import Content


class Boosted(Translation):
    """Leaf values (or weights) train; the score before the first tree stays fixed."""

    missing = True
    differentiable = False
    has_splits = True
    tolerance = 2e-6
    file_suffixes = (".json", ".ubj")
    kept: ClassVar[tuple[str, ...]] = ("monotone", "features", "zeros", "probabilities", "positive")
    not_kept = (
        "monotone constraints that the fitted model itself violates, as the absolute error allows "
        "(`to_torch` warns)"
    )

    def to_torch(self, operator: Any) -> nn.Module:
        content, missing = Content(_booster(operator)), _missing_value(operator)
        if content.linear:
            return _model_json.linear_module(content, missing)
        return _model_json.tree_module(content, _rounds(operator), missing, _constraints(operator))

    def write_back(self, module: Any, operator: Any) -> None:
        booster = _booster(operator)
        content = Content(booster)
        if content.linear:
            _model_json.write_linear(module, content)
        else:
            _model_json.write_trees(module, content, _rounds(operator))
        _model_json.load(content.model, into=booster)

    def trainable(self, operator: Any) -> bool:
        return True

    def quantiles(self, operator: Any) -> tuple[float, ...] | None:
        return _objectives.quantiles(_objective(operator))

    def keeps_zeros(self, operator: Any) -> bool:
        if _kind(operator) != "gblinear":
            return False
        # A booster does not store its penalty.
        return not hasattr(operator, "get_params") or bool(operator.get_params()["reg_alpha"])

    def is_differentiable(self, operator: Any) -> bool:
        return _kind(operator) == "gblinear"

    def refuse(self, operator: Any) -> str | None:
        if _kind(operator) == "gblinear":
            trained = Content(_booster(operator)).inner["weights"]
            return None if trained else "it holds no weights"
        return None if _booster(operator).num_boosted_rounds() else "it holds no trees"

    def rounds(self, operator: Any) -> int | None:
        booster = _booster(operator)
        # A table's categories may be numbered anew, and dropout would change the trees that exist.
        if _kind(operator) != "gbtree" or "c" in (booster.feature_types or []):
            return None
        return _rounds(operator) or booster.num_boosted_rounds()

    def grow(self, operator: Any, X: Any, y: Any, weight: Any, rounds: int) -> None:
        used = _booster(operator)[: self.rounds(operator)]
        known = operator.get_params()
        before = {name: known[name] for name in ("n_estimators", "early_stopping_rounds")}
        try:
            operator.set_params(n_estimators=rounds, early_stopping_rounds=None)
            operator.fit(X, y, sample_weight=weight, xgb_model=used)
        finally:
            operator.set_params(**before)

    def save(self, operator: Any, path: Path) -> None:
        booster = _booster(operator)
        if booster is not operator:  # An estimator adds its type, as in its own save_model.
            booster = booster.copy()
            booster.set_attr(scikit_learn=json.dumps({"_estimator_type": operator._get_type()}))
        write_checked(path, bytes(booster.save_raw(path.suffix[1:].lower())))

    def encode(self, operator: Any, X: Any) -> Any:
        _validation.ask(operator.predict, X)
        numbers = _validation.numbers(_booster(operator), X)
        if _kind(operator) == "gblinear" or (
            sparse.issparse(X) and not isinstance(X, sparse.csr_matrix)
        ):
            _validation.check_finite(numbers, _missing_value(operator))
        return numbers

    def reads_raw_numbers(self, operator: Any) -> bool:
        types = _booster(operator).feature_types or []
        return "c" not in types

    def head(self, operator: Any) -> Head:
        return RegressionHead(_objectives.link(_objective(operator)))

    def objective(self, operator: Any) -> Objective | None:
        if callable(getattr(operator, "objective", None)):
            return None
        return _objectives.objective(_objective(operator), self._two_classes)

    _two_classes = "cross_entropy"


def _booster(operator: Any) -> Any:
    return operator.get_booster() if hasattr(operator, "get_booster") else operator


def _settings(operator: Any) -> dict[str, Any]:
    return json.loads(_booster(operator).save_config())["learner"]


def _kind(operator: Any) -> str:
    return _settings(operator)["gradient_booster"]["name"]


def _constraints(operator: Any) -> NDArray[np.int64] | None:
    """The monotone constraints of the columns; None if all are free.

    A model file does not store them, so that the parameters of an estimator count as well.
    """
    booster = _settings(operator)["gradient_booster"]
    text = booster.get("gbtree", booster).get("tree_train_param", {}).get("monotone_constraints")
    given = _numbers(text)
    if not given and hasattr(operator, "get_params"):
        asked = operator.get_params().get("monotone_constraints")
        if isinstance(asked, Mapping):
            names = _booster(operator).feature_names or []
            asked = [asked.get(name, 0) for name in names]
        given = _numbers(asked)
    return np.array(given, dtype=np.int64) if any(given) else None


def _numbers(constraints: Any) -> list[int]:
    if isinstance(constraints, str):
        return [int(number) for number in re.findall(r"[+-]?\d+", constraints)]
    return [] if constraints is None else [int(number) for number in constraints]


def _objective(operator: Any) -> dict[str, Any]:
    return _settings(operator)["objective"]


def _outputs(operator: Any) -> int:
    known = _settings(operator)["learner_model_param"]
    return max(1, int(known["num_class"]), int(known["num_target"]))


def _rounds(operator: Any) -> int | None:
    """Number of rounds that an early-stopped estimator uses; a booster uses all."""
    try:
        best = operator.best_iteration
    except AttributeError:
        return None
    return int(best) + 1 if hasattr(operator, "get_booster") else None


def _missing_value(operator: Any) -> float | None:
    """A number that counts as missing, in addition to NaN."""
    mark = getattr(operator, "missing", math.nan)
    return None if mark is None or math.isnan(mark) else float(mark)


_FEW = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}
_LINEAR = {"n_estimators": 4, "booster": "gblinear", "n_jobs": 1, "updater": "coord_descent"}
_KEPT = {"n_classes_": "the labels do not change"}


@register("xgboost.XGBRegressor")
class Regressor(Boosted):
    """Trees, trees with dropout (DART) or a linear model, followed by the objective's link."""

    data = "missing"
    examples: ClassVar[Any] = (
        _FEW,
        {**_FEW, "num_parallel_tree": 3, "subsample": 0.7},
        {**_FEW, "base_score": 2.5, "tree_method": "exact"},
        {**_FEW, "grow_policy": "lossguide", "max_leaves": 5, "gamma": 0.5},
        {**_FEW, "objective": "reg:absoluteerror"},
        {**_FEW, "objective": "reg:pseudohubererror", "huber_slope": 2.0},
        {**_FEW, "objective": "reg:quantileerror", "quantile_alpha": 0.8},
        {**_FEW, "objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8]},
        {**_FEW, "booster": "dart", "rate_drop": 0.5, "n_estimators": 6},
        _LINEAR,
        Example({**_LINEAR, "missing": -99.0}, data="marked"),
        Example({**_FEW, "missing": -99.0}, data="marked"),
        Example({**_FEW, "objective": "count:poisson"}, data="counts"),
        Example({**_FEW, "objective": "count:poisson", "base_score": 1.5}, data="counts"),
        Example({**_FEW, "objective": "reg:gamma"}, data="positive"),
        Example({**_FEW, "objective": "reg:tweedie", "tweedie_variance_power": 1.3}, data="counts"),
        Example({**_FEW, "objective": "reg:squaredlogerror"}, data="positive"),
        Example({**_FEW, "objective": "reg:logistic", "scale_pos_weight": 2.0}, data="binary"),
        Example({**_FEW, "objective": "binary:logitraw"}, data="binary"),
        Example({**_LINEAR, "objective": "reg:logistic", "base_score": 0.3}, data="binary"),
        Example(_FEW, data="multioutput"),
        Example({**_FEW, "multi_strategy": "multi_output_tree"}, data="multioutput"),
        Example(_LINEAR, data="multioutput"),
        Example(_FEW, data="sparse"),
        Example(_LINEAR, data="sparse"),
    )


@register("xgboost.XGBRFRegressor")
class ForestRegressor(Regressor):
    """A random forest: all trees of one round."""

    def rounds(self, operator: Any) -> int | None:
        return None

    examples = (
        _FEW,
        {**_FEW, "base_score": 2.5},
        Example({**_FEW, "objective": "reg:gamma"}, data="positive"),
        Example(_FEW, data="multioutput"),
    )


@register("xgboost.XGBClassifier")
class Classifier(Boosted):
    """The score is a logit, or the logits of several classes or labels."""

    data = "multiclass_numbers"
    unchanged_attributes = _KEPT
    examples: ClassVar[Any] = (
        _FEW,
        {**_FEW, "objective": "multi:softmax"},
        {**_FEW, "num_parallel_tree": 2, "subsample": 0.7},
        {**_FEW, "base_score": 0.3},
        {**_FEW, "booster": "dart", "rate_drop": 0.5},
        _LINEAR,
        Example(_FEW, data="binary"),
        Example({**_FEW, "base_score": 0.2, "scale_pos_weight": 3.0}, data="binary"),
        Example({**_FEW, "objective": "binary:logitraw"}, data="binary"),
        Example({**_FEW, "objective": "reg:squarederror"}, data="binary"),
        Example({**_FEW, "objective": "multi:softmax", "num_class": 2}, data="binary"),
        Example(_LINEAR, data="binary"),
        Example(_FEW, data="multilabel"),
        Example({**_FEW, "enable_categorical": True}, data="numbers_of_categories"),
        Example(
            {**_FEW, "enable_categorical": True, "max_cat_to_onehot": 1},
            data="numbers_of_categories",
        ),
    )
    _two_classes = "log_loss"

    def refuse(self, operator: Any) -> str | None:
        name = _objective(operator)["name"]
        if name == "multi:softprob" and int(operator.n_classes_) == 2:
            return "objective='multi:softprob' with two classes predicts as for two labels"
        return super().refuse(operator)

    def head(self, operator: Any) -> Head:
        return _objectives.class_head(_objective(operator), _outputs(operator))

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        return one_class(y)


@register("xgboost.XGBRFClassifier")
class ForestClassifier(Classifier):
    """A random forest: all trees of one round."""

    def rounds(self, operator: Any) -> int | None:
        return None

    examples = (_FEW, Example({**_FEW, "base_score": 0.2}, data="binary"))


@register("xgboost.XGBRanker")
class Ranker(Boosted):
    """The score ranks the rows of a query; its loss needs queries, so the user names another."""

    data = "ranked"
    examples: ClassVar[Any] = (
        _FEW,
        {**_FEW, "objective": "rank:pairwise"},
        {**_FEW, "booster": "dart", "rate_drop": 0.5},
    )

    def encode(self, operator: Any, X: Any) -> Any:
        columns = list(getattr(X, "columns", ()))
        return super().encode(operator, X.drop(columns="qid") if "qid" in columns else X)

    def reads_raw_numbers(self, operator: Any) -> bool:
        return False


@register("xgboost.Booster")
class Booster(Boosted):
    """The native model: all its trees, followed by the objective's link."""

    examples = ()

    def encode(self, operator: Any, X: Any) -> Any:
        _validation.ask(lambda row: operator.predict(_matrix(row)), X)
        numbers = _validation.numbers(operator, X)
        _validation.check_finite(numbers, None)
        return numbers

    def native_input(self, operator: Any, X: Any) -> Any:
        return _matrix(X)


def _matrix(X: Any) -> Any:
    import xgboost

    if isinstance(X, xgboost.DMatrix):
        return X
    return xgboost.DMatrix(X, enable_categorical=True)
