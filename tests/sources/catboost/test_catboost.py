"""CatBoost: routing, categories, links, losses, and the way back into its own objects."""

from __future__ import annotations

import copy
import pickle
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import answers, assert_alike, contract_of
from pipegrad.modules import TreeEnsemble
from pipegrad.testing import CHECKS, DATASETS, Case, assert_close, identical, perturb

catboost = pytest.importorskip("catboost")
QUIET = {"verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0}
FEW = {"iterations": 4, "depth": 3, **QUIET}
SHAPES = [
    {"depth": 4},
    {"depth": 4, "grow_policy": "Depthwise", "min_data_in_leaf": 2},
    {"grow_policy": "Lossguide", "max_leaves": 9},
]
EXACT = 1e-12


@contract_of("catboost.*")
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)


def trees_of(net: Any) -> Any:
    return next(m for m in net.modules() if isinstance(m, TreeEnsemble))


def tune(source: Any) -> tuple[Any, Any]:
    net = pg.to_torch(source)
    perturb(net)
    return net, pg.from_torch(net)


def same(model: Any, other: Any) -> bool:
    """Whether two estimators hold the same model; copies differ in what CatBoost caches."""
    return bool(model == other) and identical(vars(model)["_init_params"], other._init_params)


def check(model: Any, X: Any, tolerance: float = EXACT) -> Any:
    """Parity, untouched and perturbed round trip of a fitted model; gives its module."""
    before, first = copy.deepcopy(model), answers(model, X)
    net = pg.to_torch(model)
    assert_alike(net, model, X, tolerance)
    assert same(pg.from_torch(net), model)
    moved, changed = tune(model)
    assert_alike(moved, changed, X, tolerance)
    assert not same(changed, model)
    assert same(before, model)
    assert all(identical(value, first[m]) for m, value in answers(model, X).items())
    return net


def raw(model: Any, X: Any) -> Any:
    return model.predict(X, prediction_type="RawFormulaVal")


def score(net: Any, X: Any) -> Any:
    return net(net.encode(X).blocks).detach().numpy()


# -- routing -------------------------------------------------------------------------------------


def around_thresholds(net: Any, row: Any) -> Any:
    """Rows that lie on each threshold, next to it on both sides, and far from it."""
    trees = trees_of(net)
    t, f = trees.threshold.numpy().astype(np.float32), trees.feature.numpy()
    wide = t.astype(np.float64)
    with np.errstate(over="ignore"):
        near = [np.nextafter(t, np.float32(way)) for way in (-np.inf, np.inf)]
    values = [wide, *near, wide * (1 + 2.0**-30), wide * (1 - 2.0**-26)]
    values += [np.full(len(t), v) for v in (np.inf, -np.inf, np.nan, 3.4028235e38, 1e300)]
    rows = np.tile(row, (len(values) * len(t), 1)).astype(np.float64)
    for i, value in enumerate(values):
        rows[i * len(t) + np.arange(len(t)), f] = value
    return rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_on_thresholds_and_beyond(shape: Any, nan_mode: str, dtype: Any) -> None:
    X, y = DATASETS["missing"]()
    model = catboost.CatBoostRegressor(iterations=6, nan_mode=nan_mode, **shape, **QUIET).fit(X, y)
    net = pg.to_torch(model)
    with np.errstate(over="ignore"):
        rows = around_thresholds(net, np.nan_to_num(X[0])).astype(dtype)
    assert_close(net.predict(rows), model.predict(rows), EXACT)
    assert_close(net.double().predict(rows), model.predict(rows), EXACT)


