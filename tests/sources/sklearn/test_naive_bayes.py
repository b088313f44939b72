"""Naive Bayes, where the contract's examples do not reach."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.testing import DATASETS, assert_close, assert_same_answers, perturb
from pipegrad.testing.comparison import answers

X, y = DATASETS["word_counts"]()
EVENTS = [
    BernoulliNB(),
    BernoulliNB(binarize=None, alpha=0.3, fit_prior=False),
    CategoricalNB(),
    CategoricalNB(alpha=0.3, class_prior=[0.2, 0.3, 0.5]),
    ComplementNB(),
    ComplementNB(norm=True, alpha=[0.1, 0.2, 0.3, 1.0, 2.0, 0.5]),
    MultinomialNB(alpha=[0.1, 0.2, 0.3, 1.0, 2.0, 0.5]),
    MultinomialNB(fit_prior=False),
]


def same(net, source, X):
    """Equal answers, NaN and infinity in the same places."""
    with np.errstate(all="ignore"):
        theirs = answers(source, X)
    for method, desired in answers(net, X).items():
        if desired.dtype.kind == "f":
            np.testing.assert_allclose(desired, theirs[method], rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(desired, theirs[method])


@pytest.mark.parametrize("operator", EVENTS, ids=str)
def test_counts_follow_the_probabilities(operator):
    rows = np.minimum(X, 1) if isinstance(operator, BernoulliNB) else X
    net = pg.to_torch(operator.fit(rows, y))
    perturb(net, 0.2)
    tuned = pg.from_torch(net)
    before = tuned.predict_log_proba(rows)
    tuned._update_feature_log_prob(np.asarray(operator.alpha))
    tuned._update_class_log_prior(operator.class_prior)
    assert_close(tuned.predict_log_proba(rows), before, 1e-9)
    tuned.partial_fit(rows[:1], y[:1])
    assert np.abs(tuned.predict_log_proba(rows) - before).max() < 1


@pytest.mark.parametrize("operator", EVENTS, ids=str)
def test_rows_that_do_not_change_stay_as_they_are(operator):
    rows = np.minimum(X, 1) if isinstance(operator, BernoulliNB) else X
    net = pg.to_torch(operator.fit(rows, y))
    weight = next(p for p in net.trainable_parameters().values() if p.shape[0] == 3)
    weight.data[1, 0] += 0.3
    tuned = pg.from_torch(net)
    ours, theirs = tuned.feature_log_prob_, operator.feature_log_prob_
    if not isinstance(ours, list):
        ours, theirs = [ours], [theirs]
    for after, before in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(after[::2], before[::2])
    assert not np.array_equal(ours[0][1], theirs[0][1])
    np.testing.assert_array_equal(tuned.class_log_prior_, operator.class_log_prior_)


def test_events_that_never_occur_stay_impossible():
    rows = np.column_stack([X, np.where(y == "ant", X[:, 0], 0)])
    for operator in (MultinomialNB(alpha=0), CategoricalNB(alpha=0), BernoulliNB(alpha=0)):
        with np.errstate(all="ignore"):
            operator.fit(rows, y)
        kinds = (
            (np.asarray, sparse.csr_array) if operator.__class__ is MultinomialNB else (np.asarray,)
        )
        for kind in kinds:
            net = pg.to_torch(operator)
            same(net, operator, kind(rows))
    with np.errstate(all="ignore"):
        net = pg.to_torch(MultinomialNB(alpha=0).fit(rows, y))
    perturb(net)
    tuned = pg.from_torch(net)
    assert (tuned.feature_log_prob_ == -np.inf).sum() == 2
    same(net, tuned, sparse.csr_array(rows))


def test_classes_that_the_prior_rules_out_stay_out():
    features, labels = DATASETS["multiclass"]()
    operator = GaussianNB(priors=[0.5, 0.0, 0.5]).fit(features, labels)
    same(pg.to_torch(operator), operator, features)
    operator = GaussianNB().partial_fit(features, labels, classes=["ant", "bee", "cat", "dog"])
    with np.errstate(all="ignore"):
        net = pg.to_torch(operator)
        same(net, operator, features)


def test_constant_columns_without_smoothing():
    rows = np.column_stack([X, np.ones(len(X))])
    operator = GaussianNB(var_smoothing=0).fit(rows, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(pg.to_torch(operator), operator, rows)


@pytest.mark.parametrize("operator", [*EVENTS, GaussianNB()], ids=str)
def test_ties_go_to_the_first_class(operator):
    if getattr(operator, "class_prior", None) is not None:
        operator.set_params(class_prior=[0.5, 0.5])
    rows = np.minimum(X, 1)
    operator.fit(np.vstack([rows, rows]), np.repeat(["bee", "ant"], len(X)))
    assert set(operator.predict(rows)) == {"ant"}
    np.testing.assert_array_equal(pg.to_torch(operator).predict(rows), operator.predict(rows))


@pytest.mark.parametrize(
    "operator",
    [BernoulliNB(), CategoricalNB(), ComplementNB(), GaussianNB(), MultinomialNB()],
    ids=str,
)
def test_one_class(operator):
    net = pg.to_torch(operator.fit(X, np.full(len(X), "only")))
    assert_same_answers(net, operator, X, 1e-9)
    perturb(net)
    assert_same_answers(net, pg.from_torch(net), X, 1e-9)


def test_categories_that_were_not_seen_are_refused_with_their_place():
    net = pg.to_torch(CategoricalNB().fit(X, y))
    beyond = X.copy()
    beyond[4, 2] = 9
    with pytest.raises(ValueError, match="column 2 has 0 to 5, got 9"):
        net.predict(beyond)
    with pytest.raises(ValueError, match="Negative"):
        net.predict(-beyond)


def test_categories_may_be_of_any_type_of_whole_number():
    operator = CategoricalNB().fit(X, y)
    net = pg.to_torch(operator)
    for kind in (np.int8, np.uint16, np.int64, np.float32):
        np.testing.assert_array_equal(net.predict(X.astype(kind)), operator.predict(X))
    named = CategoricalNB().fit(pd.DataFrame(X.astype(int), columns=list("abcdef")), y)
    table = pd.DataFrame(X.astype(int), columns=list("abcdef"))
    np.testing.assert_array_equal(pg.to_torch(named).predict(table), named.predict(table))


def test_joint_log_probabilities():
    for operator in (GaussianNB(), MultinomialNB()):
        net = pg.to_torch(operator.fit(X, y))
        np.testing.assert_array_equal(
            net.predict_joint_log_proba(X), operator.predict_joint_log_proba(X)
        )
        np.testing.assert_allclose(
            net(X).detach().numpy(), operator.predict_joint_log_proba(X), rtol=1e-12
        )


def test_gradients_reach_the_steps_before():
    features, labels = DATASETS["multiclass"]()
    pipe = make_pipeline(StandardScaler(), GaussianNB()).fit(features, labels)
    net = pg.to_torch(pipe)
    before = -np.log(pipe.predict_proba(features)[np.arange(80), net.encode_target(labels)]).mean()
    net.fit(features, labels, validation=None, epochs=5)
    tuned = pg.from_torch(net)
    after = -np.log(tuned.predict_proba(features)[np.arange(80), net.encode_target(labels)]).mean()
    assert after < before
    assert not np.array_equal(tuned[0].scale_, pipe[0].scale_)
    assert (tuned[1].var_ > 0).all()
    assert tuned[1].class_prior_.sum() == pytest.approx(1)


def test_events_that_become_certain_stay_what_the_source_can_express() -> None:
    """Log-odds beyond 37 have the log-probability zero, of which the source makes NaN."""
    X, y = DATASETS["sparse_multiclass"]()
    net = pg.to_torch(BernoulliNB(binarize=None).fit(X, y))
    with torch.no_grad():
        for name, parameter in net.trainable_parameters().items():
            if name.endswith("log_odds"):
                parameter.copy_(torch.linspace(-60, 60, parameter.numel()).reshape(parameter.shape))
    trained = pg.from_torch(net)
    np.testing.assert_allclose(trained.predict_proba(X), net.predict_proba(X), rtol=1e-6)
    net(X).sum().backward()
    gradients = [p.grad for n, p in net.trainable_parameters().items() if n.endswith("log_odds")]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
