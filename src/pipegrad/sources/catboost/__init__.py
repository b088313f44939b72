"""CatBoost: symmetric and other trees, both ways."""

from . import rows

__all__ = ["rows"]
