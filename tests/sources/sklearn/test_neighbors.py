"""Nearest neighbors, centroids and densities, where the contract's examples do not reach."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.neighbors import (
    KernelDensity,
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    NearestCentroid,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.testing import DATASETS, assert_same_answers, perturb


def grid(side):
    axis = np.arange(side, dtype=float)
    return np.array(np.meshgrid(axis, axis)).reshape(2, -1).T


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("algorithm", ["brute", "kd_tree", "ball_tree"])
@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_neighbors_at_equal_distances_are_those_of_the_source(algorithm, count, weights):
    X, rng = grid(6), np.random.default_rng(0)
    rows = np.vstack([X, X + 0.5, X[:3]])
    options = {"algorithm": algorithm, "n_neighbors": count, "weights": weights}
    for y in (rng.integers(0, 4, len(X)), np.tile(["a", "b"], len(X) // 2)):
        operator = KNeighborsClassifier(**options).fit(X, y)
        net = pg.to_torch(operator)
        np.testing.assert_array_equal(net.predict(rows), operator.predict(rows))
        np.testing.assert_array_equal(net.predict_proba(rows), operator.predict_proba(rows))
    operator = KNeighborsRegressor(**options).fit(X, rng.normal(size=len(X)))
    np.testing.assert_array_equal(pg.to_torch(operator).predict(rows), operator.predict(rows))


def test_equal_weights_that_add_up_differently_go_to_the_predicted_class():
    # Ten neighbors at distances whose inverses add up to the same number in one order only.
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        gaps = rng.choice([3.0, 7.0, 11.0, 13.0, 17.0], 5)
        X = np.concatenate([gaps, -gaps])[:, None]
        order = rng.permutation(10)
        y = np.repeat([0, 1], 5)
        operator = KNeighborsClassifier(10, weights="distance").fit(X[order], y[order])
        probability, label = operator.predict_proba([[0.0]]), operator.predict([[0.0]])
        found += probability.argmax() != label[0]
        net = pg.to_torch(operator)
        np.testing.assert_array_equal(net.predict([[0.0]]), label)
    assert found, "no such case"


@pytest.mark.parametrize(
    ("operator", "dataset"),
    [
        (KNeighborsClassifier(), "multiclass"),
        (KNeighborsClassifier(weights="distance"), "several"),
        (KNeighborsRegressor(), "regression"),
        (KNeighborsRegressor(weights="distance"), "multioutput"),
        (RadiusNeighborsClassifier(radius=2.0, outlier_label="most_frequent"), "binary_strings"),
        (RadiusNeighborsRegressor(radius=20.0, weights="distance"), "regression"),
    ],
    ids=str,
)
def test_steps_before_neighbors_learn_the_scale_of_columns(operator, dataset):
    X, y = DATASETS[dataset]()
    X = np.column_stack([X, np.random.default_rng(0).normal(size=(len(X), 6))])
    pipeline = make_pipeline(StandardScaler(), operator).fit(X[::2], y[::2])
    net = pg.to_torch(pipeline)
    history = net.fit(X[1::2], y[1::2], epochs=15, lr=0.05, validation=None).history
    assert history is not None
    tuned = pg.from_torch(net)
    assert_same_answers(net, tuned, X, 1e-9)
    assert np.abs(tuned[0].scale_ - pipeline[0].scale_).max() > 0
    assert loss(net, tuned, X[1::2], y[1::2]) < loss(net, pipeline, X[1::2], y[1::2])


def loss(net, pipeline, X, y):
    from pipegrad.finetune.losses import get_loss

    fresh = pg.to_torch(pipeline)
    with torch.no_grad():
        objective = fresh.objective
        rows = get_loss(objective.name)(fresh(X), fresh.encode_target(y), **objective.options)
    return float(rows.mean())


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine"])
def test_inverse_distances_have_their_own_gradient(metric):
    X, y = DATASETS["regression"]()
    X = StandardScaler().fit_transform(X)
    operator = KNeighborsRegressor(weights="distance", metric=metric).fit(X[:60], y[:60])
    net = pg.to_torch(operator)
    rows = torch.tensor(X[60:], requires_grad=True)
    net(rows).sum().backward()
    step = 1e-6 * np.random.default_rng(0).normal(size=(20, 6))
    moved = operator.predict(X[60:] + step) - operator.predict(X[60:] - step)
    expected = 2 * (rows.grad.numpy() * step).sum(1)
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-9)


def test_local_outlier_factors_have_their_own_gradient():
    X, _ = DATASETS["regression"]()
    X = StandardScaler().fit_transform(X)
    operator = LocalOutlierFactor(novelty=True, n_neighbors=6).fit(X[:60])
    rows = torch.tensor(X[60:], requires_grad=True)
    pg.to_torch(operator)(rows).sum().backward()
    step = 1e-6 * np.random.default_rng(0).normal(size=(20, 6))
    moved = operator.decision_function(X[60:] + step) - operator.decision_function(X[60:] - step)
    np.testing.assert_allclose(moved, 2 * (rows.grad.numpy() * step).sum(1), rtol=1e-3, atol=1e-9)


def test_a_row_that_is_stored_has_a_finite_gradient():
    X, y = DATASETS["regression"]()
    for weights in ("uniform", "distance"):
        operator = KNeighborsRegressor(n_neighbors=1, weights=weights).fit(X, y)
        rows = torch.tensor(X, requires_grad=True)
        pg.to_torch(operator)(rows).sum().backward()
        assert torch.isfinite(rows.grad).all()


def test_copies_and_pickles_answer_alike_and_queries_leave_no_trace():
    X, y = DATASETS["multiclass"]()
    net = pg.to_torch(KNeighborsClassifier(algorithm="kd_tree").fit(X, y))
    expected = net.predict(X)  # The source tells the types of answers once.
    before = pickle.dumps(net)
    net.predict(X)
    assert pickle.dumps(net) == before
    np.testing.assert_array_equal(pickle.loads(before).predict(X), expected)


def test_no_rows_mean_the_stored_ones_without_themselves():
    pytest.importorskip("sklearn", minversion="1.6")
    X, y = DATASETS["binary_strings"]()
    for weights in ("uniform", "distance"):
        operator = KNeighborsClassifier(weights=weights).fit(X, y)
        net = pg.to_torch(operator)
        np.testing.assert_array_equal(net.predict(None), operator.predict(None))
        np.testing.assert_array_equal(net.predict_proba(None), operator.predict_proba(None))
        assert net.score(None, y) == operator.score(None, y)


def test_several_labels():
    X, y = DATASETS["multilabel"]()
    for weights in ("uniform", "distance"):
        operator = KNeighborsClassifier(weights=weights).fit(X, y)
        assert_same_answers(pg.to_torch(operator), operator, X, 1e-9)


def test_sparse_rows_after_a_trained_step():
    X, y = DATASETS["sparse_multiclass"]()
    pipeline = make_pipeline(StandardScaler(with_mean=False), KNeighborsClassifier()).fit(X, y)
    net = pg.to_torch(pipeline)
    perturb(net)
    for kind in (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix):
        rows = kind(X)
        np.testing.assert_array_equal(net.predict(rows), pg.from_torch(net).predict(rows))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_float32_rows_break_ties_in_float32(count):
    X = grid(6).astype(np.float32) * np.float32(0.1)
    y = np.random.default_rng(0).integers(0, 4, len(X))
    operator = KNeighborsClassifier(count, algorithm="brute").fit(X, y)
    rows = X + np.float32(0.05)
    np.testing.assert_array_equal(pg.to_torch(operator).predict(rows), operator.predict(rows))


def test_rows_without_neighbors():
    X, y = DATASETS["binary_strings"]()
    far = X + 1e6
    for outlier_label in (None, "yes", "most_frequent"):
        operator = RadiusNeighborsClassifier(radius=1e4, outlier_label=outlier_label).fit(X, y)
        net = pg.to_torch(operator)
        if outlier_label is None:
            with pytest.raises(ValueError, match="No neighbors found"):
                net.predict(far)
        else:
            np.testing.assert_array_equal(net.predict(far), operator.predict(far))
    operator = RadiusNeighborsClassifier(radius=1e4, outlier_label=7, weights="distance")
    net = pg.to_torch(operator.fit(X, (y == "yes").astype(int)))
    with pytest.warns(UserWarning, match="Outlier label 7 is not in training classes"):
        np.testing.assert_array_equal(net.predict(far), np.full(len(far), 7))
    with pytest.warns(UserWarning, match="Outlier label 7 is not in training classes"):
        np.testing.assert_array_equal(net.predict_proba(far), np.zeros((len(far), 2)))
    net = pg.to_torch(RadiusNeighborsRegressor(radius=1e4).fit(X, np.arange(len(X)) / 2))
    with pytest.warns(UserWarning, match="no neighbors"):
        assert np.isnan(net.predict(far)).all()
    rows = torch.tensor(far, requires_grad=True)
    with pytest.warns(UserWarning, match="no neighbors"):
        net(rows).sum().backward()
    assert torch.isfinite(rows.grad).all()


def test_sparse_rows_that_would_fill_the_memory_are_refused(monkeypatch):
    X, y = DATASETS["sparse_multiclass"]()
    operator = KNeighborsClassifier().fit(X, y)
    monkeypatch.setattr("pipegrad.sources.sklearn._neighbors.MOST_NUMBERS", 900)
    with pytest.raises(UntranslatableError, match=r"would need 7\.68e-06 GB as dense"):
        pg.to_torch(operator)


def test_python_code_and_other_metrics_are_refused():
    X, y = DATASETS["binary"]()
    refused = {
        "weights is Python code": KNeighborsClassifier(weights=lambda gaps: 1 / (1 + gaps)),
        "metric='<lambda>' has no gradient": KNeighborsClassifier(
            metric=lambda a, b: abs(a - b)[0]
        ),
    }
    for reason, operator in refused.items():
        with pytest.raises(UntranslatableError, match=reason):
            pg.to_torch(operator.fit(X, y))
    with pytest.raises(UntranslatableError, match="novelty=False scores its own training rows"):
        pg.to_torch(make_pipeline(StandardScaler(), LocalOutlierFactor()).fit(X))
    with pytest.raises(UntranslatableError, match="the source round its answers"):
        pg.to_torch(KernelDensity(rtol=1e-2).fit(X))
    code = {"func": lambda a, b: abs(a - b)[0]}
    with pytest.raises(UntranslatableError, match="metric='pyfunc' with"):
        pg.to_torch(KernelDensity(metric="pyfunc", metric_params=code).fit(X))


@pytest.mark.parametrize("params", [{}, {"metric": "manhattan"}], ids=str)
def test_centroids_recover_from_noise(params):
    X, y = DATASETS["multiclass"]()
    X = StandardScaler().fit_transform(X)
    operator = NearestCentroid(**params).fit(X, y)
    net = pg.to_torch(operator)
    before = loss(net, operator, X, y)
    perturb(net, 0.5)
    assert loss(net, pg.from_torch(net), X, y) > before
    net.fit(X, y, epochs=100, lr=0.02, validation=None)
    assert loss(net, pg.from_torch(net), X, y) <= 1.01 * before
    assert_same_answers(net, pg.from_torch(net), X, 1e-9)


@pytest.mark.parametrize("params", [{}, {"priors": "empirical"}, {"priors": [0.3, 0.7]}], ids=str)
def test_centroids_of_two_classes(params):
    X, y = DATASETS["binary_strings"]()
    if params:
        pytest.importorskip("sklearn", minversion="1.6")
    X = StandardScaler().fit_transform(X)[:, :4]
    X[:, 3] = 2.0  # A column without spread.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        operator = NearestCentroid(**params).fit(X, y)
    assert_same_answers(pg.to_torch(operator), operator, X, 1e-9)


def test_a_row_between_centroids_goes_to_the_first():
    corners = np.array([[-1.0, 0.0], [1.0, 0.0], [-1.0, 2.0], [1.0, 2.0]])
    X = np.vstack([corners + 0.25, corners - 0.25])
    operator = NearestCentroid().fit(X, [0, 1, 2, 3] * 2)
    rows = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 7.0]])
    np.testing.assert_array_equal(pg.to_torch(operator).predict(rows), operator.predict(rows))


def test_the_bandwidth_of_a_density_trains_on_a_loss_of_the_user():
    rng = np.random.default_rng(0)
    X, held_out = rng.normal(size=(200, 2)), rng.normal(size=(200, 2))
    operator = KernelDensity(bandwidth=0.05).fit(X)
    net = pg.to_torch(operator)
    net.fit(
        held_out, np.zeros(200), loss=lambda score, y: -score, epochs=100, lr=0.1, validation=None
    )
    tuned = pg.from_torch(net)
    assert tuned.bandwidth_ > 0.15
    assert tuned.bandwidth == 0.05
    assert tuned.score(held_out) > operator.score(held_out)
    np.testing.assert_allclose(net.score_samples(held_out), tuned.score_samples(held_out))
