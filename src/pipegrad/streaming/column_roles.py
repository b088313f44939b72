"""Which columns of a table are features, targets and weights, and how they reach the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..sources.arrow import column_array

if TYPE_CHECKING:
    import pyarrow as pa

    from ..network import PipelineNetwork
    from ..row_sources import RowSource

# Names that iterables of arrays give to targets and weights.
_TARGET, _WEIGHT = "y", "weight"


@dataclass(frozen=True)
class ColumnRoles:
    """The names of the columns that training reads.

    Parameters
    ----------
    features : tuple of str
        The input of the pipeline, in its order.
    targets : tuple of str
        The targets; empty for clustering.
    weight, groups : str, optional
        The sample weights, and the groups that validation keeps together.
    several : bool
        Whether the targets are a table (n, k), even of one column.
    """

    features: tuple[str, ...]
    targets: tuple[str, ...] = ()
    weight: str | None = None
    groups: str | None = None
    several: bool = False

    @classmethod
    def of(
        cls, net: PipelineNetwork, source: RowSource, y: Any, weight: Any = None, groups: Any = None
    ) -> ColumnRoles:
        """Tell the columns apart, and check that all pieces have them.

        Raises
        ------
        ArgumentError
            If an argument is not the name of a column, or a column is missing.
        """
        from ..row_sources.iterables import IterableRows

        named = isinstance(source, IterableRows) and source.unnamed
        if y is None and named and _TARGET in source.names:
            y = _TARGET
        if weight is None and named and _WEIGHT in source.names:
            weight = _WEIGHT
        if y is None:
            y = net.target_column(source.names)
        several = isinstance(y, list | tuple)
        targets = [] if y is None else list(y) if several else [y]
        check_column_names(source, y=targets, sample_weight=weight, groups=groups)
        if not targets and net.head is not None and net.head.task != "clustering":
            raise ArgumentError(
                "y must be the name of the column of the targets, got None.\n"
                f"Hint: the columns of {source.name} are {', '.join(map(repr, source.names[:8]))}."
            )
        others = {*targets, weight, groups}
        features = net.input_columns([name for name in source.names if name not in others])
        roles = cls(tuple(features), tuple(targets), weight, groups, several)
        source.check(roles.names)
        return roles

    @property
    def names(self) -> list[str]:
        """All columns to read, each once."""
        more = [name for name in (self.weight, self.groups) if name is not None]
        return list(dict.fromkeys([*self.features, *self.targets, *more]))

    @property
    def small(self) -> list[str]:
        """The columns of targets and weights alone."""
        own = [*self.targets, *([self.weight] if self.weight else [])]
        return list(dict.fromkeys(own))

    def input_of(self, net: PipelineNetwork, batch: pa.RecordBatch) -> Any:
        """The features of some rows, as the pipeline takes them."""
        return net.input_of_arrow(batch.select(list(self.features)))

    def targets_of(self, net: PipelineNetwork, batch: pa.RecordBatch) -> Any:
        """The targets of some rows, (n,) or (n, k); None without any."""
        if not self.targets:
            return None
        return net.targets_of_arrow(batch.select(list(self.targets)), self.several)

    def weights_of(self, batch: pa.RecordBatch) -> NDArray[np.float64] | None:
        """The sample weights (n,) of some rows.

        Raises
        ------
        ArgumentError
            If a weight is missing, negative or not finite.
        """
        if self.weight is None:
            return None
        values = np.array(column_array(batch.column(self.weight)), dtype=np.float64)
        if not np.isfinite(values).all() or (values < 0).any():
            raise ArgumentError(
                f"The sample weights in the column {self.weight!r} must be finite and non-negative."
            )
        return values


def check_column_names(source: RowSource, **arguments: Any) -> None:
    """Reject arguments that are not the names of columns, or lists of them."""
    for argument, value in arguments.items():
        names = value if isinstance(value, list | tuple) else [value]
        _check_names(argument, [name for name in names if name is not None], source)


def _check_names(argument: str, names: Sequence[Any], source: RowSource) -> None:
    for name in names:
        if not isinstance(name, str):
            raise ArgumentError(
                f"{argument} must be the name of a column where the rows are read from "
                f"{source.name}, got {type(name).__name__}.\n"
                "Hint: write it as a column of the table."
            )
        if name not in source.names:
            shown = ", ".join(map(repr, source.names[:8]))
            raise ArgumentError(
                f"{argument}={name!r} is not a column of {source.name}.\nHint: it has {shown}."
            )
