"""Predictors that also transform: as the last step, before other steps, and as both."""

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA, PLSSVD, PLSCanonical, PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.testing import DATASETS, assert_close, assert_same_answers, perturb

X, y = DATASETS["multiclass"]()
_, Y = DATASETS["multioutput"]()
DISCRIMINANTS = [
    LinearDiscriminantAnalysis(),
    LinearDiscriminantAnalysis(n_components=1),
    LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.2),
]
LATENT = [PLSRegression(2), PLSCanonical(2), CCA(1), PLSSVD(2), PLSRegression(2, scale=False)]


def assembled(target, *steps):
    """A pipeline of steps fitted one by one: `fit_transform` of some also gives targets."""
    rows = X
    for step in steps:
        step.fit(rows, target)
        rows = step.transform(rows) if step is not steps[-1] else rows
    return make_pipeline(*steps)


@pytest.mark.parametrize("model", [*DISCRIMINANTS, *LATENT], ids=str)
def test_directions_train_before_other_steps(model):
    classifies = model in DISCRIMINANTS
    last = LogisticRegression() if classifies else Ridge()
    pipe = assembled(y if classifies else Y, StandardScaler(), model, last)
    net = pg.to_torch(pipe)
    assert_same_answers(net, pipe, X, 1e-9)
    net(X).square().sum().backward()
    for parameter in net.trainable_parameters().values():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
    perturb(net)
    tuned = pg.from_torch(net)
    assert_same_answers(net, tuned, X, 1e-9)
    assert not np.array_equal(tuned[1].transform(X), pipe[1].transform(X))
    if hasattr(pipe[1], "predict"):
        np.testing.assert_array_equal(tuned[1].predict(X), pipe[1].predict(X))


def test_a_transformer_and_a_predictor_of_one_class_train_apart():
    for model, target in ((PLSRegression(2), Y), (LinearDiscriminantAnalysis(), y)):
        first = type(model)(n_components=2)
        pipe = assembled(target, StandardScaler(), first, model)
        net = pg.to_torch(pipe)
        perturb(net)
        assert_same_answers(net, pg.from_torch(net), X, 1e-9)


def test_one_operator_that_predicts_and_transforms():
    shared = PLSRegression(2).fit(X, Y)
    union = make_union(StandardScaler(), StandardScaler()).fit(X, Y)
    union.transformer_list[0] = ("pls", shared)
    net = pg.to_torch(union)
    assert_close(net.transform(X), union.transform(X), 1e-9)
    perturb(net)
    assert_close(net.transform(X), pg.from_torch(net).transform(X), 1e-9)


def test_without_directions_there_is_no_transformer():
    pipe = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr"))
    net = pg.to_torch(pipe.fit(X, y))
    with pytest.raises(NotImplementedError):
        net.transform(X)


def test_training_improves_the_whole_pipeline():
    model = LinearDiscriminantAnalysis(n_components=1)
    pipe = make_pipeline(StandardScaler(), model, LogisticRegression()).fit(X, y)
    net = pg.to_torch(pipe)
    before = np.log(pipe.predict_proba(X)[np.arange(len(X)), net.encode_target(y)]).mean()
    net.fit(X, y, optim=torch.optim.LBFGS, validation=None, epochs=3)
    after = pg.from_torch(net).predict_proba(X)
    assert np.log(after[np.arange(len(X)), net.encode_target(y)]).mean() > before
