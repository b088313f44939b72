"""LightGBM: routing as the library's own, links, objectives, and what comes back."""

import copy
import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import contract_of
from pipegrad.errors import UntranslatableError
from pipegrad.losses import get_loss
from pipegrad.registry import lookup
from pipegrad.testing import CHECKS, Case, assert_close, perturb

lgb = pytest.importorskip("lightgbm")

QUIET = {"verbose": -1, "n_jobs": 1}
SMALL = {**QUIET, "n_estimators": 8, "num_leaves": 6, "min_child_samples": 3}
SETS = {"min_data_per_group": 1, "cat_smooth": 0.0, "cat_l2": 0.0}
TINY = 1.0000000180025095e-35


@contract_of("lightgbm.*")
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)


def numbers(seed=0, rows=300):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 4)).round(1)
    X[:, 3] = rng.integers(0, 40, rows)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[rng.random(X.shape) < 0.1] = 0.0
    y = np.nan_to_num(X[:, 0] - X[:, 1] ** 2) + np.nan_to_num(X[:, 3]) % 3
    return X, y + 0.1 * rng.normal(size=rows)


def body(net):
    return next(iter(net.steps.values())).body


def leaves(net, X):
    """The leaf of each row in each tree, numbered as in the library."""
    trees = body(net)
    (block,) = net.encode(X).blocks.values()
    found = trees.leaves(block)
    first = torch.full((trees.roots.shape[0],), 1 << 40)
    first.scatter_reduce_(0, trees._leaf_tree, torch.arange(len(trees._leaf_tree)), "amin")
    return (found - first).numpy()


def own_leaves(model, X):
    """The same from the library."""
    return np.asarray(model.predict(X, pred_leaf=True)).reshape(X.shape[0], -1)


def on_the_edges(booster, X):
    """Rows on thresholds, next to them, and far from anything."""
    table = booster.trees_to_dataframe()
    columns = []
    for j, name in enumerate(booster.feature_name()):
        here = table[(table.split_feature == name) & (table.decision_type == "<=")].threshold
        edges = here.dropna().astype(float).to_numpy()
        ways = [edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)]
        special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, TINY, -TINY, 1e-34, -1e-34]
        codes = [-1.0, -0.5, -3.0, 0.5, 39.9, 40.0, 1e6, 2.0**31, 2.0**32 + 2, -3e9, 1e300]
        columns.append(np.concatenate([*ways, special, codes, X[:40, j]]))
    rng = np.random.default_rng(1)
    return np.column_stack([rng.choice(c, 800) for c in columns])


# -- routing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("categorical", ["auto", [3]])
@pytest.mark.parametrize("missing", [{}, {"zero_as_missing": True}, {"use_missing": False}])
def test_rows_on_the_edges_go_where_the_library_sends_them(missing, categorical):
    X, y = numbers()
    model = lgb.LGBMRegressor(**SMALL, **SETS, **missing)
    model.fit(X, y, categorical_feature=categorical)
    net = pg.to_torch(model)
    rows = on_the_edges(model.booster_, X)
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32)
    for data in (rows, single, np.asfortranarray(rows), sparse.csr_matrix(rows)):
        np.testing.assert_array_equal(leaves(net, data), own_leaves(model, data))
        assert_close(net.predict(data), model.predict(data), 1e-12)


def test_whole_numbers_are_rounded_to_float32_as_the_library_does():
    X = np.arange(2**24, 2**24 + 400)[:, None]
    y = np.sin(X[:, 0] / 3.0)
    model = lgb.LGBMRegressor(**{**SMALL, "num_leaves": 60, "max_bin": 400}, min_data_in_bin=1)
    model.fit(X.astype(float), y)
    assert (model.predict(X) != model.predict(X.astype(float))).any()
    net = pg.to_torch(model)
    np.testing.assert_allclose(net.predict(X), model.predict(X), rtol=1e-12)
    both = VotingRegressor([("line", LinearRegression()), ("trees", model)]).fit(X, y)
    both.estimators_[1] = model
    assert_close(pg.to_torch(both).predict(X), both.predict(X), 1e-9)


