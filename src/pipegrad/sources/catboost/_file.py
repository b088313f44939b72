"""Models of CatBoost that lie in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost

from ...errors import ModelFileError


def load(path: Any) -> Any:
    """The model, without the class that it was fitted as.

    Parameters
    ----------
    path : str or path
        What ``save_model`` wrote.
    """
    try:
        return catboost.CatBoost().load_model(str(path), format=Path(path).suffix[1:].lower())
    except catboost.CatBoostError as error:
        raise ModelFileError(f"{path!s} holds no model of CatBoost: {error!s:.200}") from error
