"""Loads an XGBoost model in the child process of `pipegrad.sources.trial_load`."""

from __future__ import annotations

import numpy as np

LEFT_OUT = ("pandas", "sklearn", "matplotlib", "pyarrow", "dask")
"""Packages that XGBoost imports if it can, which would take longer than all that is done here."""


def load(content: bytes, suffix: str) -> None:
    """Load the model, predict and write it."""
    import xgboost

    booster = xgboost.Booster(model_file=bytearray(content))
    booster.set_param({"nthread": 1})
    booster.save_config()
    booster.save_raw("json")
    rows = np.zeros((3, booster.num_features()), dtype=np.float32)
    rows[1], rows[2] = np.nan, 1e30
    booster.predict(xgboost.DMatrix(rows, nthread=1), validate_features=False)
