"""Clustering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._base import Predictor
from ..folder import Stage
from ..numbers import Numbers, find
from ..plan import ModelOutput, Plan, reads
from .answers import Derive, name_of
from .columns import UnitNorm
from .linear import features


@dataclass(eq=False, kw_only=True)
class SquaredDistances(Predictor):
    """Squared distances to the centers of clusters.

    Parameters
    ----------
    centers : Numbers
        Coordinates (centers, entries).
    places : list of int
        The center of each cluster.
    cosine : bool
        Whether centers are divided by their length first.
    """

    centers: Numbers
    places: list[int]
    cosine: bool = False


@reads("clustering.KMeansModel")
def _kmeans(stage: Stage, plan: Plan) -> None:
    rows = stage.rows()
    centers = find(stage, "clusterCenter", rows=rows)
    index: list[Any] = [row.get("clusterIdx") for row in rows]
    if not rows or sorted(index, key=str) != sorted(range(len(rows)), key=str):
        stage.fail("its clusters are not numbered one after the other.")
    places = np.argsort(index).tolist()
    source = features(stage, plan)
    cosine = stage.text("distanceMeasure", "euclidean") == "cosine"
    if cosine:
        source = plan.step(stage, UnitNorm(p=2.0), source, name="unit")
    operator = SquaredDistances(centers=centers, places=places, cosine=cosine, task="inertia")
    score = plan.step(stage, operator, source, method="score")
    predict = name_of(stage, "predictionCol", "prediction")
    nearest = plan.step(stage, Derive(what="smallest"), score, name="prediction")
    plan.whole.add(predict)
    plan.name(stage, predict, nearest)
    plan.answer = ModelOutput(score, predict)


@dataclass(eq=False, kw_only=True)
class Mixture(Predictor):
    """Weighted normal densities of the components of a mixture."""

    weights: Numbers
    means: Numbers
    covariances: Numbers


@reads("clustering.GaussianMixtureModel")
def _mixture(stage: Stage, plan: Plan) -> None:
    row = stage.row()
    try:
        from ..numbers import matrix, vector

        means = np.stack([vector(one) for one in row["mus"]])
        sigmas = np.stack([matrix(one) for one in row["sigmas"]])
    except (KeyError, TypeError, ValueError):
        stage.fail("its components are damaged.")
    weights = find(stage, "weights", kind="list")
    count, width = means.shape
    if sigmas.shape != (count, width, width) or weights.values.shape != (count,):
        stage.fail("its components differ in size.")
    place = stage.at("data")
    operator = Mixture(
        weights=weights,
        means=Numbers(means, place, ("mus",), "vectors"),
        covariances=Numbers(sigmas, place, ("sigmas",), "matrices"),
        task="mixture",
    )
    score = plan.step(stage, operator, features(stage, plan), method="score")
    shares = plan.step(stage, Derive(what="shares_with_floor"), score, name="probability")
    decided = plan.step(stage, Derive(what="largest"), shares, name="prediction")
    predict = name_of(stage, "predictionCol", "prediction")
    proba = name_of(stage, "probabilityCol", "probability")
    plan.whole.add(predict)
    plan.name(stage, predict, decided)
    plan.name(stage, proba, shares)
    plan.answer = ModelOutput(score, predict, proba)
