"""Models of XGBoost inside of H2O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import UntranslatableError
from ...named.operators import Derive, Predictor, Step, TreeStructure
from ..mojo import Mojo
from ..numbers import Numbers, stored
from ..plan import Answer, Plan, reads
from .answers import add_binary_shares, add_classes, add_regression
from .booster_bytes import FILE, Booster, Tree, read_booster
from .calibration import with_calibration
from .distributions import parameter
from .tree_bytes import DEEPEST

_OLDEST = 1.1
_LEFTWARD = 1 << 31
# The task, the function from scores to predictions, and whether there are two classes or more.
_OBJECTIVES = {
    "binary:logistic": ("logistic", "single_sigmoid", 2),
    "multi:softprob": ("softmax", "single_softmax", 3),
    "reg:squarederror": ("squared_error", "", 1),
    "reg:linear": ("squared_error", "", 1),
    "reg:gamma": ("tweedie", "single_exp", 1),
    "reg:tweedie": ("tweedie", "single_exp", 1),
    "count:poisson": ("tweedie", "single_exp", 1),
}
_POWERS = {"reg:gamma": 2.0, "count:poisson": 1.0}


@dataclass(eq=False, kw_only=True)
class Columns(Step):
    """Places of levels, and numbers in single precision.

    Parameters
    ----------
    sizes : list of int
        Number of indicators of each categorical column; the last one is for missing levels.
    shift : int
        The level that the first indicator stands for.
    sparse : bool
        Whether zeros, and indicators that are not set, count as missing.
    """

    sizes: list[int]
    shift: int
    sparse: bool


@dataclass(eq=False, kw_only=True)
class BoostedTrees(Predictor):
    """Sums of trees in single precision.

    Parameters
    ----------
    structure : TreeStructure
        The nodes.
    leaves : Numbers
        The values of all leaves.
    thresholds : Numbers
        The thresholds of the nodes that have one.
    numeric : array of int64
        Which nodes these are.
    missing_left : array of bool
        Whether missing values go left, node by node.
    outputs : list of int
        The output of each tree.
    count : int
        Number of outputs.
    base : float
        What sums begin with.
    base_last : bool
        Whether it is added last.
    factors : list of float, optional
        The factor of each tree.
    """

    structure: TreeStructure = field(repr=False)
    leaves: Numbers = field(repr=False)
    thresholds: Numbers = field(repr=False)
    numeric: NDArray[np.int64] = field(repr=False)
    missing_left: NDArray[np.bool_] = field(repr=False)
    outputs: list[int] = field(repr=False)
    count: int
    base: float
    base_last: bool
    factors: list[float] | None = field(default=None, repr=False)


@dataclass(eq=False, kw_only=True)
class BoostedLinear(Predictor):
    """A linear map in single precision.

    Parameters
    ----------
    weight, bias : Numbers
        Coefficients (inputs, outputs), and the bias (outputs,).
    sizes : list of int
        Number of indicators of each categorical column.
    base : float
        What is added to the bias.
    base_last : bool
        Whether it is added last.
    """

    weight: Numbers
    bias: Numbers
    sizes: list[int]
    base: float
    base_last: bool


@reads("xgboost")
def _xgboost(mojo: Mojo, plan: Plan) -> Answer:
    if not mojo.number("mojo_version") >= _OLDEST:
        _refuse(mojo, f"its file is older than version {_OLDEST}")
    booster, classes = read_booster(mojo), mojo.integer("n_classes")
    if booster.objective not in _OBJECTIVES:
        _refuse(mojo, f"its objective {booster.objective!r} is not supported")
    task, link, kind = _OBJECTIVES[booster.objective]
    if min(classes, 3) != kind or booster.groups != (classes if classes > 2 else 1):
        mojo.fail(f"its booster has {booster.groups} outputs for {classes} classes.")
    row = plan.row(mojo)
    columns = _columns(mojo)
    source = plan.step(mojo, columns, row, name="columns")
    inputs = [source]
    if mojo.flag("has_offset", False):
        offsets = plan.row(mojo, (mojo.text("offset_column"),))
        first = Derive(what="entry", numbers_=[0.0])
        inputs.append(plan.step(mojo, first, offsets, name="offset"))
    options = _options(mojo, booster.objective) if task == "tweedie" else {}
    make = _linear if booster.kind == "gblinear" else _trees
    score = plan.step(mojo, make(mojo, booster, columns, task, options), *inputs, method="score")
    if not link:
        return add_regression(mojo, plan, score, score)
    mean = plan.step(mojo, Derive(what=link), score, name="mean")
    if classes == 1:
        return add_regression(mojo, plan, score, mean)
    if classes > 2:
        return add_classes(mojo, plan, score, mean, row)
    shares = plan.step(mojo, Derive(what="single_two_shares"), mean, name="shares")
    return with_calibration(mojo, plan, add_binary_shares(mojo, plan, score, shares), shares)


def _refuse(mojo: Mojo, why: str) -> None:
    raise UntranslatableError([(mojo.prefix or "model", "H2O xgboost", why)])


def _options(mojo: Mojo, objective: str) -> dict[str, Any]:
    power = _POWERS.get(objective) or parameter(mojo, "tweedie_power", 1, 2) or 1.5
    return {"power": power, "link": "log"}


def _columns(mojo: Mojo) -> Columns:
    categories, numeric = mojo.integer("cats"), mojo.integer("nums")
    offsets = mojo.integers("cat_offsets") if categories > 0 else np.zeros(1, dtype=np.int64)
    sizes = np.diff(offsets)
    levels = np.array([len(mojo.domains.get(place, ())) for place in range(len(sizes))])
    if len(sizes) != categories or offsets[0] or ((sizes <= 0) | (sizes > levels + 1)).any():
        mojo.fail("its cat_offsets are damaged.")
    if numeric < 0 or categories + numeric != len(mojo.features):
        mojo.fail(f"it has {len(mojo.features)} features, but describes others.")
    if any((place in mojo.domains) != (place < categories) for place in range(len(mojo.features))):
        mojo.fail("its categorical features are not the first ones.")
    shift = 0 if mojo.flag("use_all_factor_levels") else 1
    return Columns(sizes=sizes.tolist(), shift=shift, sparse=mojo.flag("sparse"))


def _linear(
    mojo: Mojo, booster: Booster, columns: Columns, task: str, options: dict[str, Any]
) -> BoostedLinear:
    width = sum(columns.sizes) + len(mojo.features) - len(columns.sizes)
    if booster.features != width:
        mojo.fail(f"its booster has {booster.features} inputs instead of {width}.")
    if booster.weights < 0:
        mojo.fail("its booster has no coefficients.")
    places = np.arange((width + 1) * booster.groups).reshape(width + 1, booster.groups)
    return BoostedLinear(
        weight=stored(mojo, FILE, "<f4", places[:-1], booster.weights),
        bias=stored(mojo, FILE, "<f4", places[-1], booster.weights),
        sizes=columns.sizes,
        base=booster.margin,
        base_last=booster.base_last,
        task=task,
        options=options,
    )


def _trees(
    mojo: Mojo, booster: Booster, columns: Columns, task: str, options: dict[str, Any]
) -> BoostedTrees:
    if not booster.trees:
        mojo.fail("its booster has no trees.")
    nodes = _Nodes(mojo, columns)
    for tree in booster.trees:
        nodes.add(tree)
    thresholds = stored(mojo, FILE, "<f4", nodes.thresholds, unit=1)
    if np.isnan(thresholds.values).any():
        mojo.fail("a threshold of its trees is no number.")
    return BoostedTrees(
        structure=nodes.structure(),
        leaves=stored(mojo, FILE, "<f4", nodes.leaves, unit=1),
        thresholds=thresholds,
        numeric=np.array(nodes.numeric, dtype=np.int64),
        missing_left=np.array(nodes.missing, dtype=bool),
        outputs=booster.outputs,
        count=booster.groups,
        base=booster.margin,
        base_last=booster.base_last,
        factors=booster.factors,
        task=task,
        options=options,
    )


class _Nodes:
    """Collects the nodes of trees; tests of indicators become tests of levels."""

    def __init__(self, mojo: Mojo, columns: Columns) -> None:
        self.mojo, self.columns = mojo, columns
        self.column_of = np.repeat(np.arange(len(columns.sizes)), columns.sizes)
        self.first = np.concatenate([[0], np.cumsum(columns.sizes)])
        self.width = len(self.column_of) + len(mojo.features) - len(columns.sizes)
        self.roots: list[int] = []
        self.feature: list[int] = []
        self.children: list[list[int]] = []
        self.categories: list[NDArray[np.bool_]] = []
        self.missing: list[bool] = []
        self.numeric: list[int] = []
        self.thresholds: list[int] = []
        self.leaves: list[int] = []

    def add(self, tree: Tree) -> None:
        """Walk through a tree from its root."""
        table = [tree.nodes[name].tolist() for name in ("left", "right", "split", "value")]
        seen = bytearray(len(tree.nodes))
        waiting = [(0, -1, 0, 0)]
        while waiting:
            node, parent, side, depth = waiting.pop()
            if not 0 <= node < len(seen) or seen[node] or depth > DEEPEST:
                self.mojo.fail("the trees of its booster are no trees.")
            seen[node] = 1
            left, right, split, value = (column[node] for column in table)
            if left == -1:
                self.leaves.append(tree.place(node))
                code = -len(self.leaves)
            else:
                code = len(self.feature)
                self._inner(split, value, tree.place(node))
                waiting += [(right, code, 1, depth + 1), (left, code, 0, depth + 1)]
            if parent < 0:
                self.roots.append(code)
            else:
                self.children[parent][side] = code

    def _inner(self, split: int, threshold: float, place: int) -> None:
        index, leftward = split % _LEFTWARD, split >= _LEFTWARD
        if index >= self.width:
            self.mojo.fail(f"a tree of its booster tests input {index} of {self.width}.")
        self.children.append([0, 0])
        indicators = len(self.column_of)
        if index >= indicators:
            self.numeric.append(len(self.feature))
            self.thresholds.append(place)
            self.feature.append(len(self.columns.sizes) + index - indicators)
            self.categories.append(np.zeros(0, dtype=bool))
            self.missing.append(leftward)
            return
        column = int(self.column_of[index])
        others = leftward if self.columns.sparse else threshold > 0.0
        size = self.columns.sizes[column]
        self.mojo.archive.fill(size, "its trees")
        left = np.full(size, others)
        left[index - self.first[column]] = threshold > 1.0
        self.feature.append(column)
        self.categories.append(left)
        self.missing.append(others)

    def structure(self) -> TreeStructure:
        """The nodes of all trees."""
        children = np.array(self.children, dtype=np.int64).reshape(-1, 2)
        return TreeStructure(
            roots=np.array(self.roots, dtype=np.int64),
            feature=np.array(self.feature, dtype=np.int64),
            left=children[:, 0].copy(),
            right=children[:, 1].copy(),
            category_width=np.array([len(one) for one in self.categories], dtype=np.int64),
            category_left=np.concatenate([np.zeros(0, dtype=bool), *self.categories]),
            unknown_left=np.array(self.missing, dtype=bool),
        )
