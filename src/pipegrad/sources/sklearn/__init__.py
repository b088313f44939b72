"""scikit-learn: a file for each family of operators."""

from .. import glue
from . import composites, linear, scaling

__all__ = ["composites", "glue", "linear", "scaling"]
