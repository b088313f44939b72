"""What from_torch refuses, and what it leaves alone."""

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.testing import identical, learned, perturb


@pytest.fixture
def empty_column() -> tuple[np.ndarray, Pipeline]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    X[:, 1] = np.nan
    steps = StandardScaler(), SimpleImputer(keep_empty_features=True), Ridge()
    return X, make_pipeline(*steps).fit(X, rng.normal(size=40))


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_numbers_that_were_missing_stay_missing(empty_column) -> None:
    X, pipe = empty_column
    net = pg.to_torch(pipe)
    for before, after in zip(pipe, pg.from_torch(net), strict=True):
        assert identical(learned(before), learned(after))
    perturb(net)
    np.testing.assert_allclose(pg.from_torch(net).predict(X), net.predict(X), rtol=1e-12)


def test_numbers_that_became_infinite_are_refused_by_name() -> None:
    X = np.arange(12.0).reshape(6, 2)
    pipe = make_pipeline(StandardScaler(), Ridge()).fit(X, X[:, 0])
    net = pg.to_torch(pipe)
    with torch.no_grad():
        net.steps["ridge"].body.weight[0] = torch.inf
    with pytest.raises(pg.WriteBackError, match=r"not finite in 'ridge' \(weight\)"):
        pg.from_torch(net)


def test_only_what_to_torch_made_comes_back() -> None:
    with pytest.raises(pg.ArgumentError, match="not a Linear"):
        pg.from_torch(torch.nn.Linear(2, 1))


def test_steps_that_did_not_move_are_bit_identical_beside_one_that_did() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3)) * [1, 10, 100]
    pipe = make_pipeline(StandardScaler(), Ridge()).fit(X, X[:, 0])
    net = pg.to_torch(pipe)
    with torch.no_grad():
        net.steps["ridge"].body.weight.add_(1.0)
    after = pg.from_torch(net)
    assert identical(learned(pipe[0]), learned(after[0]))
    assert not identical(learned(pipe[1]), learned(after[1]))


def test_a_module_outlives_later_changes_of_the_pipeline() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    pipe = make_pipeline(SimpleImputer(), StandardScaler(), Ridge()).fit(X, X[:, 0])
    net = pg.to_torch(pipe, freeze=["simpleimputer"])
    before = net.predict(X)
    pipe.fit(5 * X + 1, X[:, 1])
    np.testing.assert_array_equal(net.predict(X), before)
    np.testing.assert_allclose(pg.from_torch(net).predict(X), before, rtol=1e-12)