values = st.one_of(
    st.integers(-4, 4).map(float), st.just(np.nan), st.floats(-3, 3, width=16), st.just(0.0)
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(values, values, values), min_size=30, max_size=60),
    st.sampled_from([{}, {"zero_as_missing": True}, {"use_missing": False}]),
    st.booleans(),
    st.integers(0, 3),
)
def test_trees_on_made_data_route_alike(rows, missing, categorical, seed):
    X = np.array(rows)
    if categorical:
        X[:, 2] = np.abs(np.round(X[:, 2]))
    y = np.nan_to_num(X).sum(1) + np.random.default_rng(seed).normal(size=len(X))
    options = {**SMALL, "min_child_samples": 1, "min_data_in_bin": 1, "min_child_weight": 0.0}
    model = lgb.LGBMRegressor(**options, **SETS, **missing)
    model.fit(X, y, categorical_feature=[2] if categorical else "auto")
    net = pg.to_torch(model)
    seen = np.vstack([X, np.roll(X, 1, axis=0)[:, ::-1], -X])
    np.testing.assert_array_equal(leaves(net, seen), own_leaves(model, seen))


def test_many_categories():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 300, 2000) * 7, rng.normal(size=2000)]).astype(float)
    y = np.sin(X[:, 0]) + X[:, 1]
    model = lgb.LGBMRegressor(**SMALL, **SETS, max_cat_threshold=64)
    model.fit(X, y, categorical_feature=[0])
    net = pg.to_torch(model)
    rows = np.column_stack([np.arange(-50, 2200), np.zeros(2250)])
    np.testing.assert_array_equal(leaves(net, rows), own_leaves(model, rows))


def test_linear_functions_in_the_leaves():
    X, y = numbers()
    for missing in ({}, {"use_missing": False}):
        model = lgb.LGBMRegressor(**SMALL, linear_tree=True, linear_lambda=0.01, **missing)
        model.fit(X, y)
        net = pg.to_torch(model)
        rows = on_the_edges(model.booster_, X)
        rows = np.vstack([X, np.where(np.abs(rows) > 1e3, np.nan, rows)])
        assert_close(net.predict(rows), model.predict(rows), 1e-10)
        perturb(net)
        again = pg.from_torch(net)
        assert_close(again.predict(rows), net.predict(rows), 1e-10)


def test_linear_trees_after_plain_ones():
    X, y = numbers()
    plain = lgb.LGBMRegressor(**SMALL).fit(X, y)
    model = lgb.LGBMRegressor(**SMALL, linear_tree=True).fit(X, y, init_model=plain)
    net = pg.to_torch(model)
    assert_close(net.predict(X), model.predict(X), 1e-10)
    perturb(net)
    again = pg.from_torch(net)
    assert_close(again.predict(X), net.predict(X), 1e-10)
    assert (again.predict(X) != model.predict(X)).any()


# -- what the score means ----------------------------------------------------------------------


def target_for(objective, y):
    if objective in ("poisson", "gamma", "tweedie"):
        return np.abs(y) + 0.1
    if objective in ("binary", "cross_entropy", "cross_entropy_lambda"):
        return (y > np.median(y)) * 1.0
    if objective.startswith("multiclass"):
        return np.digitize(y, np.quantile(y, [0.3, 0.6])).astype(float)
    return y


OBJECTIVES = [
    *["regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma"],
    *["tweedie", "binary", "multiclass", "multiclassova", "cross_entropy", "cross_entropy_lambda"],
]
OPTIONS = {"sigmoid": 0.6, "alpha": 0.8, "fair_c": 1.7, "tweedie_variance_power": 1.4}


def boosted(objective, X, y, rounds=8, **more):
    params = {"objective": objective, "num_leaves": 6, "min_data_in_leaf": 3, "verbose": -1}
    params |= {"num_threads": 1, **OPTIONS, **more}
    if objective.startswith("multiclass"):
        params["num_class"] = 3
    return lgb.train(params, lgb.Dataset(X, y), rounds)


