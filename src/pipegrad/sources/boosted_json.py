"""Model files in JSON, which several libraries write."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from ..errors import ModelFileError

# A name that stands at the top of what each library writes.
_MARKS = {"learner": "xgboost", "features_info": "catboost"}


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
    for mark, library in _MARKS.items():
        if isinstance(content, dict) and mark in content:
            return importlib.import_module(f"pipegrad.sources.{library}").load(path)
    raise ModelFileError(f"{path!s} holds no model of XGBoost or CatBoost.")
