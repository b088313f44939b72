"""MLflow for tests: its runs are files of the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import pipegrad as pg
from pipegrad.mlflow.library import mlflow_library

# Newer ones prefer a database, which takes ten seconds to make.
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not find_spec("mlflow"):
        yield
        return
    mlflow = mlflow_library()
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield
    pg.mlflow.autolog(disable=True)
    while mlflow.active_run() is not None:
        mlflow.end_run()
