"""Checks the structure of a model file before its library reads it."""

from __future__ import annotations


def check(content: bytes, suffix: str, name: str) -> None:
    """Raise ModelFileError if the file is malformed."""
