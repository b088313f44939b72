"""``scoring=``: scores of scikit-learn that select, or that are reported beside the loss."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import get_scorer, make_scorer, median_absolute_error, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from helpers import shorten_candidates
from pipegrad.finetune.scores import scoring

RNG = np.random.default_rng(0)
N = 600
TRAIN, VALID = np.arange(300), np.arange(300, N)
ONE_SPLIT = [(TRAIN, VALID)]
X, CODES = make_classification(N, 10, n_informative=6, flip_y=0.05, random_state=0)
NAMES = np.array(["no", "yes"])[CODES]
X3, MANY = make_classification(N, 10, n_informative=6, n_classes=3, random_state=1)
NUMBERS = X @ RNG.normal(size=10) + RNG.normal(size=N)
WEIGHT = RNG.uniform(0.2, 3.0, size=N)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_candidates(monkeypatch)


def tuned(pipe, X, y, weight=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"random_state": 0, **options}
        return pg.FineTuner(pipe, **options).fit(X, y, weight)


def bottleneck(last=None):
    return make_pipeline(StandardScaler(), PCA(2), last or LogisticRegression())


# What selects


def test_a_score_that_training_leaves_alone_keeps_the_pipeline():
    """Scaled too low, a single score has a bad log loss and the best possible order."""
    rng = np.random.default_rng(1)
    single = rng.normal(size=(1500, 1))
    y = (single[:, 0] + rng.normal(size=1500) > 0).astype(int)
    pipe = LogisticRegression(C=1e-4)
    by_loss = tuned(pipe, single, y)
    assert by_loss.improved_
    by_score = tuned(pipe, single, y, scoring="roc_auc")
    assert not by_score.improved_
    assert "raised the score" in by_score.report_.why


def test_a_score_selects_another_checkpoint_than_the_loss():
    """Outliers pull squared errors where absolute errors do not go."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(1200, 5)) * [4, 2, 1, 1, 1]
    y = X @ [0.1, 0.2, 2.0, 1.0, 1.0] + rng.standard_t(1.2, size=1200)
    pipe = make_pipeline(PCA(3), LinearRegression())
    tuner = tuned(pipe, X, y, scoring="neg_mean_absolute_error", loss="huber")
    report = tuner.report_
    assert report.metric == "neg_mean_absolute_error"
    assert report.higher_is_better
    assert report.before < 0
    assert tuner.improved_
    assert report.after > report.before
    assert report.gain == pytest.approx(report.after - report.before)
    fitted = clone(pipe).fit(X, y)
    assert np.abs(tuner.predict(X) - y).mean() < np.abs(fitted.predict(X) - y).mean()


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    "name",
    ["roc_auc", "accuracy", "neg_log_loss", "balanced_accuracy", "average_precision", "f1"],
)
def test_the_report_has_the_score_before_and_after(name, weight):
    y = CODES
    tuner = tuned(bottleneck(), X, y, weight, scoring=name, cv=ONE_SPLIT)
    own = {} if weight is None else {"logisticregression__sample_weight": weight[TRAIN]}
    fitted = bottleneck().fit(X[TRAIN], y[TRAIN], **own)
    told = None if weight is None else weight[VALID]
    wanted = get_scorer(name)(fitted, X[VALID], y[VALID], sample_weight=told)
    report = tuner.report_
    assert report.metric == name
    assert report.before == pytest.approx(wanted, rel=1e-5)
    assert report.rows == len(VALID)
    assert report.error > 0
    names = [one.name for one in report.metrics]
    # The loss did not decide, and is told.
    assert names[0] == "log loss"
    assert name not in names
    assert tuner.score(X, y) == get_scorer(name)(tuner.estimator_, X, y)
    if tuner.improved_:
        assert report.verdict == f"Improved: {name} is {report.gain:.3g} higher"
        assert f"Validation {name}: " in str(report)
    assert f"increase of {name}" in tuner.report_.to_html()


