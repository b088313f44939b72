"""Regular expressions of Java as those of Python, as far as both mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from ...errors import ArgumentError
from .java_classes import LINE_ENDS, CharacterSet, escaped_number, property_set, shorthand, unquoted

_LONGEST = 4000
_DEEPEST = 40
_MOST_REPEATS = 1000
# A repetition that may take at least so many turns makes one around it slow.
_MANY = 16
# Before the end of a text, or before what ends its last line.
_END = rf"(?=(?:\r\n|[\r{LINE_ENDS}]|(?<!\r)\n)?\Z)"
_LINE_BREAK = rf"(?:\r\n|[\n\x0b\f\r{LINE_ENDS}])"
_LITERALS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
_AROUND = ("?=", "?!", "?<=", "?<!")


class JavaPatternError(ValueError):
    """Why a pattern has no translation."""


@dataclass(frozen=True)
class JavaPattern:
    """A pattern of Java.

    Parameters
    ----------
    compiled : re.Pattern
        The same pattern of Python.
    empty : bool
        Whether it may match nothing.
    boundaries : bool
        Whether it looks for bounds of words.
    """

    compiled: re.Pattern[str]
    empty: bool
    boundaries: bool

    @classmethod
    def read(cls, pattern: str) -> JavaPattern:
        """Translate a pattern.

        Raises
        ------
        JavaPatternError
            If it is wrong in Java, or means something else in Python; the text says what.
        """
        if len(pattern) > _LONGEST:
            raise JavaPatternError(f"it has more than {_LONGEST} characters")
        parser = _Parser(unquoted(pattern))
        part = parser.whole()
        try:
            compiled = re.compile(part.text, re.ASCII)
        except (re.error, OverflowError, RecursionError) as error:
            raise JavaPatternError(f"Python has no such pattern ({error!s:.60})") from None
        return cls(compiled, part.empty, parser.boundaries)

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """All matches, as Java finds them one after the other.

        After an empty match, the next one starts at the next character, not where Python's does.
        """
        start = 0
        if self.empty and not text.isascii() and max(text) > "\uffff":
            # Java finds an empty match between the two halves of such a character.
            raise ArgumentError(
                "A pattern that may match nothing takes texts of characters up to U+FFFF, got "
                f"{text!r:.60}.\nHint: leave such rows out, or compute the column with Spark."
            )
        if self.boundaries and not text.isascii():
            # Versions of Java differ in what a word is.
            raise ArgumentError(
                f"A pattern with \\b or \\B takes texts of ASCII characters, got {text!r:.60}.\n"
                "Hint: leave such rows out, or compute the column with Spark."
            )
        while start <= len(text):
            match = self.compiled.search(text, start)
            if match is None:
                return
            yield match
            start = match.end() + (match.end() == match.start())

    def split(self, text: str) -> list[str]:
        """The parts of a text between matches, as Java's ``split`` gives them.

        There is no empty part before an empty match at the start, and none at the end.
        """
        parts: list[str] = []
        start = 0
        for match in self.matches(text):
            if match.end() == 0:
                continue
            parts.append(text[start : match.start()])
            start = match.end()
        if not parts:
            return [text]
        parts.append(text[start:])
        while parts and not parts[-1]:
            parts.pop()
        return parts


class _Part(NamedTuple):
    """A part of a pattern.

    Parameters
    ----------
    text : str
        In Python.
    empty : bool
        Whether it may match nothing.
    repeats : bool
        Whether it contains a long repetition that gives characters back.
    fixed : bool
        Whether it contains a character that is not repeated.
    """

    text: str
    empty: bool = False
    repeats: bool = False
    fixed: bool = True


class _Parser:
    """Reads a pattern of Java from left to right."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0
        self.insensitive = self.all_lines = self.boundaries = False
        self.depth = self.atomic = 0

    def whole(self) -> _Part:
        """The whole pattern."""
        part = self._alternatives()
        if self.at < len(self.pattern):
            self._fail("its parentheses do not match")
        return part

    def _fail(self, why: str) -> NoReturn:
        raise JavaPatternError(why)

    def _peek(self, count: int = 1) -> str:
        return self.pattern[self.at : self.at + count]

    def _next(self) -> str:
        if self.at >= len(self.pattern):
            self._fail("it ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def _takes(self, text: str) -> bool:
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found

    def _alternatives(self) -> _Part:
        branches = [self._sequence()]
        while self._takes("|"):
            branches.append(self._sequence())
        if len(branches) == 1:
            return branches[0]
        text = "|".join(branch.text for branch in branches)
        empty, repeats = any(b.empty for b in branches), any(b.repeats for b in branches)
        return _Part(f"(?:{text})", empty, repeats, all(b.fixed for b in branches))

    def _sequence(self) -> _Part:
        parts: list[_Part] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        empty, repeats = all(p.empty for p in parts), any(p.repeats for p in parts)
        text = "".join(part.text for part in parts)
        return _Part(text, empty, repeats, any(p.fixed for p in parts))

    def _atom(self) -> _Part:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return _Part(self._set().text())
        if char == ".":
            return _Part("(?s:.)" if self.all_lines else rf"[^\n\r{LINE_ENDS}]")
        if char in "^$":
            return _Part(r"\A" if char == "^" else _END, empty=True, fixed=False)
        if char in "*+?{":
            self._fail(f"{char!r} repeats nothing")
        return self._escape() if char == "\\" else self._literal(char)

    def _literal(self, char: str) -> _Part:
        return _Part(CharacterSet.of(char, char, self.insensitive).text())

    def _repeated(self, part: _Part) -> _Part:
        bounds = self._bounds()
        if bounds is None:
            return part
        least, most = bounds
        if not part.text:
            self._fail("it repeats nothing")
        if _LINE_BREAK in part.text:
            self._fail(r"it repeats \R, which then gives nothing back in some versions of Java")
        lazy = self._takes("?")
        possessive = not lazy and self._takes("+")
        if self._peek() and self._peek() in "*+?{":
            self._fail("it repeats a repetition")
        if most is None or most > 1:
            if part.empty:
                self._fail("it repeats what may be empty")
            if part.repeats and not part.fixed and (most is None or most >= _MANY):
                self._fail("a repetition inside of another takes exponential time")
        count = f"{{{least},{'' if most is None else most}}}"
        text = f"(?:{part.text}){count}{'?' if lazy else ''}"
        repeats = part.repeats or most is None or most >= _MANY
        fixed = part.fixed and least == most
        empty = part.empty or least == 0
        return (
            _Part(self._kept(text), empty, False, fixed)
            if possessive
            else (_Part(text, empty, repeats, fixed))
        )

    def _bounds(self) -> tuple[int, int | None] | None:
        """The least and the largest number of repetitions."""
        for mark, found in (("?", (0, 1)), ("*", (0, None)), ("+", (1, None))):
            if self._takes(mark):
                return found
        if self._peek() != "{":
            return None
        match = re.compile(r"\{([0-9]{1,4})(,?)([0-9]{0,4})\}").match(self.pattern, self.at)
        if match is None or (match[3] and not match[2]):
            self._fail("its numbers of repetitions are damaged")
        self.at = match.end()
        least = int(match[1])
        most = least if not match[2] else int(match[3]) if match[3] else None
        if max(least, most or 0) > _MOST_REPEATS or (most is not None and most < least):
            self._fail(f"it has other numbers of repetitions than up to {_MOST_REPEATS}")
        return least, most

    def _kept(self, text: str) -> str:
        """A part that gives nothing back once it has matched.

        Python has it since 3.11.
        """
        self.atomic += 1
        return f"(?:(?=(?P<kept{self.atomic}>{text}))(?P=kept{self.atomic}))"

    def _group(self) -> _Part:
        self.depth += 1
        if self.depth > _DEEPEST:
            self._fail(f"it has more than {_DEEPEST} groups inside of each other")
        flags = self.insensitive, self.all_lines
        around = next((mark for mark in _AROUND if self._takes(mark)), "")
        kept = not around and self._takes("?>")
        name = re.compile(r"\?<[a-zA-Z][a-zA-Z0-9]*>").match(self.pattern, self.at)
        if not around and not kept:
            if name is not None:
                self.at = name.end()
            elif self._takes("?") and self._flags():
                self.depth -= 1
                return _Part("", empty=True, fixed=False)  # Flags of the rest of the group.
        part = self._alternatives()
        if not self._takes(")"):
            self._fail("its parentheses do not match")
        self.insensitive, self.all_lines = flags
        self.depth -= 1
        if around:
            return _Part(f"({around}{part.text})", empty=True, fixed=False)
        if kept:
            return part._replace(text=self._kept(part.text), repeats=False)
        return part._replace(text=f"(?:{part.text})")

    def _flags(self) -> bool:
        """Read flags; whether the group ends with them."""
        on = True
        while True:
            char = self._next()
            if char in ":)":
                return char == ")"
            if char == "-":
                on = False
            elif char == "i":
                self.insensitive = on
            elif char == "s":
                self.all_lines = on
            else:
                self._fail(f"its flag or group (?{char}...) has another meaning in Python")

    def _escape(self) -> _Part:
        char = self._next()
        if char in "bB":
            if self._peek() == "{":
                self._fail(rf"\{char}{{...}} does not exist in Python")
            self.boundaries = True
            return _Part(r"\b" if char == "b" else r"(?!\b)", empty=True, fixed=False)
        plain = {"A": r"\A", "z": r"\Z", "Z": _END}
        if char in plain:
            return _Part(plain[char], empty=True, fixed=False)
        if char == "R":
            return _Part(_LINE_BREAK)
        found = self._escaped_set(char)
        return self._literal(self._escaped(char)) if found is None else _Part(found.text())

    def _escaped_set(self, char: str) -> CharacterSet | None:
        """The set of an escape, such as that of digits."""
        if char not in "pP":
            return shorthand(char)
        name = self._next()
        if name == "{":
            name, brace, _ = self.pattern[self.at :].partition("}")
            if not brace:
                self._fail("its braces do not match")
            self.at += len(name) + 1
        found = property_set(name, self.insensitive)
        if found is None:
            self._fail(rf"\p{{{name:.20}}} is not known here, or not the same in all versions")
        return found if char == "p" else found.opposite()

    def _escaped(self, char: str) -> str:
        """The character that an escape stands for."""
        if char in _LITERALS:
            return _LITERALS[char]
        if char in "0xu":
            found = escaped_number(char, self.pattern, self.at)
            if found is None:
                self._fail(rf"its escape \{char} is damaged")
            self.at = found[1]
            return found[0]
        if char.isascii() and char.isalnum():
            what = "a reference to a group" if char.isdigit() or char == "k" else "unknown here"
            self._fail(rf"\{char} is {what}")
        return char

    def _set(self) -> CharacterSet:
        """A class of characters, after its bracket."""
        self.depth += 1
        if self.depth > _DEEPEST:
            self._fail(f"it has more than {_DEEPEST} groups inside of each other")
        negative = self._takes("^")
        operands: list[list[CharacterSet]] = [[]]
        inner = [0]
        while self._peek() != "]" or not operands[-1]:
            if self._takes("&&"):
                if self._peek() in ("", "&", "]") or not operands[-1]:
                    self._fail("a part of a class of characters is empty, or begins with '&'")
                operands.append([])
                inner.append(0)
            elif self._takes("["):
                operands[-1].append(self._set())
                inner[-1] += 1
            elif self._peek() == "]":
                self._fail("a class of characters is empty")
            else:
                operands[-1].append(self._range())
        self.at += 1
        self.depth -= 1
        mixed = any(count not in (0, len(sets)) or count > 1
                    for count, sets in zip(inner, operands, strict=True))  # fmt: skip
        if (negative and (len(operands) > 1 or inner[0])) or (len(operands) > 1 and mixed):
            # Versions of Java differ in the order of these.
            self._fail("a class of characters has several parts whose order is not certain")
        sets = [CharacterSet.union(sets) for sets in operands]
        found = sets[0] if len(sets) == 1 else CharacterSet.common(sets)
        return found.opposite() if negative else found

    def _range(self) -> CharacterSet:
        """A character, a range or an escape of a class."""
        char = self._next()
        if char == "\\":
            char = self._next()
            found = self._escaped_set(char)
            if found is not None:
                return found
            first = self._escaped(char)
        else:
            first = char
        last = first
        if self._peek() == "-" and self._peek(2)[1:] not in ("", "[", "]"):
            self.at += 1
            last = self._next()
            last = self._escaped(self._next()) if last == "\\" else last
            if last < first:
                self._fail("a range of characters ends before it starts")
        return CharacterSet.of(first, last, self.insensitive)
