"""Translations of LightGBM's estimators and its `Booster`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ...file_writing import write_checked
from ...modules import Head, TreeEnsemble
from ...registry import Example, Objective, Translation, register
from ..target_refusals import all_zero
from . import _objectives, _validation
from ._model_text import Model, header, whole_text


class Boosted(Translation):
    """Leaf values train; the trees after the best iteration stay fixed."""

    missing = True
    sparse = True
    differentiable = False
    has_splits = True
    file_suffixes = (".txt",)
    not_kept = (
        "monotone constraints with `linear_tree`, where LightGBM itself breaks them "
        "(`to_torch` warns)"
    )
    kept: ClassVar[tuple[str, ...]] = ("monotone", "features", "probabilities", "positive")

    def booster(self, operator: Any) -> Any:
        """The fitted booster."""
        return operator.booster_

    def model(self, operator: Any) -> Model:
        """The parsed model of the booster."""
        booster = self.booster(operator)
        return Model(whole_text(booster), booster.best_iteration)

    def refuse(self, operator: Any) -> str | None:
        if not self.booster(operator).num_trees():
            return "it holds no trees"
        return None

    def trainable(self, operator: Any) -> bool:
        return True

    def caution(self, operator: Any) -> str | None:
        found = header(self.booster(operator))
        if not found.constraints.any() or found.parameters.get("linear_tree") != "1":
            return None
        return (
            "LightGBM does not apply monotone_constraints to the linear models in the leaves "
            "(linear_tree), and training does not either"
        )

    def to_torch(self, operator: Any) -> nn.Module:
        return self.model(operator).module()

    def write_back(self, module: TreeEnsemble, operator: Any) -> None:
        booster, text = self.booster(operator), self.model(operator).with_numbers(module)
        # The text stores the categories of a table only as JSON.
        categories = booster.pandas_categorical
        booster.model_from_string(text)
        booster.pandas_categorical = categories

    def save(self, operator: Any, path: Path) -> None:
        write_checked(path, self.booster(operator).model_to_string().encode())

    def head(self, operator: Any) -> Head:
        return _objectives.mean_head(header(self.booster(operator)))

    def objective(self, operator: Any) -> Objective | None:
        return _objectives.objective(header(self.booster(operator)))

    def reads_raw_numbers(self, operator: Any) -> bool:
        return not self.booster(operator).pandas_categorical

    def has_private_encoding(self, operator: Any) -> bool:
        return True  # Integers are rounded to float32.

    def encode(self, operator: Any, X: Any) -> Any:
        return _validation.numbers(self.booster(operator), X)

    def refuse_targets(self, operator: Any, y: Any) -> str | None:
        name, _ = header(self.booster(operator)).objective
        return all_zero(y) if name in ("poisson", "tweedie") else None


@register("lightgbm.Booster")
class Booster(Boosted):
    """Leaf values train; predictions are means or probabilities, as in LightGBM."""

    examples = ()

    def booster(self, operator: Any) -> Any:
        return operator

    def duplicate(self, operator: Any) -> Any:
        # Copying a booster loses the best iteration; pickling keeps it.
        new = object.__new__(type(operator))
        new.__setstate__(copy.deepcopy(operator.__getstate__()))
        return new


class Estimator(Boosted):
    """Shared by the translations of the estimators."""

    def refuse(self, operator: Any) -> str | None:
        for name in ("pred_early_stop", "predict_disable_shape_check"):
            if str(operator.get_params().get(name, False)).lower() in ("true", "1", "+"):
                return f"{name}=True makes its predictions depend on more than its trees"
        return super().refuse(operator)

    def rounds(self, operator: Any) -> int | None:
        booster = self.booster(operator)
        known = header(booster)
        # LightGBM would number the categories of the new table anew.
        if booster.pandas_categorical or known.parameters.get("boosting") != "gbdt":
            return None
        best = booster.best_iteration
        return best if best > 0 else booster.current_iteration()

    def grow(self, operator: Any, X: Any, y: Any, weight: Any, rounds: int) -> None:
        booster, before = self.booster(operator), operator.n_estimators
        used = type(booster)(model_str=booster.model_to_string())  # without trees after the best
        try:
            operator.set_params(n_estimators=rounds)
            operator.fit(X, y, sample_weight=weight, init_model=used)
        finally:
            operator.set_params(n_estimators=before)

    def encode(self, operator: Any, X: Any) -> Any:
        if not hasattr(X, "iloc") and not hasattr(X, "to_pandas"):
            # A bare booster does not run scikit-learn's input checks.
            from ..sklearn._base import checked

            X = checked(operator, X, sparse=True, finite=False)
        return super().encode(operator, X)


_FEW = {"n_estimators": 6, "num_leaves": 5, "min_child_samples": 5, "verbose": -1, "n_jobs": 1}
_RF = {"boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1}
_SETS = {
    "min_data_per_group": 1,
    "cat_smooth": 0.0,
    "cat_l2": 0.0,
    "max_cat_to_onehot": 1,
    "categorical_feature": [5],
}


@register("lightgbm.LGBMRegressor")
class Regressor(Estimator):
    """Leaf values and linear models in the leaves train."""

    examples = (
        _FEW,
        {**_FEW, **_RF},
        {**_FEW, "boosting_type": "dart", "drop_rate": 0.5},
        {**_FEW, "objective": "huber", "alpha": 0.5},
        {**_FEW, "objective": "fair", "fair_c": 2.0},
        {**_FEW, "objective": "quantile", "alpha": 0.7},
        {**_FEW, "objective": "l1", "reg_sqrt": True},
        {**_FEW, "objective": "mape"},
        {**_FEW, "reg_sqrt": True},
        {**_FEW, "min_child_samples": 1000},
        {**_FEW, "data_sample_strategy": "goss", "extra_trees": True},
        Example({**_FEW, "objective": "poisson"}, data="counts"),
        Example({**_FEW, "objective": "gamma"}, data="positive"),
        Example({**_FEW, "objective": "tweedie", "tweedie_variance_power": 1.3}, data="positive"),
        Example({**_FEW, "objective": "cross_entropy"}, data="binary"),
        Example({**_FEW, "objective": "cross_entropy_lambda"}, data="binary"),
        Example(_FEW, data="sparse"),
        Example(_FEW, data="missing"),
        Example({**_FEW, "zero_as_missing": True}, data="missing"),
        Example({**_FEW, "use_missing": False}, data="missing"),
        Example({**_FEW, "linear_tree": True, "linear_lambda": 0.1}, data="missing"),
        Example({**_FEW, **_SETS}, data="codes"),
        Example({**_FEW, **_SETS, "max_cat_to_onehot": 20}, data="codes"),
    )


@register("lightgbm.LGBMClassifier")
class Classifier(Estimator):
    """Leaf values train; the link of the objective gives probabilities."""

    data = "binary_strings"
    examples = (
        _FEW,
        {**_FEW, **_RF},
        {**_FEW, "objective": "binary", "sigmoid": 0.7},
        {**_FEW, "class_weight": "balanced"},
        {**_FEW, "scale_pos_weight": 3.0},
        {**_FEW, "is_unbalance": True},
        {**_FEW, "objective": "cross_entropy"},
        Example({**_FEW, "class_weight": {0: 1.0, 1: 2.0}, "boosting_type": "dart"}, data="binary"),
        Example(_FEW, data="multiclass"),
        Example({**_FEW, **_RF}, data="multiclass"),
        Example({**_FEW, "objective": "multiclassova", "sigmoid": 1.3}, data="multiclass"),
        Example({**_FEW, "class_weight": "balanced"}, data="sparse_multiclass"),
        Example(_FEW, data="categories_of_pandas"),
        Example({**_FEW, "linear_tree": True}, data="missing_binary"),
    )

    def head(self, operator: Any) -> Head:
        rounds = max(1, self.booster(operator).current_iteration())
        best = self.booster(operator).best_iteration
        rounds = min(best, rounds) if best > 0 else rounds
        return _objectives.class_head(header(self.booster(operator)), operator, rounds)

    def objective(self, operator: Any) -> Objective | None:
        return _objectives.class_objective(header(self.booster(operator)), operator)


@register("lightgbm.LGBMRanker")
class Ranker(Estimator):
    """Leaf values train; the user must name a per-sample loss, as the objective ranks groups."""

    data = "multiclass_numbers"
    examples = (
        Example(_FEW, fit={"group": [16] * 5}),
        Example({**_FEW, "objective": "rank_xendcg", "random_state": 0}, fit={"group": [20] * 4}),
    )

    def rounds(self, operator: Any) -> int | None:
        return None  # Further rounds need the groups of the rows.


@register("lightgbm.LGBMModel")
class AnyModel(Estimator):
    """The base estimator of the others; the user names its objective."""

    examples = ({**_FEW, "objective": "regression"}, {**_FEW, "objective": "huber"})
