"""Functions that refuse NaN, in training that diverges."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.errors import PipegradWarning
from pipegrad.modules._answers import answer_or_nan
from pipegrad.sources.arrays import to_block

X = np.random.default_rng(0).normal(size=(80, 3))
y = X[:, 0] - X[:, 1] ** 2


def refusing(x):
    values = x if isinstance(x, torch.Tensor) else x.to_dense()
    if not values.isfinite().all():
        raise ValueError("not finite")
    return values.sum(1)


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array], ids=["dense", "sparse"])
def test_rows_that_are_not_finite_become_nan(make):
    table = X[:5].copy()
    table[1, 0], table[3, 2] = np.nan, np.inf
    found = answer_or_nan(to_block(make(table), torch.float64, torch.device("cpu")), refusing)
    assert found.isnan().tolist() == [False, True, False, True, False]
    np.testing.assert_allclose(found[0], X[0].sum())


def test_errors_for_finite_rows_remain():
    def broken(x):
        raise KeyError("x")

    with pytest.raises(KeyError):
        answer_or_nan(torch.zeros(2, 2), broken)


@pytest.mark.parametrize("through", [False, True])
def test_diverging_training_is_told_as_such(through):
    last = make_pipeline(KNeighborsRegressor(weights=np.exp if through else "uniform"))
    pipe = make_pipeline(StandardScaler(), pg.Featurizer(last), Ridge()).fit(X, y)
    options = {"through": {"*": "finite-differences"}} if through else {}
    net = pg.to_torch(pipe, **options)
    with pytest.warns(PipegradWarning, match="the loss became nan"):
        net.fit(X, y, optim=torch.optim.SGD, lr=1e200, epochs=5, validation=None)
