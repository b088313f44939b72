"""Models that the command line reads and writes, told apart by the end of the file's name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .. import source_catalog
from ..errors import ArgumentError, ModelFileError
from ..file_writing import check_target, write_file
from ..translate import open_source

SKOPS = (".skops",)
PICKLES = (".pkl", ".pickle", ".joblib")


def read_model(path: str, trusted: Collection[str] = (), trust_pickle: bool = False) -> Any:
    """The fitted model in a file.

    Parameters
    ----------
    path : str
        A skops file, a pickle, or a file of a library that stores models.
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
    if suffix not in (*SKOPS, *PICKLES):
        _check_suffix(path, suffix)
        return open_source(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if suffix in SKOPS:
        return _from_skops(path, trusted)
    if not trust_pickle:
        raise ArgumentError(
            f"{path} is a pickle, which can run any code when it is loaded.\n"
            "Hint: --trust-pickle loads it, if you know where it comes from; skops files are safe."
        )
    return _from_pickle(path)


def check_model_target(path: str, model: Any) -> None:
    """Raise an error unless a model can be written to a path, before any work is done."""
    if Path(path).suffix.lower() in (*SKOPS, *PICKLES):
        if not hasattr(model, "get_params"):
            raise ArgumentError(
                f"{path}: a {type(model).__name__} is written as a file of its own library.\n"
                f"Hint: give a name that ends in {_known(source_catalog.file_suffixes())}."
            )
        check_target(path, "a model")
        return
    _check_suffix(path, Path(path).suffix.lower())
    check_target(path, f"a {type(model).__name__}")


def write_model(path: str, model: Any) -> None:
    """Write an estimator as a skops file or a pickle, completely or not at all."""
    if Path(path).suffix.lower() in SKOPS:
        import skops.io

        write_file(path, skops.io.dumps(model))
    else:
        import io

        import joblib

        content = io.BytesIO()
        joblib.dump(model, content)
        write_file(path, content.getvalue())


def is_estimator_file(path: str) -> bool:
    """Whether a file holds a Python object, and not the format of a library's own."""
    return Path(path).suffix.lower() in (*SKOPS, *PICKLES)


def _check_suffix(path: str, suffix: str) -> None:
    known = (*SKOPS, *PICKLES, *source_catalog.file_suffixes())
    if suffix not in known:
        raise ArgumentError(
            f"{os.fspath(path)}: the name of a model file must end in {_known(known)}."
        )


def _known(suffixes: Collection[str]) -> str:
    *most, last = suffixes
    return f"{', '.join(most)} or {last}" if most else last


def _from_skops(path: str, trusted: Collection[str]) -> Any:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise ArgumentError(f"{path} requires skops: pip install 'pipegrad[files]'.") from error
    try:
        unknown = skops.io.get_untrusted_types(file=path)
    except Exception as error:  # Damaged files end in errors of many kinds.
        raise _damaged(path, error) from error
    lacking = sorted(set(unknown) - set(trusted))
    if lacking and "all" not in trusted:
        raise ArgumentError(
            f"{path} contains types that are not known to be safe: {', '.join(lacking)}.\n"
            f"Hint: if you trust them, add --trust {' '.join(lacking)}"
        )
    return _loaded(path, lambda: skops.io.load(path, trusted=unknown))


def _from_pickle(path: str) -> Any:
    import joblib

    return _loaded(path, lambda: joblib.load(path))


def _loaded(path: str, load: Any) -> Any:
    try:
        with warnings.catch_warnings():
            # Of another version of scikit-learn, which translation checks in its own way.
            warnings.filterwarnings("ignore", "Trying to unpickle estimator")
            return load()
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> ModelFileError:
    return ModelFileError(f"{path} cannot be read: {type(error).__name__}: {error}")
