"""Models of LightGBM that lie in files."""

from __future__ import annotations

from typing import Any

import lightgbm

from ...errors import ModelFileError


def load(path: Any) -> Any:
    """The booster.

    Parameters
    ----------
    path : str or path
        What ``save_model`` wrote.
    """
    try:
        return lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        raise ModelFileError(f"{path!s} holds no model of LightGBM: {error!s:.200}") from error
