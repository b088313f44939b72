"""Neighbor graphs, distances to neighbors and what neighbors learn, beyond the contract."""

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import (
    BallTree,
    KDTree,
    KNeighborsClassifier,
    KNeighborsTransformer,
    NearestNeighbors,
    NeighborhoodComponentsAnalysis,
    RadiusNeighborsTransformer,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.testing import DATASETS, assert_same_answers, perturb


def scaled(name="regression"):
    X, y = DATASETS[name]()
    return StandardScaler().fit_transform(X), y


def assert_same_entries(ours, theirs):
    assert type(ours) is type(theirs)
    assert ours.shape == theirs.shape
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@pytest.mark.parametrize("algorithm", ["brute", "kd_tree", "ball_tree"])
@pytest.mark.parametrize("kind", [KNeighborsTransformer, RadiusNeighborsTransformer])
def test_graphs_have_the_entries_of_the_source_in_the_same_order(kind, algorithm, mode):
    axis = np.arange(5.0)
    X = np.array(np.meshgrid(axis, axis)).reshape(2, -1).T  # Many rows at equal distances.
    operator = kind(mode=mode, algorithm=algorithm).fit(X)
    net = pg.to_torch(operator)
    for rows in (X, X + 0.5, X[:1], X + 100):
        theirs = operator.transform(rows)
        assert_same_entries(net.transform(rows), theirs)
    if mode == "distance":
        assert (operator.transform(X).data == 0).any(), "no entry of zero"


def test_rows_without_neighbors_are_empty():
    X, _ = scaled()
    operator = RadiusNeighborsTransformer(radius=1e-6).fit(X)
    net = pg.to_torch(operator)
    for rows in (X, X + 50, X[:0]):
        if len(rows):
            assert_same_entries(net.transform(rows), operator.transform(rows))


def test_distances_in_a_graph_have_their_own_gradient():
    X, _ = scaled()
    for operator in (
        KNeighborsTransformer(n_neighbors=4).fit(X[:60]),
        RadiusNeighborsTransformer(radius=2.0).fit(X[:60]),
    ):
        rows = torch.tensor(X[60:], requires_grad=True)
        graph = pg.to_torch(operator)(rows)
        graph.values.square().sum().backward()
        step = 1e-6 * np.random.default_rng(0).normal(size=(20, 6))
        above, below = (operator.transform(X[60:] + s * step).power(2).sum() for s in (1, -1))
        np.testing.assert_allclose(above - below, 2 * (rows.grad.numpy() * step).sum(), rtol=1e-6)


def test_a_step_before_a_graph_trains():
    X, y = scaled()
    pipeline = make_pipeline(StandardScaler(), KNeighborsTransformer(n_neighbors=6), Ridge())
    pipeline.fit(X, y)
    net = pg.to_torch(pipeline)
    before = ((pipeline.predict(X + 0.1) - y) ** 2).mean()
    net.fit(X + 0.1, y, epochs=20, lr=1e-3, validation=None)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X + 0.1) - y) ** 2).mean() < before
    assert (tuned[0].scale_ != pipeline[0].scale_).any()
    assert_same_answers(net, tuned, X, 1e-9)


def test_a_graph_feeds_neighbors_of_given_distances():
    X, y = scaled("multiclass")
    graph = KNeighborsTransformer(n_neighbors=8)
    pipeline = make_pipeline(StandardScaler(), graph, KNeighborsClassifier(5, metric="precomputed"))
    net = pg.to_torch(pipeline.fit(X, y))
    np.testing.assert_array_equal(net.predict_proba(X), pipeline.predict_proba(X))
    perturb(net)
    np.testing.assert_array_equal(net.predict(X), pg.from_torch(net).predict(X))
    score = net(X)
    score[:, 0].sum().backward()
    for parameter in net.trainable_parameters().values():
        assert torch.isfinite(parameter.grad).all()
        assert (parameter.grad != 0).any()


def test_nearest_neighbors_answer_as_the_source_does():
    X, _ = scaled()
    operator = NearestNeighbors(n_neighbors=3, radius=1.5).fit(X)
    pipeline = make_pipeline(StandardScaler(), operator).fit(X)
    net = pg.to_torch(operator)
    np.testing.assert_array_equal(net(X).detach(), operator.kneighbors(X)[0])
    for one, other in zip(net.kneighbors(X, 4), operator.kneighbors(X, 4), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        net.kneighbors(X, return_distance=False), operator.kneighbors(X, return_distance=False)
    )
    for one, other in zip(net.kneighbors(), operator.kneighbors(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert_same_entries(net.kneighbors_graph(X), operator.kneighbors_graph(X))
    assert_same_entries(net.radius_neighbors_graph(X), operator.radius_neighbors_graph(X))
    assert not hasattr(net, "transform")
    assert not hasattr(net, "predict")
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again(X).detach(), net(X).detach())
    np.testing.assert_array_equal(
        pg.to_torch(pipeline)(X).detach(), operator.kneighbors(pipeline[0].transform(X))[0]
    )


def test_no_number_of_neighbors_is_refused():
    X, _ = scaled()
    with pytest.raises(UntranslatableError, match="n_neighbors=None tells no number of columns"):
        pg.to_torch(NearestNeighbors(n_neighbors=None, radius=1.0).fit(X))


def test_the_map_of_neighborhood_components_trains_with_the_classifier_after_it():
    X, y = scaled("multiclass")
    pipeline = make_pipeline(
        NeighborhoodComponentsAnalysis(2, init="random", max_iter=1, random_state=0),
        LogisticRegression(),
    ).fit(X, y)
    net = pg.to_torch(pipeline)
    net.fit(X, y, epochs=50, lr=0.05, validation=None)
    tuned = pg.from_torch(net)
    assert log_loss(tuned, X, y) < 0.9 * log_loss(pipeline, X, y)
    assert (tuned[0].components_ != pipeline[0].components_).any()
    assert_same_answers(net, tuned, X, 1e-9)


def log_loss(pipeline, X, y):
    from sklearn.metrics import log_loss

    return log_loss(y, pipeline.predict_proba(X))


def test_sparse_queries_of_every_format():
    X, _ = DATASETS["sparse"]()
    operator = KNeighborsTransformer(n_neighbors=3).fit(X)
    net = pg.to_torch(operator)
    expected = operator.transform(X)
    for kind in (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.csr_array):
        assert_same_entries(net.transform(kind(X)), expected)
    wide = X.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    np.testing.assert_array_equal(net.transform(wide).toarray(), expected.toarray())


def test_trees_in_the_place_of_rows():
    X, y = scaled("multiclass")
    for tree in (KDTree(X), BallTree(X, leaf_size=3)):
        operator = NearestNeighbors(n_neighbors=3).fit(tree)
        net = pickle.loads(pickle.dumps(pg.to_torch(operator)))
        np.testing.assert_array_equal(net(X).detach(), operator.kneighbors(X)[0])
        operator = KNeighborsClassifier(3, weights="distance").fit(tree, y)
        net = pg.to_torch(operator)
        np.testing.assert_array_equal(net.predict_proba(X), operator.predict_proba(X))
        np.testing.assert_array_equal(pg.from_torch(net).predict(X), operator.predict(X))
    operator = NearestNeighbors().fit(BallTree(X, metric="manhattan"))
    with pytest.raises(UntranslatableError, match="a tree with another metric than its own"):
        pg.to_torch(operator)


def test_neighbors_that_are_not_fitted_are_copied():
    X, y = scaled("multiclass")
    bagged = BaggingClassifier(KNeighborsClassifier(3), n_estimators=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(pg.to_torch(bagged).predict(X), bagged.predict(X))
