"""ML.NET's list of columns, in which a name may stand several times."""

from __future__ import annotations

from dataclasses import dataclass

from .types import ColumnType


@dataclass(frozen=True)
class Column:
    """A column of the model.

    Parameters
    ----------
    name : str
        Its name.
    type : ColumnType
        What it holds.
    value : str
        The step whose output it is.
    raw : bool
        Whether it is an input of the model.
    """

    name: str
    type: ColumnType
    value: str
    raw: bool = False


class Schema:
    """Columns in ML.NET's order; the last of a name is the one that later steps see."""

    def __init__(self, columns: list[Column] | None = None) -> None:
        self.columns = list(columns or [])

    def find(self, name: str) -> Column | None:
        """The column that a step sees under this name."""
        return next((c for c in reversed(self.columns) if c.name == name), None)

    def add(self, added: list[Column]) -> None:
        """What a step adds: behind the column that it hides, or at the end."""
        for column in added:
            hidden = [i for i, c in enumerate(self.columns) if c.name == column.name]
            self.columns.insert(hidden[-1] + 1 if hidden else len(self.columns), column)

    def visible(self) -> list[Column]:
        """The columns that no other hides."""
        return [c for c in self.columns if self.find(c.name) is c]

    def named(self) -> dict[str, Column]:
        """Columns by name; ``NAME@INDEX`` for one that another hides."""
        visible = {id(c) for c in self.visible()}
        return {
            c.name if id(c) in visible else f"{c.name}@{i}": c for i, c in enumerate(self.columns)
        }
