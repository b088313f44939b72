"""What a plug-in tests: its rows keep the contract, and its operators work inside pipelines."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from squash import Squash

import pipegrad as pg
from pipegrad.testing import CHECKS, cases


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
@pytest.mark.parametrize("case", cases("squash.*"), ids=str)
def test_contract(case, check):
    check(case)


def test_the_rows_are_found():
    assert len(cases("squash.*")) == 2


def test_inside_a_pipeline():
    X = np.random.default_rng(0).normal(size=(40, 3))
    pipe = make_pipeline(Squash(), Ridge()).fit(X, X.sum(axis=1))
    assert [step.status for step in pg.inspect(pipe)] == ["trainable", "trainable"]
    net = pg.to_torch(pipe)
    np.testing.assert_allclose(net.predict(X), pipe.predict(X))
    assert type(pg.from_torch(net)["squash"]) is Squash
