"""The report of fine-tuning: its numbers, its text, its page, its pictures."""

import math
import pickle
import re
import sys
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import calibration_curve
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import brier_score_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import pipegrad as pg
from pipegrad.finetune import Report, Tried, comparison, portfolio
from pipegrad.modules import BernoulliHead, MulticlassHead, Positive, RegressionHead
from pipegrad.report import (
    GainDisplay,
    MovedStepsDisplay,
    ReliabilityDisplay,
    TrainingCurvesDisplay,
)
from pipegrad.report.calibration import calibration
from pipegrad.report.learning_curves import Curve
from pipegrad.report.parameter_changes import MovedParameter, MovedStep, moved_steps
from pipegrad.report.relative_curves import Relative
from pipegrad.report.svg import Axis

DISPLAYS = [GainDisplay, MovedStepsDisplay, ReliabilityDisplay, TrainingCurvesDisplay]


@pytest.fixture(scope="module", autouse=True)
def _short():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portfolio, "_MIN_STEPS", 60)
        patch.setattr(portfolio, "_MAX_STEPS", 60)
        patch.setattr(portfolio, "_MIN_EPOCHS", 2)
        patch.setattr(portfolio, "_MAX_EPOCHS", 4)
        patch.setattr(portfolio, "_MAX_ITERATIONS", 12)
        yield


