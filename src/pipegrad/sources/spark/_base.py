"""The columns of the user's table that the stages read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..named.operators import Host
from .input_table import raw_column


@dataclass(eq=False, kw_only=True)
class Input(Host):
    """A column of the user's table.

    Parameters
    ----------
    name : str
        Name of the column.
    missing : str
        Why the table must have a column that a stage would compute.
    """

    name: str
    missing: str = ""

    def run(self, *values: Any) -> Any:
        """The numbers, vectors or texts of the column."""
        return raw_column(values[0], self.name)