@pytest.mark.parametrize("boosting", ["gbdt", "dart", "rf"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_booster_goes_both_ways(objective, boosting, tmp_path):
    X, y = numbers()
    y = target_for(objective, y)
    more = {"bagging_freq": 1, "bagging_fraction": 0.6} if boosting == "rf" else {}
    booster = boosted(objective, X, y, boosting=boosting, **more)
    net = pg.to_torch(booster)
    assert_close(net.predict(X), booster.predict(X), 1e-10)
    perturb(net)
    again = pg.from_torch(net)
    assert type(again) is lgb.Booster
    assert_close(again.predict(X), net.predict(X), 1e-12)
    again.save_model(tmp_path / "model.txt")
    loaded = lgb.Booster(model_file=tmp_path / "model.txt")
    np.testing.assert_array_equal(loaded.predict(X), again.predict(X))
    assert_close(pg.to_torch(loaded).predict(X), net.predict(X), 1e-12)


# The library's own metric where it is the loss itself, not the loss up to a constant.
METRICS = {
    "regression": ("l2", 2.0),
    "regression_l1": ("l1", 1.0),
    "huber": ("huber", 1.0),
    "fair": ("fair", 1.0),
    "quantile": ("quantile", 1.0),
    "mape": ("mape", 1.0),
    "poisson": ("poisson", 1.0),
    "binary": ("binary_logloss", 1.0),
    "multiclass": ("multi_logloss", 1.0),
    "cross_entropy": ("cross_entropy", 1.0),
    "cross_entropy_lambda": ("cross_entropy_lambda", 1.0),
}


@pytest.mark.parametrize("objective", METRICS)
def test_the_loss_is_the_library_s_own(objective):
    X, y = numbers()
    y = target_for(objective, y)
    metric, factor = METRICS[objective]
    history = {}
    params = {"objective": objective, "metric": metric, **OPTIONS, "num_threads": 1, "verbose": -1}
    data = lgb.Dataset(X, y)
    more = {"num_class": 3} if objective == "multiclass" else {}
    booster = lgb.train(
        {**params, **more},
        data,
        3,
        valid_sets=[data],
        callbacks=[lgb.record_evaluation(history)],
    )
    net = pg.to_torch(booster)
    loss = net.objective
    target = net.encode_target(y)
    ours = get_loss(loss.name)(net(X), target, **loss.options).mean().item()
    assert factor * ours == pytest.approx(history["training"][metric][-1], rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_booster_trains_on_its_own_loss(objective):
    X, y = numbers()
    y = target_for(objective, y)
    net = pg.to_torch(boosted(objective, X, y, rounds=3))
    loss = get_loss(net.objective.name)
    target = net.encode_target(y)

    def mean():
        with torch.no_grad():
            return loss(net(X), target, **net.objective.options).mean().item()

    before = mean()
    net.fit(X, y, epochs=5, lr=0.01, validation=None)
    assert mean() < before


def test_roots_as_targets():
    X, y = numbers()
    for objective in ("regression", "regression_l1"):
        model = lgb.LGBMRegressor(**SMALL, objective=objective, reg_sqrt=True).fit(X, y)
        net = pg.to_torch(model)
        assert_close(net.predict(X), model.predict(X), 1e-10)
        assert net.objective.name.endswith("_of_roots")


@pytest.mark.parametrize("labels", [["no", "yes"], [-1, 1], [False, True], [3, 7, 11], list("abc")])
def test_labels_of_any_kind(labels):
    X, y = numbers()
    y = np.array(labels)[np.digitize(y, np.quantile(y, [0.4, 0.7][: len(labels) - 1]))]
    model = lgb.LGBMClassifier(**SMALL).fit(X, y)
    net = pg.to_torch(model)
    assert net.predict(X).dtype == model.predict(X).dtype
    np.testing.assert_array_equal(net.predict(X), model.predict(X))
    net.fit(X, y, epochs=2, validation=None)
    again = pg.from_torch(net)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    np.testing.assert_array_equal(again.classes_, model.classes_)


def squares(y, score):
    return score - y, np.ones_like(y)


def many_squares(y, score):
    hot = np.eye(score.shape[1])[y.astype(int)]
    return score - hot, np.ones_like(score)


@pytest.mark.filterwarnings("ignore")
def test_the_user_s_own_objective_gives_the_score():
    X, y = numbers()
    three = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    for model in (
        lgb.LGBMRegressor(**SMALL, objective=squares).fit(X, y),
        lgb.LGBMClassifier(**SMALL, objective=squares).fit(X, y > 0),
        lgb.LGBMClassifier(**SMALL, objective=many_squares).fit(X, three),
    ):
        net = pg.to_torch(model)
        assert net.objective is None
        assert_close(net.predict(X), model.predict(X), 1e-10)
        if hasattr(model, "predict_proba"):
            assert_close(net.predict_proba(X), model.predict_proba(X), 1e-10)
        net.fit(X, y, loss=lambda score, t: score.square(), epochs=1, validation=None)
        assert_close(pg.from_torch(net).predict(X), net.predict(X), 1e-10)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, None),
        ({"class_weight": "balanced"}, "balanced"),
        ({"class_weight": {"a": 2.0}}, {"a": 2.0}),
        ({"is_unbalance": True}, "balanced"),
        ({"scale_pos_weight": 3.0}, {"a": 1.0, "b": 3.0}),
        ({"scale_pos_weight": 3.0, "class_weight": {"a": 2.0}}, {"a": 2.0, "b": 3.0}),
    ],
)
def test_weights_of_classes(options, weights):
    X, y = numbers()
    model = lgb.LGBMClassifier(**SMALL, **options).fit(X, np.where(y > 0, "b", "a"))
    objective = pg.to_torch(model).objective
    assert objective.name == "log_loss"
    assert objective.class_weight == weights


