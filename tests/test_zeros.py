"""Coefficients that a fit set to zero stay zero while the others train."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn import linear_model as linear
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from pipegrad.errors import ArgumentError
from pipegrad.sources.sklearn._base import SKLEARN

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 8))
X[:, 7] = 0.0
Y = 2 * X[:, 0] - X[:, 1] + 0.1 * RNG.normal(size=len(X))
# Later, features matter that did not at first.
LATER = Y + 3 * X[:, 5] - X[:, 0]
LABELS, LATER_LABELS = (Y > 0).astype(int), np.digitize(LATER, [-1.0, 1.0])
TWO = np.column_stack([Y, X[:, 0] - 0.1 * Y])
L1 = {"l1_ratio": 1.0} if parse_version("1.8") <= SKLEARN else {"penalty": "l1"}

REGRESSORS = [
    linear.Lasso(alpha=0.1),
    linear.ElasticNet(alpha=0.1),
    linear.LassoCV(cv=3),
    linear.ElasticNetCV(cv=3),
    linear.LassoLars(alpha=0.1),
    linear.LassoLarsCV(cv=3),
    linear.LassoLarsIC(criterion="bic"),
    linear.Lars(n_nonzero_coefs=2),
    linear.OrthogonalMatchingPursuit(n_nonzero_coefs=2),
    linear.OrthogonalMatchingPursuitCV(cv=3),
    linear.ARDRegression(),
    linear.QuantileRegressor(alpha=0.05),
    linear.SGDRegressor(penalty="l1", alpha=0.1, random_state=0),
    linear.MultiTaskLasso(alpha=0.1),
    linear.MultiTaskElasticNet(alpha=0.1),
]
CLASSIFIERS = [
    linear.LogisticRegression(solver="liblinear", C=0.02, **L1),
    LinearSVC(penalty="l1", dual=False, C=0.01),
    linear.SGDClassifier(penalty="elasticnet", alpha=0.2, random_state=0),
    linear.Perceptron(penalty="l1", alpha=0.01, random_state=0),
]


def names(models):
    return [type(model).__name__ for model in models]


def fitted(model, y=None):
    if y is None:
        several = type(model).__name__.startswith("MultiTask")
        y = LABELS if hasattr(model, "decision_function") else TWO if several else Y
    return copy.deepcopy(model).fit(X, y)


def zeros(model):
    return np.asarray(model.coef_) == 0


@pytest.mark.parametrize("model", REGRESSORS + CLASSIFIERS, ids=names(REGRESSORS + CLASSIFIERS))
def test_zeros_stay_zero_by_default_and_train_on_demand(model):
    source = fitted(model)
    assert 0 < zeros(source).sum() < zeros(source).size
    y = LATER if source.coef_.ndim == 1 else TWO[:, ::-1] + 3 * X[:, [5]]
    if hasattr(source, "decision_function"):
        y = (LATER > 0).astype(int)
    for free in (False, True):
        net = pg.to_torch(source, train_zeros=free)
        before = np.asarray(pg.from_torch(net).coef_)
        assert np.array_equal(before, source.coef_)
        net.fit(X, y, epochs=20, lr=0.05, batch_size=50, validation=None)
        net.partial_fit(X, y)
        after = pg.from_torch(net)
        assert not np.array_equal(after.coef_, source.coef_)
        assert zeros(after)[zeros(source)].all() != free
        assert np.allclose(net.predict(X), after.predict(X))


@pytest.mark.parametrize("optim", [torch.optim.AdamW, torch.optim.LBFGS, torch.optim.SGD])
def test_zeros_stay_zero_with_every_optimizer(optim):
    source = fitted(REGRESSORS[0])
    options = {"weight_decay": 0.1} if optim is torch.optim.AdamW else {}
    net = pg.to_torch(make_pipeline(StandardScaler(), source).fit(X, Y))
    net.fit(
        X,
        LATER,
        optim=lambda p: optim(p, lr=0.01, **options),
        epochs=5,
        anchor=1e-3,
        validation=None,
    )
    before = make_pipeline(StandardScaler(), source).fit(X, Y)[-1]
    assert zeros(pg.from_torch(net)[-1])[zeros(before)].all()


def test_copies_pickles_and_exports_keep_the_zeros():
    net = pg.to_torch(fitted(REGRESSORS[0]))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 1.0
    expected = net.predict(X)
    free = np.flatnonzero(~zeros(fitted(REGRESSORS[0])))
    changed = X.copy()
    changed[:, np.setdiff1d(range(8), free)] += 1.0
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(other.predict(changed), expected)
    blocks = net.encode(X).blocks
    program = torch.export.export(net, (blocks,), strict=False).module()
    assert np.allclose(program(net.encode(changed).blocks).detach(), expected)


@pytest.mark.slow
def test_the_recipe_keeps_the_zeros():
    model = fitted(linear.ElasticNet(alpha=0.05))
    tuner = pg.FineTuner(linear.ElasticNet(alpha=0.5), random_state=0).fit(X, LATER)
    origin = fitted(linear.ElasticNet(alpha=0.5), LATER)
    assert tuner.improved_
    assert zeros(tuner.estimator_)[zeros(origin)].all()
    assert zeros(model).any()
    freed = pg.FineTuner(linear.ElasticNet(alpha=0.5), train_zeros=True, random_state=0)
    assert not zeros(freed.fit(X, LATER).estimator_)[zeros(origin)].all()


def test_a_model_without_features_trains_its_intercept():
    source = linear.Lasso(alpha=100.0).fit(X, Y)
    after = pg.from_torch(pg.to_torch(source).fit(X, LATER + 5, epochs=20, validation=None))
    assert zeros(after).all()
    assert after.intercept_ != source.intercept_


def test_zeros_of_an_initial_estimator_stay_zero():
    source = GradientBoostingRegressor(n_estimators=3, init=linear.Lasso(alpha=0.1)).fit(X, Y)
    after = pg.from_torch(pg.to_torch(source).fit(X, LATER, epochs=5, validation=None))
    assert zeros(after.init_)[zeros(source.init_)].all()


def test_zeros_without_a_penalty_train():
    source = LinearSVR(dual=False, loss="squared_epsilon_insensitive").fit(X, Y)
    assert zeros(source)[7]
    after = pg.from_torch(pg.to_torch(source).fit(X + 1, Y, epochs=5, validation=None))
    assert not zeros(after)[7]


def test_gblinear_with_an_l1_penalty():
    xgboost = pytest.importorskip("xgboost")
    fixed = {"booster": "gblinear", "updater": "coord_descent", "n_jobs": 1, "n_estimators": 30}
    source = xgboost.XGBRegressor(reg_alpha=0.3, **fixed).fit(X, Y)
    after = pg.from_torch(pg.to_torch(source).fit(X, LATER, epochs=5, validation=None))
    assert zeros(source).sum() > 1
    assert zeros(after)[zeros(source)].all()
    assert not np.array_equal(after.coef_, source.coef_)


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_train_zeros_is_a_bool(value):
    with pytest.raises(ArgumentError, match="train_zeros must be True or False, got"):
        pg.to_torch(fitted(REGRESSORS[0]), train_zeros=value)
    with pytest.raises(ArgumentError, match="train_zeros must be True or False, got"):
        pg.FineTuner(REGRESSORS[0], train_zeros=value).fit(X, Y)
