"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import additive, clusters, components, linear, networks, survival, trees

__all__ = ["additive", "clusters", "components", "linear", "networks", "survival", "trees"]
