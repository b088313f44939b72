"""Composites of members answer as scikit-learn's, train on their members' losses, and return."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.class_weight import compute_sample_weight

import pipegrad as pg
from composite_checks import (
    as_table,
    check_composite,
    check_recovery,
    lower_loss,
    mean_loss,
    row_losses,
)
from helpers import assert_alike, assert_round_trip, fitted
from pipegrad.finetune.losses import get_loss
from pipegrad.losses import Part
from pipegrad.testing import DATASETS, assert_close, identical, perturb
from pipegrad.training.criterion import Criterion, class_weights, make_criterion, metric_of

CLASSIFIERS: dict[str, Any] = {
    "logistic": LogisticRegression(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")),
    "support vectors": SVC(gamma=0.1),
    "hinge": LinearSVC(dual=False, C=0.01),
    "least squares": RidgeClassifier(),
    "discriminant": LinearDiscriminantAnalysis(),
    "naive Bayes": GaussianNB(),
    "tree": DecisionTreeClassifier(max_depth=3),
    "forest": RandomForestClassifier(3, max_depth=3, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=3, max_depth=2),
    "bins": HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5),
    "perceptron": MLPClassifier((3,), max_iter=20, random_state=0),
    "huber": SGDClassifier(loss="modified_huber", random_state=0),
    "regression": Ridge(),
    "regression tree": DecisionTreeRegressor(max_depth=2),
    "vote": VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
}
# Norms of entries that are stored twice and their sums differ where distances are computed.
TWICE = {"csr with entries stored twice": "distances to the sum of both use the norms of each"}


def fit(estimator: Any, data: Any) -> tuple[Any, Any, Any]:
    X, y = DATASETS[data]() if isinstance(data, str) else data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fitted(estimator, X, y), X, y


def constant_label() -> tuple[Any, Any]:
    """Labels of which one always holds, one never, and one sometimes."""
    X, y = DATASETS["multilabel"]()
    return X, np.column_stack([np.ones(len(y), int), y[:, 0], np.zeros(len(y), int)])


# -- one against the rest ------------------------------------------------------------------------


# Before scikit-learn 1.7, rows that no member claims have no probabilities.
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
@pytest.mark.parametrize("data", ["multiclass", "binary_strings", "multilabel"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_one_vs_rest(name: str, data: str) -> None:
    model, X, _ = fit(OneVsRestClassifier(CLASSIFIERS[name]), data)
    net = assert_round_trip(model, X)
    assert set(net.head.responses) == {
        m for m in ("predict", "predict_proba", "decision_function") if hasattr(model, m)
    }


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("logistic", "multiclass"),
        ("logistic", "binary_strings"),
        ("logistic", "multilabel"),
        ("hinge", "sparse_multiclass"),
        ("naive Bayes", "multiclass"),
        ("boosting", "multilabel"),
    ],
)
def test_one_vs_rest_meets_the_contract(name: str, data: str) -> None:
    check_composite(OneVsRestClassifier(CLASSIFIERS[name]), data)


@pytest.mark.parametrize("kernel", ["rbf", "precomputed"])
def test_one_vs_rest_of_kernels(kernel: str) -> None:
    data = "similarities_multiclass" if kernel == "precomputed" else "multiclass"
    refused = {} if kernel == "precomputed" else TWICE
    check_composite(OneVsRestClassifier(SVC(kernel=kernel)), data, refused)


@pytest.mark.filterwarnings("ignore:Label")
@pytest.mark.parametrize("name", ["logistic", "tree"])
def test_labels_that_never_change(name: str) -> None:
    model, X, _ = fit(OneVsRestClassifier(CLASSIFIERS[name]), constant_label())
    net = pg.to_torch(model)
    # The source offers the decision function of its first member, and fails in the second.
    methods = ("predict", "predict_proba") + ("decision_function",) * (name == "logistic")
    for method in methods:
        assert_close(getattr(net, method)(X), getattr(model, method)(X), 1e-9, method)
    assert identical(pg.from_torch(net), model)
    assert not {0, 2} & {int(step.name[-1]) for step in net.graph if step.status == "trainable"}
    before, after = lower_loss(net, *constant_label())
    assert after < before or name == "tree"


@pytest.mark.filterwarnings("ignore:Label")
def test_only_one_class() -> None:
    X, _ = DATASETS["multiclass"]()
    model, X, _ = fit(OneVsRestClassifier(LogisticRegression()), (X, np.full(len(X), "ant")))
    assert_round_trip(model, X)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix])
def test_sparse_labels_are_predicted_as_such(form: Any) -> None:
    X, y = DATASETS["multilabel"]()
    model, X, _ = fit(OneVsRestClassifier(LogisticRegression()), (X, form(y)))
    net = pg.to_torch(model)
    perturb(net)
    changed = pg.from_torch(net)
    assert sparse.issparse(net.predict(X))
    assert_close(net.predict(X), changed.predict(X), 0.0)
    assert_close(net.predict_proba(X), changed.predict_proba(X), 1e-9)


def test_sparse_labels_train() -> None:
    X, y = DATASETS["multilabel"]()
    net = pg.to_torch(OneVsRestClassifier(LogisticRegression(C=0.001)).fit(X, sparse.csr_matrix(y)))
    dense = pg.to_torch(OneVsRestClassifier(LogisticRegression(C=0.001)).fit(X, y))
    for one, labels in ((net, sparse.csr_matrix(y)), (dense, y)):
        one.fit(X, labels, epochs=5, validation=None, seed=0)
    assert_close(net.predict_proba(X), dense.predict_proba(X), 0.0)


def test_names_of_columns() -> None:
    X, y = DATASETS["multiclass"]()
    model, table, _ = fit(OneVsRestClassifier(LogisticRegression()), (as_table(X), y))
    net = assert_round_trip(model, table)
    assert list(net.feature_names_in_) == list(table.columns)
    with pytest.raises(ValueError, match="feature names"):
        net.predict(table[table.columns[::-1]])


@pytest.mark.parametrize("name", ["logistic", "hinge", "least squares", "huber", "perceptron"])
@pytest.mark.parametrize("data", ["multiclass", "binary_strings", "multilabel"])
def test_the_loss_is_that_of_the_members(name: str, data: str) -> None:
    model, X, y = fit(OneVsRestClassifier(CLASSIFIERS[name]), data)
    net = pg.to_torch(model)
    assert mean_loss(net, X, y) == pytest.approx(sum_of_losses(model, X, y))


@pytest.mark.parametrize("name", ["tree", "naive Bayes", "regression", "vote"])
@pytest.mark.parametrize("data", ["multiclass", "binary_strings", "multilabel"])
def test_the_loss_of_members_with_other_scores(name: str, data: str) -> None:
    model, X, y = fit(OneVsRestClassifier(CLASSIFIERS[name]), data)
    net = pg.to_torch(model)
    assert net.objective.name == "member_losses"
    assert mean_loss(net, X, y) == pytest.approx(sum_of_losses(model, X, y))


def sum_of_losses(model: Any, X: Any, y: Any) -> float:
    """The sum of the losses of the members, each as a network of its own."""
    Y = model.label_binarizer_.transform(y)
    Y = Y.toarray() if sparse.issparse(Y) else Y
    members = [pg.to_torch(member) for member in model.estimators_]
    return sum(mean_loss(net, X, Y[:, k]) for k, net in enumerate(members))


@pytest.mark.parametrize("weight", ["balanced", {1: 5.0}])
@pytest.mark.parametrize("data", ["multiclass", "binary_strings", "multilabel"])
def test_class_weights_are_those_of_the_members(weight: Any, data: str) -> None:
    """Each member weighs its own two classes."""
    model, X, y = fit(OneVsRestClassifier(LogisticRegression(class_weight=weight)), data)
    Y = model.label_binarizer_.transform(y)
    Y = Y.toarray() if sparse.issparse(Y) else Y
    wanted = sum(
        compute_sample_weight(weight, Y[:, k]) * row_losses(pg.to_torch(member), X, Y[:, k])
        for k, member in enumerate(model.estimators_)
    )
    assert_close(weighted_losses(pg.to_torch(model), X, y), wanted, 1e-9)


def weighted_losses(net: pg.PipelineModule, X: Any, y: Any) -> Any:
    """What training minimizes the mean of."""
    function, objective = make_criterion(None, net.objective, net.head)
    target = net.encode_target(y)
    weight, table = class_weights(objective, target, np.arange(len(X)), None, net.head.task)
    assert weight is None
    return Criterion(function, table).rows(net(X), target).detach().numpy()


def test_training_the_members_of_a_pipeline_of_steps_before() -> None:
    X, y = DATASETS["multiclass"]()
    pipe = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.01)))
    net = pg.to_torch(pipe.fit(X, y))
    before, after = lower_loss(net, X, y)
    assert after < before
    net(X).square().sum().backward()
    for name, parameter in net.trainable_parameters().items():
        assert parameter.grad.abs().max() > 0, name
    assert_alike(net, pg.from_torch(net), X)


def test_members_of_other_kinds_than_modules_stay_as_they_are() -> None:
    """Neighbors do not train, but the steps before them do."""
    X, y = DATASETS["multiclass"]()
    pipe = make_pipeline(StandardScaler(), OneVsRestClassifier(KNeighborsClassifier(5)))
    net = pg.to_torch(pipe.fit(X, y))
    assert_alike(net, pipe, X)
    names = {step.name: step.status for step in net.graph}
    assert names["onevsrestclassifier/estimators_/0"] == "translated"
    assert names["standardscaler"] == "trainable"
    alone = OneVsRestClassifier(KNeighborsClassifier(5)).fit(X, y)
    assert_alike(pg.to_torch(alone), alone, X)


def test_frozen_members() -> None:
    X, y = DATASETS["multiclass"]()
    model = OneVsRestClassifier(make_pipeline(StandardScaler(), LogisticRegression())).fit(X, y)
    net = assert_round_trip(model, X, freeze=["estimators_/1"])
    assert net.graph["estimators_/1/standardscaler"].status == "host"
    assert net.graph["estimators_/1/logisticregression"].status == "translated"


def test_members_that_read_text() -> None:
    X, y = DATASETS["categories"]()
    member = make_pipeline(OneHotEncoder(), SelectKBest(k=3), LogisticRegression())
    assert_round_trip(OneVsRestClassifier(member).fit(X, y), X)


def test_soft_splits_pass_gradients_to_steps_before() -> None:
    X, y = DATASETS["multiclass"]()
    model = OneVsRestClassifier(DecisionTreeClassifier(max_depth=2))
    net = pg.to_torch(make_pipeline(StandardScaler(), model).fit(X, y), trees="soft")
    before = pg.from_torch(net)
    net.train()
    net(X).square().sum().backward()
    assert net.step_module("standardscaler").shift.grad.abs().max() > 0
    assert_alike(net, before, X)


def test_random_numbers_and_every_step_as_a_module() -> None:
    X, y = DATASETS["multiclass"]()
    model = OneVsRestClassifier(LogisticRegression(C=0.01)).fit(X, y)
    again = pg.to_torch(model, init="random")
    assert not np.allclose(again.predict_proba(X), model.predict_proba(X))
    assert_alike(pg.to_torch(model, translate="all"), model, X)
    some = pg.to_torch(model, train=["estimators_/1"])
    assert {name.split(".")[1] for name in some.trainable_parameters()} == {"estimators_/1"}


@pytest.mark.parametrize("method", ["auto", "predict_proba", "decision_function", "predict"])
def test_one_vs_rest_within_a_stack(method: str) -> None:
    X, y = DATASETS["multiclass"]()
    y = np.unique(y, return_inverse=True)[1]
    inner = OneVsRestClassifier(LogisticRegression(C=0.01))
    stack = StackingClassifier([("inner", inner)], LogisticRegression(), stack_method=method, cv=2)
    net = assert_round_trip(stack.fit(X, y), X)
    hard = net.graph["inner/estimators_/0"].status == "host"
    assert hard == (method == "predict")


def test_one_vs_rest_within_a_vote_and_a_bag() -> None:
    X, y = DATASETS["multiclass"]()
    inner = OneVsRestClassifier(LogisticRegression())
    vote = VotingClassifier([("a", inner), ("b", GaussianNB())], voting="hard").fit(X, y)
    assert_round_trip(vote, X)
    assert_round_trip(BaggingClassifier(inner, 3, random_state=0).fit(X, y), X)


def test_a_tuner_trains_them() -> None:
    X, y = DATASETS["multiclass"]()
    pipe = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=1e-3)))
    tuner = pg.FineTuner(pipe, random_state=0, optim=torch.optim.Adam, epochs=30).fit(X, y)
    assert type(tuner.estimator_) is type(pipe)
    assert tuner.score(X, y) >= pipe.fit(X, y).score(X, y)


def test_a_loss_of_classes_needs_scores_of_classes() -> None:
    X, y = DATASETS["multiclass"]()
    net = pg.to_torch(OneVsRestClassifier(DecisionTreeClassifier(max_depth=2)).fit(X, y))
    with pytest.raises(pg.ArgumentError, match="scores of several members"):
        net.fit(X, y, loss="log_loss")


def test_refused_members() -> None:
    bag = BaggingClassifier(LogisticRegression(), 2)  # Its votes are no function of its confidence.
    for composite in (OneVsRestClassifier(NearestCentroid()), OneVsOneClassifier(bag)):
        model, _, _ = fit(composite, "multiclass")
        name = type(composite.estimator).__name__
        with pytest.raises(pg.UntranslatableError, match=f"its member {name} has no module for"):
            pg.to_torch(model)


# -- their losses --------------------------------------------------------------------------------


def test_targets_of_members_by_code() -> None:
    score = torch.tensor([[0.5, -1.0], [2.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    target = torch.tensor([0, 1, 2])
    parts = (Part("squared_error"), Part("hinge"))
    codes = ((0, 1), (1, -1), (-1, 0))
    terms = get_loss("member_losses").terms(score, target, parts, codes)
    assert_close(terms.numpy(), np.array([[0.125, 2.0], [0.5, 0.0], [0.0, 2.0]]), 1e-12)


@pytest.mark.parametrize("data", ["multiclass", "binary_strings", "multilabel"])
def test_the_history_names_the_loss(data: str) -> None:
    model, _, _ = fit(OneVsRestClassifier(GaussianNB()), data)
    net = pg.to_torch(model)
    metric = metric_of(*make_criterion(None, net.objective, net.head))
    assert metric.name == "sum of log loss over members"


@pytest.mark.parametrize("data", ["multiclass", "binary_strings", "multilabel"])
@pytest.mark.parametrize("name", ["logistic", "hinge", "naive Bayes"])
def test_the_loss_comes_back(name: str, data: str) -> None:
    check_recovery(OneVsRestClassifier(CLASSIFIERS[name]), data)


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_classes_of_the_same_confidence() -> None:
    """Each leaf of a tree claims a class with certainty or not at all, several or none."""
    X, y = DATASETS["multiclass"]()
    noise = np.where(np.arange(len(y)) % 4 == 0, np.roll(y, 1), y)
    model = OneVsRestClassifier(DecisionTreeClassifier(max_depth=12)).fit(X[:40], noise[:40])
    claims = np.column_stack([member.predict_proba(X)[:, 1] for member in model.estimators_])
    assert {0, 1, 2} <= set(claims.sum(1).tolist())
    assert_alike(pg.to_torch(model), model, X)
