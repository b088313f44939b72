"""How trees train inside pipelines: to_torch(trees=...), cached leaves, refit leaves."""

import copy
import pickle
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import ensemble, tree
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_friedman1
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler, TargetEncoder

import pipegrad as pg
from helpers import SAMME
from pipegrad.modules import LeafIndices, TreeEnsemble
from pipegrad.training import prepare, tree_splits
from pipegrad.training.criterion import make_criterion, metric_of

X, Y = make_friedman1(900, 6, noise=0.3, random_state=0)
TRAIN, VALID, TEST = slice(0, 400), slice(400, 650), slice(650, 900)
LABELS = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
SOFT = ["soft", "straight-through"]
SMALL = {"n_estimators": 8, "random_state": 0}
VOTES = {**SMALL, **SAMME}

MODELS = [
    (tree.DecisionTreeRegressor(max_depth=4), Y),
    (tree.DecisionTreeClassifier(max_depth=4, min_samples_leaf=10), LABELS),
    (ensemble.RandomForestRegressor(max_depth=4, **SMALL), Y),
    (ensemble.ExtraTreesClassifier(max_depth=4, **SMALL), LABELS),
    (ensemble.GradientBoostingRegressor(**SMALL), Y),
    (ensemble.GradientBoostingRegressor(init=Ridge(), **SMALL), Y),
    (ensemble.GradientBoostingClassifier(**SMALL), LABELS),
    (ensemble.HistGradientBoostingRegressor(max_iter=8), Y),
    (ensemble.HistGradientBoostingClassifier(max_iter=4), LABELS),
    (ensemble.AdaBoostRegressor(**SMALL), Y),
    (ensemble.AdaBoostClassifier(tree.DecisionTreeClassifier(max_depth=2), **VOTES), LABELS),
    (ensemble.BaggingRegressor(tree.DecisionTreeRegressor(max_depth=4), **SMALL), Y),
    (make_pipeline(ensemble.RandomTreesEmbedding(max_depth=3, **SMALL), Ridge()), Y),
]
NAMES = [type(model).__name__ for model, _ in MODELS]


def ensembles(net):
    return [part for part in net.modules() if isinstance(part, TreeEnsemble)]


def tuned(model, y, way, **options):
    net = pg.to_torch(model, trees=way, temperature=0.02)
    settings = {"epochs": 6, "validation": (X[VALID], y[VALID]), **options}
    return net.fit(X[TRAIN], y[TRAIN], **settings)


def answers(model, rows):
    return getattr(model, "predict_proba", model.predict)(rows)


def fitted(model, y):
    return copy.deepcopy(model).fit(X[TRAIN], y[TRAIN])


@pytest.mark.parametrize("way", SOFT)
@pytest.mark.parametrize(("model", "y"), MODELS, ids=NAMES)
def test_soft_splits_are_hard_outside_of_training(model, y, way):
    model = fitted(model, y)
    net = pg.to_torch(model, trees=way)
    assert_array_equal(answers(net, X), answers(pg.to_torch(model), X))
    assert_array_equal(answers(pg.from_torch(net), X), answers(model, X))
    net.train()
    soft = net(X)
    assert (not torch.equal(soft, net.eval()(X))) == (way == "soft")


@pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")
@pytest.mark.parametrize("way", SOFT)
@pytest.mark.parametrize(("model", "y"), MODELS, ids=NAMES)
def test_what_was_trained_goes_back(model, y, way):
    model = fitted(model, y)
    net = tuned(model, y, way, epochs=3 if hasattr(model, "estimators_") else 10)
    moved = [e.shift.abs().max() for e in ensembles(net)]
    assert min(moved) > 0
    better = pg.from_torch(net)
    assert type(better) is type(model)
    # What boosting begins with answers in float32.
    near = 1e-5 if getattr(model, "init", None) is not None else 1e-9
    assert_allclose(answers(better, X), answers(net, X), rtol=near, atol=1e-12)
    again = pg.to_torch(pickle.loads(pickle.dumps(better)))
    assert_allclose(answers(again, X), answers(net, X), rtol=near, atol=1e-12)
    # The losses that decided are those of what went back.
    best = min(net.history[:, "valid_loss"])
    function, objective = make_criterion(None, net.objective, net.head)
    net.eval()
    target = net.encode_target(y[VALID])
    with torch.no_grad():
        loss = function(net(X[VALID]).reshape(-1, *net(X[:1]).shape[1:]), target).mean()
    shown = metric_of(function, objective).value(float(loss))
    assert shown == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("way", SOFT)
