"""Residuals that depend on the order of rows, or on groups, and those that do not."""

import numpy as np
import pytest

from pipegrad.finetune.validation.row_dependence import (
    CRITICAL_Z,
    comparable,
    correlation_between_adjacent,
    correlation_of_neighbours,
    correlation_with_time,
    correlation_within,
    runs_of,
    sorted_by_target,
)


def slow(count, rho, rng):
    """A stationary autoregressive series of variance one."""
    out = rng.normal(size=(count, 1))
    for i in range(1, count):
        out[i] = rho * out[i - 1] + np.sqrt(1 - rho**2) * out[i]
    return out


@pytest.mark.parametrize("count", [30, 300])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "rare class"])
def test_independent_rows_hardly_ever_depend_on_each_other(count, kind):
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        classes = None
        values = rng.normal(size=(count, 1))
        if kind == "heavy tails":
            values = rng.standard_t(1.5, size=(count, 1))
        if kind == "rare class":
            classes = (rng.random(count) < 0.05).astype(int)
            values = rng.beta(1, 9, size=(count, 1)) - classes[:, None]
        values = comparable(values, classes)
        groups = rng.integers(count // 4, size=count)
        found += [correlation_of_neighbours(values).z, correlation_within(values, groups).z]
        found += [correlation_with_time(values).z]
    assert np.mean(np.array(found) > CRITICAL_Z) < 0.005
    assert np.mean(np.array(found) > 2) > 0.005  # The statistic is not merely small.


def test_standard_errors_are_those_of_permutations():
    """The closed form agrees with the spread over random orders of the same rows."""
    rng = np.random.default_rng(0)
    values = comparable(rng.normal(size=(200, 3)) @ rng.normal(size=(3, 3)), None)
    groups = np.arange(200) // 4
    drawn = [correlation_within(values[rng.permutation(200)], groups).z for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(0, abs=0.07)
    assert np.std(drawn) == pytest.approx(1, abs=0.07)


@pytest.mark.parametrize(("rho", "gap"), [(0.9, 1), (0.98, 5)])
def test_autocorrelated_rows_do(rho, gap):
    values = comparable(slow(500 * gap, rho, np.random.default_rng(0))[::gap], None)
    found = correlation_of_neighbours(values)
    assert found.significant
    assert found.mean > 0.3


def test_a_slow_drift_in_much_noise_is_seen_over_long_windows():
    rng = np.random.default_rng(0)
    values = np.linspace(-0.5, 0.5, 2000)[:, None] + rng.normal(size=(2000, 1))
    assert correlation_of_neighbours(comparable(values, None)).significant
    found = correlation_with_time(comparable(values[::3], None))  # With fewer rows, too.
    assert found.significant
    assert found.mean == pytest.approx(0.28, abs=0.05)


def test_the_correlation_with_time_is_that_of_numpy():
    values = comparable(np.random.default_rng(0).normal(size=(100, 1)), None)
    phase = np.pi * (np.arange(100) + 0.5) / 100
    expected = [np.corrcoef(np.cos(k * phase), values[:, 0])[0, 1] for k in (1, 2, 3)]
    found = correlation_with_time(values)
    assert found.mean == pytest.approx(np.abs(expected).max())
    assert found.z == pytest.approx(10 * found.mean)


def test_rows_sorted_by_class_alone_look_like_any_others():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 200)
    values = rng.uniform(size=(600, 1)) - (classes == 1)[:, None]
    assert not correlation_of_neighbours(comparable(values, classes)).significant
    assert correlation_of_neighbours(comparable(values, None)).significant


def test_adjacent_groups_are_strangers_unless_they_drift():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(100), 5)
    independent = comparable(rng.normal(size=100)[codes][:, None] + rng.normal(size=(500, 1)), None)
    drifting = comparable(slow(100, 0.95, rng)[codes] + rng.normal(size=(500, 1)), None)
    assert correlation_within(independent, codes).significant
    assert abs(correlation_between_adjacent(independent, codes).z) < 2.5
    assert correlation_between_adjacent(drifting, codes).z > 2.5


def test_constant_residuals_and_single_rows_are_no_evidence():
    for values in (np.zeros((50, 2)), np.ones((1, 1)), np.empty((50, 0))):
        for test in (correlation_of_neighbours, correlation_with_time):
            assert not test(comparable(values, None)).significant


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (np.arange(50.0), True),
        (np.arange(50)[::-1], True),
        (np.r_[np.arange(40), np.arange(40)], True),
        (np.repeat([0, 1, 2], 20), True),
        (np.sin(np.arange(50.0)), False),
        (np.array(list("ab")), False),
    ],
)
def test_rows_sorted_by_their_target_are_recognized(target, expected):
    assert sorted_by_target(target) == expected


def test_runs_are_numbered():
    assert runs_of(np.array([3, 3, 1, 3])).tolist() == [0, 0, 1, 2]
