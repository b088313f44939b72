"""`FineTuner(validation_split=...)`: by what the rows show, or by the user's rule."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.errors import ArgumentError
from pipegrad.finetune.validation.splits import RowSplitter

QUICK = {"lr": 0.01, "epochs": 2, "random_state": 0}
pytestmark = [
    pytest.mark.filterwarnings("ignore:Fine-tuning kept"),
    pytest.mark.filterwarnings("ignore:Training did not lower"),
]


def rule(X, y, pipe=None, groups=None, **settings):
    """The first word of what the report says about validation."""
    pipe = pipe or make_pipeline(StandardScaler(), Ridge())
    tuner = pg.FineTuner(pipe, **{**QUICK, **settings}).fit(X, y, groups=groups)
    said = tuner.report_.validation
    assert not said or said in " ".join(str(tuner.report_).split("\n"))
    assert said in tuner.report_.to_html().replace("&#x27;", "'")
    return said.split(" ")[0].lower()


def noise(count=1200, rho=0.97):
    rng = np.random.default_rng(0)
    out = rng.normal(size=count)
    for i in range(1, count):
        out[i] = rho * out[i - 1] + np.sqrt(1 - rho**2) * out[i]
    return out


X = np.random.default_rng(1).normal(size=(1200, 3))


def test_autocorrelated_noise_is_noticed_unless_rows_are_shuffled():
    y = X[:, 0] + noise()
    mixed = np.random.default_rng(2).permutation(1200)
    assert rule(X, y) == "ordered"
    assert rule(X[mixed], y[mixed]) == ""
    assert rule(X, y, validation_split="random") == ""
    assert rule(X, y, cv=KFold(5)) == ""


def test_a_drifting_class_boundary_is_noticed():
    y = X[:, 0] * np.linspace(1, -1, 1200) + X[:, 1] > 0
    assert rule(X, y, LogisticRegression()) == "ordered"


def test_a_weak_drift_is_noticed_on_the_rows_of_several_splits():
    """One split leaves it open, so that the rows of the next ones are looked at."""
    weight = 1 + 0.5 * np.linspace(-1, 1, 1200)
    y = X[:, 0] * weight + np.random.default_rng(0).normal(size=1200)
    assert rule(X, y) == ""  # Settings of one's own have one split.
    assert rule(X, y, lr=None, epochs=None) == "ordered"


def test_the_recipe_notices_too_and_validates_on_later_rows():
    tuner = pg.FineTuner(Ridge(), random_state=0).fit(X, X[:, 0] + noise())
    assert tuner.report_.validation.startswith("Ordered validation on later rows.")
    assert "validation_split='random' overrules this" in tuner.report_.validation
    assert tuner.report_.rows == 600


def test_a_date_is_enough():
    table = pd.DataFrame(X, index=pd.date_range("2020", periods=1200, freq="h"))
    y = X[:, 0] + np.random.default_rng(0).normal(size=1200)
    assert rule(table, y) == "ordered"
    assert rule(table, y, validation_split="random") == ""
    assert rule(table.sample(1200, random_state=0), y) == ""


def test_rows_sorted_by_class_or_target_stay_random():
    features, labels = load_iris(return_X_y=True)
    assert rule(features, labels, LogisticRegression()) == ""
    y = X[:, 0] + np.random.default_rng(0).normal(size=1200)
    order = np.argsort(y)
    assert rule(X[order], y[order]) == ""
    index = pd.date_range("2020", periods=150)
    table = pd.DataFrame(features, index=index)
    many = LogisticRegression(max_iter=1000)
    assert rule(table, labels, many, lr=None, epochs=None) == ""


@pytest.fixture(params=["in runs", "mixed"])
def panel(request):
    """Twelve rows of each of 100 persons, who differ."""
    rng = np.random.default_rng(0)
    person = np.repeat(rng.permutation(100), 12)
    if request.param == "mixed":
        person = rng.permutation(person)
    y = X[:, 0] + rng.normal(size=100)[person] + 0.3 * rng.normal(size=1200)
    return person, y


def test_a_column_of_persons_is_noticed(panel):
    person, y = panel
    table = pd.DataFrame(X, columns=list("abc"))
    assert rule(table.assign(person_id=person), y) == "grouped"
    table["person"] = [f"p{i}" for i in person]
    numbers = make_column_transformer((StandardScaler(), list("abc")))
    assert rule(table, y, make_pipeline(numbers, Ridge())) == "grouped"


def test_an_ordinary_category_is_no_group():
    """Residuals follow the hour, and neighbouring hours are alike; new rows have known hours."""
    hour = np.random.default_rng(0).integers(24, size=1200)
    y = X[:, 0] + 2 * np.sin(hour / 24 * 2 * np.pi)
    assert rule(np.column_stack([X, hour]), y) == ""


def test_a_numeric_feature_is_no_group():
    """Residuals differ between values without any pattern, but new rows have the same values."""
    amount = np.random.default_rng(0).integers(60, size=1200)
    y = X[:, 0] + np.random.default_rng(1).normal(size=60)[amount]
    assert rule(pd.DataFrame(X, columns=list("abc")).assign(amount=amount), y) == ""


@pytest.mark.slow
def test_groups_are_kept_together_and_do_not_reach_the_loss(panel):
    person, y = panel
    said = rule(X, y, validation_split="grouped", groups=person, lr=None, epochs=None)
    assert said == "grouped"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_split": "time"}, "validation_split must be .* got 'time'"),
        ({"validation_split": "grouped"}, "groups= is missing"),
        ({"validation_split": "ordered"}, "'ordered' gives no splits"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_fitted(settings, message, monkeypatch):
    def unwanted(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(LogisticRegression, "fit", unwanted)
    tuner = pg.FineTuner(LogisticRegression(), random_state=0, **settings)
    with pytest.raises(ArgumentError, match=message):
        tuner.fit(*load_iris(return_X_y=True))


def test_groups_without_use_name_the_setting_that_uses_them():
    with pytest.raises(ArgumentError, match="validation_split='grouped'"):
        pg.FineTuner(Ridge()).fit(X, X[:, 0], groups=np.arange(1200))


def test_training_rows_precede_validation_rows():
    rows = np.arange(0, 2000, 2)
    pairs = RowSplitter(rows, None, 0.2, 0).ordered()
    assert [(t.max() < v.min(), len(v)) for t, v in pairs] == [(True, 100)] * 5
    assert pairs[0][1].max() == 1998
    assert min(len(train) for train, _ in pairs) == 500
    backwards = RowSplitter(rows, None, 0.2, 0).ordered(reverse=True)
    assert all(train.min() > valid.max() for train, valid in backwards)
    ((train, valid),) = RowSplitter(rows, None, 0.2, 0, single=True).ordered()
    assert (len(train), len(valid), train.max() < valid.min()) == (800, 200, True)


def test_groups_are_balanced_and_undivided():
    groups = np.random.default_rng(0).integers(30, size=1000)
    pairs = RowSplitter(np.arange(1000), None, 0.2, 0).grouped(groups)
    assert len(pairs) == 5
    assert sorted(np.concatenate([valid for _, valid in pairs])) == list(range(1000))
    for train, valid in pairs:
        assert not set(groups[train]) & set(groups[valid])
        assert 150 < len(valid) < 250


def test_a_class_that_comes_up_later_does_not_validate():
    classes = np.tile([0, 1], 500)
    classes[980:] = 2
    splitter = RowSplitter(np.arange(1000), classes, 0.2, 0)
    pairs = splitter.ordered()
    assert splitter.covers_classes(pairs)
    assert len(pairs[0][1]) == 80
    assert not RowSplitter(np.arange(1000), np.repeat([0, 1], 500), 0.2, 0).ordered()
    sorted_by_class = RowSplitter(np.arange(1000), np.repeat([0, 1, 2], [400, 300, 300]), 0.2, 0)
    assert not sorted_by_class.covers_classes(sorted_by_class.ordered())
