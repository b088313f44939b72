"""Reads CatBoost models from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost

from ..files import reading


def load(path: Any) -> Any:
    """Load a model; the file does not store its estimator class.

    Parameters
    ----------
    path : str or path
        A file written by ``save_model``.
    """
    with reading(path, "CatBoost", catboost.CatBoostError):
        return catboost.CatBoost().load_model(str(path), format=Path(path).suffix[1:].lower())
