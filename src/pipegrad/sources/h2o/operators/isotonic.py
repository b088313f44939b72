"""Isotonic regression."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Derive, Predictor
from ..mojo import Mojo
from ..numbers import Numbers
from ..plan import Answer, Plan, reads
from .answers import add_regression
from .calibration import doubles, with_repeated_knots


@dataclass(eq=False, kw_only=True)
class Interpolate(Predictor):
    """A non-decreasing function, linear between knots and constant beyond them.

    Parameters
    ----------
    knots : array
        The knots, which increase.
    values : Numbers
        Its values there.
    """

    knots: NDArray[np.float64] = field(repr=False)
    values: Numbers = field(repr=False)


@reads("isotonicregression")
def _isotonic(mojo: Mojo, plan: Plan) -> Answer:
    if len(mojo.features) != 1 or 0 in mojo.domains:
        mojo.fail("it reads other columns than one of numbers.")
    knots, values = (doubles(mojo, f"calib/thresholds_{axis}") for axis in "xy")
    at = knots.values
    if len(at) != len(values.values) or not len(at) or (np.diff(at) < 0).any():
        mojo.fail("its knots are damaged.")
    if (mojo.number("calib_min_x"), mojo.number("calib_max_x")) != (at[0], at[-1]):
        mojo.fail("its range is not that of its knots.")
    if not np.isfinite([*at, *values.values]).all() or (np.diff(values.values) < 0).any():
        mojo.fail("its values decrease or are not finite.")
    row = plan.row(mojo)
    if (np.diff(at) == 0).any():
        fixed = with_repeated_knots(at, values.values)
        column = plan.step(mojo, Derive(what="entry", numbers_=[0.0]), row, name="column")
        score = plan.step(mojo, fixed, column, name="predict")
        return add_regression(mojo, plan, score, score)
    operator = Interpolate(knots=at, values=values, task="squared_error")
    score = plan.step(mojo, operator, row, name="predict", method="score")
    return add_regression(mojo, plan, score, score)
