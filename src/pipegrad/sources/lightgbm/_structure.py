"""Checks the text of a LightGBM model before the library reads it.

LightGBM trusts its files: a missing line, a short array or a child that is its own ancestor ends
the process, or never ends. Everything that the library indexes is therefore checked here first.
"""

from __future__ import annotations

import json
import re

import numpy as np

from ..faults import fail, in_file
from ._numbers import integer, numbers, shown, words
from ._tree_structure import Trees

# LightGBM reads no further lines of a tree.
_TREE_LINES = 22
_SEVERAL = ("multiclass", "multiclassova")
_NUMBERS_OF_PARAMETERS = ("alpha", "fair_c", "tweedie_variance_power", "scale_pos_weight")
_CATEGORIES = "pandas_categorical:"


def check(content: bytes, suffix: str, name: str) -> None:
    """Check that a file holds a model that LightGBM can read and evaluate.

    Parameters
    ----------
    content : bytes
        The whole file.
    suffix : str
        The suffix of the file, ``.txt``.
    name : str
        The name of the file, for the message.

    Raises
    ------
    ModelFileError
        With the place and the fault, if the file is damaged.
    """
    with in_file(name):
        text = _decoded(content)
        lines = content.splitlines(keepends=True)
        first = next((i for i, line in enumerate(lines) if line.startswith(b"Tree=")), len(lines))
        header = _Header(lines[:first])
        blocks, end = _blocks(lines, first)
        if blocks:
            trees = [_keys(number, block) for number, block in enumerate(blocks)]
            Trees(trees, header.features).check(len(content))
        _check_sizes(header, blocks, lines, first, end)
        if len(blocks) % header.outputs:
            fail("trees", f"{len(blocks)}, which is no multiple of {header.outputs} an iteration")
        _check_parameters(lines[end:], header.features)
        _check_categories(text)


