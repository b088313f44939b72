"""Models of H2O as plain data, one file per family; reading them does not need torch."""

from . import clusters, components, linear, networks, survival, trees

__all__ = ["clusters", "components", "linear", "networks", "survival", "trees"]