def tuned(pipe, X, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        return pg.FineTuner(pipe, random_state=0, **options).fit(X, y)


X, Y = make_regression(400, 6, n_informative=6, noise=1.0, random_state=0)
Y = Y / 50
LABELS = np.where(Y > 0, "<b>&", "no")
NOISE = np.random.default_rng(0).integers(0, 2, 400)


def bottleneck(last=None):
    return make_pipeline(StandardScaler(), PCA(2), last or LogisticRegression())


@pytest.fixture(scope="module")
def better():
    tuner = tuned(bottleneck(), X, LABELS)
    assert tuner.improved_
    return tuner


@pytest.fixture(scope="module")
def unmoved():
    tuner = tuned(bottleneck(), X, NOISE)
    assert not tuner.improved_
    return tuner


# What moved


def test_steps_moved_as_far_as_their_numbers_say():
    net = pg.to_torch(bottleneck(Ridge()).fit(X + 5.0, Y), freeze=["pca"])
    assert [step.share for step in moved_steps(net)] == [0.0, 0.0]
    with torch.no_grad():
        scaler = net.step_module("standardscaler")
        scaler.scale.log_ratio.fill_(math.log(1.5))
        scaler.shift[0] += 1.0
    first, second = moved_steps(net)
    assert (first.name, first.kind, first.count) == ("standardscaler", "StandardScaler", 12)
    assert (second.name, second.count, second.share) == ("ridge", 3, 0.0)
    parameters = {p.name: p for p in first.parameters}
    assert parameters["scale"].share == pytest.approx(0.5)
    fitted = (X + 5.0).mean(0)
    share = math.sqrt(1 / 6) / math.sqrt(np.mean(fitted**2))
    assert parameters["shift"].share == pytest.approx(share)
    assert first.largest.name == "scale"
    assert first.share == pytest.approx(math.sqrt((0.5**2 + share**2) / 2))


def test_what_was_zero_has_no_size():
    nothing = MovedParameter("shift", 3, 0.0, 0.2)
    assert nothing.share == math.inf
    weight = MovedParameter("weight", 6, 2.0, 1.0)
    step = MovedStep("pca", "PCA", (nothing, weight))
    assert (step.share, step.largest) == (0.5, weight)
    assert MovedStep("pca", "PCA", (nothing,)).share == math.inf
    assert MovedParameter("shift", 3, 0.0, 0.0).share == 0.0


def test_rounding_is_no_change():
    net = pg.to_torch(bottleneck(Ridge()).fit(X, Y))
    shift = net.step_module("pca").shift
    assert 0 < float(shift.detach().abs().max()) < 1e-15  # the mean of centred columns
    with torch.no_grad():
        shift += 1e-16
    assert all(p.share == 0.0 for step in moved_steps(net) for p in step.parameters)
    with torch.no_grad():
        shift += 0.1
    pca = next(step for step in moved_steps(net) if step.name == "pca")
    assert {p.name: p.share for p in pca.parameters} == {"shift": math.inf, "weight": 0.0}


def test_splits_are_told_as_thresholds():
    model = GradientBoostingRegressor(n_estimators=2, max_depth=1, random_state=0).fit(X, Y)
    net = pg.to_torch(model, trees="soft")
    trees = net.step_module("gradientboostingregressor").body
    with torch.no_grad():
        trees.shift += 1.0
    (step,) = moved_steps(net)
    parts = {p.name: p for p in step.parameters}
    fitted = np.array([tree[0].tree_.threshold[0] for tree in model.estimators_])
    again = pg.from_torch(net).estimators_
    change = np.array([tree[0].tree_.threshold[0] for tree in again]) - fitted
    assert parts["thresholds"].size == pytest.approx(np.sqrt(np.mean(fitted**2)))
    assert parts["thresholds"].change == pytest.approx(np.sqrt(np.mean(change**2)))
    assert parts["leaf_values"].share == 0.0
    assert not any(isinstance(part, Positive) for part in trees.modules())


def test_only_what_trains_is_told():
    net = pg.to_torch(bottleneck(Ridge()).fit(X, Y))
    net.step_module("pca").shift.requires_grad_(False)
    pca = next(step for step in moved_steps(net) if step.name == "pca")
    assert [p.name for p in pca.parameters] == ["weight"]


def test_an_operator_in_two_places_is_told_once():
    from sklearn.pipeline import FeatureUnion

    scaler = StandardScaler()
    union = FeatureUnion([("a", scaler), ("b", PCA(2))]).fit(X)
    union.transformer_list[1] = ("b", union.transformer_list[0][1])
    net = pg.to_torch(make_pipeline(union, Ridge().fit(union.transform(X), Y)))
    assert [step.kind for step in moved_steps(net)] == ["StandardScaler", "Ridge"]


def test_the_report_is_about_what_is_kept(better):
    report = better.report_
    plain = clone(better.estimator).fit(X, LABELS)
    steps = {step.name: {p.name: p for p in step.parameters} for step in report.steps}
    assert list(steps) == ["standardscaler", "pca", "logisticregression"]
    now, then = better.estimator_[-1].coef_, plain[-1].coef_
    weight = steps["logisticregression"]["weight"]
    assert weight.size == pytest.approx(np.sqrt(np.mean(then**2)))
    assert weight.change == pytest.approx(np.sqrt(np.mean((now - then) ** 2)))
    shares = [step.share for step in report.moved()]
    assert shares == sorted(shares, reverse=True)
    assert set(report.moved()) == set(report.steps)


# Learning curves and time


def test_curves_begin_with_the_fitted_pipeline(better):
    report = better.report_
    names = [tried.name for tried in report.tried]
    assert {curve.candidate for curve in report.curves} == set(names)
    assert len({(c.candidate, c.split) for c in report.curves}) == len(report.curves)
    first = [curve for curve in report.curves if curve.split == 0]
    assert len({curve.valid[0] for curve in first}) == 1
    for curve in report.curves:
        assert len(curve.train) == len(curve.valid) == len(curve.seconds)
        assert list(curve.seconds) == sorted(curve.seconds)
        assert curve.checkpoint > 0
    own = [curve for curve in report.curves if curve.candidate == report.chosen]
    assert {curve.split for curve in own} == set(range(report.splits))
    assert all(curve.valid[curve.checkpoint] < curve.valid[0] for curve in own)


def test_the_chosen_checkpoint_is_marked(monkeypatch):
    # The surest gain and the largest mean gain may be those of different checkpoints.
    surest = comparison.select_candidate
    monkeypatch.setattr(comparison, "select_candidate", lambda *a: replace(surest(*a), best=(0, 1)))
    report = tuned(bottleneck(), X, LABELS).report_
    assert report.tried[0].epochs > 2
    assert {c.checkpoint for c in report.curves if c.candidate == report.chosen} == {2}


def test_the_seconds_add_up(better):
    times = better.report_.times
    total = times.fitting + times.comparing + times.training
    assert min(times.fitting, times.comparing, times.training) > 0
    assert total == pytest.approx(better.report_.seconds, rel=0.05)
    tried = sum(t.seconds for t in better.report_.tried)
    assert tried <= times.comparing


def test_relative_losses_compare_splits():
    curves = (
        Curve("a", 0, (4.0, 2.0), (2.0, 1.0), (0.0, 1.0), 1),
        Curve("a", 1, (4.0, 1.0, 1.0), (8.0, 2.0, 6.0), (0.0, 1.0, 2.0), 1),
    )
    relative = Relative(curves)
    train, valid, checkpoint = relative.mean("a")
    np.testing.assert_allclose(valid, [1.0, 0.375, 0.625])
    np.testing.assert_allclose(train, [1.0, 0.375, 0.375])
    assert checkpoint == 1
    assert not relative.bounds()[2]
    steep = Relative((replace(curves[0], valid=(2.0, 1e-4)),))
    assert steep.bounds()[2]
    negative = Relative((replace(curves[0], valid=(-2.0, -3.0)),))
    assert (negative.shares, negative.start) == (False, 0.0)
    np.testing.assert_allclose(negative.of((-2.0, -3.0)), [0.0, -1.0])


def test_runs_that_go_astray_do_not_squeeze_the_others():
    curve = Curve("a", 0, (1.0, 1e-9, 1e-9), (1.0, 0.8, math.inf), (0.0, 1.0, 2.0), 1)
    low, high, log = Relative((curve,)).bounds()
    assert not log
    assert 0.7 < low < 0.8
    assert 1.0 < high < 1.1


# Calibration


def test_reliability_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    score = rng.normal(size=1000).astype(np.float32)
    target = (rng.random(1000) < 1 / (1 + np.exp(-2 * score))).astype(np.int64)
    found = calibration(BernoulliHead("logistic"), "log_loss", target, score, 2 * score)
    for part, shares in ((found.before, score), (found.after, 2 * score)):
        p = 1 / (1 + np.exp(-shares.astype(float)))
        came, said = calibration_curve(target, p, n_bins=10, strategy="quantile")
        np.testing.assert_allclose(part.observed, came)
        np.testing.assert_allclose(part.predicted, said)
        assert part.brier == pytest.approx(brier_score_loss(target, p))
        assert sum(part.rows) == 1000
        assert part.gap == pytest.approx(np.mean(np.abs(came - said)))
    assert found.of == "probability"
    assert found.after.gap < 0.04 < found.before.gap
    errors = np.sqrt(np.multiply(found.after.observed, 1 - np.array(found.after.observed)) / 100)
    np.testing.assert_allclose(found.after.errors, errors)


def test_several_classes_compare_the_likeliest():
    rng = np.random.default_rng(1)
    score = rng.normal(size=(300, 3)).astype(np.float32)
    target = rng.integers(0, 3, 300)
    found = calibration(MulticlassHead("softmax"), "log_loss", target, score, None)
    p = np.exp(score.astype(float))
    p /= p.sum(1, keepdims=True)
    right = p.argmax(1) == target
    assert found.of == "confidence"
    assert np.average(found.before.observed, weights=found.before.rows) == pytest.approx(
        right.mean()
    )
    assert np.average(found.before.predicted, weights=found.before.rows) == pytest.approx(
        p.max(1).mean()
    )
    assert found.before.brier == pytest.approx(np.mean(((p - np.eye(3)[target]) ** 2).sum(1)))
    assert found.after is found.before


def test_numbers_compare_means():
    score = np.linspace(-1, 1, 200, dtype=np.float32)
    target = np.exp(score)[:, None].astype(float) + 0.5
    found = calibration(RegressionHead("log"), "poisson", target, score[:, None], None)
    assert found.of == "mean"
    assert found.before.gap == pytest.approx(0.5)
    np.testing.assert_allclose(np.subtract(found.before.observed, found.before.predicted), 0.5)
    assert math.isnan(found.before.brier)
    assert len(found.before.rows) == 10
    few = calibration(RegressionHead(), "squared_error", np.ones(30), np.ones(30, "f4"), None)
    assert few.before.rows == (30,)


def test_bins_weigh_as_many_rows_as_they_hold():
    score = np.repeat([0.0, 1.0], [150, 50]).astype("f4")
    found = calibration(RegressionHead(), "squared_error", np.zeros(200), score, None)
    assert found.before.rows == (150, 50)
    assert found.before.gap == pytest.approx(0.25)


def test_it_is_none_where_nothing_is_claimed():
    score, target = np.ones((40, 2), np.float32), np.ones((40, 2))
    assert calibration(None, "custom", target, score, None) is None
    assert calibration(RegressionHead(), "squared_error", target, score, None) is None
    one, some = np.ones(40, np.float32), np.ones(40)
    assert calibration(RegressionHead(), "pinball", some, one, None) is None
    assert (
        calibration(RegressionHead(), "squared_error", some, np.full(40, np.nan, "f4"), None)
        is None
    )
    assert calibration(BernoulliHead(), "hinge", some.astype(int), one, None) is None


@pytest.mark.parametrize(
    ("pipe", "options"),
    [
        (make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)), {}),
        (bottleneck(LinearSVC()), {}),
        (make_pipeline(StandardScaler(), PCA(2)), {"loss": lambda s, t: s.square().mean(1)}),
    ],
)
def test_reports_without_calibration(pipe, options):
    report = tuned(pipe, X, NOISE, **options).report_
    assert report.curves
    assert report.calibration is None
    assert "Calibration" not in str(report) + report.to_html()