def test_weights_that_cannot_be_said_leave_the_loss_to_the_user():
    X, y = numbers()
    both = {"scale_pos_weight": 3.0, "class_weight": "balanced"}
    assert pg.to_torch(lgb.LGBMClassifier(**SMALL, **both).fit(X, y > 0)).objective is None
    ova = {"objective": "multiclassova", "is_unbalance": True}
    model = lgb.LGBMClassifier(**SMALL, **ova).fit(X, np.digitize(y, [0.0, 1.0]))
    assert pg.to_torch(model).objective is None


# -- which trees count -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped():
    X, y = numbers()
    other, z = numbers(seed=1)
    model = lgb.LGBMClassifier(**{**SMALL, "n_estimators": 200, "learning_rate": 0.3})
    stop = lgb.early_stopping(3, verbose=False)
    named = "eval_X" in inspect.signature(model.fit).parameters
    seen = {"eval_X": (other,), "eval_y": (z > 0,)} if named else {"eval_set": [(other, z > 0)]}
    model.fit(X, y > 0, **seen, callbacks=[stop])
    assert 3 < model.best_iteration_ < 200
    # The library drops what came after the best iteration, unless told otherwise; here it is told.
    model.booster_.best_iteration = model._best_iteration = model.best_iteration_ - 2
    return model


def test_the_best_iteration_counts_and_stays(stopped):
    X, _ = numbers()
    net = pg.to_torch(stopped)
    assert body(net).roots.shape[0] == stopped.best_iteration_
    assert_close(net.predict_proba(X), stopped.predict_proba(X), 1e-12)
    perturb(net)
    for same in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        again = pg.from_torch(same)
        assert again.best_iteration_ == again.booster_.best_iteration == stopped.best_iteration_
        assert again.n_iter_ == stopped.n_iter_
        assert_close(again.predict_proba(X), net.predict_proba(X), 1e-12)
        # What comes after the best iteration is as it was.
        rest = {"start_iteration": stopped.best_iteration_, "raw_score": True}
        np.testing.assert_array_equal(again.predict(X, **rest), stopped.predict(X, **rest))


def test_the_best_iteration_counts_inside_of_a_pipeline_too(stopped):
    X, y = numbers()
    pipe = make_pipeline(StandardScaler(), stopped)
    pipe[0].fit(X)
    host = StackingClassifier([("trees", stopped)], LogisticRegression(), cv="prefit")
    host.fit(X, y > 0)
    for source in (pipe, host):
        net = pg.to_torch(source)
        assert_close(net.predict_proba(X), source.predict_proba(X), 1e-9)
        assert_close(pg.from_torch(net).predict_proba(X), source.predict_proba(X), 1e-9)


