"""Reads CatBoost models from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost
from sklearn.utils.validation import check_is_fitted

from ..files import ModelFile, load_checked
from . import _cbm_structure, _json_structure
from ._model_json import load_content


def load(path: Any, trusted: bool = False) -> Any:
    """Load a model; the file does not store its estimator class.

    Parameters
    ----------
    path : str or path
        A file written by ``save_model``.
    trusted : bool
        Whether CatBoost reads the file at once, without a trial in a child process.

    Raises
    ------
    ModelFileError
        If the file is malformed.
    """
    file = ModelFile.read(path)
    check = _json_structure.check if file.suffix == ".json" else _cbm_structure.check
    trial = Path(__file__).with_name("_trial_load.py")
    return load_checked(file, "CatBoost", check, _model, trial, trusted)


def _model(file: ModelFile) -> Any:
    model = load_content(file.content, file.suffix[1:], catboost.CatBoost())
    # CatBoost reads the options of the fit when somebody asks for them.
    model.get_all_params()
    check_is_fitted(model)
    return model
