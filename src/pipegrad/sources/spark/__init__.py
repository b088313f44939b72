"""Spark MLlib: saved folders, their stages as plain data, and the translations of the stages."""

from . import operators, translations
from .model import Model, load

__all__ = ["Model", "load", "operators", "translations"]
