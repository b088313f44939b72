"""Clustering and decompositions, where the contract's examples do not reach."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.cluster import (
    AffinityPropagation,
    Birch,
    BisectingKMeans,
    FeatureAgglomeration,
    MeanShift,
)
from sklearn.decomposition import FactorAnalysis, FastICA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.testing import DATASETS, assert_same_answers, perturb

X, y = DATASETS["regression"]()
Z = StandardScaler().fit_transform(X)


def fitted(model, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X)


@pytest.mark.parametrize(
    "model",
    [
        MeanShift(bandwidth=2.0),
        AffinityPropagation(damping=0.8, random_state=0),
        BisectingKMeans(5, random_state=0),
        Birch(threshold=1.0, n_clusters=3),
    ],
    ids=str,
)
def test_centers_train_and_predictions_follow(model):
    net = pg.to_torch(fitted(model, Z))
    perturb(net, 0.3)
    before = net(Z).amin(1).square().mean().item()
    net.fit(Z, optim=torch.optim.LBFGS, validation=None, epochs=3)
    tuned = pg.from_torch(net)
    assert net(Z).amin(1).square().mean().item() < before
    np.testing.assert_array_equal(net.predict(Z), tuned.predict(Z))
    assert net.predict(Z).dtype == model.predict(Z).dtype


def test_ties_go_to_the_first_center():
    twin = MeanShift(bandwidth=2.0).fit(Z)
    twin.cluster_centers_ = np.array([[1.0] * 6, [-1.0] * 6, [1.0] * 6])
    rows = np.vstack([np.zeros((1, 6)), np.ones((1, 6)), -np.ones((1, 6))])
    np.testing.assert_array_equal(pg.to_torch(twin).predict(rows), twin.predict(rows))


def test_leaves_of_the_tree_are_the_trained_centers():
    for rows in (Z + 3, sparse.csr_array(np.where(Z > 0, Z, 0))):
        model = BisectingKMeans(4, random_state=0).fit(rows)
        net = pg.to_torch(model)
        perturb(net, 0.1)
        tuned = pg.from_torch(net)
        mean = getattr(tuned, "_X_mean", 0.0)
        for leaf in tuned._bisecting_tree.iter_leaves():
            np.testing.assert_allclose(leaf.center + mean, tuned.cluster_centers_[leaf.label])
        assert_same_answers(net, tuned, rows, 1e-9)


def test_exemplars_of_sparse_rows_stay_sparse():
    rows, _ = DATASETS["sparse"]()
    model = fitted(AffinityPropagation(preference=-2.0, random_state=0), rows)
    net = pg.to_torch(model)
    perturb(net)
    tuned = pg.from_torch(net)
    assert type(tuned.cluster_centers_) is type(model.cluster_centers_)
    np.testing.assert_array_equal(tuned.predict(rows), net.predict(rows))


def test_what_predicts_nothing_is_refused():
    similar = AffinityPropagation(affinity="precomputed", random_state=0)
    similar = fitted(similar, -((Z @ Z.T) ** 2))
    lost = fitted(AffinityPropagation(max_iter=1, random_state=0), Z)
    lost.cluster_centers_ = np.empty((0, 6))
    for model, why in ((similar, "precomputed"), (lost, "did not converge")):
        with pytest.raises(pg.UntranslatableError, match=why):
            pg.to_torch(model)
    pooled = FeatureAgglomeration(2, pooling_func=np.ptp).fit(Z)
    with pytest.raises(pg.UntranslatableError, match=r"ptp.* is none of np.mean"):
        pg.to_torch(make_pipeline(StandardScaler(), pooled, Ridge()).fit(X, y))


def test_trained_subclusters_keep_their_labels():
    model = Birch(threshold=1.0, n_clusters=3).fit(Z)
    net = pg.to_torch(model)
    perturb(net, 0.2)
    tuned = pg.from_torch(net)
    np.testing.assert_array_equal(tuned.predict(Z), net.predict(Z))
    np.testing.assert_allclose(tuned._subcluster_norms, (tuned.subcluster_centers_**2).sum(1))


def test_mixing_inverts_the_trained_components():
    for whiten in ("unit-variance", False):
        model = fitted(FastICA(3 if whiten else None, whiten=whiten, random_state=0), Z)
        net = pg.to_torch(model)
        perturb(net)
        tuned = pg.from_torch(net)
        np.testing.assert_allclose(tuned.mixing_, np.linalg.pinv(tuned.components_))
        inside = tuned.transform(Z)
        np.testing.assert_allclose(net.inverse_transform(inside), tuned.inverse_transform(inside))


def test_noise_stays_positive_and_the_covariance_follows():
    pipe = make_pipeline(StandardScaler(), FactorAnalysis(3), Ridge()).fit(X, y)
    net = pg.to_torch(pipe)
    before = ((net.predict(X) - y) ** 2).mean()
    net.fit(X, y, validation=None, epochs=10)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < before
    assert (tuned[1].noise_variance_ > 0).all()
    assert (np.linalg.eigvalsh(tuned[1].get_covariance()) > 0).all()


def test_gradients_pass_through_pooled_columns():
    for pooling in (np.mean, np.max, np.min, np.sum, np.prod, np.median, np.var, np.std):
        # A group of a single column has a variance of zero.
        pooled = FeatureAgglomeration(4, pooling_func=pooling)
        net = pg.to_torch(make_pipeline(StandardScaler(), pooled, Ridge()).fit(X, y))
        net(X).square().sum().backward()
        for parameter in net.trainable_parameters().values():
            assert parameter.grad is not None
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.abs().max() > 0