EDGES = np.float32([-3e38, -1.5, -1e-30, -0.0, 0.0, 1e-45, 0.1, 1.0, 2.5, 3e38])


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(SHAPES),
    st.sampled_from(["Min", "Max", "Forbidden"]),
    st.booleans(),
)
def test_random_trees_route_as_catboost_does(
    seed: int, shape: Any, nan_mode: str, several: bool
) -> None:
    rng = np.random.default_rng(seed)
    X = rng.choice(EDGES, size=(60, 3)).astype(np.float64)
    X[:, 2] = rng.normal(size=60)
    if nan_mode != "Forbidden":
        X[rng.random(X.shape) < 0.2] = np.nan
    y = rng.normal(size=(60, 2) if several else 60)
    loss = "MultiRMSE" if several else "RMSE"
    model = catboost.CatBoostRegressor(
        iterations=3, nan_mode=nan_mode, loss_function=loss, border_count=12, **shape, **QUIET
    ).fit(X, y)
    net = pg.to_torch(model)
    rows = around_thresholds(net, np.nan_to_num(X[0]))
    if nan_mode == "Forbidden":
        rows = np.nan_to_num(rows, nan=0.5)
    assert_close(score(net, rows), raw(model, rows), EXACT)
    if shape == SHAPES[0]:
        # The first split is the lowest bit; here leaves are counted from the left.
        known = trees_of(net).leaves(torch.from_numpy(rows)).numpy()
        sizes = 2 ** np.array([len(t) for t in depths(model)])
        theirs = model.calc_leaf_indexes(rows) + (np.cumsum(sizes) - sizes)
        np.testing.assert_array_equal(known, theirs)
    net, tuned = tune(model)
    assert_close(score(net, rows), raw(tuned, rows), EXACT)


def test_symmetric_trees_go_the_ways_of_others() -> None:
    X, y = DATASETS["missing"]()
    model = catboost.CatBoostRegressor(iterations=9, depth=5, **QUIET).fit(X, y)
    net = pg.to_torch(model)
    trees = trees_of(net)
    assert trees._scan.even
    some = torch.from_numpy(around_thresholds(net, np.nan_to_num(X[0])))
    rows = some.repeat(50, 1)  # few rows go another way

    def walked() -> torch.Tensor:
        with mock.patch.object(trees._scan, "fits", return_value=False):
            return trees.leaves(rows)

    quick = trees.leaves(rows)
    assert trees._scan.fits(trees._bounds(rows))
    assert torch.equal(quick, walked())
    for few in (0, 1):
        assert torch.equal(trees.leaves(rows[:few]), quick[:few])
    # Once the nodes of a level differ, each is asked on its own.
    with torch.no_grad():
        trees.threshold.add_(torch.linspace(-0.2, 0.2, len(trees.threshold)).double())
    moved = trees.leaves(rows)
    assert not trees._scan.fits(trees._bounds(rows))
    assert not torch.equal(quick, moved)
    assert torch.equal(moved, walked())


def test_trees_of_unequal_depth_and_without_splits() -> None:
    X, y = DATASETS["missing"]()
    parts = [
        catboost.CatBoostRegressor(iterations=3, depth=depth, **QUIET).fit(X, y)
        for depth in (2, 4, 1)
    ]
    constant = catboost.CatBoostRegressor(allow_const_label=True, **FEW).fit(X, np.ones(len(X)))
    joint = catboost.sum_models([*parts, constant])
    assert {len(splits) for splits in depths(joint)} >= {1, 2, 4}
    check(joint, X)
    check(constant, X)


def depths(model: Any) -> Any:
    from pipegrad.sources.catboost._model_json import Content

    return [tree.get("splits") or [] for tree in Content(model).model["oblivious_trees"]]


# -- categories ----------------------------------------------------------------------------------

NAMES = ["letter", "k", "word"]


def table(seed: int, rows: int = 300, unseen: bool = False) -> Any:
    rng = np.random.default_rng(seed)
    letters = [*"abcdefgh", *("yz" if unseen else "")]
    data = pd.DataFrame(
        {
            "x": rng.normal(size=rows),
            "letter": rng.choice(letters, rows),
            "k": rng.integers(-3, 20 if unseen else 12, rows),
            "z": rng.normal(size=rows),
            "word": rng.choice([f"w{i}" for i in range(60 if unseen else 40)], rows),
        }
    )
    data.loc[::9, "x"] = np.nan
    return data


def target(data: Any) -> Any:
    word = data["word"].str[1:].astype(int) * 7 % 11
    return (word + 2 * data["x"].fillna(0) + 3 * (data["letter"] < "d") + data["k"] % 3).to_numpy()


