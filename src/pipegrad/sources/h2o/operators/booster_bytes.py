"""Boosters of XGBoost in the binary format of its versions before 2."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mojo import Mojo

FILE = "boosterBytes"
_MAGIC = b"binf"
_HEADER = struct.Struct("<fIiiiII108x")
_TREES = struct.Struct("<iiiiqii128x")
_TREE = struct.Struct("<ii140x")
_LINEAR = struct.Struct("<136x")
_NODE = np.dtype(
    [("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"), ("value", "<f4")]
)
_VALUE, _NODE_SIZE, _STATISTICS = 16, 20, 16
_MOST_TEXT = 200
_MOST_CLASSES = 1_000_000


@dataclass(eq=False)
class Tree:
    """A tree of a booster.

    Parameters
    ----------
    nodes : array of records
        Its nodes; a node without left child is a leaf.
    start : int
        The byte of the first one.
    """

    nodes: NDArray[np.void]
    start: int

    def place(self, node: int) -> int:
        """The byte of the value of a leaf, or of the threshold of another node."""
        return self.start + _NODE_SIZE * node + _VALUE


@dataclass(eq=False)
class Booster:
    """A booster.

    Parameters
    ----------
    objective, kind : str
        XGBoost's names of its loss, and of the booster.
    version : (int, int)
        Version of XGBoost that wrote it; zeros for old ones.
    features, groups : int
        Numbers of its inputs and outputs.
    base_score : float
        Its base score, as a prediction from version 1 on.
    trees : list of Tree
        Its trees.
    outputs : list of int
        The output of each tree.
    factors : list of float, optional
        The factors of trees.
    weights : int
        The byte of the first coefficient of a linear booster; -1 if all are zero.
    """

    objective: str
    kind: str
    version: tuple[int, int]
    features: int
    groups: int
    base_score: float
    trees: list[Tree] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    factors: list[float] | None = None
    weights: int = -1

    @property
    def margin(self) -> float:
        """What sums begin with."""
        if self.version[0] < 1:
            return self.base_score
        with np.errstate(all="ignore"):
            base = np.float32(self.base_score)
            if self.objective in ("binary:logistic", "reg:logistic"):
                odds = float(np.float32(1) / base - np.float32(1))
                return float(np.float32(-math.log(odds))) if odds > 0 else math.nan
            if self.objective in ("reg:gamma", "reg:tweedie", "count:poisson"):
                return float(np.float32(math.log(base))) if base > 0 else math.nan
        return float(base)

    @property
    def base_last(self) -> bool:
        """Whether the margin is added to the sum of trees."""
        return self.version <= (1, 2)


def read_booster(mojo: Mojo) -> Booster:
    """Read the booster of a model."""
    reader = _Reader(mojo)
    try:
        return reader.booster()
    except struct.error:
        mojo.fail("its booster ends too soon.")


class _Reader:
    """Reads the parts of a booster one after the other."""

    def __init__(self, mojo: Mojo) -> None:
        self.mojo, self.content = mojo, mojo.blob(FILE)
        self.at = len(_MAGIC) if self.content.startswith(_MAGIC) else 0

    def booster(self) -> Booster:
        base, features, classes, buffered, _, major, minor = self._unpack(_HEADER)
        objective, kind = self._text(), self._text()
        if not 0 <= classes <= _MOST_CLASSES or not math.isfinite(base):
            self.mojo.fail("the header of its booster is damaged.")
        found = Booster(objective, kind, (major, minor), features, classes or 1, base)
        if kind == "gblinear":
            self._linear(found)
        elif kind in ("gbtree", "dart"):
            self._trees(found, bool(buffered))
        else:
            self.mojo.fail(f"its booster {kind!r} is not known.")
        if not math.isfinite(found.margin):
            self.mojo.fail("the base score of its booster is damaged.")
        return found

    def _trees(self, found: Booster, buffered: bool) -> None:
        count, _, _, _, predictions, _, _ = self._unpack(_TREES)
        if buffered and predictions:
            self.mojo.fail("its booster is of a version that is not supported.")
        self._check(count, _TREE.size)
        found.trees = [self._tree() for _ in range(count)]
        found.outputs = self._array("<i4", count).tolist()
        if not all(0 <= output < found.groups for output in found.outputs):
            self.mojo.fail("its booster has trees for outputs that it does not have.")
        if found.kind == "dart" and count:
            factors = self._array("<f4", self._count())
            if len(factors) < count:
                self.mojo.fail("its booster lacks factors of trees.")
            # H2O's scorer takes them tree by tree of each output.
            number = [0] * found.groups
            places = []
            for output in found.outputs:
                places.append(number[output])
                number[output] += 1
            found.factors = factors[places].astype(float).tolist()

    def _tree(self) -> Tree:
        _, count = self._unpack(_TREE)
        self._check(count, _NODE_SIZE + _STATISTICS)
        if not count:
            self.mojo.fail("a tree of its booster has no nodes.")
        start = self.at
        nodes = self._array(_NODE, count)
        self._array("V16", count)
        return Tree(nodes, start)

    def _linear(self, found: Booster) -> None:
        self._unpack(_LINEAR)
        count = self._count()
        if not count:
            return
        if count < (found.features + 1) * found.groups:
            self.mojo.fail("its booster lacks coefficients.")
        found.weights = self.at
        self._array("<f4", count)

    # -- bytes ---------------------------------------------------------------------------------

    def _unpack(self, kind: struct.Struct) -> tuple[Any, ...]:
        found = kind.unpack_from(self.content, self.at)
        self.at += kind.size
        return found

    def _count(self) -> int:
        (count,) = struct.unpack_from("<q", self.content, self.at)
        self.at += 8
        self._check(count, 1)
        return int(count)

    def _check(self, count: int, size: int) -> None:
        if not 0 <= count <= (len(self.content) - self.at) // size:
            raise struct.error

    def _array(self, kind: str | np.dtype, count: int) -> NDArray[np.void]:
        dtype = np.dtype(kind)
        self._check(count, dtype.itemsize)
        found = np.frombuffer(self.content, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return found

    def _text(self) -> str:
        count = self._count()
        if count > _MOST_TEXT:
            self.mojo.fail("the header of its booster is damaged.")
        self.at += count
        return self.content[self.at - count : self.at].decode("latin-1")
