"""Calibrated probabilities of classifiers of two classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Derive, Step
from ..mojo import Mojo
from ..numbers import Numbers, listed, stored
from ..plan import Answer, Plan
from .answers import column_of


@dataclass(eq=False, kw_only=True)
class Platt(Step):
    """A logistic function of the probability of the first class.

    Parameters
    ----------
    beta : Numbers
        Its slope and its constant.
    """

    beta: Numbers


@dataclass(eq=False, kw_only=True)
class Isotonic(Step):
    """A monotone function of a probability, linear between knots and constant beyond them.

    Parameters
    ----------
    knots, values : array
        The knots, and its values there. Where several knots coincide, it jumps.
    found : array
        The values for probabilities that are knots.
    """

    knots: NDArray[np.float64] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)
    found: NDArray[np.float64] = field(repr=False)


def with_calibration(mojo: Mojo, plan: Plan, answer: Answer, shares: str) -> Answer:
    """An answer with the columns of calibrated probabilities, if the model has them."""
    method = mojo.text("calib_method", "platt" if mojo.has("calib_glm_beta") else "none")
    if method == "none":
        return answer
    operator: Step
    if method == "platt":
        operator, place = Platt(beta=listed(mojo, "calib_glm_beta", shape=(2,))), 0.0
    elif method == "isotonic":
        operator, place = _isotonic(mojo), 1.0
    else:
        mojo.fail(f"calibration {method!r:.40} is not known.")
    share = plan.step(mojo, Derive(what="entry", numbers_=[place]), shares, name="uncalibrated")
    second = plan.step(mojo, operator, share, name="calibrated")
    both = plan.step(mojo, Derive(what="two_shares"), second, name="calibrated shares")
    names = [f"cal_{column_of(label)}" for label in answer.classes or ()]
    answer.columns.update(plan.entries(mojo, both, names))
    return answer


def _isotonic(mojo: Mojo) -> Isotonic:
    knots, values = (doubles(mojo, f"calib/thresholds_{axis}").values for axis in "xy")
    if len(knots) != len(values) or not len(knots) or not np.isfinite([*knots, *values]).all():
        mojo.fail("its calibration is damaged.")
    if (np.diff(knots) < 0).any() or knots[0] < 0:
        mojo.fail("the knots of its calibration do not increase.")
    if (mojo.number("calib_min_x"), mojo.number("calib_max_x")) != (knots[0], knots[-1]):
        mojo.fail("the range of its calibration is not that of its knots.")
    return with_repeated_knots(knots, values)


def with_repeated_knots(knots: NDArray[np.float64], values: NDArray[np.float64]) -> Isotonic:
    """A function whose knots do not decrease; at equal ones, Java's binary search chooses."""
    found = values.copy()
    for place in np.flatnonzero(np.diff(knots) == 0).tolist():
        found[place] = found[place + 1] = values[_halved(knots, knots[place])]
    return Isotonic(knots=knots, values=values, found=found)


def _halved(sorted_: NDArray[np.float64], value: float) -> int:
    """Which of several equal numbers Java's binary search finds."""
    low, high = 0, len(sorted_) - 1
    while True:
        middle = (low + high) // 2
        if sorted_[middle] == value:
            return middle
        low, high = (middle + 1, high) if sorted_[middle] < value else (low, middle - 1)


def doubles(mojo: Mojo, name: str) -> Numbers:
    """A list of numbers in a file, with their count before them."""
    count = int(stored(mojo, name, ">i4", [0]).values[0])
    if not 0 <= count <= len(mojo.blob(name)) // 8:
        mojo.fail(f"{name!r} states {count} numbers.")
    return stored(mojo, name, ">f8", np.arange(count), start=4)