def test_before_and_after_are_those_of_the_rows_that_validate(better, unmoved):
    report = better.report_
    assert sum(report.calibration.before.rows) == report.rows
    assert report.calibration.after.brier < report.calibration.before.brier
    assert unmoved.report_.calibration.after is unmoved.report_.calibration.before


def test_several_classes_from_end_to_end():
    A, b = make_classification(300, 8, n_informative=6, n_classes=3, random_state=0)
    report = tuned(bottleneck(), A, b).report_
    assert report.calibration.of == "confidence"
    assert "probability of the predicted class" in str(report)


# The report as a whole


def test_settings_of_ones_own():
    pipe = bottleneck()
    tuner = tuned(pipe, X, LABELS, epochs=10)
    report = tuner.report_
    (curve,) = report.curves
    assert curve.valid == tuple(tuner.history_[:, "valid_loss"])
    assert curve.valid[curve.checkpoint] == min(curve.valid) == pytest.approx(report.after)
    assert report.moved()
    assert report.calibration.before.gap != report.calibration.after.gap
    assert report.calibration.after.brier < report.calibration.before.brier
    assert report.times.comparing == 0
    assert "hence optimistic" in str(report)
    none = tuned(pipe, X, NOISE, epochs=1, lr=50.0).report_
    assert none.steps == ()
    assert none.calibration.after is none.calibration.before


