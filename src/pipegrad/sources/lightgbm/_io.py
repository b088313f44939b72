"""Models of LightGBM that lie in files."""

from __future__ import annotations

from typing import Any

import lightgbm

from ..files import reading


def load(path: Any) -> Any:
    """The booster.

    Parameters
    ----------
    path : str or path
        What ``save_model`` wrote.
    """
    with reading(path, "LightGBM", lightgbm.basic.LightGBMError):
        return lightgbm.Booster(model_file=str(path))
