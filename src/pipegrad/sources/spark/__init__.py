"""Spark MLlib: saved folders, their stages as plain data, and the translations of the stages."""

from . import operators, translations
from .live import from_object, is_fitted
from .model import Model, load

__all__ = ["Model", "from_object", "is_fitted", "load", "operators", "translations"]
