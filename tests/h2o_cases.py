"""The models of `tests/h2o_runtime.py` that are made of one table alone."""

from __future__ import annotations

from typing import Any

import pandas as pd

from h2o_tables import ALL, CASES, MIXED, NUMBERS, Frames, case

# -- generalized linear models -------------------------------------------------------------------


def glm(name: str, y: str, x: list[str], **options: Any) -> None:
    case(f"glm_{name}", "GeneralizedLinear", y, x, **{"seed": 1, "lambda_": 0.01, **options})


def _plugs(at: Frames) -> Any:
    return at.frame(pd.DataFrame({"u": [0.5], "v": [1.5], "w": [-2.0], "c": ["b"], "t": ["zz"]}))


glm("gaussian", "y", ALL, family="gaussian", ignore_const_cols=False)
glm("gaussian_raw", "y", MIXED, family="gaussian", standardize=False, lambda_=0.0)
glm("gaussian_log", "amount", MIXED, family="gaussian", link="log")
glm("gaussian_inverse", "amount", NUMBERS, family="gaussian", link="inverse", lambda_=0.0)
glm("no_intercept", "y", MIXED, family="gaussian", intercept=False, standardize=False)
glm("offset", "y", MIXED, family="gaussian", offset_column="offset", weights_column="weight")
glm("collinear", "y", MIXED, family="gaussian", lambda_=0.0, remove_collinear_columns=True)
glm("p_values", "y", MIXED, family="gaussian", lambda_=0.0, compute_p_values=True,
    remove_collinear_columns=True)  # fmt: skip
glm("numbers", "y", NUMBERS, family="gaussian")
glm("categories", "y", ["c", "t"], family="gaussian")
glm("binomial", "label", [*NUMBERS, "c", "t"], family="binomial")
glm("binomial_skip", "label", MIXED, family="binomial", missing_values_handling="Skip")
glm("binomial_plugs", "label", [*NUMBERS, "c", "t"], family="binomial",
    missing_values_handling="PlugValues", plug_values=_plugs)  # fmt: skip
glm("binomial_offset", "label", MIXED, family="binomial", offset_column="offset")
glm("binomial_prior", "label", MIXED, family="binomial", prior=0.2, weights_column="weight")
glm("binomial_balanced", "label", MIXED, family="binomial", balance_classes=True)
glm("big", "label", ["big", "code", "u"], family="binomial", lambda_=0.001)
glm("zero_one", "event", MIXED, family="binomial")
glm("quasibinomial", "bit", MIXED, family="quasibinomial")
glm("fractional", "share", MIXED, family="fractionalbinomial")
glm("poisson", "count", MIXED, family="poisson", offset_column="offset")
glm("poisson_identity", "count", ["c", "t"], family="poisson", link="identity")
glm("gamma_inverse", "amount", MIXED, family="gamma", link="inverse")
glm("gamma_log", "amount", MIXED, family="gamma", link="log")
glm("gamma_identity", "amount", ["c", "t"], family="gamma", link="identity")
glm("tweedie", "loss", MIXED, family="tweedie", tweedie_variance_power=1.5, tweedie_link_power=0.0)
glm("tweedie_identity", "loss", ["c", "t"], family="tweedie", tweedie_variance_power=1.5,
    tweedie_link_power=1.0)  # fmt: skip
glm("tweedie_power", "loss", ["c", "t"], family="tweedie", tweedie_variance_power=1.5,
    tweedie_link_power=-0.5)  # fmt: skip
glm("negative_binomial", "count", MIXED, family="negativebinomial", theta=0.5)
glm("negative_binomial_identity", "count", ["c", "t"], family="negativebinomial", theta=0.5,
    link="identity")  # fmt: skip
glm("multinomial", "three", [*NUMBERS, "c", "t"], family="multinomial")
glm("multinomial_skip", "three", MIXED, family="multinomial", missing_values_handling="Skip",
    standardize=False)  # fmt: skip
glm("ordinal", "ord", MIXED, family="ordinal", lambda_=1e-4)


def gam(name: str, y: str, smooth: list[Any], splines: list[int], **options: Any) -> None:
    fixed = {"gam_columns": smooth, "bs": splines, "num_knots": [4] * len(smooth),
             "scale": [0.1] * len(smooth), "lambda_": 0.01, "seed": 1, **options}  # fmt: skip
    x = ["w", "c", "t"]
    case(f"gam_{name}", "GeneralizedAdditive", y, x, **fixed)
    read = [n for part in smooth for n in ([part] if isinstance(part, str) else part)]
    CASES[f"gam_{name}"].reads += sorted(set(read) - set(x))


