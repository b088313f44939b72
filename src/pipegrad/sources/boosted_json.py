"""Model files in JSON, a format that several libraries write."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import ModelFileError
from ..source_catalog import json_keys
from .document import read_json
from .files import ModelFile


def load(path: Any, trusted: bool = False) -> Any:
    """Read a model from a file written by ``save_model`` of XGBoost or CatBoost.

    Parameters
    ----------
    path : str or path
        The file.
    trusted : bool
        Whether the library reads the file at once, without a trial in a child process.

    Raises
    ------
    ModelFileError
        If the file is malformed, or comes from neither library.
    """
    file = ModelFile.read(path)
    known = read_json(file.content, file.name, constants=True).object()
    for key, module in json_keys():
        if key in known:
            return importlib.import_module(module).load(file, trusted)
    raise ModelFileError(f"{file.name} contains no model of XGBoost or CatBoost.")
