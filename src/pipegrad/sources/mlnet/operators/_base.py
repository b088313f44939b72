"""What all operators share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from ....glue import Glue
from ..binary import Numbers
from ..input_table import raw_column
from ..types import ColumnType


@dataclass
class Entry:
    """What ML.NET's own graph says of a step.

    Parameters
    ----------
    column : str
        The column that it gives.
    of : str
        The first step of the predictor that it belongs to.
    label : str
        The column that a predictor learned from, where the file says so.
    calibrated : bool
        Whether a calibrator follows the predictor.
    """

    column: str = ""
    of: str = ""
    label: str = ""
    calibrated: bool = False


@dataclass(eq=False, kw_only=True)
class Operator(Glue):
    """One learned function of an ML.NET model: its numbers, and nothing of torch.

    Parameters
    ----------
    loader : str
        ML.NET's name of the class that loads it.
    entry : Entry
        Its place in ML.NET's graph.
    """

    loader: str = ""
    entry: Entry = field(default_factory=Entry, repr=False)
    # Whether `run` keeps digits that single precision has no room for.
    exact: ClassVar[bool] = False

    def run(self, *values: Any) -> Any:
        """Its answer for arrays with the same rows: that of its module."""
        from ..translations._base import evaluate

        return evaluate(self, *values)

    def numbers(self) -> Iterator[Numbers]:
        """Every number that training may change, those of inner operators as well."""
        for one in fields(self):
            yield from _numbers(getattr(self, one.name))

    def patches(self) -> Iterator[tuple[Any, bytes]]:
        """Places in the file and the bytes that go there."""
        for one in fields(self):
            yield from _patches(getattr(self, one.name))


def _patches(value: Any) -> Iterator[tuple[Any, bytes]]:
    if isinstance(value, Numbers):
        if value.changed:
            yield value.place, value.bytes()
    elif isinstance(value, Operator):
        yield from value.patches()
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _patches(item)


def _numbers(value: Any) -> Iterator[Numbers]:
    if isinstance(value, Numbers):
        yield value
    elif isinstance(value, Operator):
        yield from value.numbers()
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _numbers(item)


@dataclass
class Predictor:
    """A predictor as a scorer uses it.

    Parameters
    ----------
    task : str
        "binary", "regression", "ranking", "multiclass", "clustering" or "anomaly".
    score : Operator
        Gives what training looks at.
    link : Operator, optional
        Turns that into the column Score; None where it is the Score itself.
    calibrator : Operator, optional
        Turns the Score into Probability.
    classes : int
        How many classes or clusters there are.
    labels : array, optional
        Their names, where the predictor has them.
    probabilities : bool
        Whether the scores of several classes are probabilities.
    """

    task: str
    score: Operator
    link: Operator | None = None
    calibrator: Operator | None = None
    classes: int = 0
    labels: Any = None
    probabilities: bool = False


def width_mismatch(width: int, features: int) -> bool:
    """Whether a predictor takes other than the features before it; 0 if their number varies."""
    return features not in (0, width)


@dataclass(eq=False, kw_only=True)
class Host(Operator):
    """An operator that runs on the host, on arrays."""

    exact = True

    def run(self, *values: Any) -> Any:
        """Its answer for arrays with the same rows."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class Input(Host):
    """A raw column of the user's table.

    Parameters
    ----------
    name : str
        Name of the column.
    type : ColumnType
        What ML.NET reads it as.
    missing : str
        Why the table must have it, if the model itself would compute it.
    """

    name: str
    type: ColumnType = field(repr=False)
    missing: str = ""

    def run(self, *values: Any) -> Any:
        """The column as ML.NET's type."""
        return raw_column(values[0], self.name, self.type)