def _decoded(content: bytes) -> str:
    at = content.find(b"\0")
    if at >= 0:
        fail(f"byte {at}", "a zero, so this is not a text file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        fail(f"byte {error.start}", "not UTF-8, so this is not a text file of LightGBM")


# -- the header --------------------------------------------------------------------------------


class _Header:
    """The lines before the trees."""

    def __init__(self, lines: list[bytes]) -> None:
        first = lines[0].rstrip(b"\r\n") if lines else b""
        if first != b"tree":
            fail("line 1", f"{shown(first)}, but it must be 'tree'")
        self.values = self._read(lines)
        self.features = self._integer("max_feature_idx") + 1
        if self.features < 1:
            fail("max_feature_idx", "it must not be negative")
        self._integer("label_index")
        classes = self._integer("num_class")
        self.outputs = classes
        if "num_tree_per_iteration" in self.values:
            self.outputs = self._integer("num_tree_per_iteration")
        if classes < 1 or self.outputs != classes:
            fail("num_tree_per_iteration", f"{self.outputs}, but num_class={classes}")
        for key in ("feature_names", "feature_infos"):
            self._check_length(key, self._value(key))
        if "monotone_constraints" in self.values:
            self._check_monotone(self.values["monotone_constraints"])
        if "objective" in self.values:
            self._check_objective([w.decode() for w in words(self.values["objective"])])

    def _read(self, lines: list[bytes]) -> dict[str, bytes]:
        values: dict[str, bytes] = {}
        for number, line in enumerate(lines, 1):
            line = line.rstrip(b"\r\n")
            if not line:
                continue
            key, _, value = line.partition(b"=")
            if not re.fullmatch(rb"\w+", key):
                fail(f"line {number}", f"{shown(line)} is no line of a header")
            name = key.decode()
            if name in values:
                fail(f"line {number}", f"{name} for the second time")
            if b"=" in value and name != "feature_names":
                fail(f"line {number}", f"{shown(line)} has several equals signs")
            values[name] = value
        return values

    def _value(self, key: str) -> bytes:
        if key not in self.values:
            fail("header", f"there is no {key}")
        return self.values[key]

    def _integer(self, key: str) -> int:
        return integer(key, self._value(key))

    def _check_length(self, key: str, value: bytes) -> None:
        count = len(words(value))
        if count != self.features:
            idx = self.features - 1
            fail(key, f"{count} entries, but max_feature_idx={idx} needs {self.features}")

    def _check_monotone(self, value: bytes) -> None:
        self._check_length("monotone_constraints", value)
        if set(words(value)) - {b"-1", b"0", b"1"}:
            fail("monotone_constraints", "entries other than -1, 0 and 1")

    def _check_objective(self, parts: list[str]) -> None:
        if not parts:
            fail("objective", "it has no name")
        options = dict(p.split(":") for p in parts[1:] if p.count(":") == 1)
        place = f"objective {parts[0]!r:.60}"
        classes = 1
        if parts[0] in _SEVERAL:
            classes = integer(f"{place}, num_class", options.get("num_class", "").encode())
            if classes < 2:
                fail(f"{place}, num_class", f"{classes}, but it must be at least 2")
        if parts[0] != "custom" and classes != self.outputs:
            fail(place, f"it has {classes} outputs, but num_class={self.outputs}")
        if parts[0] in ("binary", "multiclassova"):
            options.setdefault("sigmoid", "")
        if "sigmoid" in options:
            (sigmoid,) = numbers(f"{place}, sigmoid", [options["sigmoid"].encode()], float)
            if not 0 < sigmoid < np.inf:
                fail(f"{place}, sigmoid", f"{sigmoid}, but it must be positive")


# -- the blocks of the trees -------------------------------------------------------------------


def _blocks(lines: list[bytes], first: int) -> tuple[list[list[bytes]], int]:
    """The lines of each tree, without blank lines, and the index of the first line after them."""
    blocks: list[list[bytes]] = []
    at = first
    while at < len(lines) and lines[at].startswith(b"Tree="):
        number = len(blocks)
        if lines[at].rstrip(b"\r\n") != b"Tree=%d" % number:
            fail(f"Tree={number}", f"{shown(lines[at].strip())} where this tree must begin")
        start = at = at + 1
        while at < len(lines) and lines[at].rstrip(b"\r\n"):
            at += 1
        if at == len(lines):
            fail(f"Tree={number}", "the file ends within this tree")
        blocks.append([line.rstrip(b"\r\n") for line in lines[start:at]])
        while at < len(lines) and not lines[at].rstrip(b"\r\n"):
            at += 1
    for line in lines[at:]:
        if line.startswith(b"Tree="):
            fail(f"Tree={len(blocks)}", f"{shown(line.strip())} does not follow the tree before")
    return blocks, at


def _check_sizes(
    header: _Header, blocks: list[list[bytes]], lines: list[bytes], first: int, end: int
) -> None:
    """Check that the sizes, by which LightGBM finds the trees, lead to their first lines."""
    if "tree_sizes" not in header.values:
        return
    given = words(header.values["tree_sizes"])
    if len(given) != len(blocks):
        fail("tree_sizes", f"{len(given)} numbers, but the file holds {len(blocks)} trees")
    if not blocks:
        return
    sizes = numbers("tree_sizes", given, int)
    place, starts, last = 0, [], 0
    for line in lines[first:end]:
        if line.startswith(b"Tree="):
            starts.append(place)
        place += len(line)
        if line.rstrip(b"\r\n"):
            last = place
    for number, size in enumerate(sizes):
        start = starts[number]
        low = high = starts[number + 1] if number + 1 < len(starts) else place
        if number + 1 == len(starts):
            low = last
        if not low <= start + size <= high:
            hint = ""
            if any(line.endswith(b"\r\n") for line in lines[:first]):
                hint = "\nHint: the line breaks were changed to \\r\\n; change them back to \\n."
            fail("tree_sizes", f"{size} for Tree={number}, which has {high - start} bytes{hint}")


def _keys(number: int, block: list[bytes]) -> dict[str, bytes]:
    if len(block) > _TREE_LINES:
        fail(f"Tree={number}", f"{len(block)} lines, but LightGBM reads {_TREE_LINES}")
    found: dict[str, bytes] = {}
    for line in block:
        key, equals, value = line.partition(b"=")
        if not equals or not re.fullmatch(rb"\w+", key):
            fail(f"Tree={number}", f"{shown(line)} is no line of a tree")
        name = key.decode()
        if name in found:
            fail(f"Tree={number}, {name}", "the line is there twice")
        found[name] = value
    return found


# -- what follows the trees ------------------------------------------------------------------------


def _check_parameters(lines: list[bytes], features: int) -> None:
    within = False
    for line in (line.rstrip(b"\r\n") for line in lines):
        if line == b"end of parameters":
            return
        if not within or not line:
            within = within or line == b"parameters:"
            continue
        if line.startswith(_CATEGORIES.encode()):
            continue
        found = re.fullmatch(rb"\[(\w+): ?(.*)\]", line)
        if not found:
            fail("parameters", f"{shown(line)} is no line like [name: value]")
        _check_parameter(found[1].decode(), found[2], features)


def _check_parameter(name: str, value: bytes, features: int) -> None:
    place = f"parameters, {name}"
    # LightGBM makes JSON of this without escapes.
    if re.search(rb'["\\\x00-\x1f]', value.split(b":")[0]):
        fail(place, f"{shown(value)} has quotation marks, backslashes or control characters")
    if name == "monotone_constraints" and value:
        given = value.split(b",")
        if len(given) != features or set(given) - {b"-1", b"0", b"1"}:
            fail(place, f"it must be {features} of the numbers -1, 0 and 1")
    if name in _NUMBERS_OF_PARAMETERS:
        numbers(place, [value], float)


def _check_categories(text: str) -> None:
    # LightGBM's own search of the last line.
    last = text[text.rfind("\n", 0, -len(_CATEGORIES)) :].strip()
    if not last.startswith(_CATEGORIES):
        return
    place = _CATEGORIES[:-1]
    try:
        found = json.loads(last[len(_CATEGORIES) :])
    except (ValueError, RecursionError) as error:
        fail(place, f"no JSON ({error!s:.80})")
    if found is None:
        return
    if not isinstance(found, list) or not all(isinstance(column, list) for column in found):
        fail(place, "it must be null, or a list of lists")
    for column in found:
        if not all(isinstance(value, str | int | float) for value in column):
            fail(place, "a category must be a text or a number")
        if len(set(column)) < len(column):
            fail(place, "a category is there twice")
