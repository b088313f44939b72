"""scikit-learn: a file for each family of operators."""

from . import linear, scaling

__all__ = ["linear", "scaling"]
