"""LightGBM: boosted trees, both ways."""

from . import rows

__all__ = ["rows"]
