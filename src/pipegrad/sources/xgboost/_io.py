"""Reads XGBoost models from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xgboost

from ..files import ModelFile, load_checked
from ._structure import check


def load(path: Any, trusted: bool = False) -> Any:
    """Load a booster.

    Parameters
    ----------
    path : str or path
        A file written by ``save_model``.
    trusted : bool
        Whether XGBoost reads the file at once, without a trial in a child process.

    Raises
    ------
    ModelFileError
        If the file is malformed.
    """
    trial = Path(__file__).with_name("_trial_load.py")
    return load_checked(ModelFile.read(path), "XGBoost", check, _booster, trial, trusted)


def _booster(file: ModelFile) -> Any:
    booster = xgboost.Booster(model_file=bytearray(file.content))
    # XGBoost configures a model, and finds what does not fit together, when somebody uses it.
    booster.save_config()
    booster.save_raw("json")
    booster.copy()
    return booster