gam("gaussian", "y", ["u", "v"], [0, 0], family="gaussian")
gam("raw", "y", ["u"], [0], family="gaussian", standardize=False)
# H2O exports it, and its scorer then refuses every row.
gam("offset", "y", ["u"], [0], family="gaussian", offset_column="offset")
gam("binomial", "label", ["u", "v"], [0, 0], family="binomial", num_knots=[5, 6])
gam("multinomial", "three", ["u"], [0], family="multinomial")
gam("ordinal", "ord", ["u"], [0], family="ordinal")
gam("poisson", "count", ["u"], [0], family="poisson")
gam("gamma", "amount", ["u"], [0], family="gamma", link="log")
gam("tweedie", "loss", ["u"], [0], family="tweedie", tweedie_variance_power=1.5,
    tweedie_link_power=0.0)  # fmt: skip
gam("fractional", "share", ["u"], [0], family="fractionalbinomial")
gam("negative_binomial", "count", ["u"], [0], family="negativebinomial", theta=0.5)
gam("skip", "y", ["u", "v"], [0, 0], family="gaussian", missing_values_handling="Skip")
gam("thin_plate", "y", [["u", "v"]], [1], family="gaussian", num_knots=[8])
gam("thin_plate_one", "label", ["u", ["v"]], [0, 1], family="binomial", num_knots=[4, 6],
    standardize_tp_gam_cols=True)  # fmt: skip
gam("thin_plate_three", "three", [["u", "v", "w"]], [1], family="multinomial", num_knots=[12])
gam("monotone", "y", ["u"], [2], family="gaussian", spline_orders=[3])
gam("m_spline", "label", ["u"], [3], family="binomial", spline_orders=[3])
gam("cubic_monotone", "label", ["u", "v"], [2, 0], family="binomial", spline_orders=[4, -1])
# The scorer puts the terms after one of these at the wrong place: its answers are not those of
# the model that H2O trained. Where an M-spline follows other splines, it refuses the rows.
gam("two_monotone", "y", ["u", "v"], [2, 2], family="gaussian", spline_orders=[3, 2],
    splines_non_negative=[True, False])  # fmt: skip
gam("two_m_splines", "y", ["u", "v"], [3, 3], family="gaussian", spline_orders=[3, 2])
gam("monotone_plate", "y", ["u", ["v"]], [2, 1], family="gaussian", spline_orders=[3, -1],
    num_knots=[4, 6])  # fmt: skip
gam("m_spline_plate", "y", ["u", ["v"]], [3, 1], family="gaussian", spline_orders=[3, -1],
    num_knots=[4, 6])  # fmt: skip
gam("cubic_m_spline", "y", ["u", "v"], [0, 3], family="gaussian", spline_orders=[-1, 3])


# -- trees ---------------------------------------------------------------------------------------

FEW: dict[str, Any] = {"seed": 1, "ntrees": 3, "max_depth": 3, "min_rows": 3}
PLATT: dict[str, Any] = {"calibrate_model": True, "calibration_frame": lambda at: at.train}


def gbm(name: str, y: str, x: list[str], **options: Any) -> None:
    case(f"gbm_{name}", "GradientBoosting", y, x, **{**FEW, "learn_rate": 0.3, **options})


gbm("gaussian", "y", ALL, ignore_const_cols=False)
gbm("bernoulli", "label", ALL)
gbm("multinomial", "three", MIXED)
gbm("pair", "label", MIXED, distribution="multinomial")
gbm("zero_one", "event", MIXED)
gbm("big", "y", ["big", "code", "c"], max_depth=4, min_rows=1)
gbm("numbers", "y", ["u", "v", "w", "n", "day"])
gbm("offset", "y", MIXED, offset_column="offset", weights_column="weight")
gbm("bernoulli_offset", "label", MIXED, offset_column="offset")
gbm("poisson", "count", MIXED, distribution="poisson")
gbm("poisson_offset", "count", MIXED, distribution="poisson", offset_column="offset")
gbm("gamma", "amount", MIXED, distribution="gamma")
gbm("tweedie", "loss", MIXED, distribution="tweedie", tweedie_power=1.6)
gbm("laplace", "y", MIXED, distribution="laplace")
gbm("huber", "y", MIXED, distribution="huber", huber_alpha=0.8)
gbm("quantile", "y", MIXED, distribution="quantile", quantile_alpha=0.3)
gbm("quasibinomial", "bit", MIXED, distribution="quasibinomial")
gbm("one_hot", "y", [*MIXED, "code"], categorical_encoding="one_hot_explicit")
gbm("by_response", "label", [*MIXED, "big"], categorical_encoding="sort_by_response")
gbm("label_encoder", "y", [*MIXED, "big"], categorical_encoding="label_encoder")
gbm("eigen", "y", [*MIXED, "big"], categorical_encoding="eigen")
gbm("binary", "label", [*MIXED, "big"], categorical_encoding="binary")
gbm("enum_limited", "label", [*MIXED, "big"], categorical_encoding="enum_limited")
gbm("few_bins", "y", ["big", "u"], nbins_cats=8, max_depth=4, min_rows=1)
gbm("platt", "label", MIXED, **PLATT)
gbm("isotonic", "label", MIXED, **PLATT, calibration_method="IsotonicRegression")
gbm("balanced", "label", MIXED, balance_classes=True)
gbm("balanced_multinomial", "three", MIXED, balance_classes=True)
gbm("monotone", "y", MIXED, monotone_constraints={"u": 1, "v": -1},
    interaction_constraints=[["u", "v"], ["c", "t"]])  # fmt: skip


