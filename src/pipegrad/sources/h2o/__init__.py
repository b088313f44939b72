"""H2O-3: MOJO files, their models as plain data, and the translations of their steps."""

from . import operators, translations
from .live import from_object, is_fitted
from .model import Model, load

__all__ = ["Model", "from_object", "is_fitted", "load", "operators", "translations"]
