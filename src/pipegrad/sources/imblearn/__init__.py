"""Translations for imbalanced-learn."""

from .composites import ResamplingPipeline

__all__ = ["ResamplingPipeline"]
