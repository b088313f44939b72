"""CatBoost: symmetric and other trees, both ways."""

from . import rows
from ._file import load

__all__ = ["load", "rows"]
