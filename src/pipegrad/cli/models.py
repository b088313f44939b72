"""Models that the command line reads and writes, told apart by the end of the file's name."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .. import source_catalog
from ..errors import ArgumentError, ModelFileError
from ..file_writing import check_target, write_file
from ..loading import loaded
from ..module_files import SUFFIX, check_module_target, is_module_path, read_module
from ..skops_files import other_versions, read_skops, skops_content
from ..translate import from_torch, open_source, to_torch

SKOPS = (".skops",)
PICKLES = (".pkl", ".pickle", ".joblib")

_HINT = "add --trust {plain}"


def read_model(path: str, trusted: Collection[str] = (), trust_pickle: bool = False) -> Any:
    """The fitted model in a file.

    Parameters
    ----------
    path : str
        A skops file, a saved module, a pickle, or a file of a library that stores models.
    trusted : collection of str
        Dotted names of types in a skops file that may be loaded, beside those known to be safe.
    trust_pickle : bool
        Whether a pickle may be loaded, which can run any code.

    Raises
    ------
    ArgumentError
        If the file is of another kind, or is not trusted.
    ModelFileError
        If it is damaged.
    """
    suffix = Path(path).suffix.lower()
    if is_module_path(path):
        return from_torch(loaded(read_module(path), path, trusted, _HINT))
    if suffix not in (*SKOPS, *PICKLES):
        if not Path(path).is_dir():
            _check_suffix(path, suffix)
        return open_source(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if suffix in SKOPS:
        return read_skops(Path(path).read_bytes(), path, trusted, _HINT)
    if not trust_pickle:
        raise ArgumentError(
            f"{path} is a pickle, which can run any code when it is loaded.\n"
            "Hint: --trust-pickle loads it, if you know where it comes from; skops files are safe."
        )
    return _from_pickle(path)


def check_model_target(path: str, model: Any) -> None:
    """Raise an error unless a model can be written to a path, before any work is done."""
    if Path(path).suffix.lower() == SUFFIX:
        check_module_target(path)
        return
    if Path(path).suffix.lower() in (*SKOPS, *PICKLES):
        if not hasattr(model, "get_params"):
            raise ArgumentError(
                f"{path}: a {type(model).__name__} is written as a file of its own library.\n"
                f"Hint: give a name that ends in {_known(source_catalog.file_suffixes())}."
            )
        check_target(path, "a model")
        return
    if hasattr(model, "check_target"):  # It may be a folder.
        model.check_target(path)
        return
    _check_suffix(path, Path(path).suffix.lower())
    check_target(path, f"a {type(model).__name__}")


def write_model(path: str, model: Any) -> None:
    """Write an estimator as a skops file, a module or a pickle, completely or not at all."""
    if Path(path).suffix.lower() == SUFFIX:
        to_torch(model).save(path)
    elif Path(path).suffix.lower() in SKOPS:
        write_file(path, skops_content(model, path))
    else:
        import io

        import joblib

        content = io.BytesIO()
        joblib.dump(model, content)
        write_file(path, content.getvalue())


def is_estimator_file(path: str, model: Any) -> bool:
    """Whether a file holds an estimator of Python, and not the format of a library's own."""
    if is_module_path(path):
        return hasattr(model, "get_params")
    return Path(path).suffix.lower() in (*SKOPS, *PICKLES)


def _check_suffix(path: str, suffix: str) -> None:
    known = (*SKOPS, SUFFIX, *PICKLES, *source_catalog.file_suffixes())
    if suffix not in known:
        raise ArgumentError(
            f"{os.fspath(path)}: the name of a model file must end in {_known(known)}."
        )


def _known(suffixes: Collection[str]) -> str:
    *most, last = suffixes
    return f"{', '.join(most)} or {last}" if most else last


def _from_pickle(path: str) -> Any:
    import joblib

    try:
        with other_versions():
            return joblib.load(path)
    except Exception as error:  # Damaged files end in errors of many kinds.
        raise ModelFileError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
