"""Algorithms of H2O whose models have no translation."""

UNSUPPORTED: dict[str, str] = {
    "glrm": "its scorer starts from random numbers that depend on how many rows it scored before",
}
