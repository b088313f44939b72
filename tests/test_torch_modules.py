"""The row for a torch module of one's own that docs/torch-modules.md shows."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import pipegrad as pg
from pipegrad import registry

PAGE = Path(__file__).parents[1] / "docs" / "torch-modules.md"


@pytest.fixture
def package(tmp_path, monkeypatch) -> Any:
    (block,) = re.findall(r"```py\n# my_package.py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "own_torch_package.py").write_text(block.replace("my_package", "own_torch_package"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_ROWS", dict(registry._ROWS))
    monkeypatch.setattr(registry, "_FOUND", {})
    yield importlib.import_module("own_torch_package")
    del sys.modules["own_torch_package"]


def test_a_module_of_ones_own(package):
    torch.manual_seed(0)
    X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    y = np.sin(X[:, 0]) + X[:, 1] ** 2
    features = package.TorchFeatures(nn.Sequential(nn.Linear(3, 5), nn.Tanh()))
    pipe = make_pipeline(StandardScaler(), features, Ridge()).fit(X, y)
    module = pg.to_torch(pipe)
    np.testing.assert_allclose(module.predict(X), pipe.predict(X), rtol=1e-4, atol=1e-5)
    module.fit(X, y, epochs=20, lr=0.01, validation=None)
    assert module.history[-1]["train_loss"] < 0.9 * module.history[0]["train_loss"]
    back = pg.from_torch(module)
    np.testing.assert_allclose(module.predict(X), back.predict(X), rtol=1e-4, atol=1e-5)
    assert not torch.equal(back[1].module_[0].weight, pipe[1].module_[0].weight)
