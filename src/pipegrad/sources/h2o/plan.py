"""The steps that a model becomes, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ...errors import ModelFileError, UntranslatableError
from ..named.operators import (
    TABLE,
    BuiltStep,
    ChooseColumns,
    Derive,
    Step,
    unused_name,
)
from .input_table import Row
from .mojo import Mojo

_MOST_STEPS = 50_000


@dataclass
class Answer:
    """What a model answers.

    Parameters
    ----------
    output : str
        The step on whose output the loss is computed.
    columns : dict of str to str
        The step behind each column of H2O's answer, in its order.
    predict : str
        The column with predictions; "" if the model only transforms.
    shares : str
        The step with the probabilities of all classes; "" if there are none.
    score : str
        The step with what `decision_function` gives; "" if there is none.
    classes : list of str, optional
        Levels of the targets.
    texts : dict of str to list of str
        Levels that the numbers of a column stand for.
    views : dict of str to callable
        The function from the output of a step to a column, where they differ.
    """

    output: str
    columns: dict[str, str]
    predict: str = "predict"
    shares: str = ""
    score: str = ""
    classes: list[str] | None = None
    texts: dict[str, list[str]] = field(default_factory=dict)
    views: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = field(default_factory=dict)


class Plan:
    """Collects the steps of a model and of those inside of it."""

    def __init__(self) -> None:
        self.steps: dict[str, BuiltStep] = {}
        self._rows: dict[Any, str] = {}
        self._given: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._read: set[str] = set()

    def give(self, mojo: Mojo, step: str, names: tuple[str, ...]) -> None:
        """Let a model read the output of a step, whose columns have names, instead of a table."""
        self._given[mojo.prefix] = step, names

    def is_given(self, mojo: Mojo) -> bool:
        """Whether a model reads the output of a step instead of a table."""
        return mojo.prefix in self._given

    def read(self, mojo: Mojo) -> Answer:
        """Read a model inside of another one.

        Raises
        ------
        ModelFileError
            If it has been read already, since a small file could unfold into many models.
        """
        if mojo.prefix in self._read:
            mojo.fail("it is part of two models.")
        self._read.add(mojo.prefix)
        return read(mojo, self)

    def row(
        self,
        mojo: Mojo,
        names: tuple[str, ...] | None = None,
        required: bool = False,
        levels: dict[int, list[str]] | None = None,
        unseen: bool = False,
    ) -> str:
        """The step with columns of the user's table; by default, all features of a model.

        Parameters
        ----------
        mojo : Mojo
            The model.
        names : tuple of str, optional
            The columns.
        required : bool
            Whether the model refuses rows without a known level.
        levels : dict of int to list of str, optional
            Levels by place among these columns; those of the model by default.
        unseen : bool
            Whether unseen levels have a place of their own, after the last level.
        """
        chosen = mojo.features if names is None else names
        if self.is_given(mojo):
            if required and mojo.domains.keys() & set(range(len(mojo.features))):
                why = "it refuses missing categories, and another model makes its categories"
                raise refused(mojo, why)
            if levels is not None:
                raise refused(mojo, "it encodes categories that another model makes")
            return self._chosen(mojo, chosen)
        places = {name: place for place, name in enumerate(mojo.columns)}
        if levels is None:
            levels = {
                number: mojo.domains[places[name]]
                for number, name in enumerate(chosen)
                if places.get(name) in mojo.domains
            }
        needed = frozenset(levels) if required else frozenset()
        key = (chosen, needed, unseen, tuple((n, tuple(found)) for n, found in levels.items()))
        if key not in self._rows:
            operator = Row(
                names=chosen, levels=levels, required=needed, unseen=unseen, kind=mojo.algorithm
            )
            self._rows[key] = self._add("columns", operator, (TABLE,), "transform")
        return self._rows[key]

    def _chosen(self, mojo: Mojo, names: tuple[str, ...]) -> str:
        """The step with some of the columns that a model was given."""
        step, given = self._given[mojo.prefix]
        if names == given:
            return step
        places = {name: place for place, name in enumerate(given)}
        if not places.keys() >= set(names):
            mojo.fail(f"it reads columns {', '.join(sorted(set(names) - places.keys()))!r:.60}.")
        operator = ChooseColumns(places=[places[name] for name in names])
        return self.step(mojo, operator, step, name="columns")

    def step(
        self, mojo: Mojo, operator: Step, *inputs: str, name: str = "", method: str = "transform"
    ) -> str:
        """Add a step that reads other steps; return its name."""
        operator.kind = mojo.algorithm
        path = "/".join(part for part in (_short(mojo), name) if part)
        return self._add(path, operator, inputs, method)

    def table_step(self, mojo: Mojo, operator: Row, name: str) -> str:
        """Add a step that reads the user's table; return its name."""
        operator.kind = mojo.algorithm
        return self._add(f"{_short(mojo)}/{name}", operator, (TABLE,), "transform")

    def _add(self, path: str, operator: Step, inputs: tuple[str, ...], method: str) -> str:
        unique = unused_name(path, self.steps)
        self.steps[unique] = BuiltStep(unique, operator, inputs, method)
        if len(self.steps) > _MOST_STEPS:
            raise ModelFileError(f"The model has more than {_MOST_STEPS} steps.")
        return unique

    def entries(self, mojo: Mojo, block: str, names: list[str]) -> dict[str, str]:
        """The columns of a step, each as a step with a name of its own."""
        return {
            name: self.step(mojo, Derive(what="entry", numbers_=[float(place)]), block, name=name)
            for place, name in enumerate(names)
        }


def _short(mojo: Mojo) -> str:
    inner = mojo.prefix.rstrip("/").rpartition("/")[2]
    return f"{mojo.algorithm}/{inner}" if inner else mojo.algorithm


Reader = Callable[[Mojo, Plan], Answer]
READERS: dict[str, Reader] = {}


def reads(*algorithms: str) -> Callable[[Reader], Reader]:
    """Register the function that reads models of these algorithms."""

    def add(reader: Reader) -> Reader:
        READERS.update(dict.fromkeys(algorithms, reader))
        return reader

    return add


def read(mojo: Mojo, plan: Plan) -> Answer:
    """Read a model with the reader of its algorithm.

    Raises
    ------
    UntranslatableError
        If it has none.
    """
    reader = READERS.get(mojo.algorithm)
    if reader is None:
        raise refused(mojo, "it has no translation")
    return reader(mojo, plan)


def refused(mojo: Mojo, why: str) -> UntranslatableError:
    """The error for a model that has no translation."""
    return UntranslatableError([(mojo.prefix or "model", f"H2O {mojo.algorithm}", why)])
