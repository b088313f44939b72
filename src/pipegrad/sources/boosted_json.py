"""Model files in JSON, which several libraries write."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from ..source_catalog import json_keys


def load(path: Any) -> Any:
    """The model in a file that ``save_model`` of XGBoost or CatBoost wrote.

    Raises
    ------
    ModelFileError
        When the file is of neither.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path!s} is no JSON: {error}") from error
    for key, module in json_keys():
        if isinstance(content, dict) and key in content:
            return importlib.import_module(module).load(path)
    raise ModelFileError(f"{path!s} holds no model of XGBoost or CatBoost.")
