"""Clusters around centers of numbers and categories."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Derive, Predictor, Step
from ..mojo import Mojo
from ..numbers import Numbers, listed
from ..plan import Answer, Plan, reads
from .expansion import StandardizeLast

_MOST_CENTERS = 1 << 20


@dataclass(eq=False, kw_only=True)
class Fill(Step):
    """Fixed numbers in place of missing ones.

    Parameters
    ----------
    values : array
        The number of each column.
    """

    values: NDArray[np.float64]


@dataclass(eq=False, kw_only=True)
class MixedDistances(Predictor):
    """Squared distances to centers; a category that differs counts as one.

    Parameters
    ----------
    centers : list of Numbers
        Numeric coordinates of each center.
    levels : array
        Categories (centers, categorical columns) of the centers.
    """

    centers: list[Numbers] = field(repr=False)
    levels: NDArray[np.float64]


@reads("kmeans")
def _clusters(mojo: Mojo, plan: Plan) -> Answer:
    places = range(len(mojo.features))
    categorical = [place for place in places if place in mojo.domains]
    numeric = [place for place in places if place not in mojo.domains]
    row = plan.row(mojo, tuple(mojo.features[place] for place in categorical + numeric))
    if mojo.flag("standardize"):
        row = _standardized(mojo, plan, row, categorical, numeric)
    count = mojo.integer("center_num")
    if not 0 < count <= _MOST_CENTERS:
        mojo.fail(f"it has {count} centers.")
    centers = [listed(mojo, f"center_{number}") for number in range(count)]
    every = [center.values for center in centers]
    if any(one.shape != (len(mojo.features),) or not np.isfinite(one).all() for one in every):
        mojo.fail("its centers are damaged.")
    operator = MixedDistances(
        centers=[listed(mojo, f"center_{number}", numeric) for number in range(count)],
        levels=np.stack(every)[:, categorical],
        task="inertia",
    )
    score = plan.step(mojo, operator, row, name="distances", method="score")
    nearest = plan.step(mojo, Derive(what="smallest_finite"), score, name="predict")
    far = plan.entries(mojo, score, [f"distance_{number}" for number in range(count)])
    return Answer(score, {"predict": nearest, **far})


def _standardized(
    mojo: Mojo, plan: Plan, row: str, categorical: list[int], numeric: list[int]
) -> str:
    """The step with a row without missing values; numbers in standard deviations."""
    width = len(mojo.features)
    means, modes = mojo.numbers("standardize_means"), mojo.numbers("standardize_modes")
    if not len(means) == len(modes) == width or (modes[numeric] != -1).any():
        mojo.fail("its standardize_means or standardize_modes are damaged.")
    offset = means[numeric]
    if mojo.has("standardize_mults"):
        operator = StandardizeLast(
            start=len(categorical),
            scale=listed(mojo, "standardize_mults", numeric),
            offset=listed(mojo, "standardize_means", numeric),
            # Distances are smaller in units that are larger.
            trains=False,
        )
        row, offset = plan.step(mojo, operator, row, name="standardize"), 0 * offset
    fill = Fill(values=np.concatenate([modes[categorical], offset]))
    return plan.step(mojo, fill, row, name="fill")
