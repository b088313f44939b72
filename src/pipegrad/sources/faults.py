"""The error for a fault in a model file: first its place, and around it the name of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from ..errors import ModelFileError


def fail(place: str, fault: str) -> NoReturn:
    """Raise the error for a fault at a place of the file."""
    raise ModelFileError(f"{place}: {fault}")


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """Context of the checks of one file, whose name its errors begin with."""
    try:
        yield
    except ModelFileError as fault:
        raise ModelFileError(f"{name}: {fault}") from None
