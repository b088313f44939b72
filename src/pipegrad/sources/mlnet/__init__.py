"""ML.NET: model files, their operators as plain data, and the translations of the operators."""

from . import operators, translations
from .model import Model, load

__all__ = ["Model", "load", "operators", "translations"]
