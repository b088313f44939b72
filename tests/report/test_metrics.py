"""The metrics beside the loss: those of scikit-learn, with errors that a bootstrap confirms."""

import math
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, RidgeClassifier
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import pipegrad as pg
from helpers import shorten_candidates
from pipegrad.report.metrics import (
    ACCURACY,
    LOG_LOSS,
    MAE,
    R2,
    RMSE,
    ROC_AUC,
    MetricResult,
    Predictions,
    auc_rows,
)

RNG = np.random.default_rng(0)
N = 500
TRAIN, VALID = np.arange(300), np.arange(300, N)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten_candidates(monkeypatch)


def report_of(pipe, X, y, weight=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"cv": [(TRAIN, VALID)], "random_state": 0, **options}
        return pg.FineTuner(pipe, **options).fit(X, y, weight).report_


def classes(count=2):
    X, y = make_classification(
        N, 8, n_informative=6, n_classes=count, flip_y=0.1, random_state=count
    )
    return X, np.array(["a", "b", "c"])[y]


def shares_of(model, X):
    return model.predict_proba(X)


X2, Y2 = classes()
X3, Y3 = classes(3)
NUMBERS = X2 @ RNG.normal(size=8) + RNG.normal(size=N)
TWO = np.c_[NUMBERS, 3 * X2[:, 1] + RNG.normal(size=N)]
LABELS = (np.c_[X2[:, 0], X2[:, 1], X2[:, 2]] + RNG.normal(size=(N, 3)) > 0).astype(int)
WEIGHT = RNG.uniform(0.2, 3.0, size=N)


def regression_metrics(model, X, y, w):
    found = model.predict(X)
    return {
        "R2": r2_score(y, found, sample_weight=w),
        "root mean squared error": root_mean_squared_error(y, found, sample_weight=w),
        "mean absolute error": mean_absolute_error(y, found, sample_weight=w),
    }


def two_class_metrics(model, X, y, w):
    return {
        "accuracy": accuracy_score(y, model.predict(X), sample_weight=w),
        "ROC AUC": roc_auc_score(y, model.predict_proba(X)[:, 1], sample_weight=w),
    }


def decision_metrics(model, X, y, w):
    return {
        "accuracy": accuracy_score(y, model.predict(X), sample_weight=w),
        "ROC AUC": roc_auc_score(y, model.decision_function(X), sample_weight=w),
    }


def several_class_metrics(model, X, y, w):
    shares = model.predict_proba(X)
    return {
        "accuracy": accuracy_score(y, model.predict(X), sample_weight=w),
        "ROC AUC": np.mean(
            [roc_auc_score(y == k, shares[:, i], sample_weight=w) for i, k in enumerate("abc")]
        ),
    }


def label_metrics(model, X, y, w):
    return {
        "accuracy": accuracy_score(y, model.predict(X), sample_weight=w),
        "ROC AUC": roc_auc_score(y, model.decision_function(X), sample_weight=w),
    }


