"""XGBoost: routing, links, starts, categories, and the way back into its own objects."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.ensemble import StackingClassifier, VotingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import assert_alike, assert_round_trip, contract_of
from pipegrad.testing import CHECKS, DATASETS, Case, assert_close, identical, perturb

xgboost = pytest.importorskip("xgboost")
FEW = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}
CLOSE = 2e-6


@contract_of("xgboost.*")
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)


def trees_of(net: Any) -> Any:
    return next(m for m in net.modules() if type(m).__name__ == "TreeEnsemble")


def block(net: Any, X: Any) -> Any:
    (only,) = net.encode(X).blocks.values()
    return only


def content(booster: Any) -> dict[str, Any]:
    return json.loads(booster.save_raw("json"))


def tune(source: Any) -> tuple[Any, Any]:
    net = pg.to_torch(source)
    perturb(net)
    return net, pg.from_torch(net)


def nodes(net: Any, booster: Any, X: Any) -> Any:
    """The node number of each row's leaf in each tree."""
    trees = content(booster)["learner"]["gradient_booster"]["model"]["trees"]
    numbers = [np.flatnonzero(np.array(tree["left_children"]) < 0) for tree in trees]
    module = trees_of(net)
    found = module.leaves(block(net, X))
    return np.concatenate(numbers)[found.numpy()]


# -- routing -------------------------------------------------------------------------------------

EDGES = np.float32([-np.inf, -1.5, -1e-30, -0.0, 0.0, 1e-45, 0.1, 1.0, 2.5, 3e38])


def grown(rng: Any, columns: int, categorical: list[bool], depth: int) -> dict[str, Any]:
    """A random tree, as XGBoost's JSON has it."""
    tree: dict[str, Any] = {
        "left_children": [], "right_children": [], "parents": [], "split_indices": [],
        "split_conditions": [], "split_type": [], "default_left": [],
        "categories": [], "categories_nodes": [], "categories_segments": [],
        "categories_sizes": [],
    }  # fmt: skip

    waiting, node = [(2**31 - 1, depth)], 0
    while node < len(waiting):
        parent, level = waiting[node]
        leaf = level == 0 or (level < depth and rng.random() < 0.2)
        column = int(rng.integers(columns))
        chosen = not leaf and categorical[column]
        for name, value in {
            "parents": parent,
            "left_children": -1 if leaf else len(waiting),
            "right_children": -1 if leaf else len(waiting) + 1,
            "split_indices": 0 if leaf else column,
            "split_conditions": float(rng.normal() if leaf else rng.choice(EDGES[1:])),
            "split_type": int(chosen),
            "default_left": int(rng.random() < 0.5),
        }.items():
            tree[name].append(value)
        if chosen:
            members = np.flatnonzero(rng.random(40) < 0.3)
            members = members if len(members) else np.array([2])
            tree["categories_nodes"].append(node)
            tree["categories_segments"].append(len(tree["categories"]))
            tree["categories_sizes"].append(len(members))
            tree["categories"] += members.tolist()
        if not leaf:  # XGBoost takes for granted that a right child follows its sibling
            waiting += [(node, level - 1)] * 2
        node += 1
    count = len(tree["parents"])
    tree["split_conditions"] = [float(str(np.float32(v))) for v in tree["split_conditions"]]
    return {
        **tree,
        "base_weights": [0.0] * count,
        "loss_changes": [0.0] * count,
        "sum_hessian": [1.0] * count,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(columns),
            "num_nodes": str(count),
            "size_leaf_vector": "1",
        },
    }


