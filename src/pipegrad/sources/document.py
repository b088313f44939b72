"""Typed access to a nested document of a model file; every fault names its place.

A document consists of objects, arrays, texts, numbers, booleans and null, as JSON and UBJSON have
them. Reading one takes time and memory in proportion to its file, whatever the file holds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError

DEEPEST = 64
"""How many objects and arrays may lie inside each other."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"-?\d{1,19}")
# Each pattern consumes whole texts, so that searching takes linear time.
_TOKEN = re.compile(rb'[\[\]{}]|(?<!\d)\d{300}|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_TEXT = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?', re.DOTALL)
_KINDS = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", int: "a number"}


class Place:
    """A value of a document and where it stands.

    Parameters
    ----------
    value : object
        The value: dict, list, numpy array (of one dimension), str, int, float, bool or None.
    file : str
        The name of the file.
    parent : Place, optional
        What contains the value.
    key : str or int
        Its key or index there.
    """

    __slots__ = ("_file", "_key", "_parent", "value")

    def __init__(
        self, value: Any, file: str, parent: Place | None = None, key: str | int = ""
    ) -> None:
        self.value = value
        self._file, self._parent, self._key = file, parent, key

    def __str__(self) -> str:
        keys: list[str] = []
        place: Place | None = self
        while place is not None and place._parent is not None:
            keys.append(shown(place._key))
            place = place._parent
        return "/".join(reversed(keys))

    def fail(self, fault: str, *, at: object = None) -> NoReturn:
        """Raise the error that names the file, this place (or an element of it) and the fault."""
        parts = [str(self), *([] if at is None else [shown(at)])]
        path = "/".join(part for part in parts if part) or "the document"
        raise ModelFileError(f"{self._file}: {path}: {fault}")

    def replaced(self, value: Any) -> Place:
        """Another value at this place, such as what a text contains."""
        return Place(value, self._file, self._parent, self._key)

    def parsed(self, text: str) -> Place:
        """The document in a text that stands at this place."""
        content = text.encode("utf-8", "replace")
        return self.replaced(read_json(content, f"{self._file}: {self}").value)

    # -- objects --------------------------------------------------------------------------------

    def object(self) -> dict[str, Any]:
        """The value, which must be an object."""
        if not isinstance(self.value, dict):
            self.fail(f"must be an object, not {kind(self.value)}.")
        return self.value

    def __getitem__(self, key: str) -> Place:
        """The member of that name, which must be there."""
        known = self.object()
        if key not in known:
            self.fail("is missing.", at=key)
        return Place(known[key], self._file, self, key)

    def get(self, key: str) -> Place | None:
        """The member of that name, or None."""
        return self[key] if key in self.object() else None

    def members(self) -> Iterator[tuple[str, Place]]:
        """All members with their names."""
        for key, value in self.object().items():
            yield key, Place(value, self._file, self, key)

    # -- arrays ---------------------------------------------------------------------------------

    def array(self, size: int | None = None) -> list[Any] | NDArray[Any]:
        """The value, which must be an array (of that length)."""
        if not isinstance(self.value, (list, np.ndarray)):
            self.fail(f"must be an array, not {kind(self.value)}.")
        if size is not None and len(self.value) != size:
            self.fail(f"has {len(self.value)} elements, but needs {size}.")
        return self.value

    def elements(self, size: int | None = None) -> Iterator[Place]:
        """The elements of the array."""
        for number, value in enumerate(self.array(size)):
            yield Place(value, self._file, self, number)

    def integers(
        self, low: int, high: int, size: int | None = None, *, booleans: bool = False
    ) -> NDArray[np.int64]:
        """The array, which must hold integers in [low, high]."""
        values = self.array(size)
        if isinstance(values, np.ndarray):
            if values.dtype.kind not in "iu":
                self.fail("must hold integers.")
        else:
            self._check_types(values, {int, bool} if booleans else {int}, "an integer")
        try:
            out = np.array(values, dtype=np.int64)
            outside = len(out) > 0 and (out.min() < low or out.max() > high)
        except OverflowError:
            outside = True
        if outside:
            bad = next(i for i, value in enumerate(values) if not low <= value <= high)
            self.fail(f"{shown(int(values[bad]))} lies outside of {low} to {high}.", at=bad)
        return out

    def numbers(self, size: int | None = None, *, finite: bool = False) -> NDArray[np.float64]:
        """The array, which must hold numbers (that are finite in single precision)."""
        values = self.array(size)
        if isinstance(values, np.ndarray):
            if values.dtype.kind not in "iuf":
                self.fail("must hold numbers.")
        else:
            self._check_types(values, {int, float}, "a number")
        try:
            out = np.array(values, dtype=np.float64)
        except OverflowError:
            self.fail("holds a number with too many digits.")
        if finite and not np.isfinite(single(out)).all():
            bad = int(np.flatnonzero(~np.isfinite(single(out)))[0])
            self.fail(f"{out[bad]} is not finite.", at=bad)
        return out

    def texts(self, size: int | None = None) -> list[str]:
        """The array, which must hold texts."""
        values = self.array(size)
        self._check_types(values, {str}, "a text")
        for number, value in enumerate(values):
            Place(value, self._file, self, number).text()
        return list(values)

    def _check_types(self, values: Any, allowed: Collection[type], what: str) -> None:
        if not set(map(type, values)).issubset(allowed):
            bad = next(i for i, value in enumerate(values) if type(value) not in allowed)
            self.fail(f"must be {what}, not {kind(values[bad])}.", at=bad)

    # -- texts and numbers ----------------------------------------------------------------------

    def text(self) -> str:
        """The value, which must be a text."""
        if not isinstance(self.value, str):
            self.fail(f"must be a text, not {kind(self.value)}.")
        try:
            self.value.encode()
        except UnicodeEncodeError:
            self.fail("is not valid Unicode.")
        return self.value

    def one_of(self, known: Iterable[str]) -> str:
        """The value, which must be one of the known texts."""
        value = self.text()
        if value not in known:
            self.fail(f"{shown(value)} is unknown.")
        return value

    def boolean(self) -> bool:
        """The value, which must be a boolean."""
        if not isinstance(self.value, bool):
            self.fail(f"must be true or false, not {kind(self.value)}.")
        return self.value

    def integer(self, low: int, high: int) -> int:
        """The value, which must be an integer in [low, high]."""
        if type(self.value) is not int:
            self.fail(f"must be an integer, not {kind(self.value)}.")
        return self._bounded(self.value, low, high)

    def number(self, *, finite: bool = True) -> float:
        """The value, which must be a number."""
        if type(self.value) not in (int, float):
            self.fail(f"must be a number, not {kind(self.value)}.")
        return self._real(self.value, finite)

    def integer_text(self, low: int, high: int) -> int:
        """The value, which must be a text with an integer in [low, high]."""
        value = self.text()
        if not _WHOLE.fullmatch(value) or not value.isascii():
            self.fail(f"{shown(value)} must be a text with an integer.")
        return self._bounded(int(value), low, high)

    def number_text(self, *, finite: bool = True) -> float:
        """The value, which must be a text with a number."""
        value = self.text()
        if not _NUMBER.fullmatch(value) or not value.isascii() or len(value) > 400:
            self.fail(f"{shown(value)} must be a text with a number.")
        return self._real(float(value), finite)

    def _bounded(self, value: int, low: int, high: int) -> int:
        if not low <= value <= high:
            self.fail(f"{shown(value)} lies outside of {low} to {high}.")
        return value

    def _real(self, value: float, finite: bool) -> float:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
        if finite and not math.isfinite(value):
            self.fail(f"{value} is not finite.")
        return value


