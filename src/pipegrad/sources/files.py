"""Model files that a library of its own reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ModelFileError


@contextmanager
def reading(path: Any, library: str, failure: type[Exception]) -> Iterator[None]:
    """Turn what the library raises for a file that is no model into one error of ours."""
    try:
        yield
    except failure as error:
        raise ModelFileError(f"{path!s} holds no model of {library}: {error!s:.200}") from error
