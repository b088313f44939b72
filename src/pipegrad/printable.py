"""Text of others, such as names in a file, made fit for terminals, HTML and SVG."""

from __future__ import annotations

# Letters are joined, and kept apart, by these two in several scripts.
_JOINERS = "\u200c\u200d"


def printable(text: object, keep: str = "") -> str:
    r"""A text with what cannot be printed as escape sequences, as in `repr`.

    These are the characters that move the cursor, color or end a line of a terminal, that reverse
    the direction of the text after them, that are invisible, or that XML does not allow.

    Parameters
    ----------
    text : object
        The text, or an object that is shown as text.
    keep : str
        Characters that stay as they are, such as line feeds.

    Returns
    -------
    str
        One line, unless line feeds are kept.

    Examples
    --------
    >>> printable("red\x1b[31m\n")
    'red\\x1b[31m\\n'
    """
    text = str(text)
    if text.isprintable():
        return text
    allowed = _JOINERS + keep
    return "".join(c if c in allowed or c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
