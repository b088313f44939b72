"""Loads an XGBoost model in the child process of `pipegrad.sources.trial_load`."""

from __future__ import annotations

import sys

# XGBoost imports them if it can, which takes longer than anything that is done here.
for package in ("pandas", "sklearn", "matplotlib", "pyarrow", "dask"):
    sys.modules[package] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import xgboost  # noqa: E402


def load(content: bytes, suffix: str) -> None:
    """Load the model, predict and write it."""
    booster = xgboost.Booster(model_file=bytearray(content))
    booster.set_param({"nthread": 1})
    booster.save_config()
    booster.save_raw("json")
    rows = np.zeros((3, booster.num_features()), dtype=np.float32)
    rows[1], rows[2] = np.nan, 1e30
    booster.predict(xgboost.DMatrix(rows, nthread=1), validate_features=False)
