"""Base classes of the steps that stages become: their learned numbers, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from ...glue import Glue
from .input_table import raw_column
from .numbers import Numbers


@dataclass(eq=False, kw_only=True)
class Operator(Glue):
    """One function of a stage.

    Parameters
    ----------
    kind : str
        Spark's name of the class of the stage.
    """

    kind: str = ""
    # Whether `run` computes what its module cannot.
    exact: ClassVar[bool] = False

    def run(self, *values: Any) -> Any:
        """Compute the output for arrays with equal numbers of rows, using the module."""
        from .translations._base import evaluate

        return evaluate(self, *values)

    def numbers(self) -> Iterator[Numbers]:
        """All learned numbers, including those of nested operators."""
        for one in fields(self):
            yield from _numbers(getattr(self, one.name))


def _numbers(value: Any) -> Iterator[Numbers]:
    if isinstance(value, Numbers):
        yield value
    elif isinstance(value, Operator):
        yield from value.numbers()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


@dataclass(eq=False, kw_only=True)
class Predictor(Operator):
    """An operator that may compute the score of a predictor.

    Parameters
    ----------
    task : str
        Name of the meaning of the score; "" if it is a column like others.
    options : mapping
        Numbers of that task.
    """

    task: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class Host(Operator):
    """An operator that runs on the host, on arrays."""

    exact = True

    def run(self, *values: Any) -> Any:
        """Compute the output for arrays with equal numbers of rows."""
        raise NotImplementedError


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
