"""`FineTuner(cv=...)`: rows that validate as the user divides them."""

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.pipeline import make_pipeline

import pipegrad as pg
from pipegrad.errors import ArgumentError
from pipegrad.finetune import losses
from pipegrad.finetune.selection import select_candidate
from pipegrad.finetune.validation.splits import given_splits
from pipegrad.training.samples import Samples


def splits(cv, count=100, y=None, groups=None, weight=None, estimator=None):
    y = np.zeros(count) if y is None else y
    rows = np.arange(count) if weight is None else np.flatnonzero(weight)
    classes = None if estimator is None else np.unique(y[rows], return_inverse=True)[1]
    X = np.zeros((count, 1))
    return given_splits(cv, estimator or Ridge(), Samples(X, y, groups=groups), rows, classes)


def test_the_last_split_in_time_comes_first():
    found = splits(TimeSeriesSplit(3))
    assert [valid[0] for _, valid in found] == [75, 50, 25]
    assert all(train.max() < valid.min() for train, valid in found)


def test_an_iterable_of_rows_will_do():
    (train, valid), *others = splits([(range(60), range(60, 100))])
    assert (len(train), len(valid), others) == (60, 40, [])


def test_masks_will_do():
    mask = np.arange(100) < 60
    ((train, valid),) = splits([(mask, ~mask)])
    assert (train[-1], valid[0]) == (59, 60)


def test_a_number_keeps_classes_alike_for_a_classifier():
    y = np.repeat([0, 1], [80, 20])
    for _, valid in splits(4, y=y, estimator=LogisticRegression()):
        assert y[valid].mean() == 0.2


def test_rows_without_weight_stay_out():
    weight = np.tile([1.0, 0.0], 50)
    for part in splits(KFold(4), weight=weight)[0]:
        assert (weight[part] > 0).all()


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (RepeatedKFold(n_splits=3, n_repeats=2), "sets of several splits"),
        (ShuffleSplit(3, test_size=0.5, random_state=0), "sets of several splits"),
        ([(range(60), range(50, 100))], "rows that are in both sets"),
        ([(range(60), [])], "empty training or validation set"),
        ([(range(60), range(90, 101))], "row numbers between 0 and 99"),
        ([(range(60), [-1])], "row numbers"),
        ([([0.5, 1.5], [3])], "row numbers"),
        ([([True, False], [3])], "row numbers"),
        ([], "gives no splits"),
        (KFold(101), "gives no splits"),
        ("time", "gives no splits"),
    ],
)
def test_what_cannot_be_used_is_refused(cv, message):
    with pytest.raises(ArgumentError, match=message):
        splits(cv)


def test_a_class_that_only_validates_is_refused():
    y = np.repeat([0, 1], 50)
    with pytest.raises(ArgumentError, match="StratifiedKFold"):
        splits(KFold(2), y=y, estimator=LogisticRegression())
    assert len(splits(StratifiedKFold(2), y=y, estimator=LogisticRegression())) == 2


@pytest.fixture
def fitted_rows(monkeypatch):
    """How many rows each fit of a Ridge got."""
    seen, fit = [], Ridge.fit

    def watched(self, X, y, **kwargs):
        seen.append(len(X))
        return fit(self, X, y, **kwargs)

    monkeypatch.setattr(Ridge, "fit", watched)
    return seen


def test_bad_splits_cost_no_fit(fitted_rows):
    with pytest.raises(ArgumentError, match="no splits"):
        pg.FineTuner(Ridge(), cv=KFold(50)).fit(np.zeros((10, 1)), np.zeros(10))
    assert not fitted_rows


def test_without_a_recipe_the_last_split_is_used(fitted_rows):
    X = np.random.default_rng(0).normal(size=(200, 2))
    pg.FineTuner(Ridge(), cv=TimeSeriesSplit(4), epochs=1, random_state=0).fit(X, X[:, 0])
    assert fitted_rows == [160]


