"""Model files in JSON, a format that several libraries write."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from ..source_catalog import json_keys


def load(path: Any) -> Any:
    """Read a model from a file written by ``save_model`` of XGBoost or CatBoost.

    Raises
    ------
    ModelFileError
        If the file comes from neither library.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path!s} is not JSON: {error}") from error
    for key, module in json_keys():
        if isinstance(content, dict) and key in content:
            return importlib.import_module(module).load(path)
    raise ModelFileError(f"{path!s} contains no model of XGBoost or CatBoost.")
