"""Every row of the mapping table, compiled: answers and errors are those of the operator."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pipegrad as pg
from helpers import dense, first_examples
from pipegrad.serving.compiled import METHODS

pytest.importorskip("onnxruntime")
# Of torch's exporter, about itself; of operators, about their examples.
pytestmark = pytest.mark.filterwarnings("ignore")

QUICK = {"sklearn.preprocessing.MinMaxScaler", "sklearn.linear_model.Ridge"}


def variants(X):
    yield X
    yield X[:1]
    if isinstance(X, np.ndarray) and X.dtype.kind == "f" and X.ndim == 2:
        for mark in (np.nan, np.inf, -np.inf, -1e308):
            rows = X[:5].copy()
            rows[3, 1] = mark
            yield rows
        yield X[:3, :-1]
        yield X[:4].astype(np.float32)


def answer(method, rows):
    """An answer as dense numbers, or the class of an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = method(rows)
    except Exception as error:
        return type(error)
    return [dense(part) for part in found] if isinstance(found, list) else [dense(found)]


@first_examples(QUICK)
def test_compiled_operators_answer_as_the_operator(case):
    operator, (X, _) = case.fitted(), case.data()
    serving, net = pg.compile(operator, threads=1), pg.to_torch(operator)
    for name in METHODS:
        assert hasattr(serving, name) == hasattr(net, name)
        if not hasattr(serving, name):
            continue
        answer(getattr(serving, name), X)  # takes the session into use
        for rows in variants(X):
            ours, theirs = answer(getattr(serving, name), rows), answer(getattr(net, name), rows)
            if isinstance(theirs, type):
                assert ours is theirs, f"{name}: {ours} instead of {theirs}"
                continue
            for mine, other in zip(ours, theirs, strict=True):
                assert mine.shape == other.shape
                assert mine.dtype == other.dtype
                if other.dtype.kind != "f":
                    assert (mine == other).all()
                    continue
                usual = np.abs(dense(other)[np.isfinite(other)]).max(initial=1e-12)
                wide = 1e-5 if other.dtype == np.float32 else 1e-9
                np.testing.assert_allclose(mine, other, rtol=wide, atol=wide * usual)
