"""A table in pieces, each of which is read by itself and in slices of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

# How the rows of a piece are read: columns, and the largest number of rows of a record batch.
Reader = Callable[[Sequence[str], int], "Iterator[pa.RecordBatch]"]

_NAMED = 8


@dataclass(frozen=True)
class Piece:
    """A part of a table that can be read without the others, such as a row group of a file.

    Parameters
    ----------
    place : str
        Where it is, for errors: a path, and a row group.
    schema : pyarrow.Schema
        The columns that it has.
    read : callable
        ``read(columns, rows)`` yields record batches of at most so many rows, in order.
    rows : int, optional
        The number of rows, where it is known without reading them.
    identity : str
        Text that differs if the content does: real path, size and time of change of a file. Empty
        where nothing tells.
    """

    place: str
    schema: pa.Schema
    read: Reader
    rows: int | None = None
    identity: str = ""


class RowSource:
    """A table in pieces.

    Parameters
    ----------
    name : str
        What it is called in errors: a path, or the type of an object.
    schema : pyarrow.Schema
        The columns of all pieces; types of numbers are the widest.
    pieces : sequence of Piece
        The pieces, in the order of the rows.
    """

    def __init__(self, name: str, schema: pa.Schema, pieces: Sequence[Piece]) -> None:
        self.name = name
        self.schema = schema
        self.pieces = list(pieces)
        if not self.pieces:
            raise ArgumentError(f"{name} holds no rows.")

    @property
    def rows(self) -> int | None:
        """The number of rows; None if a piece does not know its own."""
        counts = [piece.rows for piece in self.pieces]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.schema.names)

    def identity(self) -> str:
        """A digest that differs if a piece does."""
        digest = sha256()
        for piece in self.pieces:
            digest.update(f"{piece.place}\0{piece.identity}\0{piece.rows}\n".encode())
        return digest.hexdigest()

    def check(self, columns: Sequence[str]) -> None:
        """Refuse columns that a piece lacks, or has in a type that differs from the others.

        Raises
        ------
        ArgumentError
            The error names the file and the columns.
        """
        absent = [name for name in columns if name not in self.schema.names]
        if absent:
            raise ArgumentError(
                f"{self.name} has no column {_some(absent)}.\n"
                f"Hint: its columns are {_some(self.names)}."
            )
        known: Any = None
        for piece in self.pieces:
            if piece.schema is known:
                continue
            lacking = [name for name in columns if name not in piece.schema.names]
            if lacking:
                raise ArgumentError(
                    f"{piece.place} has no column {_some(lacking)}, which other files have.\n"
                    "Hint: remove the file, or write it with the same columns."
                )
            for name in columns:
                self._check_type(piece, name)
            known = piece.schema

    def _check_type(self, piece: Piece, name: str) -> None:
        own, common = piece.schema.field(name).type, self.schema.field(name).type
        if own != common and not (_is_number(own) and _is_number(common)):
            raise ArgumentError(
                f"{piece.place} has the column {name!r} as {own}, and other files as {common}.\n"
                "Hint: write the files with one type for each column."
            )

    def batches(self, piece: Piece, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a piece, in the types of the source.

        Parameters
        ----------
        piece : Piece
            One of the pieces.
        columns : sequence of str
            The columns to read, in this order.
        rows : int
            The largest number of rows of a record batch.

        Raises
        ------
        ArgumentError
            If the piece cannot be read; the error names it.
        """
        import pyarrow as pa

        schema = pa.schema([self.schema.field(name) for name in columns])
        start = 0
        batches = piece.read(columns, rows)
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                batch = batch.select(list(columns))
                if not batch.schema.equals(schema):
                    batch = _cast(batch, schema)
            except (pa.ArrowException, OSError, ValueError) as error:
                if isinstance(error, ArgumentError):
                    raise
                raise ArgumentError(
                    f"{piece.place} cannot be read after {start:,} rows: {_first_line(error)}.\n"
                    "Hint: write this file again, or leave it out."
                ) from error
            start += batch.num_rows
            if batch.num_rows:
                yield batch


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all schemas, with the widest type of each number.

    A column whose types do not go together has that of the first; `RowSource.check` says so if it
    is needed.
    """
    import pyarrow as pa

    fields: dict[str, Any] = {}
    known: Any = None
    for schema in schemas:
        if schema is known:
            continue
        known = schema
        for field in schema:
            before = fields.get(field.name)
            if before is None:
                fields[field.name] = pa.field(field.name, field.type)
            elif before.type != field.type and _is_number(before.type) and _is_number(field.type):
                both = [pa.schema([pa.field("x", t)]) for t in (before.type, field.type)]
                widest = pa.unify_schemas(both, promote_options="permissive").field("x").type
                fields[field.name] = pa.field(field.name, widest)
    return pa.schema(list(fields.values()))


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind))


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [
        batch.column(place) if batch.schema.field(place).type == field.type
        else batch.column(place).cast(field.type)
        for place, field in enumerate(schema)
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED]))
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
