"""XGBoost: boosted trees and linear models, both ways."""

from . import rows
from ._file import load

__all__ = ["load", "rows"]
