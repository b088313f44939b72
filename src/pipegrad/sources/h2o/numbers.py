"""Learned numbers of a MOJO: in lists of its description, or in a file of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import WriteBackError
from ..named.operators import LearnedNumbers
from .mojo import DESCRIPTION, Mojo, written_number


@dataclass(eq=False)
class Numbers(LearnedNumbers):
    """Numbers of a model.

    Parameters
    ----------
    values : array
        The numbers, in double precision.
    entry : str
        The file in the archive.
    key : str
        The list in a description; "" for other files.
    places : array of int64
        Places in the list, or numbered entries of the file; as many as numbers.
    stored : dtype
        The type that H2O reads; for other files with the order of its bytes.
    start : int
        The first byte of entry 0, for other files.
    unit : int
        Bytes from one numbered entry to the next; 1 if places are bytes.
    words : bool
        Whether the file is a text, whose words the places count.
    changed : bool
        Whether they are other numbers than those in the file.
    """

    values: NDArray[np.float64]
    entry: str
    key: str
    places: NDArray[np.int64]
    stored: Any = np.float64
    start: int = 0
    unit: int = 0
    words: bool = False
    changed: bool = False

    def put(self, new: Any) -> None:
        """Set all values; keep those that are equal at the stored precision.

        Raises
        ------
        WriteBackError
            If a value is not finite, although the value in the file is.
        """
        found = np.asarray(new, dtype=np.float64).reshape(self.values.shape)
        with np.errstate(over="ignore"):
            rounded = found.astype(np.dtype(self.stored).newbyteorder("=")).astype(np.float64)
        same = (found == self.values) | (np.isnan(found) & np.isnan(self.values))
        if not np.isfinite(rounded[~same]).all():
            raise WriteBackError(f"Learned parameters of {self.entry!r} would not be finite.")
        if not same.all():
            self.values, self.changed = np.where(same, self.values, rounded), True


def listed(
    mojo: Mojo,
    key: str,
    places: Any = None,
    shape: tuple[int, ...] | None = None,
    stored: Any = np.float64,
) -> Numbers:
    """The numbers in a list of the description.

    Parameters
    ----------
    mojo : Mojo
        The model.
    key : str
        Name of the list, or of a single number.
    places : array of int, optional
        Places in the list; all by default.
    shape : tuple of int, optional
        Shape of the numbers; one-dimensional by default.
    stored : dtype
        The type that H2O reads.
    """
    single = not mojo.text(key).startswith("[")
    every = np.atleast_1d(mojo.number(key)) if single else mojo.numbers(key)
    chosen = np.arange(len(every)) if places is None else np.asarray(places, dtype=np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(every)):
        mojo.fail(f"its {key!r} has {len(every)} numbers, which are too few.")
    wanted = len(chosen) if shape is None else int(np.prod(shape))
    if wanted != chosen.size:
        mojo.fail(f"its {key!r} has {chosen.size} numbers instead of {wanted}.")
    values = every[chosen].reshape(chosen.shape if shape is None else shape)
    return Numbers(values, mojo.prefix + DESCRIPTION, key, chosen.reshape(-1), stored)


def stored(mojo: Mojo, name: str, kind: str, places: Any, start: int = 0, unit: int = 0) -> Numbers:
    """Numbers in a file of the model.

    Parameters
    ----------
    mojo : Mojo
        The model.
    name : str
        The file.
    kind : str
        Type of its numbers with their byte order, such as ">f8".
    places : array of int
        Which of them, in the shape of the result.
    start : int
        The first byte of number 0.
    unit : int
        Bytes from one number to the next, without gaps by default; 1 if places are bytes.
    """
    content = mojo.blob(name)
    dtype = np.dtype(kind)
    step = unit or dtype.itemsize
    chosen = np.asarray(places, dtype=np.int64)
    first = start + step * chosen.reshape(-1)
    if first.size and (chosen.min() < 0 or first.max() + dtype.itemsize > len(content)):
        mojo.fail(f"{name!r} is too short.")
    each = np.frombuffer(content, np.uint8)[first[:, None] + np.arange(dtype.itemsize)]
    values = each.view(dtype).astype(np.float64).reshape(chosen.shape)
    return Numbers(values, mojo.prefix + name, "", chosen.reshape(-1), dtype, start, step)


def worded(mojo: Mojo, name: str, places: NDArray[np.int64]) -> Numbers:
    """Numbers in a text file of the model.

    Parameters
    ----------
    mojo : Mojo
        The model.
    name : str
        The file.
    places : array of int64
        Which of its words they are, in the shape of the result.
    """
    every = mojo.blob(name).split()
    chosen = [every[place].decode("utf-8", "replace") for place in places.reshape(-1).tolist()]
    values = mojo.parsed(name, chosen).reshape(places.shape)
    return Numbers(values, mojo.prefix + name, "", places.reshape(-1), words=True)


def rewritten(content: bytes, several: list[Numbers]) -> bytes:
    """The content of a file with other numbers."""
    texts = [numbers for numbers in several if numbers.words]
    if texts:
        content = _with_words(content, texts)
    data = bytearray(content)
    each = np.frombuffer(data, np.uint8)
    for numbers in several:
        if numbers.words:
            continue
        dtype = np.dtype(numbers.stored)
        flat = numbers.values.reshape(-1).astype(dtype)
        first = numbers.start + numbers.places * numbers.unit
        each[first[:, None] + np.arange(dtype.itemsize)] = flat.view(np.uint8).reshape(
            len(flat), dtype.itemsize
        )
    return bytes(data)


def _with_words(content: bytes, several: list[Numbers]) -> bytes:
    """A text with other numbers; all that is between its words stays."""
    # Words and the space between them take turns.
    parts = re.split(rb"(\s+)", content)
    first = 0 if parts[0] else 2
    for numbers in several:
        for place, value in zip(numbers.places.tolist(), numbers.values.flat, strict=True):
            parts[first + 2 * place] = written_number(float(value), numbers.values).encode()
    return b"".join(parts)
