"""Recommenders: factors of users and items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ....errors import ArgumentError
from ...named.cells import doubles_of
from ...named.operators import Host, Predictor
from ..folder import Stage
from ..numbers import Numbers, find
from ..plan import ModelOutput, Plan, reads
from .categories import refuse_rows


@dataclass(eq=False, kw_only=True)
class IndexIds(Host):
    """The place of each id among those that have factors; -1 for others.

    Parameters
    ----------
    ids : list of int
        The ids.
    drops : bool
        Whether Spark leaves out the rows of other ids.
    """

    ids: list[int]
    drops: bool

    @cached_property
    def places(self) -> dict[float, int]:
        """The place of each id."""
        return {float(one): place for place, one in enumerate(self.ids)}

    def run(self, *values: Any) -> Any:
        """Places (n,)."""
        numbers = doubles_of(np.asarray(values[0]))
        if numbers is None or numbers.ndim != 1:
            raise ArgumentError(f"{self.kind} takes columns of whole numbers as ids.")
        with np.errstate(invalid="ignore"):
            odd = numbers != np.round(numbers)
            odd |= ~(np.abs(numbers) <= np.iinfo(np.int32).max)
        refuse_rows(self.kind, odd, "error", "ids that are no whole numbers of 32 bits")
        found = np.array([self.places.get(one, -1) for one in numbers.tolist()], dtype=np.float64)
        if self.drops:
            refuse_rows(self.kind, found < 0, "drop", "ids without factors")
        return found


@dataclass(eq=False, kw_only=True)
class Factors(Predictor):
    """Inner products of the factors of users and of items, which Spark keeps in float32."""

    users: Numbers
    items: Numbers


@reads("recommendation.ALSModel")
def _factors(stage: Stage, plan: Plan) -> None:
    plan.reads_later = True
    drops = stage.text("coldStartStrategy", "nan").lower() == "drop"
    inputs, found = [], []
    for what, default in (("user", "user"), ("item", "item")):
        rows = stage.rows(f"{what}Factors")
        ids: list[Any] = [row.get("id") for row in rows]
        if not rows or not all(isinstance(one, int) for one in ids) or len(set(ids)) < len(ids):
            stage.fail(f"the ids of its {what}s are damaged.")
        found.append(find(stage, "features", kind="list", rows=rows, sub=f"{what}Factors"))
        source = plan.column(stage.text(f"{what}Col", default))
        inputs.append(plan.step(stage, IndexIds(ids=ids, drops=drops), source, name=what))
    users, items = found
    if users.values.shape[1] != items.values.shape[1]:
        stage.fail("its users have another number of factors than its items.")
    operator = Factors(users=users, items=items, task="squared_error")
    score = plan.step(stage, operator, *inputs, method="score")
    predict = stage.text("predictionCol", "prediction")
    plan.name(stage, predict, score)
    plan.single.add(predict)
    plan.answer = ModelOutput(score, predict)
