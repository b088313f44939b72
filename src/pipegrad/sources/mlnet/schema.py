"""ML.NET's list of columns, in which names can repeat."""

from __future__ import annotations

from dataclasses import dataclass

from .types import ColumnType


@dataclass(frozen=True)
class Column:
    """A column of the model.

    Parameters
    ----------
    name : str
        Name of the column.
    type : ColumnType
        Type of its values.
    value : str
        The step that computes it.
    raw : bool
        Whether it is an input of the model.
    """

    name: str
    type: ColumnType
    value: str
    raw: bool = False


class Schema:
    """Columns in ML.NET's order; later steps see the last column of each name."""

    def __init__(self, columns: list[Column] | None = None) -> None:
        self.columns = list(columns or [])
        self._visible = {column.name: column for column in self.columns}

    def find(self, name: str) -> Column | None:
        """The visible column with this name."""
        return self._visible.get(name)

    def add(self, added: list[Column]) -> None:
        """Add the columns of a step, each after the column that it hides, or at the end."""
        for column in added:
            place, hidden = len(self.columns), self.find(column.name)
            if hidden is not None:
                place = max(i for i, c in enumerate(self.columns) if c is hidden) + 1
            self.columns.insert(place, column)
            self._visible[column.name] = column

    def visible(self) -> list[Column]:
        """The columns that no other column hides."""
        return [c for c in self.columns if self.find(c.name) is c]

    def named(self) -> dict[str, Column]:
        """Columns by name; hidden columns are named ``NAME@INDEX``."""
        visible = {id(c) for c in self.visible()}
        return {
            c.name if id(c) in visible else f"{c.name}@{i}": c for i, c in enumerate(self.columns)
        }