TTR = TransformedTargetRegressor(Ridge(50.0), func=np.arcsinh, inverse_func=np.sinh)
CASES = {
    "numbers": (make_pipeline(StandardScaler(), Ridge(300.0)), X2, NUMBERS, regression_metrics),
    "two numbers": (make_pipeline(StandardScaler(), Ridge(300.0)), X2, TWO, regression_metrics),
    "transformed": (TTR, X2, NUMBERS, regression_metrics),
    "counts": (PoissonRegressor(alpha=3.0), X2, np.abs(NUMBERS).round(), regression_metrics),
    "two classes": (make_pipeline(PCA(2), LogisticRegression()), X2, Y2, two_class_metrics),
    "weighted classes": (
        LogisticRegression(class_weight="balanced", C=0.01),
        X2,
        Y2,
        two_class_metrics,
    ),
    "forest": (
        RandomForestClassifier(5, max_depth=3, random_state=0),
        X2,
        Y2,
        two_class_metrics,
    ),
    "margins": (LinearSVC(C=0.001), X2, Y2, decision_metrics),
    "several classes": (LogisticRegression(C=0.01), X3, Y3, several_class_metrics),
    "labels": (RidgeClassifier(100.0), X2, LABELS, label_metrics),
}


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_before_is_the_metric_of_the_fitted_pipeline(name, weight):
    pipe, X, y, metrics = CASES[name]
    report = report_of(pipe, X, y, weight)
    prefix = f"{pipe.steps[-1][0]}__" if hasattr(pipe, "steps") else ""
    last = {} if weight is None else {f"{prefix}sample_weight": weight[TRAIN]}
    fitted = clone(pipe).fit(X[TRAIN], y[TRAIN], **last)
    wanted = metrics(fitted, X[VALID], y[VALID], None if weight is None else weight[VALID])
    found = {one.name: one for one in report.metrics}
    assert set(wanted) <= set(found)
    for name, value in wanted.items():
        assert found[name].before == pytest.approx(value, rel=1e-5), name
        low, high = found[name].interval
        assert low <= found[name].change <= high
    if name == "margins":
        assert "log loss" not in found


def test_splits_are_averaged_by_their_rows():
    X, y = X2, Y2
    splits = [(np.arange(150, N), np.arange(150)), (np.arange(400), np.arange(400, N))]
    report = report_of(LogisticRegression(C=1e-3), X, y, cv=splits)
    wanted = []
    for train, valid in splits:
        fitted = LogisticRegression(C=1e-3).fit(X[train], y[train])
        wanted.append(roc_auc_score(y[valid], fitted.decision_function(X[valid])))
    if report.splits == 2:
        expected = np.average(wanted, weights=[150, 100])
        area = next(one for one in report.metrics if one.name == "ROC AUC")
        assert area.before == pytest.approx(expected, rel=1e-6)


def test_a_split_with_one_class_has_no_area_and_counts_for_accuracy():
    valid = np.flatnonzero(Y2 == "a")[:60]
    rest = np.setdiff1d(np.arange(N), valid)
    splits = [(rest, valid)]
    report = report_of(LogisticRegression(C=1e-3), X2, Y2, cv=splits)
    names = [one.name for one in report.metrics]
    assert names == ["accuracy"]


def test_log_loss_is_told_where_it_is_not_the_loss():
    report = report_of(LogisticRegression(C=0.01), X2, Y2, loss="focal")
    fitted = LogisticRegression(C=0.01).fit(X2[TRAIN], Y2[TRAIN])
    found = {one.name: one for one in report.metrics}["log loss"]
    wanted = log_loss(Y2[VALID], fitted.predict_proba(X2[VALID]))
    assert found.before == pytest.approx(wanted, rel=1e-6)
    assert not found.higher_is_better
    plain = report_of(LogisticRegression(C=0.01), X2, Y2)
    assert "log loss" not in [one.name for one in plain.metrics]
    assert plain.metric == "log loss"


def test_improvements_are_those_of_new_rows():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(12_000, 5)) * [4, 3, 2, 1, 0.5]
    y = X @ [0.2, 0.3, 0.5, 1.0, 2.0] + rng.normal(size=12_000)
    pipe = make_pipeline(PCA(3, random_state=0), Ridge())
    tuner = pg.FineTuner(pipe, random_state=0).fit(X[:2000], y[:2000])
    fitted = clone(pipe).fit(X[:2000], y[:2000])
    assert tuner.improved_
    for one in tuner.report_.metrics:
        wanted, start = (
            regression_metrics(m, X[2000:], y[2000:], None)[one.name] for m in (tuner, fitted)
        )
        # The pipelines of the splits were fitted on fewer rows.
        assert one.change == pytest.approx(wanted - start, rel=0.25)
        assert one.error > 0
        assert (one.change > 0) is one.higher_is_better


def test_a_run_of_ones_own_settings_has_values_without_errors():
    report = report_of(LogisticRegression(C=1e-3), X2, Y2, epochs=5, lr=0.1)
    for one in report.metrics:
        assert math.isnan(one.error)
        assert one.before <= one.after
    assert "on the rows that selected the epoch" in str(report)


