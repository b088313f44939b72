"""ML.NET: model files, their operators as plain data, and the rows that translate them."""

from . import operators, translations
from .model import Model, load

__all__ = ["Model", "load", "operators", "translations"]
