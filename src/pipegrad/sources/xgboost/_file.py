"""Models of XGBoost that lie in files."""

from __future__ import annotations

from typing import Any

import xgboost

from ...errors import ModelFileError


def load(path: Any) -> Any:
    """The booster.

    Parameters
    ----------
    path : str or path
        What ``save_model`` wrote.
    """
    try:
        return xgboost.Booster(model_file=str(path))
    except xgboost.core.XGBoostError as error:
        raise ModelFileError(f"{path!s} holds no model of XGBoost: {error!s:.200}") from error