def made(rng: Any, columns: int = 4, trees: int = 3) -> tuple[Any, list[bool]]:
    """A booster of random trees."""
    categorical = [bool(rng.random() < 0.4) for _ in range(columns)]
    X = rng.integers(0, 40, size=(8, columns)).astype(float)
    types = ["c" if c else "q" for c in categorical]
    data = xgboost.DMatrix(X, np.zeros(8), feature_types=types, enable_categorical=True)
    model = content(xgboost.train({"max_depth": 1, "nthread": 1}, data, 1))
    inner = model["learner"]["gradient_booster"]["model"]
    depth = int(rng.integers(0, 5))
    inner["trees"] = [
        {**grown(rng, columns, categorical, depth), "id": i} for i in range(trees)
    ]  # fmt: skip
    inner["tree_info"] = [0] * trees
    inner["iteration_indptr"] = list(range(trees + 1))
    inner["gbtree_model_param"]["num_trees"] = str(trees)
    text = json.dumps(model).encode()
    return xgboost.Booster(model_file=bytearray(text)), categorical


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_random_trees_route_as_xgboost_does(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    booster, categorical = made(rng)
    columns = []
    for chosen in categorical:
        if chosen:
            odd = [-1.0, -0.5, 0.5, 39.9, 40.0, 1e6, 3e9, -7.0, np.nan]
            values = np.concatenate([np.arange(40.0), odd])
        else:
            near = [np.nextafter(EDGES[1:], v, dtype=np.float32) for v in (-np.inf, np.inf)]
            half = EDGES[1:].astype(np.float64) * (1 + 2.0**-30)
            values = np.concatenate([EDGES[1:], *near, half, [np.nan]])
        columns.append(rng.choice(values, 200))
    X = np.column_stack(columns).astype(dtype)
    types = ["c" if c else "q" for c in categorical]
    data = xgboost.DMatrix(X, feature_types=types, enable_categorical=True)
    net = pg.to_torch(booster)
    theirs = booster.predict(data, pred_leaf=True).reshape(len(X), -1)
    np.testing.assert_array_equal(nodes(net, booster, X), theirs)
    np.testing.assert_array_equal(nodes(net.double(), booster, X), theirs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_on_thresholds_and_infinities(dtype: Any) -> None:
    X, y = DATASETS["missing"]()
    model = xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(X, y)
    net = pg.to_torch(model)
    trees = trees_of(net)
    t, f = trees.threshold.numpy(), trees.feature.numpy()
    rows = np.tile(np.nan_to_num(X[:1]), (5 * len(t), 1))
    place = np.arange(len(t))
    for i, value in enumerate(
        [t, np.nextafter(t, -np.inf), np.nextafter(t, np.inf), np.inf + t, np.nan * t]
    ):
        rows[i * len(t) + place, f] = value
    rows[::7, 0] = -np.inf
    rows = rows.astype(dtype)
    inside = np.where(np.isinf(rows), np.sign(rows) * 3e38, rows)
    np.testing.assert_array_equal(nodes(net, model.get_booster(), rows), model.apply(inside))
    assert_alike(net, model, rows, CLOSE)


def test_a_number_that_means_missing() -> None:
    X, y = DATASETS["marked"]()
    model = xgboost.XGBRegressor(**FEW, missing=-99.0).fit(X, y)
    assert_round_trip(model, X, tolerance=CLOSE)
    net = pg.to_torch(model)
    both = X.copy()
    both[::3, 2] = np.nan
    assert_alike(net, model, both, CLOSE)
    assert_alike(net, model, sparse.csr_matrix(X), CLOSE)
    # Behind a step that trains, the module meets the number itself.
    pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False), model)
    pipe.steps[0][1].fit(X)
    assert_round_trip(pipe, X, tolerance=CLOSE)


def test_what_a_sparse_row_does_not_hold_is_missing() -> None:
    X, y = DATASETS["sparse"]()
    X.data[::5] = 0.0  # explicit zeros are zeros
    model = xgboost.XGBRegressor(**FEW).fit(X, y)
    assert_round_trip(model, X, tolerance=CLOSE)
    net = pg.to_torch(model)
    assert not np.allclose(model.predict(X.toarray()), model.predict(X))
    for other in (X.toarray(), X.tocsc(), X.tocoo(), sparse.csr_array(X)):
        assert_alike(net, model, other, CLOSE)


# -- starts, links, outputs ----------------------------------------------------------------------

LINKS = {
    "reg:squarederror": "regression",
    "reg:absoluteerror": "regression",
    "reg:pseudohubererror": "regression",
    "reg:squaredlogerror": "positive",
    "reg:logistic": "binary",
    "binary:logistic": "binary",
    "binary:logitraw": "binary",
    "binary:hinge": "binary",
    "count:poisson": "counts",
    "reg:gamma": "positive",
    "reg:tweedie": "counts",
    "survival:cox": "positive",
}


