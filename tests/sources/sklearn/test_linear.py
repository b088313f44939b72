"""Linear predictors, where the contract's examples do not reach."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import (
    LarsCV,
    Lasso,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    OrthogonalMatchingPursuit,
    Perceptron,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

import pipegrad as pg
from pipegrad.registry import lookup
from pipegrad.testing import DATASETS, assert_same_answers, perturb


def data(name):
    X, y = DATASETS[name]()
    return StandardScaler().fit_transform(X), y


def tuned(operator, X):
    """The operator after a round trip through a module that moved; equal at both ends."""
    net = pg.to_torch(operator)
    assert_same_answers(net, operator, X, 1e-9)
    perturb(net, 0.2)
    again = pg.from_torch(net)
    assert_same_answers(net, again, X, 1e-9)
    return again


@pytest.mark.parametrize("name", ["binary_strings", "multiclass"])
@pytest.mark.parametrize(
    "operator",
    [
        LogisticRegression(solver="newton-cg"),
        LinearSVC(random_state=0),
        Perceptron(random_state=0),
        SGDClassifier(penalty="l1", random_state=0),
        SGDClassifier(penalty="l1", average=True, random_state=0),
    ],
    ids=str,
)
def test_sparse_coefficients_stay_sparse(operator, name):
    X, y = data(name)
    fitted = copy.deepcopy(operator).fit(X, y).sparsify()
    again = tuned(fitted, X)
    assert type(again.coef_) is type(fitted.coef_)
    assert again.coef_.shape == fitted.coef_.shape
    again.densify().predict(X)


@pytest.mark.parametrize("average", [False, True])
def test_sparse_coefficients_of_one_target(average):
    X, y = data("regression")
    fitted = SGDRegressor(average=average, random_state=0).fit(X, y).sparsify()
    again = tuned(fitted, X)
    assert sparse.issparse(again.coef_)
    assert again.coef_.shape == fitted.coef_.shape


@pytest.mark.parametrize("average", [False, True, 10**8])
@pytest.mark.parametrize("name", ["regression", "binary_strings", "multiclass"])
def test_partial_fit_goes_on_from_what_was_trained(name, average):
    X, y = data(name)
    kind = SGDRegressor if name == "regression" else SGDClassifier
    operator = kind(average=average, random_state=0).fit(X, y)
    row, written = lookup(kind), copy.deepcopy(operator)
    row.write_back(row.to_torch(operator), written)
    assert np.array_equal(written.partial_fit(X, y).coef_, operator.partial_fit(X, y).coef_)

    again = tuned(operator, X)
    before = again.coef_.copy()
    moved = np.abs(before - operator.coef_).max()
    if average is True:
        assert np.abs(again.partial_fit(X, y).coef_ - before).max() < 0.1 * moved


@pytest.mark.parametrize(
    "operator",
    [LinearRegression(), Ridge(), Lasso(), MultiTaskLasso(), OrthogonalMatchingPursuit()],
    ids=str,
)
def test_a_single_column_of_targets(operator):
    X, y = data("regression")
    tuned(copy.deepcopy(operator).fit(X, y[:, None]), X)


def test_a_given_intercept_counts_but_does_not_train():
    X, y = data("regression")
    operator = SGDRegressor(fit_intercept=False, random_state=0)
    operator.fit(X, y, intercept_init=np.array([2.0]))
    assert tuned(operator, X).intercept_ == operator.intercept_ == 2


def test_coefficients_that_must_be_positive_stay_so():
    X, y = data("regression")
    net = pg.to_torch(Lasso(alpha=0.1, positive=True).fit(X, y))
    perturb(net, 5.0)
    again = pg.from_torch(net)
    assert (again.coef_ >= 0).all()
    assert_same_answers(net, again, X, 1e-9)


def test_rows_that_no_class_claims():
    X, y = data("multiclass")
    operator = SGDClassifier(loss="log_loss", random_state=0).fit(X, y)
    operator.intercept_ = operator.intercept_ - 1e6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = operator.predict_proba(X)
    np.testing.assert_allclose(pg.to_torch(operator).predict_proba(X), expected)


@pytest.mark.parametrize(
    "estimator",
    [
        None,
        Ridge(),
        make_pipeline(StandardScaler(), PolynomialFeatures(include_bias=False), Ridge()),
    ],
    ids=["default", "ridge", "pipeline"],
)
@pytest.mark.parametrize("names", [None, list("abcdef")])
def test_ransac(estimator, names):
    X, y = DATASETS["regression"]()
    X = X if names is None else pd.DataFrame(X, columns=names)
    operator = RANSACRegressor(estimator, min_samples=40, random_state=0).fit(X, y)
    again = tuned(operator, X)
    assert np.array_equal(again.inlier_mask_, operator.inlier_mask_)
    assert_same_answers(pg.to_torch(operator, translate="all"), operator, X, 1e-9)
    if names is not None:
        with pytest.raises(ValueError, match="feature names"):
            pg.to_torch(operator).predict(X[names[::-1]])


def test_several_paths_are_kept():
    X, y = data("regression")
    operator = LarsCV(cv=3).fit(X, y)
    assert np.array_equal(tuned(operator, X).coef_path_, operator.coef_path_)


def test_labels_of_several_kinds_at_once():
    X, y = data("multilabel")
    operator = RidgeClassifier().fit(X, y)
    assert pg.to_torch(operator).predict(X).dtype == operator.predict(X).dtype
