"""A readable list of the mapping table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .registry import Expansion, Row, rows

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Supported:
    """An operator that pipegrad translates to a module and back.

    Parameters
    ----------
    name : str
        Dotted name of its class.
    source : str
        Name of the library that defines it.
    kind : {"operator", "composite", "host"}
        Whether it becomes a module, unfolds into its parts, or has nothing to train and runs in its
        own library.
    summary : str
        What its learned parameters become.
    """

    name: str
    source: str
    kind: Literal["operator", "composite", "host"]
    summary: str


def supported() -> list[Supported]:
    """The translations of the mapping table, including those of installed plug-ins.

    Returns
    -------
    list of Supported
        The operators, sorted by name.

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
            _kind(row),
            (type(row).__doc__ or "").strip().split("\n")[0],
        )
        for name, row in rows()
        if not name.startswith(("pipegrad.glue.", "pipegrad.sources.")) and "._" not in name
    ]


def _kind(row: Row) -> Literal["operator", "composite", "host"]:
    if isinstance(row, Expansion):
        return "composite"
    return "host" if row.on_host else "operator"


def supported_table(rows: list[Supported]) -> Table:
    """A table of the operators for `rich.print`.

    Parameters
    ----------
    rows : list of Supported
        The operators to list.

    Returns
    -------
    rich.table.Table
        One row for each operator.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, caption=f"{len(rows)} classes", caption_justify="left")
    table.add_column("class", overflow="fold")
    table.add_column("what its learned parameters become", overflow="fold")
    for row in rows:
        table.add_row(row.name, row.summary)
    return table
