"""Translations for feature-engine."""

from .numbers import FillValues, MeanNormalizationScaler

__all__ = ["FillValues", "MeanNormalizationScaler"]
