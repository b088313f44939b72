"""ML.NET: model files, their operators as plain data, and the rows that translate them."""

from . import translations
from .model import Model, load

__all__ = ["Model", "load", "translations"]
