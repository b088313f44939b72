"""Sets of characters in Java's regular expressions, written as patterns of Python."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_letters

LINE_ENDS = r"\x85\u2028\u2029"
_WORD, _SPACE = r"a-zA-Z_0-9", r"\x20\t\n\x0b\f\r"
_SHORT = {
    "d": "0-9",
    "w": _WORD,
    "s": _SPACE,
    "h": r"\x20\t\xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000",
    "v": rf"\n\x0b\f\r{LINE_ENDS}",
}
_PUNCTUATION = r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e"
_POSIX = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": _PUNCTUATION,
    "Graph": r"\x21-\x7e",
    "Print": r"\x20-\x7e",
    "Blank": r"\x20\t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "Space": _SPACE,
}
# What versions of Java do not ignore the case of in the same way.
_CASED = ("Lower", "Upper", "Lu", "Ll", "Lt")
# Those of assigned characters, which later versions of Unicode rarely move.
_CATEGORIES = re.compile(r"(?:Is)?(L[ultmo]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?)")


@dataclass(frozen=True)
class CharacterSet:
    """A set of characters.

    Parameters
    ----------
    inside : str
        What stands between the brackets of a class of Python; "" for no characters.
    others : tuple of str
        Patterns of one character each, whose matches belong to the set as well.
    """

    inside: str
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, first: str, last: str, insensitive: bool) -> CharacterSet:
        """The characters of a range, and those that differ in the case of an ASCII letter."""
        inside = _shown(first) if first == last else f"{_shown(first)}-{_shown(last)}"
        if insensitive:
            cased = (c.swapcase() for c in ascii_letters if first <= c <= last)
            inside += "".join(c for c in cased if not first <= c <= last)
        return cls(inside)

    @classmethod
    def union(cls, sets: Sequence[CharacterSet]) -> CharacterSet:
        """The characters of any set."""
        inside = "".join(one.inside for one in sets)
        return cls(inside, tuple(other for one in sets for other in one.others))

    @classmethod
    def common(cls, sets: Sequence[CharacterSet]) -> CharacterSet:
        """The characters of all sets."""
        *first, last = (one.text() for one in sets)
        return cls("", (f"(?:{''.join(f'(?={text})' for text in first)}{last})",))

    def opposite(self) -> CharacterSet:
        """All other characters."""
        if self.others:
            return CharacterSet("", (f"(?:(?!{self.text()})(?s:.))",))
        return CharacterSet("", (f"[^{self.inside}]",))

    def text(self) -> str:
        """The pattern of one character."""
        found = [f"[{self.inside}]"] if self.inside else []
        found += self.others
        return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def _shown(char: str) -> str:
    return char if char.isascii() and char.isalnum() else f"\\U{ord(char):08x}"


def shorthand(char: str) -> CharacterSet | None:
    """The set of an escape of one letter; None if it has none."""
    found = _SHORT.get(char.lower())
    if found is None:
        return None
    return CharacterSet(found) if char.islower() else CharacterSet(found).opposite()


def property_set(name: str, insensitive: bool) -> CharacterSet | None:
    """The characters with a property; None if it is not known."""
    category = _CATEGORIES.fullmatch(name)
    if insensitive and name.removeprefix("Is") in _CASED:
        return None
    if name in _POSIX:
        return CharacterSet(_POSIX[name])
    return None if category is None else CharacterSet(_of_category(category[1]))


@lru_cache(maxsize=64)
def _of_category(name: str) -> str:
    """The ranges of the characters of a general category of Unicode."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)).startswith(name):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def escaped_number(kind: str, pattern: str, at: int) -> tuple[str, int] | None:
    r"""The character of a number after ``\0``, ``\x`` or ``\u``, and where the number ends."""
    shapes = {
        "0": r"([0-3][0-7]{2}|[0-7]{1,2})",
        "x": r"([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\}",
        "u": r"([0-9a-fA-F]{4})",
    }
    match = re.compile(shapes[kind]).match(pattern, at)
    if match is None:
        return None
    code, end = int(match[match.lastindex or 1], 8 if kind == "0" else 16), match.end()
    if 0xD800 <= code < 0xDC00 and kind == "u":
        low = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(pattern, end)
        if low is not None:
            code = 0x10000 + (code - 0xD800 << 10) + int(low[1], 16) - 0xDC00
            end = low.end()
    return None if code > sys.maxunicode or 0xD800 <= code < 0xE000 else (chr(code), end)


def unquoted(pattern: str) -> str:
    r"""The pattern with escaped characters instead of quotations between ``\Q`` and ``\E``."""
    found, rest = [], pattern
    while rest:
        if rest.startswith("\\Q"):
            quoted, _, rest = rest[2:].partition("\\E")
            plain = (c.isalnum() or not c.isascii() for c in quoted)
            found += [c if p else f"\\{c}" for c, p in zip(quoted, plain, strict=True)]
            continue
        size = 2 if rest[0] == "\\" else 1
        found.append(rest[:size])
        rest = rest[size:]
    return "".join(found)