def test_a_booster_that_was_kept_for_more_training():
    X, y = numbers()
    data = lgb.Dataset(X, y, free_raw_data=False)
    params = {"num_leaves": 6, "verbose": -1, "num_threads": 1}
    valid = data.create_valid(*numbers(seed=1))
    stop = [lgb.early_stopping(2, verbose=False)]
    booster = lgb.train(
        params, data, 100, valid_sets=[valid], callbacks=stop, keep_training_booster=True
    )
    assert booster.best_iteration < booster.current_iteration()
    net = pg.to_torch(booster)
    assert_close(net.predict(X), booster.predict(X), 1e-12)
    perturb(net)
    again = pg.from_torch(net)
    assert again.best_iteration == booster.best_iteration
    assert again.current_iteration() == booster.current_iteration()
    assert_close(again.predict(X), net.predict(X), 1e-12)
    booster.update()


def test_a_part_of_the_rounds_saved_as_text():
    X, y = numbers()
    booster = boosted("multiclass", X, target_for("multiclass", y))
    part = lgb.Booster(model_str=booster.model_to_string(start_iteration=2, num_iteration=3))
    net = pg.to_torch(part)
    expected = booster.predict(X, start_iteration=2, num_iteration=3)
    assert_close(net.predict(X), expected, 1e-12)


def test_trees_without_a_split():
    X, y = numbers()
    for model in (
        lgb.LGBMRegressor(**{**SMALL, "min_child_samples": 1000}).fit(X, y),
        lgb.LGBMClassifier(**{**SMALL, "min_child_samples": 1000}).fit(X, np.digitize(y, [0, 1])),
    ):
        net = pg.to_torch(model)
        assert_close(net.predict(X), model.predict(X), 1e-12)
        perturb(net)
        assert_close(pg.from_torch(net).predict(X), net.predict(X), 1e-12)


def test_what_predicts_by_more_than_its_trees_is_refused():
    X, y = numbers()
    model = lgb.LGBMClassifier(**SMALL, pred_early_stop=True).fit(X, y > 0)
    with pytest.raises(UntranslatableError, match="pred_early_stop"):
        pg.to_torch(model)


# -- what comes back ---------------------------------------------------------------------------


def test_an_untouched_model_comes_back_with_the_same_text():
    X, y = numbers()
    for options in ({}, {"linear_tree": True}, {"boosting_type": "dart"}):
        model = lgb.LGBMRegressor(**SMALL, **SETS, **options)
        model.fit(X, y, categorical_feature="auto" if "linear_tree" in options else [3])
        row, copied = lookup(type(model)), copy.deepcopy(model)
        row.write_back(row.to_torch(model), copied)
        assert copied.booster_.model_to_string() == model.booster_.model_to_string()


def test_all_of_the_estimator_follows(tmp_path):
    X, y = numbers()
    model = lgb.LGBMClassifier(**SMALL).fit(X, np.digitize(y, [0.0, 1.0]))
    net = pg.to_torch(model)
    perturb(net)
    again = pg.from_torch(net)
    np.testing.assert_array_equal(again.feature_importances_, model.feature_importances_)
    assert again.feature_name_ == model.feature_name_
    raw = again.predict(X, raw_score=True)
    assert_close(raw, net(X).detach().numpy(), 1e-12)
    parts = np.asarray(again.predict(X, pred_contrib=True)).reshape(len(X), 3, -1)
    np.testing.assert_allclose(parts.sum(2), raw, rtol=1e-9, atol=1e-9)
    for other in (pickle.loads(pickle.dumps(again)), copy.deepcopy(again)):
        np.testing.assert_array_equal(other.predict_proba(X), again.predict_proba(X))
    again.booster_.save_model(tmp_path / "tuned.txt")
    loaded = lgb.Booster(model_file=tmp_path / "tuned.txt")
    np.testing.assert_array_equal(loaded.predict(X), again.predict_proba(X))
    tree = again.booster_.trees_to_dataframe().query("tree_index == 0")
    leaf = tree[tree.left_child.isna()]
    root = (leaf.value * leaf.weight).sum() / leaf.weight.sum()
    assert tree.value.iloc[0] == pytest.approx(root, rel=1e-4)


