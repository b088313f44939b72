"""Locally linear embedding and Isomap, beyond the contract's examples."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.manifold import TSNE, Isomap, LocallyLinearEmbedding
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.errors import UntranslatableError
from pipegrad.testing import DATASETS, assert_same_answers, perturb

EMBEDDINGS = [
    LocallyLinearEmbedding(n_neighbors=6, random_state=0, eigen_solver="dense"),
    Isomap(n_neighbors=6),
    Isomap(n_neighbors=None, radius=4.0),
]


def scaled():
    X, y = DATASETS["regression"]()
    return StandardScaler().fit_transform(X), y


@pytest.mark.slow
@pytest.mark.parametrize("embedding", EMBEDDINGS, ids=str)
def test_steps_before_and_after_an_embedding_train(embedding):
    X, y = scaled()
    pipeline = make_pipeline(StandardScaler(), embedding, Ridge()).fit(X, y)
    net = pg.to_torch(pipeline)
    before = ((pipeline.predict(X) - y) ** 2).mean()
    net.fit(X, y, epochs=30, lr=0.01, validation=None)
    tuned = pg.from_torch(net)
    assert ((tuned.predict(X) - y) ** 2).mean() < 0.98 * before
    assert (tuned[0].scale_ != pipeline[0].scale_).any()
    assert_same_answers(net, tuned, X, 1e-9)


@pytest.mark.parametrize("embedding", EMBEDDINGS, ids=str)
def test_embedded_rows_have_their_own_gradient(embedding):
    X, _ = scaled()
    rng = np.random.default_rng(0)
    operator = embedding.fit(X[:60])
    more = X[:20] + 0.05 * rng.normal(size=(20, 6))
    rows = torch.tensor(more, requires_grad=True)
    out = pg.to_torch(operator)(rows)
    direction = rng.normal(size=out.shape)
    (out * torch.tensor(direction)).sum().backward()
    step = 1e-7 * rng.normal(size=more.shape)
    moved = (operator.transform(more + step) - operator.transform(more - step)) * direction
    # A row whose neighbors change jumps.
    expected = 2 * (rows.grad.numpy() * step).sum(1)
    same = np.isclose(moved.sum(1), expected, rtol=1e-3, atol=1e-10)
    assert same.mean() >= 0.9


def test_the_embedding_of_stored_rows_follows_the_components():
    X, _ = scaled()
    net = pg.to_torch(Isomap(n_neighbors=6).fit(X))
    perturb(net)
    tuned = pg.from_torch(net)
    np.testing.assert_allclose(tuned.transform(X), tuned.embedding_, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("embedding", EMBEDDINGS, ids=str)
def test_ties_and_repeated_rows(embedding):
    axis = np.arange(6.0)
    grid = np.array(np.meshgrid(axis, axis)).reshape(2, -1).T
    operator = embedding.fit(grid + 1e-3 * np.random.default_rng(0).normal(size=grid.shape))
    rows = np.vstack([grid, grid + 0.5, operator.nbrs_._fit_X])
    assert_same_answers(pg.to_torch(operator), operator, rows, 1e-9)


def test_a_row_without_neighbors_within_the_radius_is_refused_as_in_the_source():
    X, _ = scaled()
    operator = Isomap(n_neighbors=None, radius=3.0).fit(X)
    for owner in (operator, pg.to_torch(operator)):
        with pytest.raises(ValueError, match=r"neighbors|reduction"):
            owner.transform(X + 100)


def test_embeddings_without_a_map_of_new_rows_say_so():
    X, _ = scaled()
    with pytest.raises(UntranslatableError, match="cannot be applied to new samples"):
        pg.to_torch(TSNE(perplexity=5, max_iter=250).fit(X[:30]))
