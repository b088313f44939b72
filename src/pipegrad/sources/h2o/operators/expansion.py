"""Categories as indicators beside numbers, as H2O's models without trees read rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Step
from ..mojo import Mojo
from ..numbers import Numbers, listed
from ..plan import Plan

_WIDEST = 1 << 24


@dataclass(eq=False, kw_only=True)
class Expand(Step):
    """Categories to indicators, followed by the numbers.

    Parameters
    ----------
    sizes : list of int
        Number of indicators of each categorical column.
    first : int
        The level that the first indicator stands for: 1 if level 0 has none.
    modes : array of int64, optional
        The level that stands for a missing one; none if those have no indicator.
    means : Numbers, optional
        The number that stands for a missing one.
    numeric : int
        Number of numeric columns.
    fill : float, optional
        What stands for missing numbers without means; NaN passes without either.
    """

    sizes: list[int]
    first: int
    modes: NDArray[np.int64] | None
    means: Numbers | None = field(repr=False)
    numeric: int
    fill: float | None = None

    @property
    def width(self) -> int:
        """Number of entries of the output."""
        return sum(self.sizes) + self.numeric


@dataclass(eq=False, kw_only=True)
class StandardizeLast(Step):
    """``(x - offset) * scale`` for the last columns; NaN passes.

    Parameters
    ----------
    start : int
        The first of those columns.
    scale, offset : Numbers
        Numbers of each column.
    trains : bool
        Whether the numbers train.
    """

    start: int
    scale: Numbers
    offset: Numbers
    trains: bool = True


def expand(mojo: Mojo, plan: Plan, row: str) -> tuple[str, Expand]:
    """The step with the indicators and numbers that a model combines."""
    categories, numeric = mojo.integer("cats"), mojo.integer("nums")
    offsets = mojo.integers("cat_offsets") if categories else np.zeros(1, dtype=np.int64)
    sizes = np.diff(offsets)
    if len(sizes) != categories or (sizes < 0).any() or offsets[0] or not 0 <= numeric < _WIDEST:
        mojo.fail("its cat_offsets are damaged.")
    if categories + numeric != len(mojo.features) or offsets[-1] > _WIDEST:
        mojo.fail(f"it has {len(mojo.features)} features, but describes others.")
    impute = mojo.flag("mean_imputation")
    operator = Expand(
        sizes=sizes.tolist(),
        first=0 if mojo.flag("use_all_factor_levels") else 1,
        modes=mojo.integers("cat_modes") if impute and categories else None,
        means=listed(mojo, "num_means", np.arange(numeric)) if impute and numeric else None,
        numeric=numeric,
    )
    if operator.modes is not None and len(operator.modes) != categories:
        mojo.fail("its cat_modes are damaged.")
    return plan.step(mojo, operator, row, name="expand"), operator
