"""Model files in zip archives, a format that several libraries write."""

from __future__ import annotations

import importlib
from typing import Any

from ..source_catalog import zip_entries
from .zip_archive import Archive


def load(path: Any, trusted: bool = False) -> Any:
    """Read a model from a zip archive of ML.NET, H2O or Spark.

    Parameters
    ----------
    path : str or path
        The file.
    trusted : bool
        Without effect, since no other library reads the file.

    Raises
    ------
    ModelFileError
        If the file is damaged, or comes from none of them.
    """
    archive = Archive.read(path)
    known = zip_entries()
    for entry, module in known.items():
        if entry in archive or archive.folder(entry):
            return importlib.import_module(module).load(path, trusted)
    expected = ", ".join(map(repr, known))
    raise archive.fail(f"it holds none of {expected}: not a model of ML.NET, H2O or Spark.")
