"""Calibrated classifiers: members and calibrators of every kind, and training of both."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from helpers import assert_alike, assert_round_trip, fit_on
from pipegrad.errors import UntranslatableError
from pipegrad.modules import MonotoneInterpolation, NormalizedColumns, SigmoidColumns
from pipegrad.testing import DATASETS, assert_close, identical

SINCE_1_8 = parse_version(sklearn.__version__) >= parse_version("1.8")
METHODS = ["sigmoid", "isotonic"] + ["temperature"] * SINCE_1_8


def scaled(classifier):
    return make_pipeline(StandardScaler(), classifier)


def calibrated(member, **options):
    return CalibratedClassifierCV(member, **{"cv": 3, **options})


MEMBERS = {
    "no probabilities": scaled(LinearSVC(random_state=0)),
    "kernel": scaled(SVC()),
    "pairs of classes": scaled(SVC(decision_function_shape="ovo")),
    "trees": RandomForestClassifier(3, max_depth=3, random_state=0),
    "neighbors": scaled(KNeighborsClassifier(4, algorithm="brute")),
    "search": GridSearchCV(scaled(RidgeClassifier()), {"ridgeclassifier__alpha": [0.1, 1.0]}, cv=2),
    "votes": VotingClassifier(
        [("a", scaled(LogisticRegression())), ("b", GaussianNB())], voting="soft"
    ),
    "calibrated": calibrated(scaled(LogisticRegression()), cv=2),
    "default": None,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("data", ["binary_strings", "multiclass"])
def test_members_of_every_kind(name, method, data):
    model, X = fit_on(data, calibrated(MEMBERS[name], method=method))
    assert_round_trip(model, X)
    assert_alike(pg.to_torch(model), model, X[:1])


@pytest.mark.parametrize("method", METHODS)
def test_one_step_for_each_member_and_one_for_all_calibrators(method):
    model, _ = fit_on("multiclass", calibrated(scaled(LogisticRegression()), method=method))
    steps = list(pg.to_torch(model).graph)
    assert steps[-1].inputs == tuple(
        f"calibrated_classifiers_/{number}/logisticregression" for number in range(3)
    )
    assert [step.status for step in steps] == ["trainable"] * 7
    assert {step.method for step in steps[1:-1:2]} == {"decision_function"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", ["binary", "multiclass"])
def test_training_lowers_the_loss_of_the_mean_probabilities(method, data):
    model, X = fit_on(data, calibrated(scaled(GaussianNB()), method=method))
    y = DATASETS[data]()[1]
    net = pg.to_torch(model)
    before = net.source.predict_proba(X)
    net.fit(X, y, epochs=40, validation=None)
    after = net.predict_proba(X)
    assert log_loss(after, y) < log_loss(before, y) - 0.01
    again = pg.from_torch(net)
    assert_close(after, again.predict_proba(X), 1e-9)
    moved = zip(again.calibrated_classifiers_, model.calibrated_classifiers_, strict=True)
    for one, other in moved:
        assert not identical(one.calibrators, other.calibrators)
        assert not identical(one.estimator, other.estimator)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", ["binary", "multiclass"])
def test_calibrators_that_are_perturbed_come_back(method, data):
    model, X = fit_on(data, calibrated(scaled(LogisticRegression()), method=method))
    y = DATASETS[data]()[1]
    net = pg.to_torch(model, train=["calibrators"])
    before = log_loss(net.predict_proba(X), y)
    with torch.no_grad():
        for parameter in net.trainable_parameters().values():
            parameter.add_({"sigmoid": 1.0, "isotonic": 0.1, "temperature": -1.0}[method])
    assert log_loss(net.predict_proba(X), y) > before + 1e-4
    net.fit(X, y, optim=torch.optim.LBFGS, validation=None, epochs=8)
    assert log_loss(net.predict_proba(X), y) <= 1.01 * before


def log_loss(shares, y):
    return -np.log(
        shares[np.arange(len(y)), np.unique(y, return_inverse=True)[1]].clip(1e-15)
    ).mean()


def test_isotonic_probabilities_stay_monotone_between_zero_and_one():
    model, _ = fit_on("binary", calibrated(scaled(LogisticRegression()), method="isotonic"))
    net = pg.to_torch(model)
    with torch.no_grad():
        for parameter in net.trainable_parameters().values():
            parameter.add_(torch.randn(parameter.shape, dtype=parameter.dtype))
    for one in pg.from_torch(net).calibrated_classifiers_:
        values = one.calibrators[0].y_thresholds_
        assert values.min() >= 0
        assert values.max() <= 1
        assert (np.diff(values) >= 0).all()


def test_values_beyond_a_bound_come_back():
    knots = torch.tensor([0.0, 1.0], dtype=torch.float64)
    module = MonotoneInterpolation(knots, torch.tensor([0.2, 0.4]).double(), bounds=(0.0, 1.0))
    with torch.no_grad():
        module.start.fill_(-3.0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        (module(knots) - 0.5).square().sum().backward()
        optimizer.step()
    assert_close(module(knots).detach(), torch.tensor([0.5, 0.5]), 0.01)


def frozen(estimator, X, y):
    frozen_module = pytest.importorskip("sklearn.frozen")
    return frozen_module.FrozenEstimator(estimator.fit(X, y))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ensemble", [True, False, "auto"])
def test_frozen_classifiers_stay_as_they_are(method, ensemble):
    X, y = DATASETS["multiclass"]()
    member = frozen(scaled(LogisticRegression()), X, y)
    model = calibrated(member, method=method, ensemble=ensemble).fit(X, y)
    assert len(model.calibrated_classifiers_) == (3 if ensemble is True else 1)
    net = assert_round_trip(model, X)
    assert [s.name for s in net.graph if s.status == "trainable"] == ["calibrators"]
    assert len(list(net.graph)) == 3  # The same classifier is no step of its own for each fold.
    again = pg.from_torch(net)
    for one in again.calibrated_classifiers_:
        assert identical(one.estimator.estimator, member.estimator)
    net.fit(X, y, epochs=3, validation=None)


@pytest.mark.skipif(SINCE_1_8, reason="removed in 1.8")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("method", METHODS)
def test_prefit_classifiers_train(method):
    X, y = DATASETS["multiclass"]()
    member = scaled(LogisticRegression()).fit(X, y)
    model = CalibratedClassifierCV(member, method=method, cv="prefit").fit(X, y)
    net = assert_round_trip(model, X)
    assert {step.status for step in net.graph} == {"trainable"}


class Folds:
    """The first fold lacks the last class."""

    def split(self, X, y, groups=None):
        rows = np.arange(len(y))
        few = rows[y != np.unique(y)[-1]]
        yield few, rows[::2]
        yield rows[::2], rows[1::2]

    def get_n_splits(self, X=None, y=None, groups=None):
        return 2


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("member", [GaussianNB(), LogisticRegression()])
def test_classes_that_a_fold_lacks(method, member):
    X, y = DATASETS["multiclass"]()
    model = CalibratedClassifierCV(scaled(member), cv=Folds(), method=method).fit(X, y)
    assert len(model.calibrated_classifiers_[0].estimator.classes_) == 2
    assert_round_trip(model, X)


@pytest.mark.skipif(not SINCE_1_8, reason="since 1.8")
def test_one_temperature_for_too_few_classes_is_refused():
    X, y = DATASETS["multiclass"]()
    model = CalibratedClassifierCV(scaled(GaussianNB()), cv=Folds(), method="temperature")
    with pytest.raises(UntranslatableError, match="a fold lacks a class"):
        pg.to_torch(model.fit(X, y))


def test_rows_without_any_claim_are_uniform():
    columns = SigmoidColumns(torch.zeros(3).double(), torch.full((3,), 1e4).double())
    module = NormalizedColumns(columns, torch.arange(3), 3)
    scores = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    shares = module(scores)
    assert_close(shares.detach(), np.full((2, 3), 1 / 3), 0.0)
    shares.sum().backward()
    assert torch.isfinite(scores.grad).all()


def test_isotonic_rows_that_every_class_rejects_are_uniform():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), 20)
    X = rng.normal(size=(100, 2)) + 6 * np.stack(
        [np.cos(y * 0.4 * np.pi), np.sin(y * 0.4 * np.pi)], 1
    )
    model = calibrated(LinearSVC(random_state=0), method="isotonic").fit(X, y)
    where = np.concatenate([X, 0.5 * rng.normal(size=(20, 2))])
    parts = [one.predict_proba(where) for one in model.calibrated_classifiers_]
    assert any((part == 1 / 5).all(1).any() for part in parts)
    assert_alike(pg.to_torch(model), model, where)


@pytest.mark.parametrize("method", METHODS)
def test_single_precision(method):
    X, y = DATASETS["multiclass"]()
    X = X.astype(np.float32)
    model = calibrated(scaled(LogisticRegression()), method=method).fit(X, y)
    net = pg.to_torch(model)
    assert_alike(net, model, X, 1e-5)
    assert_alike(net, model, X.astype(float), 1e-5)
    assert identical(pg.from_torch(net), model)


def test_single_precision_of_isotonic_scores():
    X, y = DATASETS["binary"]()
    X = X.astype(np.float32)
    model = calibrated(DecisionTreeClassifier(max_depth=3), method="isotonic").fit(X, y)
    assert_alike(pg.to_torch(model), model, X)


@pytest.mark.parametrize("method", METHODS)
def test_within_other_composites(method):
    member = calibrated(LogisticRegression(), method=method)
    model, X = fit_on("multiclass", make_pipeline(StandardScaler(), member))
    assert_round_trip(model, X)
    stack = StackingClassifier(
        [("a", scaled(calibrated(GaussianNB(), method=method)))], LogisticRegression(), cv=2
    )
    for data in ("multiclass", "binary_strings"):
        model, X = fit_on(data, stack)
        net = assert_round_trip(model, X)
        net.fit(X, DATASETS[data]()[1], epochs=1, validation=None)
        assert_alike(net, pg.from_torch(net), X)


def test_the_prior_alone():
    model, X = fit_on("binary", calibrated(DummyClassifier()))
    assert_round_trip(model, X)


def test_a_calibrated_classifier_in_two_places_trains_once():
    X, y = DATASETS["multiclass"]()
    member = calibrated(scaled(GaussianNB())).fit(X, y)
    stack = StackingClassifier([("a", member), ("b", member)], LogisticRegression(), cv="prefit")
    net = pg.to_torch(stack.fit(X, y))
    shared = [step for step in net.graph if step.kind.endswith("Calibrators")]
    assert len(shared) == 2
    assert net.step_module(shared[0].name).body is net.step_module(shared[1].name).body
    net.fit(X, y, epochs=2, validation=None, cross_fit=False)
    assert_alike(net, pg.from_torch(net), X)
