"""Text for HTML and SVG."""

from __future__ import annotations

from html import escape as escape_markup

from ...printable import printable


def escape(text: str) -> str:
    """A text as the content of an element, or as the value of an attribute in quotes."""
    return escape_markup(printable(text), quote=True)
