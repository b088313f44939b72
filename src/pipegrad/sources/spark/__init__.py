"""Spark MLlib: saved folders, their stages as plain data, and the translations of the stages."""

from . import operators, translations
from .live import from_object
from .model import Model, load

__all__ = ["Model", "from_object", "load", "operators", "translations"]
