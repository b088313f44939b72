"""Errors of model files that are read by their own library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ModelFileError


@contextmanager
def reading(path: Any, library: str, failure: type[Exception]) -> Iterator[None]:
    """Convert the library's exception for an invalid file into a `ModelFileError`."""
    try:
        yield
    except failure as error:
        raise ModelFileError(f"{path!s} contains no model of {library}: {error!s:.200}") from error
