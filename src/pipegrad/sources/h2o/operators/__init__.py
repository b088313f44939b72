"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import answers, composites, encoders, linear, rules

__all__ = ["answers", "composites", "encoders", "linear", "rules"]