OPTIONS = [
    {},
    {"one_hot_max_size": 20},
    {"one_hot_max_size": 100},
    {"simple_ctr": "Buckets", "counter_calc_method": "Full"},
    {"simple_ctr": ["Counter", "Borders:TargetBorderCount=3"], "combinations_ctr": "Counter"},
    {"boosting_type": "Ordered", "model_size_reg": 0, "max_ctr_complexity": 3},
]


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_splits_of_categories(tmp_path: Any, shape: Any, option: Any) -> None:
    if "boosting_type" in option and shape != SHAPES[0]:
        option = {k: v for k, v in option.items() if k != "boosting_type"}
    X = table(0)
    model = catboost.CatBoostRegressor(
        iterations=8, cat_features=NAMES, **shape, **option, **QUIET
    ).fit(X, target(X))
    probe = table(1, 400, unseen=True)
    net, tuned = tune(model)
    assert_close(pg.to_torch(model).predict(probe), model.predict(probe), EXACT)
    assert_close(net.predict(probe), tuned.predict(probe), EXACT)
    assert np.abs(tuned.predict(probe) - model.predict(probe)).max() > 0.01
    # The written-back model and what its own files hold translate as well.
    assert_close(pg.to_torch(tuned).predict(probe), tuned.predict(probe), EXACT)
    for form in ("cbm", "json"):
        path = str(tmp_path / f"model.{form}")
        tuned.save_model(path, format=form)
        again = catboost.CatBoostRegressor().load_model(path, format=form)
        assert_close(again.predict(probe), tuned.predict(probe), EXACT)
        assert_close(pg.to_torch(again).predict(probe), again.predict(probe), EXACT)


def test_tables_in_another_order_and_what_catboost_refuses() -> None:
    X = table(0)
    model = catboost.CatBoostRegressor(cat_features=NAMES, **FEW).fit(X, target(X))
    net = pg.to_torch(model)
    for other in (X.to_numpy(), X.astype({"letter": "category"}), X[:1], X[:0]):
        assert_close(net.predict(other), model.predict(other), EXACT)
    for bad in (X.drop(columns="word"), X.assign(k=X["k"] + 0.5), X[["x", "z"]].to_numpy()):
        with pytest.raises(catboost.CatBoostError):
            model.predict(bad)
        with pytest.raises(ValueError):
            net.predict(bad)


def test_several_classes_and_categories() -> None:
    X = table(0)
    y = np.array(["low", "middle", "high"])[np.digitize(target(X), [4, 8])]
    for shape in SHAPES:
        model = catboost.CatBoostClassifier(iterations=4, cat_features=NAMES, **shape, **QUIET).fit(
            X, y
        )
        check(model, X, tolerance=1e-9)


# -- the way back --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["cbm", "json"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("data", ["missing_binary", "multiclass", "multilabel"])
def test_tuned_values_survive_catboosts_own_files(
    tmp_path: Any, data: str, shape: Any, ending: str
) -> None:
    X, y = DATASETS[data]()
    model = catboost.CatBoostClassifier(
        iterations=4,
        **({"loss_function": "MultiLogloss"} if data == "multilabel" else {}),
        **shape,
        **QUIET,
    ).fit(X, y)
    net, tuned = tune(model)
    expected = tuned.predict_proba(X)
    assert_close(net.predict_proba(X), expected, EXACT)
    assert not np.allclose(model.predict_proba(X), expected)
    assert tuned.get_params() == model.get_params()
    assert identical(tuned.classes_, model.classes_)
    assert tuned.n_features_in_ == model.n_features_in_
    for other in (pickle.loads(pickle.dumps(tuned)), copy.deepcopy(tuned)):
        assert identical(other.predict_proba(X), expected)
    path = str(tmp_path / f"model.{ending}")
    tuned.save_model(path, format=ending)
    again = catboost.CatBoostClassifier().load_model(path, format=ending)
    assert_close(again.predict_proba(X), expected, EXACT)
    assert identical(again.predict(X), tuned.predict(X))
    assert_alike(pg.to_torch(again), again, X, EXACT)


