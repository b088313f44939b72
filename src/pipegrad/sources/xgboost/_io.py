"""Reads XGBoost models from files."""

from __future__ import annotations

from typing import Any

import xgboost

from ..files import reading


def load(path: Any) -> Any:
    """Load a booster.

    Parameters
    ----------
    path : str or path
        A file written by ``save_model``.
    """
    with reading(path, "XGBoost", xgboost.core.XGBoostError):
        return xgboost.Booster(model_file=str(path))
