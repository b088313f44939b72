"""Monotone constraints of every library hold after training, in every mode, exactly."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import ensemble, tree
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import SAMME
from pipegrad.errors import ArgumentError, PipegradWarning
from pipegrad.modules import LeafOrder, TreeEnsemble

RNG = np.random.default_rng(0)
X = RNG.normal(size=(800, 4))
X[:, 3] = RNG.integers(0, 5, len(X))
Y = np.maximum(X[:, 0], 0) + np.sin(3 * X[:, 1]) - 0.5 * X[:, 2] + 0.3 * RNG.normal(size=len(X))
# What is learned later contradicts both constraints.
LATER = Y - 0.9 * X[:, 0] + 0.8 * np.cos(2 * X[:, 2])
SIGNS = [1, 0, -1, 0]
CONSTRAINED = {0: 1, 2: -1}
MODES = ["leaves", "soft", "straight-through"]


def labels(y):
    return (y > np.median(y)).astype(int)


def lightgbm(kind="LGBMRegressor", **options):
    library = pytest.importorskip("lightgbm")
    fixed = {"n_estimators": 8, "num_leaves": 12, "verbose": -1, "n_jobs": 1}
    return getattr(library, kind)(**{**fixed, "monotone_constraints": SIGNS, **options})


def xgboost(kind="XGBRegressor", **options):
    library = pytest.importorskip("xgboost")
    fixed = {"n_estimators": 8, "max_depth": 4, "n_jobs": 1}
    return getattr(library, kind)(**{**fixed, "monotone_constraints": tuple(SIGNS), **options})


def catboost(kind="CatBoostRegressor", **options):
    library = pytest.importorskip("catboost")
    fixed = {"iterations": 8, "depth": 4, "verbose": 0, "allow_writing_files": False}
    fixed |= {"thread_count": 1, "monotone_constraints": SIGNS}
    return getattr(library, kind)(**{**fixed, **options})


SMALL = {"monotonic_cst": SIGNS, "random_state": 0}
FOREST = {"n_estimators": 4, "min_samples_leaf": 10, **SMALL}
MODELS = {
    "lightgbm": lightgbm,
    "lightgbm advanced": lambda: lightgbm(monotone_constraints_method="advanced"),
    "lightgbm string": lambda: lightgbm(monotone_constraints="1,0,-1,0"),
    "lightgbm categories": lambda: lightgbm(categorical_feature=[3]),
    "lightgbm dart": lambda: lightgbm(boosting_type="dart", drop_rate=0.5),
    "lightgbm forest": lambda: lightgbm(boosting_type="rf", subsample=0.6, subsample_freq=1),
    "lightgbm classes": lambda: lightgbm("LGBMClassifier"),
    "xgboost": xgboost,
    "xgboost string": lambda: xgboost(monotone_constraints="(1,0,-1)"),
    "xgboost dart": lambda: xgboost(booster="dart", rate_drop=0.3),
    "xgboost forest": lambda: xgboost("XGBRFRegressor"),
    "xgboost classes": lambda: xgboost("XGBClassifier"),
    "catboost": catboost,
    "catboost string": lambda: catboost(monotone_constraints="0:1,2:-1"),
    "catboost classes": lambda: catboost("CatBoostClassifier"),
    "hist": lambda: ensemble.HistGradientBoostingRegressor(max_iter=8, monotonic_cst=SIGNS),
    "hist categories": lambda: ensemble.HistGradientBoostingRegressor(
        max_iter=8, monotonic_cst=SIGNS, categorical_features=[3]
    ),
    "hist classes": lambda: ensemble.HistGradientBoostingClassifier(
        max_iter=8, monotonic_cst=SIGNS
    ),
    "forest": lambda: ensemble.RandomForestRegressor(**FOREST),
    "forest classes": lambda: ensemble.RandomForestClassifier(**FOREST),
    "extra trees": lambda: ensemble.ExtraTreesRegressor(**FOREST),
    "extra trees classes": lambda: ensemble.ExtraTreesClassifier(**FOREST),
    "tree": lambda: tree.DecisionTreeRegressor(max_depth=5, **SMALL),
    "tree classes": lambda: tree.DecisionTreeClassifier(max_depth=5, **SMALL),
    "bag": lambda: ensemble.BaggingRegressor(tree.DecisionTreeRegressor(max_depth=5, **SMALL), 3),
    "adaboost": lambda: ensemble.AdaBoostRegressor(
        tree.DecisionTreeRegressor(max_depth=3, **SMALL), n_estimators=4, random_state=0
    ),
    "vote": lambda: ensemble.VotingRegressor([("a", lightgbm()), ("b", xgboost())]),
    "scaled": lambda: make_pipeline(StandardScaler(), xgboost()),
}
VOTES = tree.DecisionTreeClassifier(max_depth=2, **SMALL)


def violations(model, count):
    """How many of random pairs fall although the constraints forbid it."""
    rng = np.random.default_rng(1)
    low = 1.5 * rng.normal(size=(count, 4))
    low[:, 3] = rng.integers(0, 5, count)
    high = low.copy()
    for feature, sign in CONSTRAINED.items():
        high[:, feature] += sign * rng.exponential(size=count) * rng.integers(0, 2, count)
    scores = [output(model, rows) for rows in (low, high)]
    return int((scores[1] < scores[0]).sum()), float(np.abs(scores[1] - scores[0]).max())


def output(model, rows):
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(rows))[:, 1]
    return np.asarray(model.predict(rows))


def trained(model, y, way="leaves", **options):
    net = pg.to_torch(model, trees=way)
    settings = {"epochs": 4, "lr": 0.05, "batch_size": 200, "validation": None, **options}
    return net.fit(X, y, **settings)


@pytest.mark.filterwarnings("ignore:categorical_feature")
@pytest.mark.parametrize(
    ("name", "way", "count"),
    [
        *((name, "leaves", 50_000) for name in MODELS),
        *(
            pytest.param(name, way, 50_000, marks=pytest.mark.slow)
            for name in MODELS
            for way in MODES[1:]
        ),
        *(
            pytest.param(name, "leaves", 1_000_000, marks=pytest.mark.slow)
            for name in MODELS
            if " " not in name
        ),
    ],
)
def test_constraints_hold_after_training(name, way, count):
    model = MODELS[name]()
    classes = hasattr(model, "predict_proba")
    y, later = (labels(Y), labels(LATER)) if classes else (Y, LATER)
    model.fit(X, y)
    net = trained(model, later, way)
    net.partial_fit(X[:300], later[:300])
    after = pg.from_torch(net)
    assert not np.array_equal(output(after, X), output(model, X))
    fallen, largest = violations(after, count)
    assert fallen == 0
    assert largest > 0


def test_without_the_order_training_breaks_the_constraints():
    model = lightgbm().fit(X, Y)
    net = pg.to_torch(model)
    (trees,) = (part for part in net.modules() if isinstance(part, TreeEnsemble))
    none = torch.zeros(0, dtype=torch.int64)
    trees.order = LeafOrder(none, none, len(trees.leaf_values))
    net.fit(X, LATER, epochs=4, lr=0.05, batch_size=200, validation=None)
    assert violations(pg.from_torch(net), 50_000)[0] > 0


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "hist", "forest classes"])
@pytest.mark.parametrize("optim", [torch.optim.LBFGS, torch.optim.SGD])
def test_every_optimizer_keeps_them(name, optim):
    model = MODELS[name]()
    later = LATER
    if hasattr(model, "predict_proba"):
        model.fit(X, labels(Y))
        later = labels(LATER)
    else:
        model.fit(X, Y)
    net = trained(model, later, optim=optim, lr=1e-2)
    assert violations(pg.from_torch(net), 50_000)[0] == 0


def test_float32_modules_write_ordered_values_of_higher_precision():
    model = MODELS["hist"]().fit(X, Y)
    net = pg.to_torch(model, dtype=torch.float32).fit(X, LATER, epochs=4, lr=0.05, validation=None)
    assert violations(pg.from_torch(net), 200_000)[0] == 0


def test_votes_of_boosted_trees_keep_positive_weights():
    model = ensemble.AdaBoostClassifier(VOTES, n_estimators=6, random_state=0, **SAMME)
    model.fit(X, labels(Y))
    net = trained(model, 1 - labels(Y), lr=0.5, epochs=20)
    after = pg.from_torch(net)
    assert after.estimator_weights_.min() == 0
    assert violations(after, 50_000)[0] == 0
    with pytest.raises(ArgumentError, match="trees must be 'leaves'"):
        pg.to_torch(model, trees="soft")


def test_constraints_by_the_name_of_a_column():
    table = pd.DataFrame(X, columns=list("abcd"))
    named = {"a": 1, "c": -1}
    models = [
        ensemble.HistGradientBoostingRegressor(max_iter=8, monotonic_cst=named),
        xgboost(monotone_constraints=named),
        catboost(monotone_constraints=named),
    ]
    for model in models:
        model.fit(table, Y)
        net = pg.to_torch(model).fit(table, LATER, epochs=4, lr=0.05, validation=None)
        (trees,) = (part for part in net.modules() if isinstance(part, TreeEnsemble))
        signs = {
            (f, s) for f, s in zip(trees.feature.tolist(), trees.monotone.tolist(), strict=True)
        }
        assert signs <= {(0, 1), (1, 0), (2, -1), (3, 0)}
        assert trees.order is not None


@pytest.mark.slow
def test_the_refined_tuner_keeps_them():
    model = lightgbm()
    tuner = pg.FineTuner(model, random_state=0).fit(X, Y)
    for rows in np.array_split(np.arange(len(X)), 2):
        tuner.partial_fit(X[rows], LATER[rows])
    assert violations(tuner.estimator_, 50_000)[0] == 0


def test_constraints_that_the_source_violates_are_named():
    model = ensemble.HistGradientBoostingRegressor(
        max_iter=8, loss="absolute_error", monotonic_cst=SIGNS
    ).fit(X, Y)
    assert violations(model, 50_000)[0] > 0
    with pytest.warns(
        PipegradWarning, match="violate the monotone constraints in the fitted model"
    ):
        net = pg.to_torch(model)
    assert np.array_equal(pg.from_torch(net).predict(X), model.predict(X))


def test_linear_models_in_leaves_are_not_constrained():
    model = lightgbm(linear_tree=True).fit(X, Y)
    assert violations(model, 50_000)[0] > 0
    with pytest.warns(PipegradWarning, match="does not apply monotone_constraints"):
        net = pg.to_torch(model)
    net.fit(X, LATER, epochs=2, lr=0.01, validation=None)
    assert np.allclose(pg.from_torch(net).predict(X), net.predict(X))


class TestFiles:
    """Model files: LightGBM and CatBoost store the constraints, XGBoost does not."""

    @pytest.mark.parametrize(("name", "suffix"), [("lightgbm", ".txt"), ("catboost", ".cbm")])
    def test_a_file_that_stores_them(self, tmp_path, name, suffix):
        model = MODELS[name]().fit(X, Y)
        path = tmp_path / f"model{suffix}"
        (model.booster_ if name == "lightgbm" else model).save_model(str(path))
        net = trained(path, LATER)
        assert violations(pg.from_torch(net), 50_000)[0] == 0

    def test_an_estimator_restores_those_that_a_file_lacks(self, tmp_path):
        path = tmp_path / "model.json"
        xgboost().fit(X, Y).save_model(path)
        known = xgboost()
        known.load_model(path)
        assert violations(pg.from_torch(trained(known, LATER)), 50_000)[0] == 0