def test_labels_of_any_kind_are_the_users_own():
    tuner = tuned(bottleneck(), X, NAMES, scoring="roc_auc", cv=ONE_SPLIT)
    fitted = bottleneck().fit(X[TRAIN], NAMES[TRAIN])
    wanted = roc_auc_score(NAMES[VALID], fitted.decision_function(X[VALID]))
    assert tuner.report_.before == pytest.approx(wanted, rel=1e-6)
    f1 = make_scorer(lambda y, p: np.mean((y == "yes") & (p == "yes")))
    assert tuned(bottleneck(), X, NAMES, scoring=f1).report_.before > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["roc_auc_ovr", "f1_macro", "accuracy", "neg_log_loss", "balanced_accuracy"]
)
def test_several_classes(name):
    pipe = bottleneck()
    tuner = tuned(pipe, X3, MANY, scoring=name, cv=ONE_SPLIT)
    fitted = clone(pipe).fit(X3[TRAIN], MANY[TRAIN])
    wanted = get_scorer(name)(fitted, X3[VALID], MANY[VALID])
    assert tuner.report_.before == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "r2",
        "neg_mean_absolute_error",
        "neg_mean_squared_error",
        "neg_root_mean_squared_error",
        "neg_median_absolute_error",
        "explained_variance",
    ],
)
def test_numbers(name):
    pipe = bottleneck(Ridge())
    tuner = tuned(pipe, X, NUMBERS, scoring=name, cv=ONE_SPLIT)
    fitted = clone(pipe).fit(X[TRAIN], NUMBERS[TRAIN])
    wanted = get_scorer(name)(fitted, X[VALID], NUMBERS[VALID])
    assert tuner.report_.before == pytest.approx(wanted, rel=1e-5)
    assert tuner.improved_
    assert tuner.report_.interval[0] > 0


def test_a_function_sees_the_rows():
    seen = []

    def first_half(estimator, X, y):
        seen.append(X.shape)
        found = estimator.predict(X)
        return -float(np.abs(found - y)[X[:, 0] > 0].mean())

    tuner = tuned(bottleneck(Ridge()), X, NUMBERS, scoring=first_half, cv=ONE_SPLIT)
    assert tuner.improved_
    assert tuner.report_.metric == "first_half"
    fitted = bottleneck(Ridge()).fit(X[TRAIN], NUMBERS[TRAIN])
    wanted = first_half(fitted, X[VALID], NUMBERS[VALID])
    assert tuner.report_.before == pytest.approx(wanted, rel=1e-5)
    assert tuner.score(X, NUMBERS) == first_half(tuner.estimator_, X, NUMBERS)


def test_a_function_may_not_predict_for_other_rows():
    def others(estimator, X, y):
        return float(np.mean(estimator.predict(X[:10])))

    with pytest.raises(pg.ArgumentError, match="for the rows that it is given"):
        tuned(bottleneck(Ridge()), X, NUMBERS, scoring=others)


def test_predicted_labels_that_decide_are_not_shifted(monkeypatch):
    from pipegrad.finetune import recipe

    calls = []
    monkeypatch.setattr(recipe, "recalibrate", lambda *_: calls.append(1) or "")
    assert tuned(bottleneck(), X, CODES, scoring="accuracy").improved_
    assert not calls
    assert tuned(bottleneck(), X, CODES, scoring="roc_auc").improved_
    assert calls


# The errors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["average_precision", "f1_macro", "roc_auc", "f1"])
def test_errors_are_those_of_a_bootstrap(name):
    """Of the same score of the same predictions, by rows or by groups of rows."""
    net = pg.to_torch(LogisticRegression().fit(X, CODES))
    score = net.raw_score(X).numpy()
    noisy = score + np.random.default_rng(1).normal(size=N)
    held = scoring.HeldOut(net, CODES, None)
    (scorer,) = scoring.check_scoring(name, LogisticRegression(), X, CODES).all
    assert scorer.for_rows(held, score).by_rows is scorer.by_rows
    terms = scorer.terms(held, score) - scorer.terms(held, noisy)
    assert terms.mean() == pytest.approx(scorer(held, score) - scorer(held, noisy), abs=1e-9)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(300):
        rows = rng.integers(0, N, size=N)
        drawn.append(scorer(held, score, rows) - scorer(held, noisy, rows))
    error = terms.std(ddof=1) / np.sqrt(len(terms))
    # Twenty groups know their own variance to about one sixth.
    assert error == pytest.approx(np.std(drawn), rel=0.15 if len(terms) == N else 0.5)


def test_scikit_learn_has_the_last_word_on_what_a_score_is():
    """The F1 of another class is another number; a fast formula may not take its place."""
    spec = make_scorer(median_absolute_error, greater_is_better=False)
    (scorer,) = scoring.check_scoring(spec, Ridge(), X, NUMBERS).all
    assert scorer.by_rows is None
    wrong = scoring.Scorer("r2", get_scorer("explained_variance"), scoring.R2)
    net = pg.to_torch(LinearRegression().fit(X[:50], NUMBERS[:50] + 9))
    held = scoring.HeldOut(net, NUMBERS, None)
    assert wrong.for_rows(held, net.raw_score(X).numpy()).by_rows is None


# What is reported


