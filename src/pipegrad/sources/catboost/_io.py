"""Models of CatBoost that lie in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost

from ..files import reading


def load(path: Any) -> Any:
    """The model, without the class that it was fitted as.

    Parameters
    ----------
    path : str or path
        What ``save_model`` wrote.
    """
    with reading(path, "CatBoost", catboost.CatBoostError):
        return catboost.CatBoost().load_model(str(path), format=Path(path).suffix[1:].lower())