@pytest.mark.parametrize("start", [None, 0.4])
@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
@pytest.mark.parametrize("objective", list(LINKS))
def test_each_objective_with_its_link_and_start(objective: str, booster: str, start: Any) -> None:
    if booster == "gblinear" and objective == "reg:absoluteerror":
        pytest.skip("it adapts leaves, which a linear model does not have")
    X, y = DATASETS[LINKS[objective]]()
    settings = {"n_estimators": 3, "objective": objective, "booster": booster, "n_jobs": 1}
    if booster != "gblinear":
        settings["max_depth"] = 2
    model = xgboost.XGBRegressor(base_score=start, **settings).fit(X, y)
    net = pg.to_torch(model)
    assert_alike(net, model, X, CLOSE)
    native = pg.to_torch(model.get_booster())
    assert_close(native.predict(X), model.predict(X), CLOSE)
    perturb(net)
    assert_alike(net, pg.from_torch(net), X, CLOSE)


def test_a_start_for_each_output() -> None:
    X, y = DATASETS["multioutput"]()
    for strategy in ("one_output_per_tree", "multi_output_tree"):
        model = xgboost.XGBRegressor(**FEW, multi_strategy=strategy, tree_method="hist").fit(X, y)
        net = assert_round_trip(model, X, tolerance=CLOSE)
        assert len(set(trees_of(net).base.tolist())) == 3


def test_hinge_counts_signs() -> None:
    X, y = DATASETS["binary"]()
    model = xgboost.XGBClassifier(**FEW, objective="binary:hinge").fit(X, y)
    net, tuned = tune(model)
    assert_alike(net, tuned, X, 0)
    assert net.objective.name == "hinge"


def test_objectives_by_name() -> None:
    X, y = DATASETS["binary"]()
    weighed = xgboost.XGBClassifier(**FEW, scale_pos_weight=3.0).fit(X, y)
    objective = pg.to_torch(weighed).objective
    assert (objective.name, dict(objective.options)) == ("log_loss", {"positive": 3.0})
    X, y = DATASETS["counts"]()
    tweedie = xgboost.XGBRegressor(**FEW, objective="reg:tweedie", tweedie_variance_power=1.3)
    power = pg.to_torch(tweedie.fit(X, y)).objective.options["power"]
    assert power == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("objective", "data"),
    [(o, d) for o, d in LINKS.items() if "survival" not in o and "hinge" not in o],
)
def test_the_named_loss_is_what_xgboost_minimises(objective: str, data: str) -> None:
    """Its gradient at the start gives the values of the first tree's leaves."""
    X, y = DATASETS[data]()
    settings = {"max_depth": 2, "learning_rate": 1.0, "reg_lambda": 0.0, "max_delta_step": 0}
    model = xgboost.XGBRegressor(n_estimators=1, objective=objective, n_jobs=1, **settings)
    net = pg.to_torch(model.fit(X, y))
    before = pg.to_torch(model)
    with torch.no_grad():
        trees_of(before).leaf_values.zero_()
    from pipegrad.training.criterion import make_criterion

    loss, _ = make_criterion(None, net.objective, net.head)
    score = before(X).detach().double().requires_grad_()
    loss(score, net.encode_target(y).double()).sum().backward()
    leaf = trees_of(net).leaves(block(net, X))[:, 0]
    slopes = torch.zeros(trees_of(net).leaf_values.shape[0]).double()
    slopes = slopes.index_add(0, leaf, score.grad)
    values = trees_of(net).leaf_values.detach()[:, 0]
    seen = torch.bincount(leaf, minlength=len(values)) > 0
    assert (slopes[seen] * values[seen] <= 1e-6).all()  # each leaf goes downhill


def test_own_objective_is_raw() -> None:
    def squares(y: Any, p: Any) -> Any:
        return p - y, np.ones_like(p)

    X, y = DATASETS["regression"]()
    model = xgboost.XGBRegressor(**FEW, objective=squares).fit(X, y)
    net = assert_round_trip(model, X, tolerance=CLOSE)
    assert net.objective is None


