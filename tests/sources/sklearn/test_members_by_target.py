"""Members for each target, alone and in chains, answer and train as scikit-learn's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import (
    HuberRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
)
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.class_weight import compute_sample_weight

import pipegrad as pg
from composite_checks import (
    CLASSIFIERS,
    as_table,
    check_composite,
    check_recovery,
    lower_loss,
    mean_loss,
    row_losses,
)
from helpers import assert_alike, assert_round_trip, fitted
from pipegrad.finetune.losses import Weighted
from pipegrad.testing import DATASETS, assert_close, perturb
from pipegrad.training.criterion import Criterion, class_weights, make_criterion

REGRESSORS: dict[str, Any] = {
    "ridge": Ridge(),
    "pipeline": make_pipeline(StandardScaler(), Ridge()),
    "support vectors": SVR(gamma=0.1),
    "quantile": QuantileRegressor(quantile=0.7, alpha=0.01),
    "huber": make_pipeline(StandardScaler(), HuberRegressor()),
    "tree": DecisionTreeRegressor(max_depth=3),
    "boosting": GradientBoostingRegressor(n_estimators=3, max_depth=2),
    "scaled target": TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
}
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def counts() -> tuple[Any, Any]:
    X, y = DATASETS["counts"]()
    return X / 10, np.column_stack([y, y[::-1], y + 1])


def strings() -> tuple[Any, Any]:
    X, y = DATASETS["several"]()
    return X, np.array(["no", "yes", "maybe", "three", "four", "five"])[y.astype(int)]


def fit(estimator: Any, data: Any) -> tuple[Any, Any, Any]:
    X, y = DATASETS[data]() if isinstance(data, str) else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fitted(estimator, X, y), X, y


# -- members without each other ------------------------------------------------------------------


@pytest.mark.parametrize("name", REGRESSORS)
def test_multioutput_regressor(name: str) -> None:
    model, X, y = fit(MultiOutputRegressor(REGRESSORS[name]), "multioutput")
    net = assert_round_trip(model, X)
    members = [pg.to_torch(member) for member in model.estimators_]
    own = [mean_loss(net, X, y[:, k]) for k, net in enumerate(members)]
    net = pg.to_torch(model)
    if name != "scaled target":  # its loss is that of the predictions, on the scale of y
        total = np.sum if net.objective.name == "member_losses" else np.mean
        assert mean_loss(net, X, y) == pytest.approx(total(own))


@pytest.mark.parametrize("estimator", [MultiOutputRegressor, RegressorChain])
def test_counts(estimator: Any) -> None:
    model, X, y = fit(estimator(PoissonRegressor()), counts())
    net = assert_round_trip(model, X)
    assert net.objective.name == "poisson"
    before, after = lower_loss(net, X, y)
    assert after < before
    with pytest.raises(pg.ArgumentError, match="non-negative"):
        net.fit(X, -1 - y)


def test_one_target() -> None:
    X, y = DATASETS["regression"]()
    model = MultiOutputRegressor(Ridge(alpha=50.0)).fit(X, y[:, None])
    net = assert_round_trip(model, X)
    before, after = lower_loss(net, X, y[:, None])
    assert after < before
    assert net.predict(X).shape == (len(X), 1)


@pytest.mark.parametrize("data", ["multioutput", "multilabel"])
def test_members_meet_the_contract(data: str) -> None:
    if data == "multioutput":
        check_composite(MultiOutputRegressor(Ridge()), data)
    else:
        check_composite(MultiOutputClassifier(LinearSVC(dual=False)), data)


@pytest.mark.parametrize("data", ["several", "multilabel", strings])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_multioutput_classifier(name: str, data: Any) -> None:
    model, X, y = fit(MultiOutputClassifier(CLASSIFIERS[name]), data() if callable(data) else data)
    assert_round_trip(model, X)
    net = pg.to_torch(model)
    members = [pg.to_torch(member) for member in model.estimators_]
    wanted = sum(row_losses(member, X, y[:, k]) for k, member in enumerate(members))
    assert_close(row_losses(net, X, y), wanted, 1e-9)
    assert [list(c) for c in net.classes_] == [list(c) for c in model.classes_]


def test_probabilities_are_a_list() -> None:
    model, X, _ = fit(MultiOutputClassifier(LogisticRegression()), "several")
    net = pg.to_torch(model)
    ours, theirs = net.predict_proba(X), model.predict_proba(X)
    assert isinstance(ours, list)
    assert [p.shape for p in ours] == [p.shape for p in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, 1e-9)
    assert not hasattr(net, "decision_function")


@pytest.mark.parametrize("estimator", [MultiOutputClassifier, ClassifierChain])
@pytest.mark.parametrize("weight", ["balanced", {1: 5.0}])
def test_class_weights_of_targets(estimator: Any, weight: Any) -> None:
    model, X, y = fit(estimator(LogisticRegression(class_weight=weight)), "multilabel")
    net = pg.to_torch(model)
    through, wanted = X, 0.0
    for k, member in enumerate(model.estimators_):
        own = row_losses(pg.to_torch(member), through, y[:, k])
        wanted = wanted + own * compute_sample_weight(weight, y[:, k])
        if estimator is ClassifierChain:
            through = np.column_stack([through, member.predict(through)])
    function, objective = make_criterion(None, net.objective, net.head)
    target = net.encode_target(y)
    _, table = class_weights(objective, target, np.arange(len(X)), None, net.head.task)
    assert_close(Criterion(function, table).rows(net(X), target).detach().numpy(), wanted, 1e-9)


def test_names_of_columns() -> None:
    X, y = DATASETS["multilabel"]()
    for estimator in (MultiOutputClassifier, ClassifierChain):
        model, table, _ = fit(estimator(LogisticRegression()), (as_table(X), y))
        net = assert_round_trip(model, table)
        with pytest.raises(ValueError, match="feature names"):
            net.predict(table[table.columns[::-1]])


@pytest.mark.parametrize("estimator", [MultiOutputClassifier, ClassifierChain])
def test_a_tuner_trains_them(estimator: Any) -> None:
    X, y = DATASETS["multilabel"]()
    pipe = make_pipeline(StandardScaler(), estimator(LogisticRegression(C=1e-3)))
    tuner = pg.FineTuner(pipe, random_state=0, optim=torch.optim.Adam, epochs=30).fit(X, y)
    assert tuner.improved_
    assert (tuner.predict(X) == y).mean() >= (pipe.fit(X, y).predict(X) == y).mean()


def test_weights_of_targets() -> None:
    model, X, y = fit(MultiOutputClassifier(LogisticRegression(C=0.01)), "multilabel")
    net = pg.to_torch(model)
    net.fit(X, y, loss=Weighted(None, [1.0, 0.0, 2.0]), validation=None, epochs=5, seed=0)
    trees = pg.to_torch(fit(MultiOutputClassifier(GaussianNB()), "multilabel")[0])
    with pytest.raises(pg.ArgumentError, match="scores of their own"):
        trees.fit(X, y, loss=Weighted(None, [1.0, 0.0, 2.0]), validation=None)


@pytest.mark.parametrize("estimator", [MultiOutputRegressor, RegressorChain])
def test_regressors_come_back(estimator: Any) -> None:
    check_recovery(estimator(make_pipeline(StandardScaler(), Ridge(alpha=1e-3))), "multioutput")


@pytest.mark.slow
def test_classifiers_come_back() -> None:
    check_recovery(MultiOutputClassifier(LogisticRegression()), "several")
    check_recovery(ClassifierChain(GaussianNB(), chain_method="predict_proba"), "multilabel")


# -- chains --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"order": [2, 0, 1]}, {"order": "random", "cv": 3}])
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor_chain(name: str, options: dict[str, Any]) -> None:
    if "cv" in options and name in ("boosting", "huber", "quantile"):
        pytest.skip("slow")
    model = RegressorChain(REGRESSORS[name], random_state=0, **options)
    assert_round_trip(*fit(model, "multioutput")[:2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_chain(name: str, method: str) -> None:
    member = CLASSIFIERS[name]
    if not hasattr(fit(member, "binary")[0], method) or (name, method[-9:]) == (
        "tree",
        "log_proba",
    ):
        pytest.skip("the member has no such method, or infinite values of it")
    model, X, _ = fit(ClassifierChain(member, chain_method=method, order=[1, 2, 0]), "multilabel")
    net = assert_round_trip(model, X)
    if hasattr(model, "predict_proba"):
        net = pg.to_torch(model)
        with np.errstate(divide="ignore"):
            assert_close(net.predict_log_proba(X), model.predict_log_proba(X), 1e-9)
        assert "predict_log_proba" in net.head.responses


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (ClassifierChain(LogisticRegression(), order=[2, 0, 1], cv=2), "multilabel"),
        (ClassifierChain(LogisticRegression(), chain_method="decision_function"), "multilabel"),
        (RegressorChain(Ridge(), order=(1, 2, 0)), "multioutput"),
    ],
    ids=["classes", "decisions", "numbers"],
)
def test_chains_meet_the_contract(estimator: Any, data: str) -> None:
    check_composite(estimator, data)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_rows(form: Any) -> None:
    X, y = DATASETS["sparse"]()
    Y = np.column_stack([y > 0, y > 0.5, y < 0.2]).astype(int)
    model = ClassifierChain(LogisticRegression(), chain_method="predict_proba").fit(X, Y)
    assert_alike(pg.to_torch(model), model, form(X))
    ridge = RegressorChain(Ridge()).fit(X, np.column_stack([y, -y]))
    assert_round_trip(ridge, form(X))


def test_labels_that_are_not_zero_and_one() -> None:
    X, y = DATASETS["several"]()
    Y = np.column_stack([y[:, 0], 2 * y[:, 1] - 1, y[:, 2]])
    model, _, _ = fit(ClassifierChain(DecisionTreeClassifier(max_depth=2), order=[2, 0, 1]), (X, Y))
    net = pg.to_torch(model)
    np.testing.assert_array_equal(net.predict(X), model.predict(X))
    assert net.predict(X).dtype == model.predict(X).dtype
    perturb(net, 0.5)
    np.testing.assert_array_equal(net.predict(X), pg.from_torch(net).predict(X))
    assert np.isfinite(mean_loss(net, X, Y))
    with pytest.raises(pg.ArgumentError, match="labels that the pipeline was not fitted on"):
        net.encode_target(Y[:, [1, 0, 2]])


def test_gradients_pass_through_soft_links_only() -> None:
    """With hard labels, the loss of the last target depends on the last member only."""
    X, y = DATASETS["multilabel"]()
    for method, soft in (("predict", False), ("predict_proba", True)):
        chain = ClassifierChain(LogisticRegression(C=0.1), chain_method=method)
        net = pg.to_torch(make_pipeline(StandardScaler(), chain).fit(X, y))
        net(X)[:, 2].sum().backward()
        first = net.step_module("classifierchain/estimators_/0").body.weight
        assert (first.grad is not None and bool(first.grad.abs().max() > 0)) == soft
        assert all(step.status != "host" for step in net.graph if "estimators_" in step.name)
    numbers = pg.to_torch(RegressorChain(Ridge()).fit(*DATASETS["multioutput"]()))
    numbers(X)[:, 2].sum().backward()
    assert all(p.grad.abs().max() > 0 for p in numbers.trainable_parameters().values())


def test_training_a_chain() -> None:
    for estimator, data in (
        (ClassifierChain(LogisticRegression(C=0.01), chain_method="predict_proba"), "multilabel"),
        (RegressorChain(Ridge(alpha=100.0)), "multioutput"),
    ):
        X, y = DATASETS[data]()
        net = pg.to_torch(make_pipeline(StandardScaler(), estimator).fit(X, y))
        before, after = lower_loss(net, X, y)
        assert after < before
        assert_alike(net, pg.from_torch(net), X)


def test_members_that_do_not_train() -> None:
    """Neighbors have no parameters; the scaler before them has."""
    X, y = DATASETS["multilabel"]()
    for pipe, target in (
        (make_pipeline(StandardScaler(), ClassifierChain(KNeighborsClassifier(5))), y),
        (make_pipeline(StandardScaler(), MultiOutputClassifier(KNeighborsClassifier(5))), y),
        (ClassifierChain(KNeighborsClassifier(5)), y),
        (RegressorChain(KNeighborsRegressor(5)), y + 0.5),
    ):
        model = pipe.fit(X, target)
        assert_alike(pg.to_torch(model), model, X)


def test_refused_chains() -> None:
    X, y = DATASETS["several"]()
    chain = ClassifierChain(LogisticRegression(), chain_method="predict_proba")
    # The target of three classes is the first or the last one; scikit-learn cannot predict it.
    for columns in ([0, 1, 2], [1, 2, 0]):
        model, _, _ = fit(chain, (X, y[:, columns]))
        with pytest.raises(ValueError, match="could not broadcast"):
            model.predict(X)
        with pytest.raises(pg.UntranslatableError, match="cannot predict targets of 3 classes"):
            pg.to_torch(model)