def drf(name: str, y: str, x: list[str], **options: Any) -> None:
    case(f"drf_{name}", "RandomForest", y, x, **{**FEW, **options})


drf("binomial", "label", ALL)
drf("double_trees", "label", MIXED, binomial_double_trees=True)
drf("multinomial", "three", MIXED)
drf("regression", "y", [*ALL], weights_column="weight")
drf("platt", "label", MIXED, **PLATT)
drf("isotonic", "label", MIXED, **PLATT, calibration_method="IsotonicRegression",
    binomial_double_trees=True)  # fmt: skip
drf("balanced", "label", MIXED, balance_classes=True)
drf("balanced_multinomial", "three", MIXED, balance_classes=True)
drf("one_hot", "three", MIXED, categorical_encoding="one_hot_explicit")


def xgboost(name: str, y: str, x: list[str], **options: Any) -> None:
    case(f"xgb_{name}", "XGBoost", y, x, **{**FEW, "min_rows": 1, "learn_rate": 0.3, **options})


xgboost("binomial", "label", ALL, ignore_const_cols=False)
xgboost("gaussian", "y", MIXED)
xgboost("multinomial", "three", MIXED)
xgboost("big", "y", ["big", "code", "u"], max_depth=4)
xgboost("sparse", "label", MIXED, dmatrix_type="sparse")
xgboost("numbers", "y", NUMBERS)
xgboost("poisson", "count", MIXED, distribution="poisson")
xgboost("gamma", "amount", MIXED, distribution="gamma")
xgboost("tweedie", "loss", MIXED, distribution="tweedie", tweedie_power=1.4)
xgboost("dart", "label", MIXED, booster="dart", rate_drop=0.5, one_drop=True)
xgboost("dart_multinomial", "three", MIXED, booster="dart", rate_drop=0.5, one_drop=True)
xgboost("linear", "y", MIXED, booster="gblinear")
xgboost("linear_binomial", "label", MIXED, booster="gblinear")
xgboost("linear_multinomial", "three", MIXED, booster="gblinear")
xgboost("offset", "y", MIXED, offset_column="offset", weights_column="weight")
xgboost("binomial_offset", "label", MIXED, offset_column="offset")
xgboost("by_response", "y", [*MIXED, "big"], categorical_encoding="sort_by_response")
xgboost("enum_limited", "y", [*MIXED, "big"], categorical_encoding="enum_limited")
xgboost("platt", "label", MIXED, **PLATT)
xgboost("isotonic", "label", MIXED, **PLATT, calibration_method="IsotonicRegression")
xgboost("monotone", "y", MIXED, monotone_constraints={"u": 1}, tree_method="hist",
        grow_policy="lossguide", max_leaves=5)  # fmt: skip
xgboost("balanced", "label", MIXED, scale_pos_weight=0.5, max_delta_step=1.0)


def isolation(name: str, x: list[str], **options: Any) -> None:
    case(f"isolation_{name}", "IsolationForest", None, x, **{"seed": 1, "ntrees": 4, **options})


isolation("forest", [*MIXED, "big"], max_depth=5, sample_size=40)
isolation("flag", NUMBERS, contamination=0.1, sample_rate=0.5, max_depth=7)
for _name, _x, _level in (("extended", NUMBERS, 2), ("extended_axis", [*MIXED, "w"], 0)):
    case(f"isolation_{_name}", "ExtendedIsolationForest", None, _x, seed=1, ntrees=4,
         sample_size=16, extension_level=_level)  # fmt: skip


# -- networks ------------------------------------------------------------------------------------


def network(name: str, y: str | None, x: list[str], **options: Any) -> None:
    fixed = {"seed": 1, "hidden": [4, 3], "epochs": 5, "reproducible": True, **options}
    case(f"dl_{name}", "AutoEncoder" if y is None else "DeepLearning", y, x, **fixed)


