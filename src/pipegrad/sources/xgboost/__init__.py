"""XGBoost: translates boosted trees and linear models to PyTorch and back."""

from . import estimators
from ._io import load

__all__ = ["estimators", "load"]
