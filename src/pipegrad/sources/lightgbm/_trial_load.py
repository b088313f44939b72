"""Loads a LightGBM model in the child process of `pipegrad.sources.trial_load`."""

from __future__ import annotations

import sys

# LightGBM imports them if it can, which takes longer than anything that is done here.
for package in ("pandas", "sklearn", "matplotlib", "pyarrow", "dask"):
    sys.modules[package] = None  # type: ignore[assignment]

import lightgbm  # noqa: E402
import numpy as np  # noqa: E402


def load(content: bytes, suffix: str) -> None:
    """Load the model, predict and write it."""
    booster = lightgbm.Booster(model_str=content.decode("utf-8"))
    rows = np.zeros((3, booster.num_feature()))
    rows[1], rows[2] = np.nan, 1e30
    booster.predict(rows, num_threads=1)
    booster.model_to_string(num_iteration=-1)
