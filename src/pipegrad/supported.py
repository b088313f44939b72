"""The mapping table, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .registry import Expansion, rows

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Supported:
    """An operator that pipegrad translates, both ways.

    Parameters
    ----------
    name : str
        Dotted name of its class.
    source : str
        The library it comes from.
    kind : {"operator", "composite"}
        Whether it becomes a module, or unfolds into its parts.
    summary : str
        What becomes of its numbers.
    """

    name: str
    source: str
    kind: Literal["operator", "composite"]
    summary: str


def supported() -> list[Supported]:
    """The rows of the mapping table, those of installed plug-ins too.

    Returns
    -------
    list of Supported
        Sorted by name.

    Examples
    --------
    >>> import pipegrad as pg
    >>> "sklearn.decomposition.PCA" in [row.name for row in pg.supported()]
    True
    """
    return [
        Supported(
            name,
            name.split(".")[0],
            "composite" if isinstance(row, Expansion) else "operator",
            (type(row).__doc__ or "").strip().split("\n")[0],
        )
        for name, row in rows()
        if not name.startswith(("pipegrad.glue.", "pipegrad.sources."))
    ]


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
