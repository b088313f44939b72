"""Networks of skorch as steps."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch import nn

import pipegrad as pg
from helpers import contract_of
from pipegrad.testing import CHECKS, Case


@contract_of("skorch.*")
def test_contract(case: Case, check: str) -> None:
    CHECKS[check](case)


class Wide(nn.Module):
    """Float32, with batch normalization and dropout."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2))
        self.last = nn.Linear(8, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.layers(self.norm(x)))


def rows(n: int = 200) -> Any:
    return np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)


def net(kind: Any, outputs: int, **params: Any) -> Any:
    torch.manual_seed(0)
    options = {"module": Wide, "module__outputs": outputs, "max_epochs": 3, "verbose": 0}
    return kind(**{**options, "lr": 0.05, **params})


def classifier(**params: Any) -> tuple[Any, Any, Any]:
    X = rows()
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 1)
    made = net(NeuralNetClassifier, 3, criterion=nn.CrossEntropyLoss, **params)
    return make_pipeline(StandardScaler(), made).fit(X, y), X, y


def regressor(**params: Any) -> tuple[Any, Any, Any]:
    X = rows()
    y = (X[:, :1] ** 2 + X[:, 1:2]).astype(np.float32)
    return make_pipeline(StandardScaler(), net(NeuralNetRegressor, 1, **params)).fit(X, y), X, y


def assert_same(module: Any, source: Any, X: Any) -> None:
    for method in ("predict", "predict_proba"):
        ours, theirs = getattr(module, method)(X), getattr(source, method)(X)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("made", [classifier, regressor])
def test_training_all_steps_and_writing_back(made):
    pipe, X, y = made()
    before = copy.deepcopy(pipe[-1].module_.state_dict())
    history = list(pipe[-1].history)
    module = pg.to_torch(pipe)
    assert_same(module, pipe, X)
    assert {p.dtype for p in module.step_module(module.graph.output).parameters()} == {
        torch.float32
    }
    assert module.objective is not None
    module.fit(X, y, epochs=10, lr=0.01, validation=None, seed=0)
    assert module.history[-1]["train_loss"] < module.history[0]["train_loss"]
    back = pg.from_torch(module)
    assert_same(module, back, X)
    now, then = back[-1].module_.state_dict(), pipe[-1].module_.state_dict()
    assert all(torch.equal(then[name], before[name]) for name in before)
    assert not torch.equal(now["last.weight"], then["last.weight"])
    # The statistics of batch normalization stay as fitted.
    assert torch.equal(now["norm.running_mean"], then["norm.running_mean"])
    assert not torch.equal(now["norm.weight"], then["norm.weight"])
    assert list(back[-1].history) == history
    assert not back[-1].optimizer_.state
    back[-1].partial_fit(pipe[0].transform(X), y)


def test_gradients_reach_the_steps_before():
    pipe, X, y = classifier()
    module = pg.to_torch(pipe, train=["standardscaler"])
    module.fit(X, y, epochs=3, lr=0.01, validation=None)
    assert not np.allclose(module.step_module("standardscaler").shift.detach(), pipe[0].mean_)
    back = pg.from_torch(module)
    weights = pipe[-1].module_.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in back[-1].module_.state_dict().items())


def test_weights_that_the_user_froze_stay():
    pipe, X, y = classifier()
    pipe[-1].module_.last.requires_grad_(False)
    module = pg.to_torch(pipe)
    module.fit(X, y, epochs=3, lr=0.01, validation=None)
    back = pg.from_torch(module)[-1].module_
    assert torch.equal(back.last.weight, pipe[-1].module_.last.weight)
    assert not torch.equal(back.norm.weight, pipe[-1].module_.norm.weight)


def test_dropout_is_active_in_training_only():
    pipe, X, _ = classifier()
    module = pg.to_torch(pipe).eval()
    assert torch.equal(module(X), module(X))
    module.train()
    assert not torch.equal(module(X), module(X))
    np.testing.assert_allclose(module.predict_proba(X), pipe.predict_proba(X), rtol=1e-4, atol=1e-5)


# liblinear computes in double precision, also from rows in the single one of the network.
@pytest.mark.parametrize("solver", ["lbfgs", "liblinear"])
def test_a_net_in_a_stack(solver):
    X = rows()
    y = (X[:, 0] > 0).astype(np.int64)
    members = [
        ("net", net(NeuralNetClassifier, 2, criterion=nn.CrossEntropyLoss)),
        ("linear", LogisticRegression(solver=solver)),
    ]
    stack = StackingClassifier(members, LogisticRegression(), cv=2).fit(X, y)
    module = pg.to_torch(stack)
    np.testing.assert_allclose(module.predict_proba(X), stack.predict_proba(X), rtol=1e-4)
    module.fit(X, y, epochs=2, lr=0.01, validation=None)
    back = pg.from_torch(module)
    np.testing.assert_allclose(module.predict_proba(X), back.predict_proba(X), rtol=1e-4)


