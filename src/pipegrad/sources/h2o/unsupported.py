"""Algorithms of H2O whose models have no translation."""

UNSUPPORTED: dict[str, str] = {}
