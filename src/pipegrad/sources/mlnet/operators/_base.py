"""Shared base classes of the operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...named import operators as named
from ..input_table import raw_column
from ..types import ColumnType


@dataclass
class Entry:
    """Information on a step from ML.NET's graph.

    Parameters
    ----------
    column : str
        The output column.
    of : str
        The first step of the predictor that it belongs to.
    label : str
        The label column of a predictor, if the file states it.
    calibrated : bool
        Whether a calibrator follows the predictor.
    """

    column: str = ""
    of: str = ""
    label: str = ""
    calibrated: bool = False


@dataclass(eq=False, kw_only=True)
class Operator(named.Operator):
    """One learned function of an ML.NET model: its learned parameters, without torch.

    Parameters
    ----------
    loader : str
        ML.NET's name of the class that loads it.
    entry : Entry
        Its information from ML.NET's graph.
    """

    loader: str = ""
    entry: Entry = field(default_factory=Entry, repr=False)

    @property
    def title(self) -> str:
        return self.loader

    def gives_sparse(self, sparse: bool) -> bool:
        """Whether its module gives sparse rows, for sparse rows among its inputs or dense ones."""
        return False

    def patches(self) -> Iterator[tuple[Any, bytes]]:
        """Locations in the file and the bytes to write there."""
        for part in self.held():
            if isinstance(part, Operator):
                yield from part.patches()
            elif part.changed:
                yield part.place, part.bytes()


@dataclass
class Predictor:
    """A predictor as seen by a scorer.

    Parameters
    ----------
    task : str
        "binary", "regression", "ranking", "multiclass", "clustering" or "anomaly".
    score : Operator
        Computes the raw score, on which the loss is computed.
    link : Operator, optional
        Converts the raw score to the column Score; None if they are equal.
    calibrator : Operator, optional
        Converts Score to Probability.
    classes : int
        Number of classes or clusters.
    labels : array, optional
        Names of the classes, if the predictor stores them.
    probabilities : bool
        Whether multiclass scores are probabilities.
    """

    task: str
    score: Operator
    link: Operator | None = None
    calibrator: Operator | None = None
    classes: int = 0
    labels: Any = None
    probabilities: bool = False


def width_mismatch(width: int, features: int) -> bool:
    """Whether a predictor expects another number of features; 0 if the number varies."""
    return features not in (0, width)


@dataclass(eq=False, kw_only=True)
class Host(Operator):
    """An operator that runs on the host, on arrays."""

    exact = True

    def run(self, *values: Any) -> Any:
        """Compute the output for arrays with equal numbers of rows."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class Input(Host):
    """A raw column of the user's table.

    Parameters
    ----------
    name : str
        Name of the column.
    type : ColumnType
        The type that ML.NET reads it as.
    missing : str
        Why the table must provide a column that the model would normally compute.
    """

    name: str
    type: ColumnType = field(repr=False)
    missing: str = ""

    def run(self, *values: Any) -> Any:
        """Convert the column to ML.NET's type."""
        return raw_column(values[0], self.name, self.type)
