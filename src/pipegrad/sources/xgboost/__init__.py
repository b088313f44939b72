"""XGBoost: boosted trees and linear models, both ways."""

from . import estimators
from ._io import load

__all__ = ["estimators", "load"]