def test_reports_are_small_and_plain(better):
    from pickletools import genops

    content = pickle.dumps(better.report_)
    assert len(content) < 30_000
    names = [str(argument) for _, argument, _ in genops(content) if argument is not None]
    # The names alone are those of libraries with their versions.
    assert not any(re.match(r"(torch|numpy)\b.", name) for name in names)
    assert pickle.loads(content) == better.report_
    simple = Report(None, "there was nothing to do")
    assert simple.moved() == simple.curves == ()
    assert "there was nothing to do" in str(simple)
    assert "<svg" not in simple.to_html()


def test_the_text_is_readable(better, unmoved):
    text = str(better.report_)
    assert text.startswith("Improved: the validation loss is ")
    assert max(map(len, text.splitlines())) <= 100
    changes = "Relative parameter changes"
    for part in (
        "95% confidence interval",
        changes,
        "pca",
        "expected calibration error",
        "seconds",
    ):
        assert part in text
    share = better.report_.gain / better.report_.before
    assert f"{share:.1%} lower" in text
    assert re.search(rf"^\* {re.escape(better.report_.chosen)} ", text, re.MULTILINE)
    text = str(unmoved.report_)
    assert text.startswith("Unchanged: ")
    assert unmoved.report_.why in text
    assert changes not in text
    assert max(map(len, text.splitlines())) <= 100