def test_thresholds_that_trained_come_back():
    X, y = numbers()
    model = lgb.LGBMRegressor(**SMALL, **SETS).fit(X, y, categorical_feature=[3])
    net = pg.to_torch(model)
    body(net).soften("soft", temperature=0.1)
    net.train()
    loss = (net(np.nan_to_num(X)) - torch.from_numpy(y)).square().mean()
    loss.backward()
    assert body(net).shift.grad.abs().max() > 0
    with torch.no_grad():
        body(net).shift.add_(torch.linspace(-0.3, 0.3, len(body(net).shift)))
    net.eval()
    again = copy.deepcopy(model)
    lookup(type(model)).write_back(body(net), again)
    assert (again.predict(X) != model.predict(X)).any()
    assert_close(again.predict(X), net.predict(X), 1e-12)


def test_in_float32_what_did_not_move_keeps_its_digits():
    X, y = numbers()
    model = lgb.LGBMRegressor(**SMALL).fit(X, y)
    net = pg.to_torch(model, dtype=torch.float32)
    with torch.no_grad():
        body(net).leaf_values[0] += 1
    again = pg.from_torch(net)
    old, new = (m.booster_.trees_to_dataframe().threshold for m in (model, again))
    pd.testing.assert_series_equal(old, new)
    changed = again.booster_.get_leaf_output(0, 0) - model.booster_.get_leaf_output(0, 0)
    assert changed == pytest.approx(1, rel=1e-5)
    assert again.booster_.get_leaf_output(0, 1) == model.booster_.get_leaf_output(0, 1)


# -- tables ------------------------------------------------------------------------------------


def table(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=rows),
            "color": pd.Categorical(rng.choice(["red", "green", "blue", "grey"], rows)),
            "count": rng.integers(0, 9, rows),
            "grade": pd.Categorical(rng.choice([10, 20, 30], rows), ordered=True),
        }
    )
    frame.loc[5:20, "color"] = None
    y = frame["size"] + (frame["color"] == "red") * 2 + frame["grade"].astype(float) / 10
    return frame, y.to_numpy()


def test_categories_of_tables():
    X, y = table()
    model = lgb.LGBMRegressor(**SMALL, **SETS).fit(X, y)
    net = pg.to_torch(model)
    other = X.copy()
    other["color"] = pd.Categorical(["pink", "red", None, "blue"] * 50)
    other["grade"] = pd.Categorical([30, 10, 99, 20] * 50)
    named = X.rename(columns={"size": "width"})
    nullable = X.convert_dtypes().astype({"color": X["color"].dtype, "grade": X["grade"].dtype})
    for data in (X, other, other[:1], named, nullable, X[["size", "grade", "count", "color"]]):
        np.testing.assert_allclose(net.predict(data), model.predict(data), rtol=1e-12)
    perturb(net)
    again = pg.from_torch(net)
    assert again.booster_.pandas_categorical == model.booster_.pandas_categorical
    np.testing.assert_allclose(again.predict(other), net.predict(other), rtol=1e-12)
    for bad in (X.astype({"color": str}), X[["size", "color", "count"]], X.drop(columns="size")):
        with pytest.raises((ValueError, lgb.basic.LightGBMError)):
            model.predict(bad)
        with pytest.raises(ValueError):
            net.predict(bad)


def test_categories_of_tables_behind_a_scaler():
    X, y = table()
    scale = ColumnTransformer(
        [("scale", StandardScaler(), ["size", "count"])], remainder="passthrough"
    )
    pipe = make_pipeline(scale, lgb.LGBMRegressor(**SMALL, **SETS))
    pipe.set_output(transform="pandas").fit(X, y)
    net = pg.to_torch(pipe)
    assert_close(net.predict(X), pipe.predict(X), 1e-12)
    perturb(net)
    assert_close(pg.from_torch(net).predict(X), net.predict(X), 1e-12)


