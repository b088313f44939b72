"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import answers, boosters, isolation, linear, trees

__all__ = ["answers", "boosters", "isolation", "linear", "trees"]
