"""Rows that train get the features that the source cross-fits, and rows that validate do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import pipegrad as pg
from pipegrad.host import Encoded
from pipegrad.training import cross_fitting
from pipegrad.training.cross_fitting import cross_fitted
from pipegrad.training.data import encode_samples
from pipegrad.training.samples import Samples

pytestmark = pytest.mark.filterwarnings(
    "ignore:The validation rows:pipegrad.PipegradWarning",
    "ignore:Training did not lower:pipegrad.PipegradWarning",
    "ignore:Fine-tuning kept the fitted pipeline:pipegrad.PipegradWarning",
)


def rows(count: int = 240, classes: int = 0, seed: int = 0) -> tuple[Any, Any]:
    """Four columns of which one matters; a target, or noisy classes."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(count, 4))
    score = X[:, 0] + generator.logistic(size=count)
    if not classes:
        return X, score
    edges = np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1])
    return X, np.array(["low", "middle", "high"])[np.searchsorted(edges, score)]


def honest(net: pg.PipelineModule, X: Any, y: Any, weight: Any = None) -> Encoded:
    """The rows as they train."""
    data = encode_samples(net, Samples(X, y, weight))
    return cross_fitted(net, data, X, y, weight, 0).blocks[0]


def offsets(encoded: Encoded) -> set[str]:
    return {name for name in encoded.blocks if name.startswith("+")}


def layer(stack: Any, X: Any, y: Any, cv: Any = None, weight: Any = None) -> np.ndarray:
    """What the final estimator was fitted to."""
    params = None if weight is None else {"sample_weight": weight}
    columns = []
    for (_, member), method in zip(stack.estimators, stack.stack_method_, strict=True):
        told = cross_val_predict(member, X, y, cv=cv, method=method, params=params)
        told = told.reshape(len(told), -1)
        two = method == "predict_proba" and told.shape[1] == 2
        columns.append(told[:, 1:] if two else told)
    if stack.passthrough:
        columns.append(X.toarray() if sparse.issparse(X) else np.asarray(X))
    return np.hstack(columns)


def classifiers(k: int = 1) -> list[tuple[str, Any]]:
    return [("near", KNeighborsClassifier(k)), ("line", LogisticRegression())]


def regressors() -> list[tuple[str, Any]]:
    tree = DecisionTreeRegressor(random_state=0)
    return [("near", KNeighborsRegressor(1)), ("tree", tree), ("line", Ridge())]