def test_importances_follow_and_what_was_measured_stays() -> None:
    X, y = DATASETS["missing"]()
    model = catboost.CatBoostRegressor(iterations=60, learning_rate=1.0, depth=3, **QUIET)
    model.fit(X[:40], y[:40], eval_set=(X[40:], y[40:]), early_stopping_rounds=3)
    assert model.best_iteration_ + 1 == model.tree_count_ < 60
    check(model, X, tolerance=EXACT)
    before = model.feature_importances_.copy()
    net, tuned = tune(model)
    assert trees_of(net).roots.shape[0] == model.tree_count_
    assert identical(model.feature_importances_, before)
    importances = tuned.get_feature_importance(type="PredictionValuesChange")
    np.testing.assert_array_equal(tuned.feature_importances_, importances)
    assert not np.allclose(tuned.feature_importances_, before)
    shap = tuned.get_feature_importance(catboost.Pool(X), type="ShapValues")
    assert_close(shap.sum(1), tuned.predict(X), 1e-6)


def test_the_shrunk_model_scales_and_shifts() -> None:
    X, y = DATASETS["missing"]()
    model = catboost.CatBoostRegressor(**FEW).fit(X, y)
    model.set_scale_and_bias(0.5, 3.0)
    net = check(model, X, tolerance=EXACT)
    _, tuned = tune(model)
    assert tuned.get_scale_and_bias()[0] == 0.5
    model.shrink(ntree_end=2)
    assert_alike(pg.to_torch(model), model, X, EXACT)
    assert trees_of(net).roots.shape[0] == 4


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_thresholds_that_trained_go_back(shape: Any, precise: bool) -> None:
    X, y = DATASETS["missing"]()
    model = catboost.CatBoostRegressor(iterations=4, **shape, **QUIET).fit(X, y)
    net = pg.to_torch(model, dtype=None if precise else torch.float32)
    trees = trees_of(net).soften("soft")
    perturb(net, 0.01)
    tuned = pg.from_torch(net.eval())
    assert type(tuned) is catboost.CatBoostRegressor
    assert tuned.get_params() == model.get_params()
    assert tuned.feature_names_ == model.feature_names_
    with torch.no_grad():
        moved = pg.to_torch(tuned)
        pair = trees_of(moved).threshold.double(), trees.thresholds().double()
        a, b = (t.sort().values for t in pair)  # symmetric trees are others afterwards
        assert (a - b).abs().max() < 1e-4
        rows = np.concatenate([X, around_thresholds(moved, np.nan_to_num(X[0]))])
    assert_close(net.predict(rows), tuned.predict(rows), EXACT if precise else 1e-6)
    assert not np.allclose(tuned.predict(X), model.predict(X))
    assert tuned.feature_importances_.sum() == pytest.approx(100)


