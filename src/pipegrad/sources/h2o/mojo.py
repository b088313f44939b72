"""A MOJO file of H2O: its description, its columns and their levels; other numbers for some."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError
from ..zip_archive import Archive

DESCRIPTION = "model.ini"
# What H2O shows of a model; scoring does not read it, but importing does.
_SHOWN = "experimental/modelDetails.json"
_MOST_COLUMNS = 100_000
_MOST_LEVELS = 10_000_000
_DEEPEST = 12


@dataclass(frozen=True)
class Mojo:
    """One model in an archive.

    Parameters
    ----------
    archive : Archive
        The file.
    prefix : str
        Where the model lies in it, with a "/" at its end; "" for the model itself.
    info : mapping of str to str
        What the description says, as texts.
    columns : tuple of str
        Names of the columns: features first.
    domains : mapping of int to list of str
        Levels of the categorical columns, by place.
    """

    archive: Archive = field(repr=False)
    prefix: str
    info: Mapping[str, str] = field(repr=False)
    columns: tuple[str, ...]
    domains: Mapping[int, list[str]] = field(repr=False)

    @classmethod
    def read(cls, archive: Archive, prefix: str = "") -> Mojo:
        """Read the description of the model below a prefix.

        Raises
        ------
        ModelFileError
            If it is damaged.
        """
        if prefix.count("/") > 2 * _DEEPEST:
            raise archive.fail("models are nested too deeply.")
        sections = _sections(archive, prefix + DESCRIPTION)
        info: dict[str, str] = {}
        for line in sections["info"]:
            key, found, value = line.partition("=")
            if not found:
                raise archive.fail(f"a line of {prefix + DESCRIPTION!r} has no '=': {line!r:.60}.")
            info[key.strip()] = value.strip()
        columns = tuple(sections["columns"])
        if len(columns) > _MOST_COLUMNS:
            raise archive.fail(f"it has more than {_MOST_COLUMNS} columns.")
        escaped = info.get("escape_domain_values") == "true"
        domains = dict(
            _domain(archive, prefix, line, len(columns), escaped) for line in sections["domains"]
        )
        return cls(archive, prefix, info, columns, domains)

    def child(self, prefix: str) -> Mojo:
        """The model in a folder below."""
        return Mojo.read(self.archive, self.prefix + prefix)

    def children(self) -> dict[str, Mojo]:
        """The models in folders below, by name."""
        found: dict[str, Mojo] = {}
        folders = set()
        for number in range(self.integer("submodel_count")):
            name = self.text(f"submodel_key_{number}")
            folder = self.text(f"submodel_dir_{number}")
            if not re.fullmatch(r"([^/]+/)+", folder) or folder in folders or name in found:
                self.fail(f"it has no such model inside: {name!r:.60} in {folder!r:.60}.")
            folders.add(folder)
            found[name] = self.child(folder)
        return found

    def fail(self, fault: str) -> NoReturn:
        """Raise the error for a fault in the model."""
        where = f"{self.prefix.rstrip('/')!r}: " if self.prefix else ""
        raise self.archive.fail(where + fault)

    # -- what the description says ---------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether the description says something of a key."""
        return self.info.get(key, "null") != "null"

    def text(self, key: str, default: str | None = None) -> str:
        """A text."""
        if self.has(key):
            return self.info[key]
        if default is None:
            self.fail(f"its description lacks {key!r}.")
        return default

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True or false."""
        found = self.text(key, None if default is None else str(default).lower())
        if found not in ("true", "false"):
            self._refuse(key, found)
        return found == "true"

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        found = self.text(key, None if default is None else str(default))
        if not re.fullmatch(r"-?\d{1,18}", found):
            self._refuse(key, found)
        return int(found)

    def number(self, key: str, default: float | None = None) -> float:
        """A number."""
        found = self.text(key, None if default is None else repr(default))
        return float(self._array(key, [found])[0])

    def numbers(self, key: str) -> NDArray[np.float64]:
        """A list of numbers."""
        return self._array(key, self._list(key))

    def integers(self, key: str) -> NDArray[np.int64]:
        """A list of whole numbers."""
        found = self.numbers(key)
        if not np.isfinite(found).all() or (found != np.round(found)).any():
            self._refuse(key, self.info[key])
        if (np.abs(found) > 1 << 53).any():
            self._refuse(key, self.info[key])
        return found.astype(np.int64)

    def texts(self, key: str) -> list[str]:
        """A list of texts, none of which has a comma."""
        return self._list(key)

    def _list(self, key: str) -> list[str]:
        found = self.text(key)
        if not (found.startswith("[") and found.endswith("]")):
            self._refuse(key, found)
        inner = found[1:-1].strip()
        return [part.strip() for part in inner.split(",")] if inner else []

    def _array(self, key: str, parts: list[str]) -> NDArray[np.float64]:
        # Java and Python write infinity in other words.
        try:
            return np.array([float(p.replace("Infinity", "inf")) for p in parts], dtype=np.float64)
        except ValueError:
            self._refuse(key, parts)

    def _refuse(self, key: str, value: Any) -> NoReturn:
        self.fail(f"its description has no such {key}: {value!r:.60}.")

    def parsed(self, what: str, texts: list[str]) -> NDArray[np.float64]:
        """Numbers as Java writes them."""
        return self._array(what, texts)

    def described(self, name: str) -> list[str]:
        """The lines of a text file of the model, none of which is empty."""
        found = [line.strip() for line in _lines(_text(self.archive, self.prefix + name))]
        if not all(found):
            self.fail(f"{name!r} has an empty line.")
        return found

    def blob(self, name: str) -> bytes:
        """The bytes of a file of the model."""
        return self.archive.unpack(self.prefix + name)

    def lines(self, name: str, count: int) -> list[str]:
        """The texts of a file with one on each line; spaces around them do not count."""
        found = _lines(_text(self.archive, self.prefix + name))
        if len(found) != count:
            self.fail(f"{name!r} has {len(found)} lines instead of {count}.")
        return [_unescaped(line).strip() for line in found]

    # -- columns -----------------------------------------------------------------------------------

    @property
    def algorithm(self) -> str:
        """H2O's short name of the algorithm, such as "glm"."""
        return self.text("algo")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the model reads, in its order."""
        count = self.integer("n_features")
        if not 0 <= count <= len(self.columns):
            self.fail(f"it states {count} features, but {len(self.columns)} columns.")
        return self.columns[:count]

    @property
    def response(self) -> str:
        """The column of targets; "" if it has none."""
        return self.columns[-1] if self.flag("supervised", False) and self.columns else ""

    @property
    def classes(self) -> list[str] | None:
        """The levels of the targets; None if they are numbers."""
        return self.domains.get(len(self.columns) - 1) if self.response else None


def _sections(archive: Archive, name: str) -> dict[str, list[str]]:
    """The lines of each section of a description."""
    found: dict[str, list[str]] = {"info": [], "columns": [], "domains": []}
    current: list[str] | None = None
    for line in _text(archive, name).split("\n"):
        stripped = line.strip()
        if stripped in ("[info]", "[columns]", "[domains]"):
            current = found[stripped[1:-1]]
        elif stripped and not stripped.startswith("#") and current is not None:
            current.append(stripped)
    if not found["info"]:
        raise archive.fail(f"{name!r} does not describe a model of H2O.")
    return found


def _text(archive: Archive, name: str) -> str:
    try:
        return archive.unpack(name).decode("utf-8")
    except UnicodeDecodeError:
        raise archive.fail(f"{name!r} is no text.") from None


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _domain(
    archive: Archive, prefix: str, line: str, columns: int, escaped: bool
) -> tuple[int, list[str]]:
    """The place of a categorical column, and its levels."""
    shape = re.fullmatch(r"(\d{1,9}): (\d{1,9}) ([\w.]+)", line)
    if shape is None:
        raise archive.fail(f"a domain is described by {line!r:.60}.")
    place, count = int(shape[1]), int(shape[2])
    if place >= columns or count > _MOST_LEVELS:
        raise archive.fail(f"a domain is described by {line!r:.60}.")
    levels = _lines(_text(archive, f"{prefix}domains/{shape[3]}"))
    if len(levels) != count:
        raise archive.fail(f"{shape[3]!r} has {len(levels)} levels instead of {count}.")
    return place, [_unescaped(level) for level in levels] if escaped else levels


def _unescaped(level: str) -> str:
    # A backslash stands before another one, and before the "n" of an end of line.
    return re.sub(r"\\([\\n])", lambda m: "\n" if m[1] == "n" else "\\", level)


def without_results(content: bytes) -> bytes:
    """What H2O shows of a model, without what it says of its numbers and their metrics.

    Settings stay, which H2O reads where it imports a model; what cannot be read stays as it is.
    """
    try:
        shown = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(shown, dict):
        return content
    return json.dumps({key: value for key, value in shown.items() if key != "output"}).encode()


def shown_of(archive: Archive) -> list[str]:
    """The files with what H2O shows of a model and of those inside of it."""
    return [n for n in archive.entries if n == _SHOWN or n.endswith(f"/{_SHOWN}")]


def with_lists(description: bytes, lists: Mapping[str, NDArray[Any]]) -> bytes:
    """A description with other numbers in some of its lists; all other bytes stay."""
    lines = description.decode("utf-8").split("\n")
    written = set()
    for place, line in enumerate(lines):
        if line.strip() == "[columns]":
            break
        key = line.partition("=")[0].strip()
        if key in lists:
            lines[place] = f"{key} = {_written(lists[key])}"
            written.add(key)
    if written != set(lists):
        raise ModelFileError(f"the description lacks {sorted(set(lists) - written)}.")
    return "\n".join(lines).encode("utf-8")


def _written(values: NDArray[Any]) -> str:
    """Numbers as Java reads them."""
    if values.ndim == 0:
        return written_number(values.item(), values)
    return f"[{', '.join(written_number(value, values) for value in values.tolist())}]"


def written_number(value: float, like: NDArray[Any]) -> str:
    """A number as Java reads it, in the precision of an array."""
    if value != value:
        return "NaN"
    if abs(value) == float("inf"):
        return "Infinity" if value > 0 else "-Infinity"
    return str(np.float32(value)) if like.dtype == np.float32 else repr(float(value))
