"""Hashes that are the same for vectors near each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Step
from ..folder import Stage
from ..numbers import find
from ..plan import Plan, reads


@dataclass(eq=False, kw_only=True)
class BucketsOnLines(Step):
    """The bucket of a vector on each of several lines.

    Parameters
    ----------
    directions : array
        Unit vectors along the lines (lines, entries).
    length : float
        Length of a bucket.
    """

    directions: NDArray[np.float64]
    length: float


@reads("feature.BucketedRandomProjectionLSHModel")
def _projections(stage: Stage, plan: Plan) -> None:
    length = stage.number("bucketLength", 0.0)
    if not length > 0:
        stage.fail(f"its buckets have length {length}.")
    directions = find(stage, "randUnitVectors", kind="matrix").values
    _lists(stage, plan, BucketsOnLines(directions=directions, length=length))


@dataclass(eq=False, kw_only=True)
class LeastHashes(Step):
    """The smallest hash of the places of a vector that are not zero, by several functions.

    Parameters
    ----------
    coefficients : array of int64
        Factor and shift of each function (functions, 2).
    """

    coefficients: NDArray[np.int64]


@reads("feature.MinHashLSHModel")
def _least_hashes(stage: Stage, plan: Plan) -> None:
    found: Any = stage.row().get("randCoefficients")
    whole = isinstance(found, list) and all(isinstance(n, int) and 0 <= n < 1 << 31 for n in found)
    if not whole or not found or len(found) % 2:
        stage.fail("its coefficients are damaged.")
    coefficients = np.array(found, dtype=np.int64).reshape(-1, 2)
    _lists(stage, plan, LeastHashes(coefficients=coefficients))


def _lists(stage: Stage, plan: Plan, operator: Step) -> None:
    """A column whose cells are lists of vectors of one entry in Spark."""
    ((source, made),) = stage.inputs_and_outputs()
    plan.lists.add(made)
    plan.name(stage, made, plan.step(stage, operator, plan.column(source)))