def test_several_scores_are_reported_and_the_loss_selects():
    names = ["roc_auc", "average_precision"]
    plain = tuned(bottleneck(), X, CODES, cv=ONE_SPLIT)
    tuner = tuned(bottleneck(), X, CODES, cv=ONE_SPLIT, scoring=names)
    report = tuner.report_
    assert (report.chosen, report.gain) == (plain.report_.chosen, plain.report_.gain)
    assert report.metric == "log loss"
    np.testing.assert_array_equal(tuner.predict_proba(X), plain.predict_proba(X))
    fitted = bottleneck().fit(X[TRAIN], CODES[TRAIN])
    found = {one.name: one for one in report.metrics}
    for name in names:
        wanted = get_scorer(name)(fitted, X[VALID], CODES[VALID])
        assert found[name].before == pytest.approx(wanted, rel=1e-6)
        assert found[name].change > 2 * found[name].error > 0
    assert tuner.score(X, CODES) == tuner.estimator_.score(X, CODES)


def test_a_dict_has_names_of_its_own():
    scores = {"area": "roc_auc", "share": lambda model, X, y: float(np.mean(model.predict(X)))}
    report = tuned(bottleneck(), X, CODES, scoring=scores).report_
    assert {"area", "share"} <= {one.name for one in report.metrics}


@pytest.mark.parametrize("given", ["average_precision", ["average_precision", "roc_auc"]])
def test_a_single_run_reports_scores(given):
    tuner = tuned(bottleneck(), X, CODES, scoring=given, epochs=4, lr=0.05, cv=ONE_SPLIT)
    found = {one.name: one for one in tuner.report_.metrics}["average_precision"]
    score = get_scorer("average_precision")
    assert found.after == pytest.approx(score(tuner, X[VALID], CODES[VALID]), rel=1e-6)
    fitted = bottleneck().fit(X[TRAIN], CODES[TRAIN])
    assert found.before == pytest.approx(score(fitted, X[VALID], CODES[VALID]), rel=1e-6)


# Refusals


class Untouched(LogisticRegression):
    def fit(self, *_, **__):
        raise AssertionError("fitted")


@pytest.mark.parametrize(
    ("pipe", "y", "given", "message"),
    [
        (LogisticRegression(), CODES, "auc", "scoring='auc' is not a score of scikit-learn"),
        (LogisticRegression(), CODES, ["accuracy", "auc"], "scoring='auc' is not a score"),
        (LogisticRegression(), CODES, 3, "must be a name, a function"),
        (LogisticRegression(), CODES, [], "must name at least one score, got"),
        (LogisticRegression(), MANY, "roc_auc", "scoring='roc_auc' cannot be computed"),
        (LogisticRegression(), NAMES, "f1", "scoring='f1' cannot be computed"),
        (LinearSVC(), CODES, "neg_log_loss", "scoring='neg_log_loss' cannot be computed"),
        (Ridge(), NUMBERS, "roc_auc", "scoring='roc_auc' cannot be computed"),
        (Ridge(), NUMBERS, "neg_mean_poisson_deviance", "cannot be computed"),
        (Ridge(), NUMBERS, lambda model, X, y: "good", "must give a number, got str"),
        (Ridge(), NUMBERS, lambda model, X, y: 1 / 0, "cannot be computed"),
    ],
)
def test_scores_that_cannot_be_are_refused_before_anything_is_fitted(
    pipe, y, given, message, monkeypatch
):
    monkeypatch.setattr(type(pipe), "fit", Untouched.fit)
    with pytest.raises(pg.ArgumentError, match=message):
        pg.FineTuner(pipe, scoring=given, random_state=0).fit(X if y is not MANY else X3, y)


def test_a_split_without_a_class_has_no_area():
    valid = np.flatnonzero(CODES == 0)[:60]
    split = [(np.setdiff1d(np.arange(N), valid), valid)]
    with pytest.raises(pg.ArgumentError, match="not defined on the validation rows of a split"):
        tuned(bottleneck(), X, CODES, scoring="roc_auc", cv=split)


def test_clusterings_take_a_function():
    def tight(model, X, y=None):
        return -float(np.ptp(np.bincount(model.predict(X))))

    pipe = KMeans(3, n_init=1, max_iter=1, random_state=0)
    report = tuned(pipe, X, None, scoring=tight, cv=ONE_SPLIT).report_
    fitted = clone(pipe).fit(X[TRAIN])
    assert report.metric == "tight"
    assert report.before == pytest.approx(tight(fitted, X[VALID]))


def test_several_classifications_with_names_take_a_function():
    y = np.c_[NAMES, np.where(X[:, 0] > 0, "up", "down")]
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)

    def right(model, X, y):
        return float(np.mean(model.predict(X) == y))

    report = tuned(tree, X, y, scoring=right, cv=ONE_SPLIT).report_
    fitted = clone(tree).fit(X[TRAIN], y[TRAIN])
    assert report.before == pytest.approx(right(fitted, X[VALID], y[VALID]))


def test_it_clones_and_searches():
    tuner = pg.FineTuner(bottleneck(), scoring="roc_auc")
    assert clone(tuner).scoring == "roc_auc"
    assert tuner.get_params()["scoring"] == "roc_auc"