def test_tables_of_arrow():
    arrow = pytest.importorskip("pyarrow")
    X, y = numbers()
    model = lgb.LGBMRegressor(**SMALL).fit(X, y)
    rows = arrow.table({f"x{i}": X[:, i] for i in range(4)})
    assert_close(pg.to_torch(model).predict(rows), model.predict(X), 1e-12)


# -- among others ------------------------------------------------------------------------------


def test_behind_other_steps_and_inside_of_ensembles():
    X, y = numbers()
    X = np.nan_to_num(X)
    three = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    trees = lgb.LGBMClassifier(**SMALL)
    sources = [
        make_pipeline(StandardScaler(), PCA(3), trees).fit(X, three),
        StackingClassifier(
            [("trees", trees), ("line", LogisticRegression())], LogisticRegression(), cv=2
        ).fit(X, three),
        make_pipeline(StandardScaler(), lgb.LGBMClassifier(**SMALL)).fit(X, y > 0),
    ]
    for source in sources:
        net = pg.to_torch(source, translate="all")
        assert_close(net.predict_proba(X), source.predict_proba(X), 1e-9)
        net.fit(X, three if len(source.classes_) == 3 else y > 0, epochs=1, validation=None)
        assert_close(pg.from_torch(net).predict_proba(X), net.predict_proba(X), 1e-9)


def test_features_for_a_later_step():
    X, y = numbers()
    busy = pg.Featurizer(lgb.LGBMClassifier(**SMALL), target=lambda t: t > 0)
    pipe = make_pipeline(busy, LinearRegression()).fit(X, y)
    net = pg.to_torch(pipe)
    assert_close(net.predict(X), pipe.predict(X), 1e-9)
    perturb(net)
    assert_close(pg.from_torch(net).predict(X), net.predict(X), 1e-9)


def test_the_user_s_booster_is_left_alone():
    X, y = numbers()
    booster = boosted("regression", X, y)
    before = booster.model_to_string()
    net = pg.to_torch(booster)
    net.fit(X, y, epochs=2, validation=None)
    pg.from_torch(net)
    assert booster.model_to_string() == before


def test_tuning_from_the_start():
    X, y = numbers(rows=400)
    tuner = pg.FineTuner(lgb.LGBMClassifier(**SMALL), epochs=5, random_state=0)
    tuner.fit(X, np.where(y > 0, "high", "low"))
    assert type(tuner.estimator_) is lgb.LGBMClassifier
    np.testing.assert_array_equal(tuner.predict(X), tuner.estimator_.predict(X))


def test_how_a_booster_looks():
    X, y = numbers()
    booster = boosted("regression", X, y)
    assert "Booster" in repr(pg.to_torch(booster))
    assert "trainable" in str(pg.inspect(booster))


@pytest.mark.parametrize("width", [4, 3000])
def test_of_entries_that_a_csr_matrix_stores_twice_the_last_counts(width):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, width))
    model = lgb.LGBMRegressor(n_estimators=20, verbose=-1).fit(X, X[:, 0] + X[:, 1] ** 2)
    columns = np.argsort(rng.random((60, 6)), axis=1) % 4
    parts = (rng.normal(size=360), columns.ravel(), np.arange(0, 361, 6))
    rows = sparse.csr_matrix(parts, shape=(60, width))
    net = pg.to_torch(model)
    np.testing.assert_allclose(net.predict(rows), model.predict(rows))
    net.fit(rows, rng.normal(size=60), validation=None, epochs=2)
    np.testing.assert_allclose(pg.from_torch(net).predict(rows), net.predict(rows))
    assert len(rows.data) == 360  # The user's matrix is not changed.
    with pytest.raises(ValueError, match=r"sum_duplicates"):
        net.predict(sparse.csr_array(parts, shape=(60, width)))
    rows.sum_duplicates()
    np.testing.assert_allclose(net.predict(rows), pg.from_torch(net).predict(rows))
