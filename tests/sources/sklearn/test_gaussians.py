"""Discriminant analysis and Gaussian mixtures, where the contract's examples do not reach."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import fitted
from pipegrad.sources.sklearn.mixture import _LOSES_DIGITS
from pipegrad.testing import DATASETS, assert_same_answers, perturb

X, y = DATASETS["multiclass"]()
SHAPES = ("full", "tied", "diag", "spherical")


def test_far_rows_have_the_log_probabilities_of_the_source():
    far = 1e3 * X
    for operator in (
        LinearDiscriminantAnalysis(),
        LinearDiscriminantAnalysis(solver="lsqr"),
        QuadraticDiscriminantAnalysis(reg_param=0.1),
    ):
        for labels in (y, y == "bee"):
            net = pg.to_torch(operator.fit(X, labels))
            with np.errstate(divide="ignore"):
                theirs = operator.predict_log_proba(far)
            np.testing.assert_allclose(net.predict_log_proba(far), theirs, rtol=1e-9, atol=1e-9)


def test_linear_discriminants_predict_sparse_rows():
    operator = LinearDiscriminantAnalysis().fit(X, y)
    net = pg.to_torch(operator)
    rows = sparse.csc_array(np.where(X > 0, X, 0))
    np.testing.assert_allclose(net.predict_proba(rows), operator.predict_proba(rows), atol=1e-12)


def test_ties_go_to_the_class_of_the_source():
    twice, labels = np.vstack([X, X]), np.repeat(["bee", "ant"], len(X))
    for operator in (LinearDiscriminantAnalysis(solver="lsqr"), QuadraticDiscriminantAnalysis()):
        operator.fit(twice, labels)
        np.testing.assert_array_equal(pg.to_torch(operator).predict(X), operator.predict(X))
    pair = LinearDiscriminantAnalysis().fit(X, y == "ant")
    pair.coef_, pair.intercept_ = np.zeros((1, 6)), np.zeros(1)
    np.testing.assert_array_equal(pg.to_torch(pair).predict(X), pair.predict(X))


def test_rotations_stay_orthonormal_and_the_covariance_follows():
    operator = QuadraticDiscriminantAnalysis(store_covariance=True).fit(X, y)
    net = pg.to_torch(operator)
    perturb(net, 0.3)
    tuned = pg.from_torch(net)
    for rotation, scaling, covariance in zip(
        tuned.rotations_, tuned.scalings_, tuned.covariance_, strict=True
    ):
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(6), atol=1e-10)
        assert (np.diff(scaling) <= 0).all()
        assert (scaling > 0).all()
        np.testing.assert_allclose(covariance, (rotation * scaling) @ rotation.T)


def test_classes_that_do_not_change_stay_as_they_are():
    operator = QuadraticDiscriminantAnalysis(store_covariance=True).fit(X, y)
    net = pg.to_torch(operator)
    next(p for name, p in net.named_parameters() if "change" in name).data[1] *= 1.1
    tuned = pg.from_torch(net)
    for name in ("rotations_", "scalings_", "covariance_"):
        before, after = getattr(operator, name), getattr(tuned, name)
        assert [np.array_equal(b, a) for b, a in zip(before, after, strict=True)][::2] == [True] * 2
    assert not np.array_equal(tuned.scalings_[1], operator.scalings_[1])
    np.testing.assert_array_equal(tuned.priors_, operator.priors_)


def test_a_covariance_without_full_rank_is_refused():
    operator = QuadraticDiscriminantAnalysis(reg_param=0.1).fit(X, y)
    operator.scalings_[1] = operator.scalings_[1] * 0
    with pytest.raises(pg.UntranslatableError, match="full rank"):
        pg.to_torch(operator)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
def test_covariances_follow_and_components_that_do_not_change_stay(kind, shape):
    mixture = fitted(kind(n_components=2, covariance_type=shape, max_iter=5, random_state=0), X)
    net = pg.to_torch(mixture)
    shift = next(p for name, p in net.named_parameters() if name.endswith("shift"))
    shift.data[1] += 0.1
    tuned = pg.from_torch(net)
    np.testing.assert_array_equal(tuned.means_[0], mixture.means_[0])
    for name in ("precisions_cholesky_", "precisions_", "covariances_", "weights_"):
        np.testing.assert_array_equal(getattr(tuned, name), getattr(mixture, name))
    perturb(net, 0.1)
    tuned = pg.from_torch(net)
    assert_same_answers(net, tuned, X, 1e-9)
    assert tuned.weights_.sum() == pytest.approx(1)
    covariance, precision = tuned.covariances_, tuned.precisions_
    root = tuned.precisions_cholesky_
    if shape in ("full", "tied"):
        np.testing.assert_allclose(covariance @ precision, 0 * covariance + np.eye(6), atol=1e-8)
        np.testing.assert_array_equal(root, np.triu(root))
        np.testing.assert_allclose(root @ np.swapaxes(root, -1, -2), precision)
    else:
        np.testing.assert_allclose(covariance * precision, 1)
        np.testing.assert_allclose(root**2, precision)
    np.testing.assert_allclose(net.score_samples(X), tuned.score_samples(X))
    np.testing.assert_allclose(
        net(X).detach().numpy(), tuned._estimate_weighted_log_prob(X), rtol=1e-9
    )


@pytest.mark.skipif(not _LOSES_DIGITS, reason="this scikit-learn computes with floats")
def test_whole_numbers_are_refused_where_the_source_loses_their_digits():
    net = pg.to_torch(fitted(GaussianMixture(2, random_state=0), X))
    with pytest.raises(ValueError, match=r"whole numbers(.|\n)*astype\(float\)"):
        net.predict(np.round(X).astype(int))


def test_gradients_reach_the_steps_before():
    pipe = make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis()).fit(X, y)
    net = pg.to_torch(pipe)
    net.fit(X, y, validation=None, epochs=3)
    tuned = pg.from_torch(net)
    assert not np.array_equal(tuned[0].scale_, pipe[0].scale_)
    assert_same_answers(net, tuned, X, 1e-9)
