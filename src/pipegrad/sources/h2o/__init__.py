"""H2O-3: MOJO files, their models as plain data, and the translations of their steps."""

from . import operators, translations
from .model import Model, load

__all__ = ["Model", "load", "operators", "translations"]
