"""Loads a CatBoost model in the child process of `pipegrad.sources.trial_load`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np


def load(content: bytes, suffix: str) -> None:
    """Load the model, predict and write it."""
    import catboost

    form = suffix[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"model{suffix}")
        path.write_bytes(content)
        model = catboost.CatBoost().load_model(str(path), format=form)
        model.save_model(str(path), format="json")
    model.get_all_params()
    rows = np.zeros((3, len(model.feature_names_)), dtype=object)
    rows[1], rows[2] = np.nan, 1e30
    rows[:, model.get_cat_feature_indices()] = "1"
    model.predict(rows, thread_count=1)
