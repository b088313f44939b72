"""Heads know the columns of their scores, by which composites split the scores of members."""

import importlib

import numpy as np
import pytest
from sklearn.base import ClassifierMixin

import pipegrad as pg
from pipegrad.testing import Case, cases


def classifiers() -> list[Case]:
    """The first two data sets of each class: the scores of two classes and of more differ."""
    found: dict[tuple[str, str], Case] = {}
    for case in cases("sklearn.*"):
        module, _, name = case.name.rpartition(".")
        if not issubclass(getattr(importlib.import_module(module), name), ClassifierMixin):
            continue
        data = case.example.data or case.row.data
        if sum(known == case.name for known, _ in found) < 2:
            found.setdefault((case.name, data), case)
    return list(found.values())


@pytest.mark.parametrize("case", classifiers(), ids=str)
def test_columns_of_the_score(case: Case) -> None:
    operator = case.fitted()
    net = pg.to_torch(operator)
    if net.head is None or net.head.task != "classification":
        pytest.skip("several targets")
    X, _ = case.data()
    width = net.head.columns(len(np.asarray(operator.classes_)))
    assert net(X).shape[1:] == ((width,) if width else ())