def test_verdicts():
    assert "more than 99.9% lower" in Report("a", "", before=1.0, gain=0.99999).verdict
    assert Report("a", "", before=-1.0, gain=0.25).verdict.endswith("is 0.25 lower")
    assert Report(None, "no").verdict == "Unchanged: no"


# HTML


class Checker(HTMLParser):
    """Every tag is closed, and nothing is loaded from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        names = dict(attrs)
        assert not {"src", "href"} & set(names)
        if tag not in ("meta", "line", "polyline"):
            self.open.append(tag)
        if tag == "svg" and "role" in names:
            assert names["aria-label"]

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", ["better", "unmoved"])
def test_the_page_needs_nothing_else(kind, request):
    report = request.getfixturevalue(kind).report_
    page = report.to_html()
    checker = Checker()
    checker.feed(page)
    assert not checker.open
    assert {"html", "title", "main", "svg", "table", "caption"} <= set(checker.seen)
    assert "script" not in checker.seen
    assert "link" not in checker.seen
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    assert "prefers-color-scheme: dark" in page
    assert '<html lang="en">' in page
    assert report._repr_html_() in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()


def test_pictures_tell_what_they_show(better):
    card = ET.fromstring(better.report_._repr_html_())
    space = "{http://www.w3.org/2000/svg}"
    pictures = [p for p in card.iter(f"{space}svg") if p.get("role") == "img"]
    assert len(pictures) == 5
    for picture in pictures:
        assert picture.find(f"{space}title").text == picture.get("aria-label")
    gains, moved = pictures[:2]
    texts = {text.text for text in gains.iter(f"{space}text")}
    assert {tried.name for tried in better.report_.tried} | {"model selection"} <= texts
    bars = [float(bar.get("width")) for bar in moved.iter(f"{space}rect")]
    shares = [step.share for step in better.report_.moved()]
    np.testing.assert_allclose(np.divide(bars, bars[0]), np.divide(shares, shares[0]), atol=2e-3)


def test_names_are_escaped(better):
    evil = "<script>alert('1')</script>&"
    report = better.report_
    report = replace(
        report,
        chosen=evil,
        why=evil,
        loss=evil,
        tried=tuple(replace(tried, name=evil) for tried in report.tried),
        steps=tuple(replace(step, name=evil, kind=evil) for step in report.steps),
        curves=tuple(replace(curve, candidate=evil) for curve in report.curves),
    )
    page = report.to_html()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    ET.fromstring(report._repr_html_())


def test_odd_numbers_do_not_break_the_page():
    tried = (Tried("a", 3, 0.1, 0.01, 50, 1.0), Tried("b", 0, math.nan, math.nan, 0, 0.1))
    curves = (Curve("a", 0, (1.0, math.nan), (1.0, math.inf), (0.0, 0.1), 1),)
    report = Report(
        "a", "", 0.5, 0.1, 0.02, 2.0, 50, 1, tried, curves=curves, steps=(
            MovedStep("x", "X", (MovedParameter("w", 1, 0.0, 1.0),)),
        )
    )  # fmt: skip
    ET.fromstring(report._repr_html_())
    assert "from 0" in str(report)
    assert "nan" in str(report)


def test_it_is_written_as_a_whole_or_not_at_all(better, tmp_path, monkeypatch):
    report = better.report_
    path = report.save(tmp_path / "report.html")
    assert path.read_text("utf-8") == report.to_html() == report.to_html(path)
    path.write_text("old")

    def fail(file):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        report.save(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("name", "match"),
    [("report.pdf", "must end in .html"), ("no/report.html", "there is no folder")],
)
def test_wrong_paths_are_refused(better, tmp_path, name, match):
    with pytest.raises(pg.ArgumentError, match=match):
        better.report_.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_axes_have_round_ticks():
    assert Axis(0.0, 1.0, 0, 100).ticks() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert Axis(-0.31, 0.6, 0, 100).ticks(4) == pytest.approx([-0.25, 0.0, 0.25, 0.5])
    logs = Axis(1e-4, 2.0, 0, 100, log=True).ticks(5)
    assert logs == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    axis = Axis(1e-4, 1.0, 100, 0, log=True)
    assert (axis(1e-2), axis(-3.0), axis(9.0)) == pytest.approx((50.0, 100.0, 0.0))
    assert axis.free(1e-6) == pytest.approx(150.0)


# Displays


@pytest.fixture
def pyplot():
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("kind", DISPLAYS)
def test_displays_take_reports_tuners_and_axes(kind, better, pyplot):
    display = kind.from_report(better)
    assert display.figure_ is display.ax_.figure
    figure, ax = pyplot.subplots()
    again = kind.from_report(better.report_, ax=ax)
    assert (again.ax_, again.figure_) == (ax, figure)
    assert again.plot() is again
    assert again.ax_ is not ax
    for side in (display, again):
        side.figure_.canvas.draw()


def test_displays_show_the_numbers(better, pyplot):
    report = better.report_
    gains = GainDisplay.from_report(report)
    labels = [label.get_text() for label in gains.ax_.get_yticklabels()]
    assert labels == [tried.name for tried in report.tried] + ["model selection"]
    drawn = [container.lines[0].get_xdata()[0] for container in gains.containers_]
    assert drawn == [tried.gain for tried in report.tried] + [report.gain]
    moved = MovedStepsDisplay.from_report(report)
    widths = [bar.get_width() for bar in moved.bars_]
    assert widths == pytest.approx([100 * step.share for step in report.moved()])
    reliability = ReliabilityDisplay.from_report(report)
    np.testing.assert_array_equal(reliability.line_.get_ydata(), report.calibration.after.observed)
    np.testing.assert_array_equal(
        reliability.before_line_.get_xdata(), report.calibration.before.predicted
    )
    training = TrainingCurvesDisplay.from_report(report)
    names = [line.get_label() for line in training.lines_]
    assert f"{report.chosen} (selected)" in names
    assert all(line.get_ydata()[0] == 1.0 for line in training.lines_ + training.train_lines_)


def test_what_is_as_it_was_fitted_has_one_curve(unmoved, pyplot):
    display = ReliabilityDisplay.from_report(unmoved)
    assert display.before_line_ is None
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == ["fitted pipeline"]
    with pytest.raises(pg.ArgumentError, match="No parameter changed: "):
        MovedStepsDisplay.from_report(unmoved)


@pytest.mark.parametrize("kind", DISPLAYS)
def test_displays_refuse_what_they_cannot_draw(kind):
    with pytest.raises(pg.ArgumentError):
        kind.from_report(Report(None, "30 rows are too few"))
    with pytest.raises(pg.ArgumentError, match="takes a FineTuner or its report_"):
        kind.from_report("report")
    with pytest.raises(Exception, match="not fitted yet"):
        kind.from_report(pg.FineTuner(LinearRegression()))


def test_without_matplotlib_there_is_a_hint(better, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'pipegrad\[plots\]'"):
        GainDisplay.from_report(better)
