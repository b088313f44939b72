"""Alike steps on the border of the host part, whose input is encoded in one call."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .glue import Columns, Glue
from .graph import Graph, Step

# Fewer blocks take less time one after the other.
_FEWEST = 4


@dataclass(eq=False)
class JointBlock:
    """Several selections of columns of one table, as a single block of the columns that they use.

    Parameters
    ----------
    name : str
        Name of the block.
    source : str
        The table.
    steps : list of Step
        Steps of which each takes one of the selections.
    selections : list of Step
        The steps on the host that select the columns.
    """

    name: str
    source: str
    steps: list[Step] = field(default_factory=list)
    selections: list[Step] = field(default_factory=list)

    @cached_property
    def ports(self) -> list[str]:
        """The ports of the single blocks."""
        return [step.name for step in self.selections]

    @cached_property
    def widths(self) -> list[int]:
        """Number of columns of each selection."""
        return [len(step.operator.indices) for step in self.selections]

    @cached_property
    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The columns of the table that are used, and the place of each selected one among them."""
        indices = [np.asarray(step.operator.indices, dtype=np.intp) for step in self.selections]
        used, places = np.unique(np.concatenate(indices), return_inverse=True)
        return used, places.reshape(-1)

    @property
    def places(self) -> NDArray[np.intp]:
        """The columns of the block that all selections consist of, one after the other."""
        return self._places[1]

    def encoded(self, table: Any) -> NDArray[Any] | None:
        """The block, or None if each selection has to be encoded on its own.

        That is so for tables of several types, and where a check of the source fails.
        """
        block = self._selected(table)
        if block is None or len(block) == 0:
            return None
        step, width = self.steps[0], self.widths[0]
        assert step.translation is not None
        # Its numbers in as many columns as a selection has, the last row filled up.
        count = -(-block.size // width)
        whole = block.size == count * width
        rows: Any = block.reshape(count, width) if whole else np.resize(block, (count, width))
        names = getattr(step.operator, "feature_names_in_", None)
        if names is not None and hasattr(table, "columns"):
            import pandas as pd

            rows = pd.DataFrame(rows, columns=names)
        try:
            found = step.translation.encode(step.operator, rows)
        except Exception:
            return None  # Each selection says what is wrong.
        kept = isinstance(found, np.ndarray) and found.shape == rows.shape
        return found.reshape(-1)[: block.size].reshape(block.shape) if kept else None

    def _selected(self, table: Any) -> NDArray[Any] | None:
        """The columns that are used; None unless they are numbers of one floating point type."""
        first, used = self.selections[0].operator, self._places[0]
        if hasattr(table, "iloc") and first.names is not None:
            given = table.columns
            if not (given.is_unique and first.needed.issubset(given)):
                return None
            names = first.owner.feature_names_in_[used]
            values = (table if np.array_equal(given, names) else table[names]).to_numpy()
            return np.ascontiguousarray(values) if values.dtype.kind == "f" else None
        if type(table) is not np.ndarray or table.dtype.kind != "f" or table.ndim != 2:
            return None
        width = getattr(first.owner, "n_features_in_", table.shape[1])
        if table.shape[1] != width or first.by_name:
            return None
        whole = len(used) == width
        return np.ascontiguousarray(table) if whole else np.take(table, used, 1)


def joint_blocks(
    graph: Graph, ports: Mapping[tuple[str, str], str], names: Collection[str]
) -> list[JointBlock]:
    """Blocks that enter alike steps, whose columns are selected on the host.

    Parameters
    ----------
    graph : Graph
        A partitioned graph.
    ports : mapping of (str, str) to str
        The port of each step and input.
    names : collection of str
        Steps whose modules may be computed as one.
    """
    steps = {step.name: step for step in graph}
    readers: dict[str, int] = {}
    for one in ports.values():
        readers[one] = readers.get(one, 0) + 1
    found: dict[Hashable, JointBlock] = {}
    for step in graph:
        if step.name not in names or len(step.inputs) != 1:
            continue
        port = ports.get((step.name, step.inputs[0]))
        selection = None if port is None else steps.get(port)
        if port is None or selection is None or readers[port] > 1:
            continue
        key = _alike_selection(step, selection)
        if key is not None:
            block = JointBlock(f"|{selection.name}", selection.inputs[0])
            block = found.setdefault(key, block)
            block.steps.append(step)
            block.selections.append(selection)
    return [block for block in found.values() if len(block.steps) >= _FEWEST]


def _alike_selection(step: Step, selection: Step) -> Hashable | None:
    operator = selection.operator
    if not isinstance(operator, Columns) or operator.scalar:
        return None
    named = operator.names is not None
    key = alike_encoding(step)
    own = (selection.inputs[0], id(operator.owner), operator.by_name, named, len(operator.indices))
    return None if key is None else (key, own)


def alike_encoding(step: Step) -> Hashable | None:
    """What steps have in common whose encoding makes the same checks; None if that is unknown."""
    row, operator = step.translation, step.operator
    own = None if row is None or isinstance(operator, Glue) else row.encoding_key(operator)
    named = hasattr(operator, "feature_names_in_")
    alike = type(operator), getattr(operator, "n_features_in_", None), named, own
    return None if own is None else alike


def shared_encoding(step: Step) -> Hashable | None:
    """What steps have in common whose encoding of the same rows is the same; None if unknown."""
    key = alike_encoding(step)
    names = getattr(step.operator, "feature_names_in_", ())
    return None if key is None else (key, tuple(names))