def test_what_stands_before_the_trees_trains(way):
    pipe = make_pipeline(StandardScaler(), PCA(4), ensemble.GradientBoostingRegressor(**SMALL))
    pipe.fit(X[TRAIN], Y[TRAIN])
    assert [step.status for step in pg.inspect(pipe)] == ["host", "host", "trainable"]
    assert {step.status for step in pg.inspect(pipe, trees=way)} == {"trainable"}
    better = pg.from_torch(tuned(pipe, Y, way, epochs=10))
    assert not np.array_equal(better[1].components_, pipe[1].components_)
    losses = [np.mean((p.predict(X[TEST]) - Y[TEST]) ** 2) for p in (pipe, better)]
    assert losses[1] < 0.8 * losses[0]


BOOSTERS = {
    "sklearn.ensemble.GradientBoostingRegressor": {},
    "lightgbm.LGBMRegressor": {"verbose": -1},
    "xgboost.XGBRegressor": {},
    "catboost.CatBoostRegressor": {"verbose": 0, "allow_writing_files": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOOSTERS)
def test_encodings_and_projections_before_trees_train(name):
    package, _, kind = name.rpartition(".")
    library = pytest.importorskip(package)
    booster = getattr(library, kind)(n_estimators=20, **BOOSTERS[name])
    draw = np.random.default_rng(5)  # of its own: what other tests drew has no part in it
    codes = draw.integers(0, 8, len(X))
    effect = draw.normal(size=8)
    rows = pd.DataFrame({"k": [f"k{c}" for c in codes], "a": X[:, 0], "b": X[:, 1]})
    y = effect[codes] * X[:, 0] + X[:, 1]
    encode = make_column_transformer((TargetEncoder(), ["k"]), remainder="passthrough")
    pipe = make_pipeline(encode, PCA(3), booster).fit(rows[:500], y[:500])
    net = pg.to_torch(pipe, trees="soft")
    trained = {step.name.split("/")[-1] for step in net.graph if step.status == "trainable"}
    assert {"targetencoder", "pca", kind.lower()} <= trained
    net.fit(rows[:500], y[:500], validation=(rows[500:700], y[500:700]), epochs=10)
    better = pg.from_torch(net)
    losses = [np.mean((m.predict(rows[700:]) - y[700:]) ** 2) for m in (pipe, better)]
    assert losses[1] < 0.9 * losses[0]
    assert_allclose(better.predict(rows), net.predict(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("way", SOFT)
def test_trees_in_front_of_a_linear_model(way):
    features = make_union(
        pg.Featurizer(ensemble.GradientBoostingRegressor(**SMALL)),
        ensemble.RandomTreesEmbedding(max_depth=2, **SMALL),
    )
    pipe = make_pipeline(features, LogisticRegression()).fit(X[TRAIN], LABELS[TRAIN])
    net = tuned(pipe, LABELS, way)
    assert len(ensembles(net)) == 2
    assert all(e.shift.abs().max() > 0 for e in ensembles(net))
    assert_allclose(pg.from_torch(net).predict_proba(X), net.predict_proba(X), rtol=1e-9)


def test_frozen_trees_let_gradients_pass():
    pipe = make_pipeline(PCA(4), ensemble.GradientBoostingRegressor(**SMALL)).fit(X, Y)
    net = pg.to_torch(pipe, trees="soft", train=["pca"])
    assert {name.split(".")[1] for name in net.trainable_parameters()} == {"pca"}
    net.train()(X[:50]).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.trainable_parameters().values())


# -- leaves found once -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")
@pytest.mark.parametrize(("model", "y"), MODELS, ids=NAMES)
def test_leaves_found_once_change_nothing(model, y):
    model = fitted(model, y)
    with mock.patch.object(prepare, "precompute_leaves", lambda net, encoded: encoded):
        plain = tuned(model, y, "leaves")
    cached = tuned(model, y, "leaves")
    losses = [net.history[:, "valid_loss"] for net in (plain, cached)]
    assert_allclose(*losses, rtol=1e-9)
    assert_allclose(answers(cached, X), answers(plain, X), rtol=1e-9, atol=1e-12)


def test_leaves_are_found_only_where_they_stay():
    boosted = ensemble.GradientBoostingRegressor(**SMALL)
    pipe = make_pipeline(PCA(4), boosted).fit(X, Y)

    def known(**options):
        net = pg.to_torch(pipe, **options)
        blocks = tree_splits.precompute_leaves(net, net.encode(X)).blocks
        return [name for name, block in blocks.items() if isinstance(block, LeafIndices)]

    step = ">gradientboostingregressor"
    assert known() == [step]
    assert known(translate="all") == [step]
    assert known(trees="soft") == []
    assert known(trees="soft", train=["gradientboostingregressor"]) == []
    # What stands before the trees may train for the sake of others.
    both = make_union(pg.Featurizer(boosted), StandardScaler())
    pipe = make_pipeline(PCA(4), both, Ridge()).fit(X, Y)
    assert pg.inspect(pipe)["pca"].status == "trainable"
    assert known() == []


def test_no_row_is_routed_twice():
    model = ensemble.GradientBoostingRegressor(**SMALL).fit(X[TRAIN], Y[TRAIN])
    net = pg.to_torch(model)
    (trees,) = ensembles(net)
    with mock.patch.object(trees, "_route", wraps=trees._route) as route:
        net.fit(X[TRAIN], Y[TRAIN], epochs=3, validation=(X[VALID], Y[VALID]))
    # Once for the rows that train, once for those that validate, and the check of one row.
    assert sum(call.args[0].shape[0] for call in route.call_args_list) <= 650 + 1


# -- leaves that no row reaches, and those refit --------------------------------------------------


@pytest.mark.parametrize("way", ["leaves", *SOFT])
def test_leaves_that_no_row_reaches_keep_their_values(way):
    model = ensemble.GradientBoostingRegressor(max_depth=5, **SMALL).fit(X, Y)
    few = np.arange(30)
    net = pg.to_torch(model, trees=way)
    (trees,) = ensembles(net)
    before = trees.leaf_table().detach().clone()
    net.fit(X[few], Y[few] + 5, validation=(X[few], Y[few] + 5), epochs=5)
    reached = torch.zeros(len(before), dtype=torch.bool)
    reached[trees.leaves(torch.from_numpy(X[few])).flatten()] = True
    assert 0 < reached.sum() < len(before)
    after = trees.leaf_table().detach()
    assert torch.equal(after[~reached], before[~reached])
    assert (after[reached] != before[reached]).any()


def test_leaves_are_refit_for_hard_splits():
    model = ensemble.GradientBoostingRegressor(**SMALL).fit(X[TRAIN], Y[TRAIN])
    net = tuned(model, Y, "soft", epochs=5, patience=None)
    assert net.history[:, "epoch"] == list(range(11))
    first, second = net.history[:6], net.history[6:]
    assert min(r["valid_loss"] for r in second) < min(r["valid_loss"] for r in first)
    (trees,) = ensembles(net)
    assert trees.way == "soft"
    assert all(p.requires_grad for p in net.parameters())


def test_trees_that_do_not_improve_stay_as_they_are():
    model = ensemble.GradientBoostingRegressor(**SMALL).fit(X, Y)
    net = pg.to_torch(model, trees="soft")
    with pytest.warns(pg.PipegradWarning, match="did not lower"):
        net.fit(X, Y, validation=(X, model.predict(X)), epochs=2)
    assert_array_equal(pg.from_torch(net).predict(X), model.predict(X))


# -- the module ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", SOFT)
def test_copies_and_states(way):
    model = ensemble.GradientBoostingRegressor(**SMALL).fit(X[TRAIN], Y[TRAIN])
    net = tuned(model, Y, way)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_array_equal(other.predict(X), net.predict(X))
    fresh = pg.to_torch(model, trees=way)
    fresh.load_state_dict(net.state_dict())
    assert_array_equal(fresh.predict(X), net.predict(X))
    assert_allclose(pg.from_torch(fresh).predict(X), net.predict(X), rtol=1e-12)
    single = copy.deepcopy(net).float()
    assert_allclose(single.predict(X), net.predict(X), rtol=1e-5)


def test_spreads_are_those_of_the_rows():
    scales = np.array([1e-3, 1.0, 1e4, 1.0, 1.0, 1.0])
    rows = X * scales
    rows[::50, 2] *= 1e6  # what stands out does not count
    rows[::7, 1] = np.nan
    model = ensemble.HistGradientBoostingRegressor(max_iter=3).fit(rows, Y)
    net = pg.to_torch(model, trees="soft").fit(rows, Y, epochs=1, validation=(rows, Y))
    (trees,) = ensembles(net)
    seen = trees.spread / torch.from_numpy(scales)[: len(trees.spread)]
    assert_allclose(seen, 0.31, atol=0.03)  # a uniform column: 0.8 / 2.563


def test_sigmoids_keep_off_the_values_of_a_column():
    rows = np.column_stack([np.arange(300) % 3, X[:300, 0]]).astype(float)
    model = ensemble.HistGradientBoostingRegressor(max_iter=3, max_depth=2).fit(rows, rows[:, 0])
    for part in model._predictors:
        nodes = part[0].nodes
        inner = (nodes["is_leaf"] == 0) & (nodes["feature_idx"] == 0)
        # As LightGBM splits zero from what is above, and XGBoost just below a value.
        nodes["num_threshold"][inner] = np.floor(nodes["num_threshold"][inner])
    net = pg.to_torch(model, trees="soft")
    (trees,) = ensembles(net)
    before, hard = trees.thresholds().detach(), net.predict(rows)
    x = torch.from_numpy(rows)
    trees.keep_apart(x)
    assert not np.allclose(net.train()(rows).detach(), hard, rtol=0.01)
    trees.centre(x)
    after = trees.thresholds().detach()
    discrete = trees.feature == 0
    assert torch.equal(after[discrete], before[discrete] + 0.5)
    assert_array_equal(net.predict(rows), hard)
    assert_allclose(net.train()(rows).detach(), hard, rtol=0.01, atol=0.01)
    # Training does both.
    net = pg.to_torch(model, trees="soft")
    net.fit(rows, rows[:, 0] + 1, validation=(rows, rows[:, 0] + 1), epochs=1)
    (trees,) = ensembles(net)
    assert_allclose(trees.thresholds().detach()[discrete], after[discrete], atol=0.1)
    assert torch.isfinite(trees.widest[discrete]).all()


def test_categories_have_no_middle():
    rows = np.column_stack([np.arange(300) % 5, X[:300, 0]]).astype(float)
    y = np.isin(rows[:, 0], [1, 4]) + rows[:, 1]
    model = ensemble.HistGradientBoostingRegressor(max_iter=3, categorical_features=[0]).fit(
        rows, y
    )
    (trees,) = ensembles(pg.to_torch(model, trees="soft"))
    before = trees.thresholds().detach()
    trees.centre(torch.from_numpy(rows))
    chosen = trees.category_width > 0
    assert chosen.any()
    assert torch.equal(trees.thresholds().detach()[chosen], before[chosen])


@pytest.mark.slow
def test_the_recipe_trains_trees():
    model = ensemble.GradientBoostingRegressor(**SMALL)
    tuner = pg.FineTuner(model, random_state=0).fit(X[:650], Y[:650])
    assert tuner.improved_
    plain = model.fit(X[:650], Y[:650])
    losses = [np.mean((m.predict(X[TEST]) - Y[TEST]) ** 2) for m in (plain, tuner)]
    assert losses[1] < losses[0]


def test_a_fine_tuner_takes_the_way():
    model = ensemble.GradientBoostingRegressor(**SMALL)
    tuner = pg.FineTuner(model, trees="soft", epochs=4, random_state=0).fit(X, Y)
    assert tuner.improved_
    plain = pg.FineTuner(model, epochs=4, random_state=0).fit(X, Y)
    thresholds = [t.estimator_.estimators_[0, 0].tree_.threshold for t in (tuner, plain)]
    assert (thresholds[0] != thresholds[1]).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trees": "hard"}, "trees must be 'leaves', 'soft' or 'straight-through', got 'hard'"),
        ({"temperature": 0}, "temperature must be a positive number, got 0"),
        ({"temperature": float("inf")}, "temperature must be a positive number, got inf"),
        ({"temperature": "warm"}, "temperature must be a positive number, got 'warm'"),
    ],
)
def test_wrong_ways(options, message):
    with pytest.raises(pg.ArgumentError, match=message):
        pg.to_torch(tree.DecisionTreeRegressor().fit(X, Y), **options)
    if "trees" in options:
        with pytest.raises(pg.ArgumentError, match=message):
            pg.FineTuner(tree.DecisionTreeRegressor(), **options).fit(X, Y)
