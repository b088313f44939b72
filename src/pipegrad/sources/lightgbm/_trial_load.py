"""Loads a LightGBM model in the child process of `pipegrad.sources.trial_load`."""

from __future__ import annotations

import numpy as np

LEFT_OUT = ("pandas", "sklearn", "matplotlib", "pyarrow", "dask")
"""Packages that LightGBM imports if it can, which would take longer than all that is done here."""


def load(content: bytes, suffix: str) -> None:
    """Load the model, predict and write it."""
    import lightgbm

    booster = lightgbm.Booster(model_str=content.decode("utf-8"))
    rows = np.zeros((3, booster.num_feature()))
    rows[1], rows[2] = np.nan, 1e30
    booster.predict(rows, num_threads=1)
    booster.model_to_string(num_iteration=-1)
