"""A folder that Spark saved: read once, checked, and written again with other numbers."""

from __future__ import annotations

import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ...errors import ArgumentError, ModelFileError
from ..files import LARGEST_FILE, ModelFile

_MOST_FILES = 20_000
_DEEPEST = 24
# Rows of one table, and values in all of its columns.
_MOST_ROWS = 5_000_000
_LARGEST_TABLE = 1 << 30
_NOT_FINITE = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "Inf": math.inf,
    "-Infinity": -math.inf,
    "-Inf": -math.inf,
}


@dataclass(frozen=True)
class Folder:
    """The files of a saved model, read once, from its folder or from an archive of it.

    Parameters
    ----------
    name : str
        The path, for errors.
    files : mapping of str to bytes
        Content by relative path, with "/" between folders.
    """

    name: str
    files: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, path: Any) -> Folder:
        """Read every file below a folder, or in a zip archive of such a folder.

        Raises
        ------
        ModelFileError
            If it holds no ``metadata``, or is too large to be a model.
        """
        root = Path(path)
        if root.is_file():
            return cls(str(root), _unzipped(ModelFile.read(root)))
        if not (root / "metadata").is_dir():
            raise ModelFileError(
                f"{root}: the folder has no 'metadata', so that it is no model of Spark.\n"
                "Hint: model.write().save(path) writes such a folder."
            )
        files: dict[str, bytes] = {}
        total = 0
        for place in _regular_files(root):
            with place.open("rb") as file:
                content = file.read(LARGEST_FILE - total + 1)
            total += len(content)
            if total > LARGEST_FILE:
                raise ModelFileError(f"{root}: the files have more than {LARGEST_FILE} bytes.")
            files[place.relative_to(root).as_posix()] = content
        return cls(str(root), files)

    def fail(self, fault: str) -> NoReturn:
        """Raise the error for a fault in the folder."""
        raise ModelFileError(f"{self.name}: {fault}")

    def parts(self, folder: str) -> list[str]:
        """The files with the content of a folder, in their order."""
        start = f"{folder}/part-"
        return sorted(n for n in self.files if n.startswith(start) and "/" not in n[len(start) :])

    def text(self, folder: str) -> str:
        """The first line of the text files in a folder."""
        content = b"\n".join(self.files[name] for name in self.parts(folder))
        try:
            lines = content.decode("utf-8").split("\n")
        except UnicodeDecodeError:
            self.fail(f"{folder!r} is no text.")
        first = next((line for line in lines if line.strip()), "")
        if not first:
            self.fail(f"{folder!r} has no content.")
        return first

    def table(self, folder: str) -> Any:
        """The Parquet files in a folder as one pyarrow table."""
        pa, parquet = _pyarrow()
        names = self.parts(folder)
        if not names:
            self.fail(f"there is no content in {folder!r}.")
        try:
            opened = [parquet.ParquetFile(io.BytesIO(self.files[name])) for name in names]
            self._check_size(folder, [file.metadata for file in opened])
            tables = [file.read(use_threads=False) for file in opened]
            return tables[0] if len(tables) == 1 else pa.concat_tables(tables)
        except ModelFileError:
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
            raise ModelFileError(
                f"{self.name}: {folder!r} cannot be read: {error!s:.200}"
            ) from None

    def _check_size(self, folder: str, metadata: list[Any]) -> None:
        rows = sum(one.num_rows for one in metadata)
        size = sum(
            one.row_group(group).total_byte_size
            for one in metadata
            for group in range(one.num_row_groups)
        )
        if rows > _MOST_ROWS or size > _LARGEST_TABLE:
            self.fail(f"{folder!r} is too large: {rows} rows, {size} bytes.")

    def replaced(self, tables: Mapping[str, Any]) -> dict[str, bytes]:
        """All files, with other tables in some folders; no checksum of a changed file is left."""
        _, parquet = _pyarrow()
        files = dict(self.files)
        for folder, table in tables.items():
            first, *others = self.parts(folder)
            sink = io.BytesIO()
            parquet.write_table(table, sink, compression="snappy", version="1.0")
            files[first] = sink.getvalue()
            for name in others:
                del files[name]
            for name in (first, *others):
                parent, _, last = name.rpartition("/")
                files.pop(f"{parent}/.{last}.crc", None)
        return files


def _unzipped(file: ModelFile) -> dict[str, bytes]:
    """The files in an archive, by their names."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            total = sum(entry.file_size for entry in entries)
            if len(entries) > _MOST_FILES or total > LARGEST_FILE:
                raise ModelFileError(
                    f"{file.name}: {len(entries)} files of {total} bytes are too many."
                )
            if not all(_is_plain(entry.filename) for entry in entries):
                raise ModelFileError(f"{file.name}: the names of its files lead elsewhere.")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (ModelFileError, MemoryError):
        raise
    except Exception as error:  # Damaged archives end in errors of many kinds.
        raise ModelFileError(f"{file.name}: it is no readable archive: {error!s:.120}") from None


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    odd = any(mark in name for mark in "\\:\0")
    return not odd and len(parts) <= _DEEPEST and not {"", ".", ".."}.intersection(parts)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """An archive of files."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return sink.getvalue()


