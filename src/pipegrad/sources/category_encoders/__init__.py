"""Translations for category_encoders."""

from .tables import CountEncoder, Indicators, TargetStatistics

__all__ = ["CountEncoder", "Indicators", "TargetStatistics"]
