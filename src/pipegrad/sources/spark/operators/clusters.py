"""Clustering."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import ModelFileError
from ...named.operators import Derive, Predictor, Step
from ..folder import Stage
from ..numbers import Numbers, find, matrix, vector
from ..plan import ModelOutput, Plan, reads
from .answers import name_of
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
class CenterTree(Step):
    """The leaf that a row reaches in a tree of centers.

    Parameters
    ----------
    centers : array
        Coordinates (nodes, entries).
    children : list of list of int
        Places of the children of each node.
    numbers_ : list of int
        Number of each leaf; below zero at other nodes.
    root, depth : int
        Place of the first node, and most steps to a leaf.
    """

    centers: NDArray[np.float64]
    children: list[list[int]]
    numbers_: list[int]
    root: int
    depth: int


@reads("clustering.BisectingKMeansModel")
def _bisecting(stage: Stage, plan: Plan) -> None:
    nodes = stage.rows("data/data")
    try:
        about = json.loads(stage.folder.text(stage.at("data/metadata")))
        places = {int(node["index"]): place for place, node in enumerate(nodes)}
        children = [[places[int(child)] for child in node["children"]] for node in nodes]
        centers = np.stack([vector(node["center"]) for node in nodes])
        root, cosine = places[int(about["rootId"])], about["distanceMeasure"] == "cosine"
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError):
        stage.fail("its tree of centers is damaged.")
    source = features(stage, plan)
    if cosine:
        source = plan.step(stage, UnitNorm(p=2.0), source, name="unit")
        lengths = np.linalg.norm(centers, axis=1, keepdims=True)
        centers = centers / np.where(lengths == 0, 1.0, lengths)
    depth = _depth(stage, children, root)
    operator = CenterTree(
        centers=centers, children=children, numbers_=list(places), root=root, depth=depth
    )
    predict = name_of(stage, "predictionCol", "prediction")
    plan.whole.add(predict)
    plan.name(stage, predict, plan.step(stage, operator, source))


def _depth(stage: Stage, children: list[list[int]], root: int) -> int:
    """The most steps from the root to a leaf; an error if the nodes are no tree."""
    level, depth, seen = [root], -1, 0
    while level:
        seen, depth = seen + len(level), depth + 1
        if seen > len(children):
            stage.fail("its centers are no tree.")
        level = [child for node in level for child in children[node]]
    return depth


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
        means = np.stack([vector(one) for one in row["mus"]])
        sigmas = np.stack([matrix(one) for one in row["sigmas"]])
    except (KeyError, TypeError, ValueError, OverflowError):
        stage.fail("its components are damaged.")
    weights = find(stage, "weights", kind="list")
    count, width = means.shape
    if sigmas.shape != (count, width, width) or weights.values.shape != (count,):
        stage.fail("its components differ in size.")
    if not all(np.isfinite(one).all() for one in (means, sigmas, weights.values)):
        stage.fail("its components are not finite.")
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
