"""Columns and answers of ML.NET models change nothing, and tensors mean arrays."""

from pathlib import Path

import pandas as pd
import pytest
import torch

import pipegrad as pg
from pipegrad.testing import identical

MODELS = Path(__file__).parents[2] / "data" / "mlnet"


@pytest.mark.parametrize("name", ["fasttree_regression", "averaged_perceptron"])
def test_columns_change_nothing(name):
    net = pg.to_torch(MODELS / f"{name}.zip")
    table = pd.read_parquet(MODELS / f"{name}.input.parquet")
    for part in list(net.modules())[1::2]:
        part.train(not part.training)
    before = [(part.training, dict(vars(part))) for part in net.modules()]
    columns = net.columns(table)
    assert identical(net.predict(table), net.predict(table))
    after = [(part.training, dict(vars(part))) for part in net.modules()]
    for (mode, then), (same, now) in zip(before, after, strict=True):
        assert mode == same
        # The order of calls is found once, when a module is first asked.
        known = then.keys() - {"_schedule"}
        assert all(now[key] is then[key] for key in known)
    tensors = {
        key: torch.tensor(table[key].to_numpy()) if table[key].dtype.kind in "fi" else table[key]
        for key in table
    }
    for key, value in net.columns(tensors).items():
        assert identical(value, columns[key]), key
