"""Models of XGBoost that lie in files."""

from __future__ import annotations

from typing import Any

import xgboost

from ..files import reading


def load(path: Any) -> Any:
    """The booster.

    Parameters
    ----------
    path : str or path
        What ``save_model`` wrote.
    """
    with reading(path, "XGBoost", xgboost.core.XGBoostError):
        return xgboost.Booster(model_file=str(path))