network("tanh", "label", ALL, activation="tanh", ignore_const_cols=False)
network("tanh_dropout", "three", MIXED, activation="tanh_with_dropout",
        hidden_dropout_ratios=[0.3, 0.1], input_dropout_ratio=0.2)  # fmt: skip
network("rectifier", "three", MIXED, activation="rectifier")
network("rectifier_dropout", "label", MIXED, activation="rectifier_with_dropout",
        hidden_dropout_ratios=[0.3, 0.1])  # fmt: skip
network("maxout", "y", MIXED, activation="maxout")
network("maxout_dropout", "label", MIXED, activation="maxout_with_dropout")
network("gaussian", "y", MIXED, weights_column="weight")
network("raw", "y", MIXED, standardize=False)
network("raw_binomial", "label", NUMBERS, standardize=False)
network("skip", "label", MIXED, missing_values_handling="Skip")
network("all_levels_off", "three", MIXED, use_all_factor_levels=False)
network("offset", "y", MIXED, offset_column="offset", distribution="gaussian")
network("poisson", "count", MIXED, distribution="poisson")
network("gamma", "amount", MIXED, distribution="gamma")
network("tweedie", "loss", MIXED, distribution="tweedie", tweedie_power=1.5)
network("laplace", "y", MIXED, distribution="laplace")
network("huber", "y", MIXED, distribution="huber")
network("quantile", "y", MIXED, distribution="quantile", quantile_alpha=0.3)
network("balanced", "label", MIXED, balance_classes=True)
network("sparse", "label", [*MIXED, "big"], sparse=True)
network("binary", "label", MIXED, categorical_encoding="binary")
network("eigen", "y", MIXED, categorical_encoding="eigen")
network("label_encoder", "label", MIXED, categorical_encoding="label_encoder")
network("by_response", "label", MIXED, categorical_encoding="sort_by_response")
network("autoencoder", None, [*NUMBERS, "c", "t"], activation="tanh")
network("autoencoder_raw", None, NUMBERS, activation="rectifier", standardize=False)


# -- clusters and dimensions ---------------------------------------------------------------------


def kmeans(name: str, x: list[str], **options: Any) -> None:
    case(f"kmeans_{name}", "KMeans", None, x, **{"seed": 1, "k": 3, "max_iterations": 5, **options})


kmeans("standardized", NUMBERS)
kmeans("raw", NUMBERS, standardize=False)
kmeans("mixed", [*MIXED, "big"])
kmeans("mixed_raw", MIXED, standardize=False)


def pca(name: str, x: list[str], **options: Any) -> None:
    fixed = {"seed": 1, "k": 2, "impute_missing": True, **options}
    case(f"pca_{name}", "PrincipalComponentAnalysis", None, x, **fixed)


pca("none", MIXED, transform="none")
pca("standardize", MIXED, transform="standardize")
pca("normalize", MIXED, transform="normalize")
pca("demean", MIXED, transform="demean", pca_impl="jama")
pca("descale", MIXED, transform="descale")
pca("all_levels", [*MIXED, "w"], transform="standardize", use_all_factor_levels=True)
pca("numbers", NUMBERS, transform="standardize", pca_method="randomized")


def glrm(name: str, x: list[str], **options: Any) -> None:
    fixed = {"seed": 1, "k": 2, "max_iterations": 20, **options}
    case(f"glrm_{name}", "GeneralizedLowRank", None, x, **fixed)


glrm("numbers", NUMBERS, transform="standardize")
glrm("none", NUMBERS, transform="none", regularization_x="L2", gamma_x=0.1)
glrm("demean", NUMBERS, transform="demean", loss="Absolute", regularization_x="L1", gamma_x=0.1)
glrm("descale", NUMBERS, transform="descale", loss="Huber", regularization_x="NonNegative")
glrm("normalize", NUMBERS, transform="normalize", regularization_x="UnitOneSparse")
glrm("categories", [*MIXED, "w"], transform="standardize", multi_loss="Categorical")
glrm("ordinal", MIXED, transform="demean", multi_loss="Ordinal", regularization_x="OneSparse")
glrm("by_column", [*NUMBERS, "n"], loss_by_col=["Absolute", "Poisson"], loss_by_col_idx=[0, 3],
     regularization_x="Simplex")  # fmt: skip

for _kind in ("NA", "Clip"):
    case(f"isotonic_{_kind.lower()}", "IsotonicRegression", "y", ["u"], out_of_bounds=_kind,
         frame=lambda at: at.whole, weights_column="weight")  # fmt: skip
