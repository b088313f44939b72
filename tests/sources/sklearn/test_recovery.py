"""Fitted numbers that are perturbed come back by training on the operator's own loss."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from helpers import fitted
from pipegrad.finetune.losses import get_loss
from pipegrad.testing import Case, cases, perturb

# The examples of each class with a loss of its own that differ in what is trained.
EXAMPLES = {
    "PLSRegression": (0, 2),
    "CCA": (0,),
    "Birch": (0,),
    "BisectingKMeans": (0, 2),
    "MeanShift": (0,),
    "BayesianGaussianMixture": (0, 1, 2),
    "DummyClassifier": (0, 3),
    "DummyRegressor": (0, 2),
    "EmpiricalCovariance": (0, 2),
    "IsotonicRegression": (0, 1),
    "GaussianMixture": (0, 1, 2, 3),
    "LinearDiscriminantAnalysis": (1, 3),
    "QuadraticDiscriminantAnalysis": (0, 2),
    "BernoulliNB": (0,),
    "CategoricalNB": (1,),
    "ComplementNB": (1, 3),
    "GaussianNB": (0, 2),
    "MultinomialNB": (0, 4),
    "MLPClassifier": (0, 4),
    "MLPRegressor": (0,),
}


def chosen() -> list[Case]:
    found = [case for case in cases("sklearn.*") if case.number in EXAMPLES.get(kind(case), ())]
    assert {kind(case) for case in found} == set(EXAMPLES)
    return found


def kind(case: Case) -> str:
    return case.name.rpartition(".")[2]


def mean_loss(net, X, y) -> float:
    objective = net.objective
    target = None if get_loss(objective.name).target == "none" else net.encode_target(y)
    with torch.no_grad():
        terms = get_loss(objective.name)(net(X), target, **objective.options)
    return float(terms.mean())


@pytest.mark.parametrize("case", chosen(), ids=str)
def test_the_loss_comes_back(case: Case) -> None:
    X, y = case.data()
    if case.name.startswith("sklearn.neural_network"):
        X = StandardScaler().fit_transform(X)
    operator = fitted(case.fitted(), X, y)
    net = pg.to_torch(operator)
    before = mean_loss(net, X, y)
    perturb(net, 0.5 if "neural" in case.name else 0.1)
    moved = mean_loss(net, X, y)
    net.fit(X, y, optim=torch.optim.LBFGS, validation=None, epochs=8)
    after = mean_loss(net, X, y)
    assert after <= before + 0.01 * abs(before)
    assert after < moved - 1e-6 * abs(moved)
    again = pg.to_torch(pg.from_torch(net))
    np.testing.assert_allclose(mean_loss(again, X, y), after, rtol=1e-6)