def test_fine_tuning():
    pipe, X, y = regressor()
    tuner = pg.FineTuner(clone(pipe), epochs=5, lr=0.01, random_state=0).fit(X, y)
    assert tuner.improved_
    assert isinstance(tuner.estimator_[-1], NeuralNetRegressor)


@pytest.mark.parametrize(
    ("params", "objective"),
    [
        ({}, "squared_error"),
        ({"criterion": nn.L1Loss}, "absolute_error"),
        ({"criterion": nn.HuberLoss, "criterion__delta": 0.5}, "huber"),
        ({"criterion": nn.SmoothL1Loss, "criterion__beta": 0.5}, "huber"),
        ({"criterion": nn.SmoothL1Loss, "criterion__beta": 0.0}, "absolute_error"),
    ],
)
def test_the_objective_is_the_criterion(params, objective):
    pipe, X, y = regressor(**params)
    module = pg.to_torch(pipe)
    assert module.objective.name == objective
    criterion = pipe[-1].criterion_
    module.fit(X, y, epochs=1, lr=1e-4, validation=None)
    own = criterion(torch.as_tensor(pipe.predict(X)), torch.as_tensor(y)).item()
    unit = 0.5 if params.get("criterion__beta") else 1.0
    assert module.history[0]["train_loss"] == pytest.approx(own * unit, rel=1e-4)


def test_weights_of_classes():
    weight = torch.tensor([1.0, 2.0, 5.0])
    pipe, X, y = classifier(criterion__weight=weight)
    module = pg.to_torch(pipe)
    module.fit(X, y, epochs=1, lr=1e-4, validation=None)
    own = pipe[-1].criterion_(torch.log(torch.as_tensor(pipe.predict_proba(X))), torch.as_tensor(y))
    assert module.history[0]["train_loss"] == pytest.approx(own.item(), rel=1e-4)


def test_a_weight_of_the_positive_class():
    X = rows()
    y = (X[:, 0] > 0.5).astype(np.float32)
    made = net(NeuralNetBinaryClassifier, 1, criterion__pos_weight=torch.tensor(3.0))
    pipe = make_pipeline(StandardScaler(), made).fit(X, y)
    module = pg.to_torch(pipe)
    module.fit(X, y, epochs=1, lr=1e-4, validation=None)
    score = torch.logit(torch.as_tensor(pipe.predict_proba(X)[:, 1]))
    own = pipe[-1].criterion_(score, torch.as_tensor(y)).item()
    assert module.history[0]["train_loss"] == pytest.approx(own, rel=1e-4)


def test_a_criterion_without_an_objective_asks_for_a_loss():
    pipe, X, y = classifier(criterion__label_smoothing=0.1)
    module = pg.to_torch(pipe)
    assert_same(module, pipe, X)
    with pytest.raises(pg.ArgumentError, match="loss="):
        module.fit(X, y, epochs=1, validation=None)
    module.fit(X, y, epochs=2, lr=0.01, loss="log_loss", validation=None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"predict_nonlinearity": None}, "predict_nonlinearity is not 'auto'"),
        ({"compile": True}, "compile=True has no copy"),
        ({"classes": [0, 1, 5]}, "its classes are not numbered from zero"),
        ({"criterion_": nn.MultiMarginLoss()}, "MultiMarginLoss has no probabilities"),
    ],
)
def test_what_is_refused(change, reason):
    pipe, _, _ = classifier()
    vars(pipe[-1]).update(change)
    with pytest.raises(pg.UntranslatableError, match=reason):
        pg.to_torch(pipe)


def test_random_weights():
    pipe, X, _ = classifier()
    module = pg.to_torch(pipe, init="random")
    assert not np.allclose(module.predict_proba(X), pipe.predict_proba(X), atol=1e-3)


def test_copies_and_other_precisions():
    pipe, X, _ = classifier()
    module = pg.to_torch(pipe)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module.double()):
        assert_same(other, pipe, X)
    kept = module.to(torch.float16).step_module(module.graph.output)
    assert {p.dtype for p in kept.parameters()} == {torch.float32}
