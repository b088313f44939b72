"""CatBoost: symmetric and other trees, both ways."""

from . import estimators
from ._io import load

__all__ = ["estimators", "load"]
