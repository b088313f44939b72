"""The steps that named columns come from, as plain data without torch: what sources share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...glue import Glue

TABLE = "input"
"""The name under which steps read the user's table."""


class LearnedNumbers:
    """Learned numbers that know where in the model they came from.

    Attributes
    ----------
    values : array
        Current values, initially those of the model.
    """

    values: NDArray[Any]

    def put(self, new: Any) -> None:
        """Set all values."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class Operator(Glue):
    """One function of a model: its learned numbers, without torch."""

    # Whether `run` computes what its module cannot, or keeps more digits.
    exact: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """The source's name of the part of the model that this is."""
        raise NotImplementedError

    def run(self, *values: Any) -> Any:
        """Compute the output for arrays with equal numbers of rows, using the module."""
        from .translations import evaluate

        return evaluate(self, *values)

    def numbers(self) -> Iterator[Any]:
        """All learned numbers, including those of nested operators."""
        for part in self.held():
            yield from part.numbers() if isinstance(part, Operator) else (part,)

    def held(self) -> Iterator[Any]:
        """Its own learned numbers, and the operators directly inside of it."""
        for one in fields(self):
            yield from _held(getattr(self, one.name))


def _held(value: Any) -> Iterator[Any]:
    if isinstance(value, LearnedNumbers | Operator):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _held(item)


@dataclass(eq=False, kw_only=True)
class Step(Operator):
    """An operator that knows its kind.

    Parameters
    ----------
    kind : str
        The source's name of the class that it belongs to.
    """

    kind: str = ""

    @property
    def title(self) -> str:
        return self.kind


@dataclass(eq=False, kw_only=True)
class Predictor(Step):
    """An operator that may compute the score of a predictor.

    Parameters
    ----------
    task : str
        Name of the meaning of the score, one of `tasks.HEADS`; "" if it is a column like others.
    options : mapping
        Numbers of that task.
    """

    task: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class Host(Step):
    """An operator that runs on the host, on arrays."""

    exact = True

    def run(self, *values: Any) -> Any:
        """Compute the output for arrays with equal numbers of rows."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class LinearMap(Predictor):
    """``x @ weight.T + bias``: (n,) for a vector of weights, (n, k) for a matrix.

    Rows may hold NaN where there are ``gaps``; those answer NaN.
    """

    weight: LearnedNumbers
    bias: LearnedNumbers | None
    gaps: bool = False


@dataclass(eq=False, kw_only=True)
class Sum(Predictor):
    """The sum of two columns."""


@dataclass(eq=False, kw_only=True)
class Mean(Predictor):
    """The mean for a linear predictor, by the inverse of a link function."""

    link: str
    power: float = 1.0


@dataclass(eq=False, kw_only=True)
class Beside(Predictor):
    """Scores of the members of a composite side by side."""


@dataclass(eq=False, kw_only=True)
class ChooseColumns(Step):
    """Columns in another order.

    Parameters
    ----------
    places : list of int
        The places that the columns come from; one of -1 gives a column of zeros.
    """

    places: list[int]


@dataclass(eq=False, kw_only=True)
class Derive(Step):
    """A function of a score without learned numbers.

    Parameters
    ----------
    what : str
        Its name; see the translation.
    numbers_ : list of float
        Numbers of the function.
    """

    what: str
    numbers_: list[float] = field(default_factory=list)


@dataclass(eq=False, kw_only=True)
class TreeStructure:
    """The nodes of all trees; children are codes as in `modules.TreeEnsemble`.

    Parameters
    ----------
    roots, feature, left, right : array of int64
        Codes of the roots, and for each inner node its entry and its children.
    category_width : array of int64
        Number of categories of each inner node; 0 for a threshold.
    category_left : array of bool
        Whether each category goes left, node by node.
    unknown_left : array of bool
        Whether other categories go left.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    category_width: NDArray[np.int64]
    category_left: NDArray[np.bool_]
    unknown_left: NDArray[np.bool_]


@dataclass
class BuiltStep:
    """A step of the graph."""

    name: str
    operator: Any
    inputs: tuple[str, ...]
    method: str = "transform"


def unused_name(path: str, steps: Mapping[str, Any]) -> str:
    """The path itself, or with a number if a step has that name already."""
    unique, copies = path, 1
    while unique in steps or unique == TABLE:
        copies += 1
        unique = f"{path}#{copies}"
    return unique