def _regular_files(root: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(root):
        place = Path(parent)
        if len(place.relative_to(root).parts) > _DEEPEST:
            raise ModelFileError(f"{root}: the folders are nested too deeply.")
        folders.sort()
        for name in sorted(names):
            mode = (place / name).lstat().st_mode
            if not stat.S_ISREG(mode):
                raise ModelFileError(f"{place / name} is no regular file.")
            found.append(place / name)
        if len(found) > _MOST_FILES:
            raise ModelFileError(f"{root}: the folder has more than {_MOST_FILES} files.")
    return found


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ArgumentError(
            "A model of Spark is read with pyarrow.\nHint: pip install 'pipegrad[pandas]'."
        ) from error
    return pa, parquet


@dataclass(frozen=True)
class Stage:
    """One saved stage: its class, its parameters and its tables.

    Parameters
    ----------
    folder : Folder
        The files.
    path : str
        Where the stage lies in it; "" for the model itself.
    metadata : mapping
        What Spark wrote about it.
    """

    folder: Folder = field(repr=False)
    path: str
    metadata: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, folder: Folder, path: str = "") -> Stage:
        """Read the metadata of the stage at a path."""
        place = f"{path}/metadata" if path else "metadata"
        text = folder.text(place)
        try:
            metadata = json.loads(text, parse_constant=float)
        except (ValueError, RecursionError):
            folder.fail(f"{place!r} is no JSON.")
        maps = ("paramMap", "defaultParamMap")
        shaped = isinstance(metadata, dict) and isinstance(metadata.get("class"), str)
        shaped = shaped and isinstance(metadata.get("uid"), str)
        if not shaped or not all(isinstance(metadata.get(m, {}), dict) for m in maps):
            folder.fail(f"{place!r} does not describe a stage of Spark.")
        return cls(folder, path, metadata)

    @property
    def kind(self) -> str:
        """The name of the class without its package, such as "PCAModel"."""
        return str(self.metadata["class"]).rpartition(".")[2]

    @property
    def uid(self) -> str:
        """Spark's name of the stage."""
        return str(self.metadata["uid"])

    def fail(self, fault: str) -> NoReturn:
        """Raise the error for a fault in the stage."""
        self.folder.fail(f"{self.path or self.kind!r}: {fault}")

    def child(self, path: str) -> Stage:
        """The stage in a folder below."""
        below = f"{self.path}/{path}" if self.path else path
        if below.count("/") > _DEEPEST:
            self.fail("stages are nested too deeply.")
        return Stage.read(self.folder, below)

    def given(self, name: str) -> Any:
        """The value of a parameter that was set or has a default; otherwise None."""
        for kind in ("paramMap", "defaultParamMap"):
            if name in self.metadata.get(kind, {}):
                return self.metadata[kind][name]
        return None

    def text(self, name: str, default: str = "") -> str:
        """A parameter that is a text."""
        return self._typed(name, default, str)

    def flag(self, name: str, default: bool) -> bool:
        """A parameter that is true or false."""
        return self._typed(name, default, bool)

    def number(self, name: str, default: float) -> float:
        """A parameter that is a number."""
        value = self.given(name)
        return default if value is None else self._number(name, value)

    def _number(self, name: str, value: Any) -> float:
        # Spark writes those that are not finite as texts.
        if isinstance(value, str) and value in _NOT_FINITE:
            return _NOT_FINITE[value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(name, value)
        try:
            return float(value)
        except OverflowError:
            self._refuse(name, value)

    def _refuse(self, name: str, value: Any) -> NoReturn:
        self.fail(f"parameter {name!r} has no such value: {value!r:.60}.")

    def integer(self, name: str, default: int) -> int:
        """A parameter that is a whole number."""
        return int(self._typed(name, default, int))

    def texts(self, name: str) -> list[str]:
        """A parameter that is a list of texts; empty if it is not set."""
        found = self._listed(name, self.given(name))
        if not all(isinstance(value, str) for value in found):
            self._refuse(name, found)
        return found

    def numbers(self, name: str) -> list[float]:
        """A parameter that is a list of numbers; empty if it is not set."""
        return [self._number(name, value) for value in self._listed(name, self.given(name))]

    def lists_of_numbers(self, name: str) -> list[list[float]]:
        """A parameter that is a list of lists of numbers; empty if it is not set."""
        lists = [self._listed(name, one) for one in self._listed(name, self.given(name))]
        return [[self._number(name, value) for value in one] for one in lists]

    def _listed(self, name: str, value: Any) -> list[Any]:
        if value is not None and not isinstance(value, list):
            self._refuse(name, value)
        return value or []

    def _typed(self, name: str, default: Any, kind: type) -> Any:
        value = self.given(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            self._refuse(name, value)
        return value

    def inputs_and_outputs(self) -> list[tuple[str, str]]:
        """The pairs of an input and an output column."""
        inputs = self.texts("inputCols") or [self.text("inputCol")]
        outputs = self.texts("outputCols") or [self.text("outputCol")]
        if len(inputs) != len(outputs) or not all(inputs + outputs):
            self.fail("it does not name its columns.")
        return list(zip(inputs, outputs, strict=True))

    def at(self, name: str) -> str:
        """The path of a folder of the stage."""
        return f"{self.path}/{name}" if self.path else name

    def rows(self, name: str = "data") -> list[dict[str, Any]]:
        """The rows of a table of the stage."""
        table = self.folder.table(self.at(name))
        try:
            found: list[dict[str, Any]] = table.to_pylist()
        except (ValueError, OverflowError):  # such as texts that are no UTF-8
            self.fail(f"its {name!r} is damaged.")
        return found

    def row(self, name: str = "data") -> dict[str, Any]:
        """The only row of a table of the stage."""
        found = self.rows(name)
        if len(found) != 1:
            self.fail(f"its {name!r} has {len(found)} rows instead of one.")
        return found[0]
