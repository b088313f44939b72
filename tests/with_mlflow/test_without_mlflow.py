"""What `pipegrad.mlflow` says where MLflow is not installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import Ridge

import pipegrad as pg


def test_the_extra_is_named_before_any_work(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    fit = pg.FineTuner.fit
    calls = [
        lambda: pg.mlflow.save_model(Ridge(), tmp_path / "model"),
        lambda: pg.mlflow.log_model(Ridge()),
        lambda: pg.mlflow.load_model(tmp_path),
        pg.mlflow.autolog,
    ]
    for call in calls:
        with pytest.raises(pg.ArgumentError, match=r"pip install 'pipegrad\[mlflow\]'"):
            call()
    assert pg.FineTuner.fit is fit
    pg.mlflow.autolog(disable=True)
