"""Generalized low rank models: weights of archetypes, and the row that they make."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...named.operators import ChooseColumns
from ..input_table import Row
from ..low_rank import CATEGORICAL, NUMERIC, REGULARIZERS, LowRankScorer
from ..mojo import Mojo
from ..numbers import stored
from ..plan import Answer, Plan, reads, refused

_BLOB = "archetypes"
# A row takes a thousand passes over the archetypes.
_MOST_NUMBERS = 1 << 20
_MOST_PARTS = 1 << 12
_SEEDS = 1 << 63


@dataclass(eq=False, kw_only=True)
class LowRank(Row):
    """Weights of archetypes, then the row that these make (n, k + columns).

    Columns are categories, then numbers. The weights of a row depend on its number.

    Parameters
    ----------
    scorer : LowRankScorer
        Finds the weights.
    offset, scale : array
        What is subtracted from numbers, and their factor after that.
    reverses : bool
        Whether the numbers that weights make are scaled back.
    """

    scorer: LowRankScorer = field(repr=False)
    offset: NDArray[np.float64] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)
    reverses: bool

    def run(self, *values: Any) -> Any:
        """Weights, and the row that they make."""
        rows, count = super().run(*values), len(self.scorer.levels)
        codes = rows[:, :count]
        codes[codes >= np.array(self.scorer.levels)] = np.nan
        rows[:, count:] = (rows[:, count:] - self.offset) * self.scale
        weights = self.scorer.weights(rows)
        return np.concatenate([weights, self._made(weights)], 1)

    def _made(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        scorer, count = self.scorer, len(self.scorer.levels)
        made = np.zeros((len(weights), scorer.archetypes.shape[1]))
        for place, archetype in enumerate(scorer.archetypes):
            made += weights[:, place, None] * archetype
        bounds = np.cumsum([0, *scorer.levels])
        out = np.empty((len(weights), len(self.names)))
        for column, loss in enumerate(scorer.losses):
            if column < count:
                block = made[:, bounds[column] : bounds[column + 1]]
                out[:, column] = CATEGORICAL[loss][2](block)
                continue
            numbers = made[:, bounds[-1] + column - count]
            if loss in ("Logistic", "Hinge"):
                numbers = np.where(numbers > 0, 1.0, 0.0)
            with np.errstate(over="ignore"):
                out[:, column] = np.exp(numbers) if loss == "Poisson" else numbers
        if self.reverses:
            with np.errstate(all="ignore"):
                out[:, count:] = out[:, count:] / self.scale + self.offset
        return out


@reads("glrm")
def _low_rank(mojo: Mojo, plan: Plan) -> Answer:
    if plan.is_given(mojo):
        raise refused(mojo, "its weights depend on the numbers of rows, which steps cannot know")
    if not all(mojo.has(key) for key in ("reverse_transform", "transposed", "catOffsets")):
        raise refused(mojo, "the scorer takes the time as the seed for files of this old version")
    categories, width = mojo.integer("num_categories"), len(mojo.features)
    order = _order(mojo, categories, width)
    names = tuple(mojo.features[place] for place in order)
    scorer = _scorer(mojo, categories, width)
    offset, scale = mojo.numbers("norm_sub"), mojo.numbers("norm_mul")
    if not len(offset) == len(scale) == width - categories:
        mojo.fail("its norm_sub or norm_mul is damaged.")
    operator = LowRank(
        names=names,
        levels={n: mojo.domains[place] for n, place in enumerate(order[:categories])},
        scorer=scorer,
        offset=offset,
        scale=scale,
        reverses=mojo.flag("reverse_transform"),
        kind=mojo.algorithm,
    )
    every = plan.table_step(mojo, operator, "weights and row")
    count = len(scorer.archetypes)
    chosen = ChooseColumns(places=list(range(count)))
    weights = plan.step(mojo, chosen, every, name="weights")
    back = ChooseColumns(places=[count + order.index(n) for n in range(width)])
    made = plan.step(mojo, back, every, name="row")
    columns = plan.entries(mojo, weights, [f"Arch{n + 1}" for n in range(count)])
    columns |= plan.entries(mojo, made, [f"reconstr_{name}" for name in mojo.features])
    return Answer(weights, columns, predict="")


def _order(mojo: Mojo, categories: int, width: int) -> list[int]:
    """The places of the features, those of categories first."""
    order: list[int] = mojo.integers("cols_permutation").tolist()
    if sorted(order) != list(range(width)) or mojo.integer("ncolA") != width:
        mojo.fail("its permutation is damaged.")
    if [place in mojo.domains for place in order] != [n < categories for n in range(width)]:
        mojo.fail("its permutation does not put categories first.")
    if not 0 <= categories <= width or mojo.integer("num_numeric") != width - categories:
        mojo.fail(f"it has {width} features, but describes others.")
    return order


def _scorer(mojo: Mojo, categories: int, width: int) -> LowRankScorer:
    """What finds the weights; all sizes are checked."""
    levels = mojo.integers("num_levels_per_category")[:categories].tolist()
    count, entries = mojo.integer("ncolX"), mojo.integer("ncolY")
    if len(levels) != categories or not all(n > 0 for n in levels):
        mojo.fail("its num_levels_per_category are damaged.")
    if mojo.integers("catOffsets").tolist() != np.cumsum([0, *levels]).tolist():
        mojo.fail("its catOffsets are damaged.")
    if count != mojo.integer("nrowY") or entries != sum(levels) + width - categories:
        mojo.fail("its archetypes are damaged.")
    if not 0 < count * entries <= _MOST_NUMBERS or not 0 < count <= _MOST_PARTS - categories:
        mojo.fail(f"it has {count} archetypes of {entries} numbers.")
    if len(mojo.blob(_BLOB)) != 8 * count * entries:
        mojo.fail("its archetypes are damaged.")
    places = np.arange(count * entries).reshape(count, entries)
    archetypes = stored(mojo, _BLOB, ">f8", places).values
    regularizer, losses = mojo.text("regularizationX"), mojo.lines("losses", width)
    if not np.isfinite(archetypes).all():
        mojo.fail("its archetypes are not finite.")
    if regularizer not in REGULARIZERS:
        mojo.fail(f"it has a regularizer {regularizer!r:.60}.")
    for column, loss in enumerate(losses):
        if loss.startswith("Periodic"):
            raise refused(mojo, "the scorer of H2O does not read periodic losses")
        if loss not in {**CATEGORICAL, **NUMERIC}:
            mojo.fail(f"it has a loss {loss!r:.60}.")
        if loss not in (CATEGORICAL if column < categories else NUMERIC):
            raise refused(mojo, f"the scorer of H2O has no {loss} loss for columns of that type")
    gamma, seed = mojo.number("gammaX"), mojo.text("seed", "0")
    if not re.fullmatch(r"-?\d{1,19}", seed) or not -_SEEDS <= int(seed) < _SEEDS:
        mojo.fail(f"its seed is {seed!r:.60}.")
    return LowRankScorer(archetypes, levels, losses, regularizer, gamma, int(seed))