@pytest.fixture
def drifting():
    """What the first rows say of the last is wrong: the useful direction changes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 4)) * [3.0, 2.0, 0.5, 0.5]
    y = X[:, 2] + 0.1 * rng.normal(size=1500)
    y[1200:] = -X[1200:, 2]
    return X, y


@pytest.mark.slow
def test_validation_by_time_sees_a_drift_that_random_rows_hide(drifting):
    X, y = drifting
    pipe = make_pipeline(PCA(2), Ridge())
    unsafe = pg.FineTuner(pipe, validation_split="random", random_state=0)
    assert unsafe.fit(X, y).improved_
    for settings in ({}, {"validation_split": "ordered"}, {"cv": TimeSeriesSplit(4)}):
        with pytest.warns(UserWarning, match="kept the fitted pipeline"):
            ordered = pg.FineTuner(pipe, **settings, random_state=0).fit(X, y)
        assert not ordered.improved_


def gains(*means, count=1000):
    """Losses of one candidate that gains so much in each split, and the number of the split."""
    draw = np.random.default_rng(0)
    start = draw.normal(10.0, 1.0, size=count * len(means))
    split = np.repeat(np.arange(len(means)), count)
    noise = draw.normal(0.0, 0.1, size=len(start))
    return start, (start - np.array(means)[split] - noise)[None, None], split


@pytest.mark.parametrize(
    ("means", "clear"),
    [
        ((1.0, 1.0, 1.0, 1.0, 1.0), True),
        ((0.1, 2.0, 0.1, 0.2, 0.1), False),
        ((1.0, 0.1), False),
    ],
)
def test_splits_are_counted_where_rows_resemble_each_other(means, clear):
    start, losses, split = gains(*means)
    assert select_candidate(start, losses, 0).significant  # As if each row were a case of its own.
    found = select_candidate(start, losses, 0, cluster=split)
    assert found.significant == clear
    assert found.gain == pytest.approx(np.mean(means), abs=0.02)


def test_few_splits_need_more_than_many():
    """The bound is that of Student's t for two standard errors."""
    for count in (2, 3, 5):
        means = np.linspace(0.5, 1.5, count)
        start, losses, split = gains(*means)
        wider = stats.t.ppf(stats.norm.cdf(2.0), count - 1) / 2
        expected = wider * means.std(ddof=1) / np.sqrt(count)
        assert select_candidate(start, losses, 0, cluster=split).error == pytest.approx(
            expected, rel=0.05
        )
    start, losses, split = gains(1.0)  # One says nothing of how splits differ.
    assert (
        select_candidate(start, losses, 0, cluster=split).error
        == select_candidate(start, losses, 0).error
    )


def test_groups_stay_together():
    groups = np.repeat(np.arange(20), 5)
    for train, valid in splits(GroupKFold(4), groups=groups):
        assert not set(groups[train]) & set(groups[valid])


@pytest.mark.slow
def test_groups_may_serve_the_splits_alone():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    X = rng.normal(size=(600, 3)) * [3.0, 1.0, 1.0]
    y = X[:, 1]
    tuner = pg.FineTuner(make_pipeline(PCA(1), Ridge()), cv=GroupKFold(5), random_state=0)
    assert tuner.fit(X, y, groups=groups).improved_
    assert tuner.report_.splits == 5  # Splits are counted, so that none is spared.
    with pytest.raises(ArgumentError, match="no splits"):
        tuner.fit(X, y)  # GroupKFold needs them.


@pytest.mark.slow
def test_groups_serve_a_penalty_and_the_splits():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), 8)
    X = rng.normal(size=(400, 3)) * [3.0, 1.0, 1.0]
    y = (X[:, 1] > 0).astype(int)
    loss = losses.GroupPenalty("log_loss", strength=0.1)
    pipe = make_pipeline(PCA(1), LogisticRegression())
    tuner = pg.FineTuner(pipe, cv=GroupKFold(5), loss=loss, random_state=0)
    assert hasattr(tuner.fit(X, y, groups=groups), "estimator_")


def test_drifting_gains_must_be_larger():
    """A gain of half a percent, the same in every split, counts for random rows alone."""
    start, losses, split = gains(*[0.05] * 5)
    assert select_candidate(start, losses, 0).significant
    drifting = select_candidate(start, losses, 0, cluster=split, drifting=True)
    assert drifting.gain > drifting.critical_z * drifting.error
    assert not drifting.significant
    start, losses, split = gains(*[0.2] * 5)
    assert select_candidate(start, losses, 0, cluster=split, drifting=True).significant


def test_groups_of_different_sizes_count_by_their_rows():
    """The error is that of a ratio of sums over groups, and about that of rows if rows differ."""
    draw = np.random.default_rng(0)
    group = np.repeat(np.arange(100), draw.integers(1, 30, size=100))
    start = draw.normal(10.0, 1.0, size=len(group))
    own = draw.normal(1.0, 0.5, size=len(group))
    shared = draw.normal(1.0, 0.5, size=100)[group]
    errors = [
        select_candidate(start, (start - gain)[None, None], 0, cluster=cluster).error
        for gain, cluster in ((own, None), (own, group), (shared, group))
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.2)
    sizes = np.bincount(group)
    expected = 0.5 * np.sqrt((sizes**2).sum()) / sizes.sum()
    assert errors[2] == pytest.approx(expected, rel=0.2)
