"""Forests that isolate rows, and forests of uplift."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Derive, Step, TreeStructure
from ..mojo import Mojo
from ..plan import Answer, Plan, reads
from .encoding import encoded_row
from .trees import Ensemble, Trees

_EULER = 0.5772156649
_MOST_TREES = 1_000_000
_MOST_FEATURES = 100_000
_HEAD = struct.Struct("<iB")
_INNER, _LEAF = ord("N"), ord("L")


@dataclass(eq=False, kw_only=True)
class ShareOfLengths(Step):
    """How near a length is to the shortest of those that training saw.

    Parameters
    ----------
    shortest, longest : int
        The range of lengths; the share is 1 if it is empty.
    """

    shortest: int
    longest: int


@dataclass(eq=False, kw_only=True)
class AnomalyScore(Step):
    """Two to the negative ratio of a length and a typical one.

    Parameters
    ----------
    typical : float
        The typical length.
    """

    typical: float


@dataclass(eq=False, kw_only=True)
class ObliqueTrees(Step):
    """The mean length of paths in trees that split rows by hyperplanes.

    Parameters
    ----------
    structure : TreeStructure
        The nodes; each tests its own hyperplane.
    points, normals : array, shape (nodes, features)
        A point on each hyperplane, and its normal.
    lengths : array, shape (leaves,)
        The length of the path to each leaf.
    """

    structure: TreeStructure = field(repr=False)
    points: NDArray[np.float64] = field(repr=False)
    normals: NDArray[np.float64] = field(repr=False)
    lengths: NDArray[np.float64] = field(repr=False)


@reads("isolationforest")
def _isolation(mojo: Mojo, plan: Plan) -> Answer:
    row, ensemble = encoded_row(mojo, plan), Ensemble.read(mojo)
    ensemble.require(1)
    total = plan.step(mojo, Trees(**ensemble.fields), row, name="total")
    each = Derive(what="multiple", numbers_=[1 / mojo.integer("n_trees")])
    mean = plan.step(mojo, each, total, name="mean_length")
    share = ShareOfLengths(
        shortest=mojo.integer("min_path_length", 0), longest=mojo.integer("max_path_length", 0)
    )
    score = plan.step(mojo, share, total, name="score")
    answer = Answer(score, {"predict": score, "mean_length": mean})
    if mojo.flag("output_anomaly_flag", False):
        decide = Derive(what="above", numbers_=[mojo.number("default_threshold")])
        flag = plan.step(mojo, decide, score, name="predict")
        answer.columns = {"predict": flag, "score": score, "mean_length": mean}
    return ensemble.with_leaves(plan, answer, row)


@reads("upliftdrf")
def _uplift(mojo: Mojo, plan: Plan) -> Answer:
    row, ensemble = encoded_row(mojo, plan), Ensemble.read(mojo)
    ensemble.require(2)
    total = plan.step(mojo, Trees(**ensemble.fields), row, name="total")
    each = Derive(what="multiple", numbers_=[1 / mojo.integer("n_trees")])
    both = plan.step(mojo, each, total, name="mean")
    score = plan.step(mojo, Derive(what="first_less_second"), both, name="uplift_predict")
    names = ["p_y1_with_treatment", "p_y1_without_treatment"]
    columns = {"uplift_predict": score, **plan.entries(mojo, both, names)}
    return Answer(score, columns, predict="uplift_predict")


# -- hyperplanes -----------------------------------------------------------------------------------


@reads("extendedisolationforest")
def _extended(mojo: Mojo, plan: Plan) -> Answer:
    trees, rows = mojo.integer("ntrees"), mojo.integer("sample_size")
    if not 0 < trees <= _MOST_TREES or rows < 2:
        mojo.fail(f"it states {trees} trees for samples of {rows} rows.")
    reader = _Oblique(mojo)
    for number in range(trees):
        reader.add(f"trees/t{number:02d}.bin")
    mean = plan.step(mojo, reader.operator(), plan.row(mojo), name="mean_length")
    score = AnomalyScore(typical=_typical(rows))
    name = plan.step(mojo, score, mean, name="anomaly_score")
    columns = {"anomaly_score": name, "mean_length": mean}
    return Answer(name, columns, predict="anomaly_score")


def _typical(rows: int) -> float:
    """The mean length of paths that a search tree of so many rows does not find."""
    if rows < 2:
        return 0.0
    if rows == 2:
        return 1.0
    return 2 * (math.log(rows - 1) + _EULER) - 2 * (rows - 1.0) / rows


class _Oblique:
    """Collects the nodes of trees, whose children have the numbers 2 i + 1 and 2 i + 2."""

    def __init__(self, mojo: Mojo) -> None:
        self.mojo = mojo
        self.roots: list[int] = []
        self.children: list[list[int]] = []
        self.planes: list[bytes] = []
        self.lengths: list[float] = []

    def add(self, name: str) -> None:
        """Read the tree in a file of the model."""
        content = self.mojo.blob(name)
        try:
            (features,) = struct.unpack_from("<i", content)
            if features != len(self.mojo.features) or features > _MOST_FEATURES:
                self.mojo.fail(f"{name!r} splits {features} features.")
            self._nodes(name, content, 16 * features)
        except struct.error:
            self.mojo.fail(f"{name!r} ends within a node.")

    def _nodes(self, name: str, content: bytes, size: int) -> None:
        """Nodes follow their parents; what follows the last one is filled up."""
        at, awaited = 4, {0: (-1, 0, 0)}
        while awaited:
            number, kind = _HEAD.unpack_from(content, at)
            at += _HEAD.size
            if number not in awaited or kind not in (_INNER, _LEAF):
                self.mojo.fail(f"{name!r} has no such node: {number}.")
            parent, side, depth = awaited.pop(number)
            if kind == _INNER:
                code = len(self.children)
                self.children.append([0, 0])
                self.planes.append(content[at : at + size])
                if len(self.planes[-1]) < size:
                    raise struct.error
                at += size
                awaited[2 * number + 1] = (code, 0, depth + 1)
                awaited[2 * number + 2] = (code, 1, depth + 1)
            else:
                (count,) = struct.unpack_from("<i", content, at)
                at += 4
                self.lengths.append(depth + _typical(count))
                code = -len(self.lengths)
            if parent < 0:
                self.roots.append(code)
            else:
                self.children[parent][side] = code

    def operator(self) -> ObliqueTrees:
        """The trees."""
        count, features = len(self.children), len(self.mojo.features)
        planes = np.frombuffer(b"".join(self.planes), "<f8").reshape(count, 2, features)
        children = np.array(self.children, dtype=np.int64).reshape(count, 2)
        structure = TreeStructure(
            roots=np.array(self.roots, dtype=np.int64),
            feature=np.arange(count),
            left=children[:, 0].copy(),
            right=children[:, 1].copy(),
            category_width=np.zeros(count, dtype=np.int64),
            category_left=np.zeros(0, dtype=bool),
            unknown_left=np.zeros(count, dtype=bool),
        )
        return ObliqueTrees(
            structure=structure,
            normals=planes[:, 0].copy(),
            points=planes[:, 1].copy(),
            lengths=np.array(self.lengths),
        )
