"""XGBoost: boosted trees and linear models, both ways."""

from . import rows

__all__ = ["rows"]