@pytest.mark.parametrize("case", ["clusters", "too few"])
def test_where_there_is_nothing_to_compare_there_are_no_metrics(case):
    if case == "clusters":
        report = report_of(KMeans(3, n_init=1, random_state=0), X2, None)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = pg.FineTuner(Ridge()).fit(X2[:30], NUMBERS[:30]).report_
    assert report.metrics == ()


def test_text_and_page_have_them():
    report = report_of(LogisticRegression(C=1e-3), X2, Y2)
    area = next(one for one in report.metrics if one.name == "ROC AUC")
    line = next(line for line in str(report).splitlines() if line.startswith("ROC AUC"))
    assert f"{area.before:.4g}" in line
    assert f"{area.interval[0]:+.3g} to {area.interval[1]:+.3g}" in line
    page = report.to_html()
    assert ">ROC AUC</th>" in page
    assert f"<td>{area.after:.4g}</td>" in page


# The errors


def predictions(rows, weight=None):
    """A table of rows as the predictions of two classes, or of numbers."""
    target, score = rows
    weight = np.ones(len(target)) if weight is None else weight / weight.mean()
    if target.dtype.kind == "f":
        return Predictions("regression", target, score, None, None, weight)
    share = 1 / (1 + np.exp(-score))
    shares = np.c_[1 - share, share]
    return Predictions("classification", target, (share > 0.5).astype(int), shares, share, weight)


def sample(metric, count):
    rng = np.random.default_rng(5)
    if metric in (R2, RMSE, MAE):
        target = 5 + rng.standard_t(6, size=count)
        return [target, target * 0.6 + 2 + rng.normal(size=count)], [target, np.full(count, 5.1)]
    target = (rng.uniform(size=count) < 0.3).astype(int)
    first = 1.2 * target - 0.7 + rng.normal(size=count)
    return [target, first], [target, 0.5 * first + rng.normal(size=count)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", [ACCURACY, ROC_AUC, LOG_LOSS, R2, RMSE, MAE])
def test_errors_of_differences_are_those_of_a_bootstrap(metric, weighted):
    count = 400
    first, second = sample(metric, count)
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.3, 3, size=count) if weighted else np.ones(count)

    def change(rows):
        both = [predictions([p[rows] for p in one], weight[rows]) for one in (first, second)]
        return metric.rows(both[0]).mean() - metric.rows(both[1]).mean()

    rows = [metric.rows(predictions(one, weight)) for one in (first, second)]
    error = (rows[0] - rows[1]).std(ddof=1) / math.sqrt(count)
    drawn = [change(rng.integers(0, count, size=count)) for _ in range(600)]
    assert error == pytest.approx(np.std(drawn), rel=0.12)


def test_the_area_is_that_of_scikit_learn_with_ties_and_weights():
    rng = np.random.default_rng(2)
    y, w = rng.integers(0, 2, size=90), rng.uniform(size=90)
    score = rng.integers(0, 9, size=90) + 2.0 * y
    rows = auc_rows(score, y == 1, w)
    assert rows.mean() == pytest.approx(roc_auc_score(y, score, sample_weight=w), rel=1e-12)
    assert auc_rows(score, y < 2, w) is None
    assert auc_rows(np.where(y == 1, np.nan, score), y == 1, w) is None


def test_a_result_knows_its_interval():
    one = MetricResult("accuracy", 0.8, 0.85, 0.01)
    assert one.change == pytest.approx(0.05)
    assert one.interval == pytest.approx((0.03, 0.07))


def test_trees_of_several_targets_count_right_answers():
    y = np.c_[(X2[:, 0] > 0).astype(int), np.digitize(X2[:, 1], [-1, 1])]
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    report = report_of(tree, X2, y)
    fitted = clone(tree).fit(X2[TRAIN], y[TRAIN])
    wanted = (fitted.predict(X2[VALID]) == y[VALID]).mean()
    assert [one.before for one in report.metrics] == pytest.approx([wanted])