SHUFFLED = StratifiedKFold(4, shuffle=True, random_state=3)
STACKS = {
    "two classes": (2, StackingClassifier(classifiers())),
    "three classes": (3, StackingClassifier(classifiers(), cv=3)),
    "passthrough": (2, StackingClassifier(classifiers(), passthrough=True)),
    "splitter": (2, StackingClassifier(classifiers(), cv=SHUFFLED)),
    "decisions": (
        3,
        StackingClassifier(
            [("line", LogisticRegression()), ("tree", DecisionTreeClassifier(random_state=0))]
        ),
    ),
    "labels": (2, StackingClassifier(classifiers(), stack_method="predict")),
    "regression": (0, StackingRegressor(regressors())),
    "rest": (0, StackingRegressor(regressors(), Ridge(), passthrough=True, cv=KFold(3))),
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("table", [False, True])
def test_rows_that_train_start_from_out_of_fold_predictions(name, table):
    classes, stack = STACKS[name]
    X, y = rows(classes=classes)
    X = pd.DataFrame(X, columns=list("abcd")) if table else X
    stack = clone(stack).fit(X, y)
    net = pg.to_torch(stack)
    codes = stack._label_encoder.transform(y) if classes else y
    final = stack.final_estimator_
    answer = final.decision_function if classes else final.predict
    columns = layer(stack, X, codes, SHUFFLED if name == "splitter" else stack.cv)
    with torch.no_grad():
        got = net(honest(net, X, y)).numpy()
        leaky = net(X).numpy()
    assert np.allclose(got, answer(columns), rtol=1e-9, atol=1e-9)
    assert not np.allclose(got, leaky, atol=1e-3)


def test_weights_reach_the_copies():
    X, y = rows(classes=2)
    weight = np.random.default_rng(1).uniform(0.1, 5, len(y))
    members = [("line", LogisticRegression()), ("tree", DecisionTreeClassifier(max_depth=3))]
    stack = StackingClassifier(members).fit(X, y, sample_weight=weight)
    net = pg.to_torch(stack)
    columns = layer(stack, X, stack._label_encoder.transform(y), weight=weight)
    got = net(honest(net, X, y, weight)).detach().numpy()
    assert np.allclose(got, stack.final_estimator_.decision_function(columns), atol=1e-9)


def test_sparse_columns_that_pass_through():
    X, y = rows()
    X = sparse.csr_matrix(np.where(X > 0.3, X, 0))
    stack = StackingRegressor([("line", Ridge())], Ridge(), passthrough=True).fit(X, y)
    net = pg.to_torch(stack)
    got = net(honest(net, X, y)).detach().numpy()
    assert np.allclose(got, stack.final_estimator_.predict(layer(stack, X, y)), atol=1e-9)


def test_a_layer_on_the_host_enters_as_copies_see_it():
    X, y = rows(classes=2)
    pipe = make_pipeline(StandardScaler(), StackingClassifier(classifiers())).fit(X, y)
    net = pg.to_torch(pipe, train=["final_estimator"])
    encoded, stack = honest(net, X, y), pipe[-1]
    columns = layer(stack, pipe[0].transform(X), stack._label_encoder.transform(y))
    (block,) = encoded.blocks.values()
    assert np.allclose(block, columns, atol=1e-12)


def categories(count: int = 300, levels: int = 150, seed: int = 0) -> tuple[Any, Any]:
    """A column that matters, and one of many categories that does not."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    noise = generator.integers(levels, size=count).astype(str)
    y = (x + generator.logistic(size=count) > 0).astype(int)
    return pd.DataFrame({"x": x, "noise": noise}), y


def encoding(last: Any, **options: Any) -> Any:
    encoder = TargetEncoder(smooth=1e-3, **options)
    columns = ColumnTransformer([("codes", encoder, ["noise"]), ("rest", StandardScaler(), ["x"])])
    return make_pipeline(columns, last)


# Splits that are not drawn; older versions take no splitter.
FIXED = {"shuffle": False}


@pytest.mark.filterwarnings("ignore:`TargetEncoder.shuffle:FutureWarning")
@pytest.mark.parametrize("freeze", [[], ["columntransformer"]])
def test_rows_that_train_start_from_cross_fitted_encodings(freeze):
    X, y = categories()
    pipe = encoding(LogisticRegression(), **FIXED).fit(X, y)
    net = pg.to_torch(pipe, freeze=freeze)
    columns, last = clone(pipe[0]), pipe[-1]
    wanted = last.decision_function(columns.fit_transform(X, y))
    encoded = honest(net, X, y)
    assert np.allclose(net(encoded).detach(), wanted, rtol=1e-9, atol=1e-9)
    assert len(offsets(encoded)) == (0 if freeze else 1)


@pytest.mark.filterwarnings("ignore:`TargetEncoder.shuffle:FutureWarning")
def test_what_is_cross_fitted_feeds_what_is_cross_fitted():
    X, y = categories()
    stack = StackingClassifier([("tree", DecisionTreeClassifier()), ("line", LogisticRegression())])
    stack.set_params(tree__random_state=0)
    pipe = encoding(stack, **FIXED).fit(X, y)
    net = pg.to_torch(pipe)
    inner = clone(pipe[0]).fit_transform(X, y)
    wanted = pipe[-1].final_estimator_.decision_function(layer(pipe[-1], inner, y))
    assert np.allclose(net(honest(net, X, y)).detach(), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`TargetEncoder.shuffle:FutureWarning")
def test_encoders_in_members_are_corrected_for_the_target_that_they_see():
    X, y = categories()
    member = encoding(Ridge(), **FIXED)
    inner = StackingRegressor([("codes", member), ("flat", encoding(LinearRegression()))], Ridge())
    pipe = TransformedTargetRegressor(inner, func=np.log1p, inverse_func=np.expm1).fit(X, y + 1.0)
    net = pg.to_torch(pipe)
    net.encode_target(y + 1.0)
    encoded = honest(net, X, y + 1.0)
    told = cross_val_predict(member, X, np.log1p(y + 1.0))
    member_only = net.evaluate_steps(encoded.blocks, net.host_part.needed)["regressor/codes/ridge"]
    assert np.allclose(member_only.detach(), told, rtol=1e-9, atol=1e-9)
    assert len(offsets(encoded)) == 4


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_stacks_in_stacks_and_in_votes(voting):
    X, y = rows(classes=2)
    inner = StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))])
    vote = VotingClassifier([("stack", inner), ("line", LogisticRegression())], voting=voting)
    stack = StackingClassifier([("vote", vote)], cv=3).fit(X, y)
    net = pg.to_torch(stack)
    columns = layer(stack, X, stack._label_encoder.transform(y), 3)
    encoded = honest(net, X, y)
    wanted = stack.final_estimator_.decision_function(columns)
    assert np.allclose(net(encoded).detach(), wanted, rtol=1e-9, atol=1e-9)
    # Nothing trains before hard votes: they enter as copies cast them.
    assert ("+vote/stack/tree" in offsets(encoded)) == (voting == "soft")


def test_a_stack_that_hands_on_its_columns_is_corrected_too():
    X, y = rows()
    pipe = make_pipeline(StackingRegressor(regressors()), Ridge()).fit(X, y)
    net = pg.to_torch(pipe)
    wanted = pipe[-1].predict(layer(pipe[0], X, y))
    assert np.allclose(net(honest(net, X, y)).detach(), wanted, rtol=1e-9, atol=1e-9)


def test_stacks_in_a_vote_know_classes_as_the_vote_does():
    X, y = rows(classes=2)
    inner = StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))])
    vote = VotingClassifier([("stack", inner)], voting="soft").fit(X, y)
    net = pg.to_torch(vote)
    codes = vote.le_.transform(y)
    stack = vote.estimators_[0]
    wanted = stack.final_estimator_.predict_proba(layer(stack, X, codes))
    assert np.allclose(net(honest(net, X, y)).detach(), wanted, rtol=1e-9, atol=1e-9)


def test_what_was_not_fitted_on_the_rows_is_left_alone():
    X, y = rows(classes=2)
    trees = [("tree", DecisionTreeClassifier(random_state=0).fit(X, y))]
    ready = StackingClassifier(trees, cv="prefit").fit(X, y)
    bagged = StackingClassifier(trees, LogisticRegression())
    bags = BaggingClassifier(bagged, n_estimators=2, random_state=0).fit(X, y)
    lines = StackingClassifier([("line", LogisticRegression())]).fit(X, y)
    for net in (pg.to_torch(ready), pg.to_torch(bags), pg.to_torch(lines, init="random")):
        assert not offsets(honest(net, X, y))


def test_members_that_are_frozen_say_the_same_when_they_are_copied():
    module = pytest.importorskip("sklearn.frozen")
    X, y = rows(classes=2)
    tree = module.FrozenEstimator(DecisionTreeClassifier(random_state=0).fit(X, y))
    net = pg.to_torch(StackingClassifier([("tree", tree)], cv=2).fit(X, y))
    assert torch.equal(net(honest(net, X, y)), net(X))


# -- no harm ------------------------------------------------------------------------------------


def loss_on_fresh(pipe: Any, make: Any, **options: Any) -> float:
    X, y = make(4000, seed=99, **options)
    return float(log_loss(y, pipe.predict_proba(X)))


def tuned(pipe: Any, X: Any, y: Any, cross_fit: bool, **options: Any) -> Any:
    net = pg.to_torch(pipe, **options)
    lbfgs = torch.optim.LBFGS
    return pg.from_torch(
        net.fit(X, y, optim=lbfgs, epochs=10, validation=None, cross_fit=cross_fit)
    )


def test_a_neighbour_that_knows_the_answer_is_not_trusted():
    X, y = rows(classes=2)
    pipe = StackingClassifier(classifiers()).fit(X, y)
    before = loss_on_fresh(pipe, rows, classes=2)
    assert loss_on_fresh(tuned(pipe, X, y, True), rows, classes=2) < before + 0.03
    assert loss_on_fresh(tuned(pipe, X, y, False), rows, classes=2) > before + 1


def test_codes_of_noise_are_not_trusted():
    X, y = categories(levels=150)
    pipe = encoding(LogisticRegression()).fit(X, y)
    before = loss_on_fresh(pipe, categories)
    fair = tuned(pipe, X, y, True, freeze=["codes"])
    leaky = tuned(pipe, X, y, False, freeze=["codes"])
    assert loss_on_fresh(fair, categories) < before + 0.03
    assert loss_on_fresh(leaky, categories) > before + 0.3


@pytest.mark.slow
def test_the_recipe_gains_from_a_stack():
    X, y = rows(400, classes=2)
    pipe = StackingClassifier(classifiers(), LogisticRegression(C=1e-3))
    before = loss_on_fresh(clone(pipe).fit(X, y), rows, classes=2)
    tuner = pg.FineTuner(pipe, random_state=0).fit(X, y)
    assert tuner.improved_
    assert loss_on_fresh(tuner, rows, classes=2) < before - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neighbour", "codes"])
def test_fine_tuner_goes_on_where_leaks_lead_it_astray(name, monkeypatch):
    stiff = LogisticRegression(C=1e-3)
    if name == "codes":
        (X, y), pipe, freeze = categories(400), encoding(stiff), ["codes"]
    else:
        (X, y), pipe, freeze = rows(400, classes=2), StackingClassifier(classifiers(), stiff), None
    tuner = pg.FineTuner(pipe, lr=0.1, epochs=30, freeze=freeze, patience=None, random_state=0)
    weight = np.ones(len(y)) if name == "codes" else None
    assert tuner.fit(X, y, weight).improved_
    fair = tuner.history_[:, "valid_loss"]
    monkeypatch.setattr(cross_fitting, "cross_fitted", lambda net, data, *rest: data)
    leaky = tuner.fit(X, y, weight).history_[:, "valid_loss"]
    assert fair[0] == pytest.approx(leaky[0], rel=1e-3)  # Encoders draw their splits.
    assert fair[-1] < fair[0]
    assert leaky[-1] > fair[-1] + 0.1


# -- around it ----------------------------------------------------------------------------------


def test_gradients_reach_the_members():
    X, y = rows()
    stack = StackingRegressor(regressors()).fit(X, y)
    net = pg.to_torch(stack)
    net(honest(net, X, y)).square().sum().backward()
    for name, parameter in net.trainable_parameters().items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_predictions_and_what_is_written_back_know_no_offsets():
    X, y = rows(classes=2)
    stack = StackingClassifier(classifiers()).fit(X, y)
    net = pg.to_torch(stack)
    assert np.allclose(net.predict_proba(X), stack.predict_proba(X), atol=1e-12)
    net.fit(X, y, epochs=3, lr=0.05, validation=None)
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]
    assert np.allclose(pg.from_torch(net).predict_proba(X), net.predict_proba(X), atol=1e-12)


def test_training_starts_from_the_loss_of_out_of_fold_features():
    X, y = rows(classes=2)
    members = [("tree", DecisionTreeClassifier(random_state=0)), *classifiers()]
    stack = StackingClassifier(members).fit(X, y)
    codes = stack._label_encoder.transform(y)
    wanted = log_loss(codes, stack.final_estimator_.predict_proba(layer(stack, X, codes)))
    net = pg.to_torch(stack).fit(X, y, epochs=1, validation=None)
    assert net.history[0, "train_loss"] == pytest.approx(wanted, rel=1e-9)


def test_members_share_the_splits_that_are_drawn():
    X, y = rows(classes=2)
    line = LogisticRegression()
    twins = [("one", line), ("two", line)]
    stack = StackingClassifier(twins, cv=KFold(3, shuffle=True)).fit(X, y)
    blocks = honest(pg.to_torch(stack), X, y).blocks
    assert torch.equal(blocks["+one"], blocks["+two"])


def test_rows_named_for_validation_are_taken_as_they_are():
    X, y = rows(classes=2)
    fresh = rows(100, classes=2, seed=5)
    stack = StackingClassifier(classifiers()).fit(X, y)
    net = pg.to_torch(stack).fit(X, y, epochs=1, validation=fresh)
    assert net.history[0, "valid_loss"] == pytest.approx(
        log_loss(fresh[1], stack.predict_proba(fresh[0]))
    )


def test_the_global_state_stays_and_the_seed_decides():
    X, y = categories()
    pipe = encoding(LogisticRegression()).fit(X, y)
    net = pg.to_torch(pipe)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (honest(net, X, y).blocks for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_users_objects_stay_as_they_are():
    X, y = rows(classes=2)
    splitter = KFold(3, shuffle=True)
    stack = StackingClassifier(classifiers(), cv=splitter).fit(X, y)
    splitter.random_state = None  # The source itself has set it.
    kept, labels = X.copy(), y.copy()
    pg.to_torch(stack).fit(X, y, epochs=1)
    assert splitter.random_state is None
    assert np.array_equal(X, kept)
    assert np.array_equal(y, labels)


def test_wrong_values_and_copies_that_cannot_be_fitted():
    X, y = rows(classes=2)
    stack = StackingClassifier(classifiers()).fit(X, y)
    with pytest.raises(pg.ArgumentError, match="cross_fit must be True or False, got 'no'"):
        pg.to_torch(stack).fit(X, y, cross_fit="no")
    few = np.concatenate([np.flatnonzero(y == "low")[:20], np.flatnonzero(y == "middle")[:1]])
    with pytest.raises(pg.ArgumentError, match=r"Cross-fitting .* failed: (?s:.*)cross_fit=False"):
        pg.to_torch(stack).fit(X[few], y[few], validation=None)
    net = pg.to_torch(stack).fit(X[few], y[few], validation=None, cross_fit=False, epochs=1)
    assert len(net.history) == 2
