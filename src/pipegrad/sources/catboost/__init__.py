"""CatBoost: translates symmetric and other trees to PyTorch and back."""

from . import estimators
from ._io import load

__all__ = ["estimators", "load"]