@pytest.mark.parametrize("option", OPTIONS[:5], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_thresholds_among_categories_go_back(tmp_path: Any, shape: Any, option: Any) -> None:
    X = table(0)
    y = np.digitize(target(X), [4, 8])
    model = catboost.CatBoostClassifier(
        iterations=4, cat_features=NAMES, **shape, **option, **QUIET
    ).fit(X, y)
    net = pg.to_torch(model)
    trees_of(net).soften("soft")
    perturb(net, 0.02)
    tuned = pg.from_torch(net.eval())
    probe = table(1, 400, unseen=True)
    assert_close(net.predict_proba(probe), tuned.predict_proba(probe), EXACT)
    path = str(tmp_path / "model.cbm")
    tuned.save_model(path)
    again = catboost.CatBoostClassifier().load_model(path)
    assert identical(again.predict_proba(probe), tuned.predict_proba(probe))
    assert_alike(pg.to_torch(again), again, probe, EXACT)


# -- losses, links, refusals ---------------------------------------------------------------------

LOSSES = {
    "RMSE": "squared_error",
    "MAE": "absolute_error",
    "Quantile:alpha=0.3": "pinball",
    "Huber:delta=1.5": "huber",
    "Poisson": "poisson",
    "Tweedie:variance_power=1.3": "tweedie",
    "LogCosh": None,
    "Lq:q=3": None,
    "Expectile:alpha=0.3": None,
    "MAPE": None,
    "LogLinQuantile:alpha=0.4": None,
    "Cox": None,
}


@pytest.mark.parametrize("loss", list(LOSSES))
def test_each_loss_with_its_link(loss: str) -> None:
    X, y = DATASETS["missing"]()
    model = catboost.CatBoostRegressor(loss_function=loss, **FEW).fit(X, np.abs(y) + 0.1)
    net = check(model, X, tolerance=1e-9)
    objective = net.objective
    assert (None if objective is None else objective.name) == LOSSES[loss]


class Logistic:
    """A loss of one's own, as CatBoost wants it."""

    def calc_ders_range(self, scores: Any, labels: Any, weights: Any) -> Any:
        shares = [1 / (1 + np.exp(-s)) for s in scores]
        return [(y - p, -p * (1 - p)) for p, y in zip(shares, labels, strict=True)]


@pytest.mark.filterwarnings("ignore:Failed to import numba")
@pytest.mark.filterwarnings("ignore:Can't optimize")
def test_own_loss_is_raw() -> None:
    X, y = DATASETS["binary"]()
    settings = {"loss_function": Logistic(), "eval_metric": "Logloss", **FEW}
    regressor = catboost.CatBoostRegressor(**settings).fit(X, y)
    net = check(regressor, X, tolerance=1e-9)
    assert net.objective is None
    assert_close(net.predict(X), raw(regressor, X), EXACT)
    check(catboost.CatBoostClassifier(**settings).fit(X, y), X, tolerance=1e-9)


def test_a_probability_of_ones_own_decides() -> None:
    X, y = DATASETS["binary_strings"]()
    model = catboost.CatBoostClassifier(**FEW).fit(X, y)
    usual = model.predict(X)
    model.set_probability_threshold(0.2)
    assert (model.predict(X) != usual).any()
    net = check(model, X, tolerance=1e-9)
    assert_alike(net, model, X, EXACT)
    _, tuned = tune(model)
    assert tuned.get_probability_threshold() == 0.2
    trees_of(net).soften("soft")
    perturb(net, 0.01)
    assert pg.from_torch(net.eval()).get_probability_threshold() == 0.2


def test_weights_of_classes_reach_the_loss() -> None:
    X, y = DATASETS["binary"]()
    weighed = {
        "class_weights": ([1, 4], {0: 1, 1: 4}),
        "scale_pos_weight": (4.0,),
        "auto_class_weights": ("Balanced",),
    }
    root = catboost.CatBoostClassifier(**FEW, auto_class_weights="SqrtBalanced")
    given = dict(pg.to_torch(root.fit(X[35:], y[35:])).objective.class_weight)
    more, fewer = np.bincount(y[35:]).max(), np.bincount(y[35:]).min()
    assert more != fewer
    assert max(given.values()) / min(given.values()) == pytest.approx((more / fewer) ** 0.5)
    for name, values in weighed.items():
        for value in values:
            model = catboost.CatBoostClassifier(**FEW, **{name: value}).fit(X, y)
            given = check(model, X, tolerance=1e-9).objective.class_weight
            assert given == "balanced" or dict(given) == {0: 1, 1: 4}
            assert (given == "balanced") == (name == "auto_class_weights")


def test_labels_of_every_kind() -> None:
    X, y = DATASETS["binary"]()
    for labels in (y > 0, y + 5, np.where(y, "b", "a"), y.astype(float) - 0.5):
        model = catboost.CatBoostClassifier(**FEW).fit(X, labels)
        check(model, X, tolerance=1e-9)
    turned = catboost.CatBoostClassifier(**FEW, class_names=[1, 0]).fit(X, y)
    check(turned, X, tolerance=1e-9)


def test_what_has_no_module_is_refused_by_name() -> None:
    X, y = DATASETS["regression"]()
    uncertain = catboost.CatBoostRegressor(loss_function="RMSEWithUncertainty", **FEW).fit(X, y)
    with pytest.raises(pg.UntranslatableError, match="RMSEWithUncertainty"):
        pg.to_torch(uncertain)
    data = table(0)
    misread = catboost.CatBoostRegressor(
        cat_features=NAMES, simple_ctr="BinarizedTargetMeanValue", **FEW
    ).fit(data, target(data))
    with pytest.raises(pg.UntranslatableError, match="BinarizedTargetMeanValue"):
        pg.to_torch(misread)
    texts = pd.DataFrame({"t": ["a b", "b c", "c d", "d a"] * 10, "x": range(40)})
    written = catboost.CatBoostClassifier(text_features=["t"], **FEW).fit(texts, [0, 1] * 20)
    with pytest.raises(pg.UntranslatableError, match="text_features"):
        pg.to_torch(written)
    vectors = pd.DataFrame({"v": list(np.random.default_rng(0).normal(size=(40, 3)))})
    embedded = catboost.CatBoostClassifier(embedding_features=["v"], **FEW)
    embedded.fit(vectors, [0, 1] * 20)
    with pytest.raises(pg.UntranslatableError, match="embedding_features"):
        pg.to_torch(embedded)
    with pytest.raises((pg.UntranslatableError, ValueError), match="fitted"):
        pg.to_torch(catboost.CatBoostRegressor())


# -- among others --------------------------------------------------------------------------------


def test_in_pipelines_and_composites() -> None:
    X, y = DATASETS["missing_binary"]()
    pipe = make_pipeline(StandardScaler(), catboost.CatBoostClassifier(**FEW)).fit(X, y)
    net, tuned = tune(pipe)
    assert_alike(pg.to_torch(pipe), pipe, X)
    assert_alike(net, tuned, X)
    X, y = DATASETS["binary_strings"]()
    stack = StackingClassifier(
        [("c", catboost.CatBoostClassifier(**FEW)), ("l", LogisticRegression())], cv=3
    ).fit(X, y)
    net, tuned = tune(stack)
    assert_alike(pg.to_torch(stack), stack, X)
    assert_alike(net, tuned, X, 1e-8)


def test_fine_tuning_trains_the_leaves() -> None:
    X, y = DATASETS["multiclass"]()
    model = catboost.CatBoostClassifier(**FEW).fit(X[:40], y[:40])
    net = pg.to_torch(model).fit(X, y, epochs=60, validation=None)
    losses = net.history[:, "train_loss"]
    assert losses[-1] < 0.9 * losses[0]
    assert_alike(net, pg.from_torch(net), X, EXACT)


def test_pools_of_numbers() -> None:
    X, y = DATASETS["missing"]()
    pool = catboost.Pool(X, y)
    model = catboost.train(pool, {"loss_function": "RMSE", **FEW}, logging_level="Silent")
    net = pg.to_torch(model)
    assert_close(net.predict(pool), model.predict(pool), EXACT)


@pytest.mark.parametrize("kind", [catboost.CatBoostClassifier, catboost.CatBoostRegressor])
def test_what_is_not_fitted_yet_is_not_refused_for_having_no_trees(kind: Any) -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 3))
    pipe = make_pipeline(StandardScaler(), kind(iterations=3, depth=2, **QUIET))
    with pytest.warns(pg.PipegradWarning, match="few"):
        tuner = pg.FineTuner(pipe, random_state=0).fit(X[:40], X[:40, 0] > 0)
    assert tuner.predict(X).shape == (60,)


@pytest.mark.parametrize("options", [{"classes_count": 5}, {"class_names": [0, 1, 2, 3, 4]}])
def test_classes_that_the_training_data_lacked(options: dict[str, Any]) -> None:
    """CatBoost answers for all classes that were named, also for those without any score."""
    X, _ = DATASETS["regression"]()
    y = np.array([0, 1, 4])[np.arange(len(X)) % 3]
    model = catboost.CatBoostClassifier(**FEW, loss_function="MultiClass", **options).fit(X, y)
    assert model.predict_proba(X).shape[1] == 5
    with pytest.raises(pg.UntranslatableError, match="5 classes were named"):
        pg.to_torch(model)
