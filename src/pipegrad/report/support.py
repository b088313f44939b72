"""The mapping table as a table to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..supported import Supported

if TYPE_CHECKING:
    from rich.table import Table


def supported_table(rows: list[Supported]) -> Table:
    """A table of the operators for `rich.print`."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, caption=f"{len(rows)} classes", caption_justify="left")
    table.add_column("class", overflow="fold")
    table.add_column("what becomes of its numbers", overflow="fold")
    for row in rows:
        table.add_row(row.name, row.summary)
    return table