def single(values: Any) -> NDArray[np.float32]:
    """Numbers in single precision; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64).astype(np.float32)


def kind(value: object) -> str:
    """What a value is, in words."""
    if value is None:
        return "null"
    return _KINDS.get(type(value), "a number" if isinstance(value, float) else "an array")


def shown(value: object, width: int = 60) -> str:
    """A key or a value from a file, short and in printable ASCII."""
    text = ascii(value) if isinstance(value, str) else str(value)
    if isinstance(value, str) and text[1:-1] == value:
        text = value
    return text if len(text) <= width else f"{text[:width]}..."


# -- JSON ----------------------------------------------------------------------------------------


def read_json(
    content: bytes,
    file: str,
    *,
    constants: bool = False,
    verbatim: frozenset[str] = frozenset(),
) -> Place:
    """Parse JSON strictly.

    Parameters
    ----------
    content : bytes
        The content of the file.
    file : str
        Its name, for errors.
    constants : bool
        Whether NaN and Infinity are numbers; if not, neither are numbers that are too large.
    verbatim : set of str
        Keys that the file must spell without escapes, since its library compares them undecoded.

    Raises
    ------
    ModelFileError
        If it is no JSON, repeats a key, or is nested too deeply.
    """
    root = Place(None, file)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        root.fail(f"byte {error.start} is not UTF-8.")
    _check_tokens(content, root)
    try:
        root.value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=None if constants else _no_number,
            parse_float=None if constants else _finite,
        )
    except json.JSONDecodeError as error:
        root.fail(f"is not JSON: {error}.")
    except _ConstantError as error:
        root.fail(f"{shown(error.args[0])} is no finite number.")
    except _RepeatedKeyError as error:
        root.fail(f"the key {shown(error.args[0])} stands twice in one object.")
    if "\\" in text:
        _check_escapes(text, root, verbatim)
    return root


def _check_escapes(text: str, root: Place, verbatim: frozenset[str]) -> None:
    """Reject keys with escape sequences, and halves of surrogate pairs."""
    halves = "\\ud" in text.lower()
    for match in _TEXT.finditer(text):
        if "\\" not in match[1] or not (halves or match[2]):
            continue
        value = json.loads(f'"{match[1]}"')
        if match[2] and value in verbatim:
            root.fail(f"the key {shown(match[1])} contains an escape sequence.")
        if halves:
            root.replaced(value).text()


def _check_tokens(content: bytes, root: Place) -> None:
    """Reject what would take Python long: deep nesting, and integers of very many digits."""
    depth = 0
    for match in _TOKEN.finditer(content):
        first = content[match.start()]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                root.fail(f"byte {match.start()} opens more than {DEEPEST} nested brackets.")
        elif first in b"]}":
            depth -= 1
        elif first != ord('"'):
            root.fail(f"byte {match.start()} begins a number with too many digits.")


class _RepeatedKeyError(Exception):
    pass


class _ConstantError(Exception):
    pass


def _no_number(name: str) -> NoReturn:
    raise _ConstantError(name)


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _ConstantError(digits)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return members
