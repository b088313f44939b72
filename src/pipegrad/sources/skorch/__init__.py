"""Translations for the networks of skorch."""

from .estimators import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor

__all__ = ["NeuralNetBinaryClassifier", "NeuralNetClassifier", "NeuralNetRegressor"]