def test_early_stopping_uses_the_best_rounds() -> None:
    X, y = DATASETS["multiclass_numbers"]()
    model = xgboost.XGBClassifier(
        n_estimators=60, early_stopping_rounds=3, learning_rate=1.0, num_parallel_tree=2, n_jobs=1
    ).fit(X[:50], y[:50], eval_set=[(X[50:], y[50:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    net = assert_round_trip(model, X, tolerance=CLOSE)
    assert trees_of(net).roots.shape[0] == (model.best_iteration + 1) * 3 * 2
    _, tuned = tune(model)
    assert tuned.best_iteration == model.best_iteration
    # A booster of its own answers with all its trees.
    booster = model.get_booster()
    every = pg.to_torch(booster).predict(X)
    assert_close(every, booster.predict(xgboost.DMatrix(X)), CLOSE)


# -- tables and categories -----------------------------------------------------------------------


@pytest.fixture
def table() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "letter": pd.Categorical(rng.choice(list("abcdefgh"), 120)),
            "x": rng.normal(size=120),
            "size": pd.Categorical(rng.choice([10, 20, 30], 120)),
            "flag": rng.random(120) < 0.5,
            "n": pd.array(rng.integers(0, 5, 120), dtype="Int64"),
        }
    )
    y = X["letter"].cat.codes % 3 + X["x"] + X["size"].cat.codes
    X.loc[3:8, "letter"] = np.nan
    X.loc[5:9, "n"] = pd.NA
    return X, y.to_numpy()


@pytest.mark.parametrize("most", [1, 20])
def test_tables_with_categories(table: Any, most: int) -> None:
    X, y = table
    model = xgboost.XGBRegressor(
        n_estimators=8, enable_categorical=True, max_cat_to_onehot=most, n_jobs=1
    ).fit(X, y)
    assert_round_trip(model, X, tolerance=CLOSE)
    net = pg.to_torch(model)
    turned = X.assign(letter=X["letter"].cat.reorder_categories(list("hgfedcba")))
    assert_alike(net, model, turned, CLOSE)
    fewer = X[:1].assign(letter=pd.Categorical(["b"], categories=["b", "a"]))
    assert_alike(net, model, fewer, CLOSE)
    assert_close(pg.to_torch(model.get_booster()).predict(X), model.predict(X), CLOSE)


def test_tables_that_xgboost_refuses(table: Any) -> None:
    X, y = table
    model = xgboost.XGBRegressor(**FEW, enable_categorical=True).fit(X, y)
    net = pg.to_torch(model)
    unseen = X[:2].assign(letter=pd.Categorical(["a", "zebra"]))
    for bad in (X[X.columns[::-1]], X.drop(columns="x"), unseen, X.astype({"letter": object})):
        with pytest.raises(ValueError):
            model.predict(bad)
        with pytest.raises(ValueError):
            net.predict(bad)


def test_codes_beyond_the_known_ones(table: Any) -> None:
    X, y = table
    codes = np.column_stack([X["letter"].cat.codes.clip(lower=0), X["x"]]).astype(float)
    model = xgboost.XGBRegressor(
        **FEW, enable_categorical=True, feature_types=["c", "q"], max_cat_to_onehot=1
    ).fit(codes, y)
    odd = np.array([-1, -0.5, -0.0, 0.5, 1.7, 7.9, 8, 31, 32, 1e6, 2.0**24, 3e9, np.nan, np.inf])
    rows = np.column_stack([odd, np.zeros(len(odd))])
    assert_alike(pg.to_torch(model), model, rows, CLOSE)


# -- the way back --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_tuned_values_survive_xgboosts_own_files(tmp_path: Any, ending: str) -> None:
    X, y = DATASETS["multiclass_numbers"]()
    model = xgboost.XGBClassifier(**FEW).fit(X, y)
    net, tuned = tune(model)
    expected = tuned.predict_proba(X)
    assert_close(net.predict_proba(X), expected, CLOSE)
    assert not np.allclose(model.predict_proba(X), expected)
    np.testing.assert_array_equal(tuned.feature_importances_, model.feature_importances_)
    assert identical(pickle.loads(pickle.dumps(tuned)).predict_proba(X), expected)
    assert identical(copy.deepcopy(tuned).predict_proba(X), expected)
    path = tmp_path / f"model.{ending}"
    tuned.save_model(path)
    again = xgboost.XGBClassifier()
    again.load_model(path)
    assert identical(again.predict_proba(X), expected)
    assert_alike(pg.to_torch(again), again, X, CLOSE)


def test_settings_stay_and_training_goes_on() -> None:
    X, y = DATASETS["regression"]()
    model = xgboost.XGBRegressor(**FEW, max_bin=17).fit(X, y)
    _, tuned = tune(model)
    before, after = (json.loads(m.get_booster().save_config()) for m in (model, tuned))
    assert before == after
    longer = xgboost.XGBRegressor(**FEW, max_bin=17).fit(X, y, xgb_model=tuned.get_booster())
    assert longer.get_booster().num_boosted_rounds() == 8


def test_thresholds_that_trained_go_back() -> None:
    X, y = DATASETS["missing"]()
    model = xgboost.XGBRegressor(**FEW).fit(X, y)
    for precise in (False, True):
        net = pg.to_torch(model, dtype=torch.float64 if precise else None)
        trees = trees_of(net).soften("soft")
        with torch.no_grad():
            trees.threshold.mul_(1.0 + 1e-3)
        tuned = pg.from_torch(net.eval())
        again = trees_of(pg.to_torch(tuned)).threshold
        assert (again.double() - trees.threshold.double()).abs().max() < 1e-5
        # Rows on either side of each threshold keep their side.
        rows = np.tile(np.nan_to_num(X[:1]), (2 * len(again), 1))
        t = again.detach().numpy()
        for i, value in enumerate([t, np.nextafter(t, np.float32(-np.inf))]):
            rows[i * len(t) + np.arange(len(t)), trees.feature.numpy()] = value
        assert_alike(net, tuned, rows, CLOSE)


def test_linear_weights_go_back() -> None:
    X, y = DATASETS["multiclass_numbers"]()
    model = xgboost.XGBClassifier(n_estimators=4, booster="gblinear", n_jobs=1).fit(X, y)
    net, tuned = tune(model)
    weight = net.steps["xgbclassifier"].body.links[-1].weight.detach().numpy()
    np.testing.assert_allclose(tuned.coef_.ravel(), weight.ravel(), rtol=1e-5)
    with pytest.raises(ValueError, match="inf"):
        net.predict(np.where(np.isnan(X), np.inf, X))


def test_a_booster_stands_alone() -> None:
    X, y = DATASETS["binary"]()
    names = [f"x{i}" for i in range(X.shape[1])]
    data = xgboost.DMatrix(X, y, feature_names=names)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 5)
    booster.set_attr(note="mine")
    net = pg.to_torch(booster)
    tabular = pd.DataFrame(X, columns=names)
    for rows in (data, tabular):
        assert_close(net.predict(rows), booster.predict(data), CLOSE)
    with pytest.raises(ValueError, match="feature names"):
        net.predict(X)
    with pytest.raises(ValueError, match="mismatch"):
        net.predict(tabular[names[::-1]])
    net.fit(tabular, y, epochs=3, validation=None, lr=0.05)
    perturb(net)
    tuned = pg.from_torch(net)
    assert type(tuned) is xgboost.Booster
    assert tuned.attr("note") == "mine"
    assert tuned.feature_names == names
    assert_close(net.predict(data), tuned.predict(data), CLOSE)


def test_a_booster_of_several_classes() -> None:
    X, y = DATASETS["multiclass_numbers"]()
    data = xgboost.DMatrix(X, y)
    for objective in ("multi:softprob", "multi:softmax"):
        booster = xgboost.train({"objective": objective, "num_class": 3, "nthread": 1}, data, 3)
        net = pg.to_torch(booster)
        assert_close(net.predict(X), booster.predict(data), CLOSE)
        net.fit(X, y, epochs=2, validation=None, lr=0.01)


def test_what_has_no_module_is_refused() -> None:
    X, y = DATASETS["binary"]()
    with pytest.raises(pg.UntranslatableError, match="no trees"):
        pg.to_torch(xgboost.XGBRegressor(n_estimators=0).fit(X, y))
    two = xgboost.XGBClassifier(**FEW, objective="multi:softprob", num_class=2).fit(X, y)
    with pytest.raises(pg.UntranslatableError, match="two labels"):
        pg.to_torch(two)


# -- among others --------------------------------------------------------------------------------


def test_in_pipelines_and_composites() -> None:
    X, y = DATASETS["binary_strings"]()
    codes = (y == "yes").astype(int)
    pipe = make_pipeline(StandardScaler(), xgboost.XGBClassifier(**FEW)).fit(X, codes)
    assert_round_trip(pipe, X, tolerance=CLOSE)
    stack = StackingClassifier(
        [("x", xgboost.XGBClassifier(**FEW)), ("l", LogisticRegression())], cv=3
    ).fit(X, y)
    assert_round_trip(stack, X, tolerance=1e-5)
    X, y = DATASETS["regression"]()
    vote = VotingRegressor([("x", xgboost.XGBRegressor(**FEW)), ("r", Ridge())]).fit(X, y)
    # The same columns enter both: what the trees round is exact for the others.
    net = assert_round_trip(vote, X, tolerance=CLOSE)
    assert net.encode(X).blocks["input"].dtype == torch.float64


def test_gradients_pass_a_linear_booster() -> None:
    X, y = DATASETS["regression"]()
    linear = xgboost.XGBRegressor(n_estimators=4, booster="gblinear", n_jobs=1)
    net = pg.to_torch(make_pipeline(StandardScaler(), linear).fit(X, y))
    assert net.graph["standardscaler"].status == "trainable"
    trees = make_pipeline(StandardScaler(), xgboost.XGBRegressor(**FEW)).fit(X, y)
    assert pg.to_torch(trees).graph["standardscaler"].status == "host"


def test_fine_tuning_trains_the_leaves() -> None:
    X, y = DATASETS["multiclass_numbers"]()
    model = xgboost.XGBClassifier(**FEW).fit(X[:40], y[:40])
    net = pg.to_torch(model).fit(X, y, epochs=30, validation=None)
    losses = net.history[:, "train_loss"]
    assert losses[-1] < 0.9 * losses[0]
    tuned = pg.from_torch(net)
    assert_alike(net, tuned, X, CLOSE)


def test_pruned_nodes_are_no_part_of_a_tree() -> None:
    """The exact method grows trees in full, then marks nodes as deleted."""
    X, y = DATASETS["regression"]()
    model = xgboost.XGBRegressor(
        **{**FEW, "max_depth": 6}, tree_method="exact", gamma=2 * float(y.var())
    ).fit(X, y)
    trees = content(model.get_booster())["learner"]["gradient_booster"]["model"]["trees"]
    assert any(tree["tree_param"]["num_deleted"] != "0" for tree in trees)
    net = pg.to_torch(model)
    assert_close(net.predict(X), model.predict(X), CLOSE)
    perturb(net)
    assert_close(pg.from_torch(net).predict(X), net.predict(X), CLOSE)


def test_pruned_categorical_splits() -> None:
    """A leaf that was a categorical split keeps the categories."""
    X, y = DATASETS["regression"]()
    X[:, 2] = np.arange(len(X)) % 11
    types = {"feature_types": ["q", "q", "c"], "enable_categorical": True}
    table = xgboost.DMatrix(X[:, :3], y, **types)
    options = {"nthread": 1, "max_depth": 6, "max_cat_to_onehot": 1, "verbosity": 0}
    grown = xgboost.train(options, table, 2)
    options |= {"process_type": "update", "updater": "prune", "gamma": 2 * float(y.var())}
    booster = xgboost.train(options, table, 2, xgb_model=grown)
    trees = content(booster)["learner"]["gradient_booster"]["model"]["trees"]
    nodes = [(tree["left_children"][i], tree) for tree in trees for i in tree["categories_nodes"]]
    assert any(left < 0 for left, _ in nodes)
    assert any(left >= 0 for left, _ in nodes)
    assert_close(pg.to_torch(booster).predict(table), booster.predict(table), CLOSE)


def test_names_of_categories_need_not_be_ascii() -> None:
    """XGBoost counts characters where it stores bytes; the same names are found nevertheless."""
    colors = pd.Categorical(["rot", "grün", "weiß"] * 20)
    table = pd.DataFrame({"color": colors, "size": np.linspace(0, 1, 60)})
    y = colors.codes + table["size"]
    model = xgboost.XGBRegressor(**FEW, enable_categorical=True).fit(table, y)
    assert_close(pg.to_torch(model).predict(table), model.predict(table), CLOSE)


def test_a_linear_model_without_weights_is_refused() -> None:
    X, y = DATASETS["regression"]()
    options = {"booster": "gblinear", "verbosity": 0, "nthread": 1}
    booster = xgboost.train(options, xgboost.DMatrix(X, y), 0)
    with pytest.raises(pg.UntranslatableError, match="holds no weights"):
        pg.to_torch(booster)
