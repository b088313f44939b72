"""Gradient boosted trees and random forests."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import UntranslatableError
from ...named.operators import Derive, Predictor, TreeStructure
from ..mojo import Mojo
from ..numbers import Numbers, listed, stored
from ..plan import Answer, Plan, reads
from .answers import add_binary_shares, add_classes, add_regression
from .calibration import with_calibration
from .distributions import DISTRIBUTIONS, add_mean, balance_factors, loss_options
from .encoding import encoded_row
from .leaves import Leaves, with_leaves
from .linear import with_offset
from .tree_bytes import Forest

_MOST_TREES = 1_000_000
# Older files hold other bytes for sets of categories.
_OLDEST = 1.2


@dataclass(eq=False, kw_only=True)
class Trees(Predictor):
    """The sum or the mean of trees.

    Parameters
    ----------
    structure : TreeStructure
        The nodes.
    leaves : list of Numbers
        The values of the leaves, tree by tree.
    thresholds : list of Numbers
        The thresholds, tree by tree.
    numeric : array of int64
        The nodes that have one.
    missing_left : array of bool
        Whether missing values go left, node by node.
    tree_output : array of int64, optional
        The output that each tree adds to; a single one by default.
    outputs : int, optional
        Number of outputs, with several.
    base : Numbers, optional
        What is added to the sum.
    average : bool
        Whether the sum is divided by the number of trees.
    shares : bool
        Whether leaves hold the probability of the first of two classes.
    positive : bool
        Whether leaves stay positive.
    """

    structure: TreeStructure = field(repr=False)
    leaves: list[Numbers] = field(repr=False)
    thresholds: list[Numbers] = field(repr=False)
    numeric: NDArray[np.int64] = field(repr=False)
    missing_left: NDArray[np.bool_] = field(repr=False)
    tree_output: NDArray[np.int64] | None = None
    outputs: int | None = None
    base: Numbers | None = None
    average: bool = False
    shares: bool = False
    positive: bool = False


@dataclass(eq=False, kw_only=True)
class ClassShares(Predictor):
    """Weights of classes, times fixed factors, divided by their sum.

    Parameters
    ----------
    factors : list of float
        Factor of each class.
    """

    factors: list[float]


@dataclass(eq=False)
class Ensemble:
    """The trees of a model, with one output for each tree of a round.

    Parameters
    ----------
    mojo : Mojo
        The model.
    forest : Forest
        Its trees.
    fields : dict
        The fields of `Trees`.
    """

    mojo: Mojo
    forest: Forest
    fields: dict[str, Any]

    @classmethod
    def read(cls, mojo: Mojo) -> Ensemble:
        """Read all trees; H2O leaves out those of classes without rows."""
        version = mojo.number("mojo_version")
        if not version >= _OLDEST:
            why = f"its file is of version {version:g}, and only those from {_OLDEST} on are read"
            raise UntranslatableError([(mojo.prefix or "model", f"H2O {mojo.algorithm}", why)])
        rounds, outputs = mojo.integer("n_trees"), mojo.integer("n_trees_per_class")
        if rounds < 1 or outputs < 1 or rounds * outputs > _MOST_TREES:
            mojo.fail(f"it states {rounds} rounds of {outputs} trees.")
        forest, places = Forest(mojo), []
        for number in range(rounds):
            for output in range(outputs):
                name = f"trees/t{output:02d}_{number:03d}.bin"
                if mojo.prefix + name in mojo.archive:
                    forest.add(name)
                    places.append(output)
        if not places or (outputs == 1 and len(places) < rounds):
            mojo.fail("it lacks trees.")
        several = outputs > 1
        fields = {
            **_tables(forest),
            "tree_output": np.array(places, dtype=np.int64) if several else None,
            "outputs": outputs if several else None,
        }
        return cls(mojo, forest, fields)

    def require(self, outputs: int) -> None:
        """Reject another number of trees in each round."""
        found = self.mojo.integer("n_trees_per_class")
        if found != outputs:
            self.mojo.fail(f"it has {found} trees in each round instead of {outputs}.")

    def with_leaves(self, plan: Plan, answer: Answer, row: str) -> Answer:
        """An answer with the columns of leaves."""
        at = self.fields
        operator = Leaves(
            structure=at["structure"],
            thresholds=every_threshold(at["structure"], at["numeric"], at["thresholds"]),
            missing_left=at["missing_left"],
        )
        return with_leaves(self.mojo, plan, answer, self.forest, row, operator)


def _tables(forest: Forest) -> dict[str, Any]:
    cut = [node.threshold for node in forest.nodes]
    bounds = [*forest.starts, len(cut)]
    places = [[at for at in cut[a:b] if at >= 0] for a, b in pairwise(bounds)]
    thresholds = _floats(forest.mojo, forest.names, places)
    if any(np.isnan(numbers.values).any() for numbers in thresholds):
        forest.mojo.fail("a threshold of its trees is no number.")
    return {
        "structure": forest.structure(),
        "leaves": _floats(forest.mojo, forest.names, forest.leaves),
        "thresholds": thresholds,
        "numeric": np.flatnonzero(np.array(cut, dtype=np.int64) >= 0),
        "missing_left": np.array([node.missing_left for node in forest.nodes], dtype=bool),
    }


def joined(parts: list[Numbers]) -> NDArray[np.float64]:
    """The numbers of all trees, one after the other."""
    return np.concatenate([np.zeros(0), *(numbers.values for numbers in parts)])


def every_threshold(
    at: TreeStructure, numeric: NDArray[np.int64], parts: list[Numbers]
) -> NDArray[np.float64]:
    """The threshold of each node; 0 for those without one."""
    every = np.zeros(len(at.feature))
    every[numeric] = joined(parts)
    return every


def _floats(mojo: Mojo, names: list[str], places: list[list[int]]) -> list[Numbers]:
    """Numbers in single precision at bytes of each tree."""
    parts = zip(names, places, strict=True)
    return [stored(mojo, name, "<f4", at, unit=1) for name, at in parts]


# -- gradient boosting -----------------------------------------------------------------------------


@reads("gbm")
def _gbm(mojo: Mojo, plan: Plan) -> Answer:
    row, ensemble = encoded_row(mojo, plan), Ensemble.read(mojo)
    read = _boosted
    if mojo.text("distribution") == "multinomial":
        read = _boosted_pair if mojo.integer("n_classes") == 2 else _boosted_classes
    return ensemble.with_leaves(plan, read(mojo, plan, ensemble, row), row)


def _boosted_classes(mojo: Mojo, plan: Plan, ensemble: Ensemble, row: str) -> Answer:
    ensemble.require(mojo.integer("n_classes"))
    operator = Trees(**ensemble.fields, task="softmax")
    score = plan.step(mojo, operator, row, method="score")
    shares = plan.step(mojo, Derive(what="softmax"), score, name="shares")
    score, shares = _corrected(mojo, plan, operator, score, shares)
    return add_classes(mojo, plan, score, shares, row)


def _boosted_pair(mojo: Mojo, plan: Plan, ensemble: Ensemble, row: str) -> Answer:
    """Two classes, whose scores are opposite numbers: that of the first one is a sum of trees."""
    ensemble.require(1)
    trees = Trees(**ensemble.fields, base=listed(mojo, "init_f", shape=(1,)))
    first = with_offset(mojo, plan, plan.step(mojo, trees, row, name="first"), trees)
    second = plan.step(mojo, Derive(what="multiple", numbers_=[-1.0]), first, name="second score")
    both = plan.step(mojo, Derive(what="two_scores"), second, name="scores")
    weights = plan.step(mojo, Derive(what="softmax"), both, name="weights")
    last = ClassShares(factors=[1.0, 1.0], task="shares")
    score = plan.step(mojo, last, weights, name="shares", method="score")
    score, shares = _corrected(mojo, plan, last, score, score)
    return with_calibration(mojo, plan, add_binary_shares(mojo, plan, score, shares), shares)


def _boosted(mojo: Mojo, plan: Plan, ensemble: Ensemble, row: str) -> Answer:
    """Regression, and two classes."""
    ensemble.require(1)
    distribution = mojo.text("distribution")
    if distribution not in DISTRIBUTIONS:
        why = f"its distribution {distribution!r:.40} is not supported"
        raise UntranslatableError([(mojo.prefix or "model", "H2O gbm", why)])
    task, link = DISTRIBUTIONS[distribution]
    count, link = mojo.integer("n_classes"), mojo.text("link_function", link)
    if link not in ("identity", "log", "logit"):
        mojo.fail(f"link {link!r:.40} is not known.")
    if count != (2 if task == "logistic" else 1):
        mojo.fail(f"it has {count} classes, and distribution {distribution!r}.")
    operator = Trees(
        **ensemble.fields,
        base=listed(mojo, "init_f", shape=(1,)),
        task=task,
        options=loss_options(mojo, distribution, link),
    )
    score = plan.step(mojo, operator, row, method="score")
    score = with_offset(mojo, plan, score, operator)
    mean = add_mean(mojo, plan, score, link)
    if count == 1:
        return add_regression(mojo, plan, score, mean)
    shares = plan.step(mojo, Derive(what="two_shares"), mean, name="shares")
    score, shares = _corrected(mojo, plan, operator, score, shares)
    return with_calibration(mojo, plan, add_binary_shares(mojo, plan, score, shares), shares)


def _corrected(
    mojo: Mojo, plan: Plan, operator: Predictor, score: str, shares: str
) -> tuple[str, str]:
    """The score and the shares; of a model of balanced classes, the shares for those it had."""
    if not mojo.flag("balance_classes"):
        return score, shares
    operator.task = ""
    last = ClassShares(factors=balance_factors(mojo), task="shares")
    step = plan.step(mojo, last, shares, name="corrected", method="score")
    return step, step


# -- random forests --------------------------------------------------------------------------------


@reads("drf")
def _drf(mojo: Mojo, plan: Plan) -> Answer:
    row, ensemble = encoded_row(mojo, plan), Ensemble.read(mojo)
    return ensemble.with_leaves(plan, _forest(mojo, plan, ensemble, row), row)


def _forest(mojo: Mojo, plan: Plan, ensemble: Ensemble, row: str) -> Answer:
    count, fields = mojo.integer("n_classes"), ensemble.fields
    single = count == 2 and not mojo.flag("binomial_double_trees", False)
    ensemble.require(1 if single else count)
    if count == 1:
        operator = Trees(**fields, average=True, task="squared_error")
        score = plan.step(mojo, operator, row, method="score")
        return add_regression(mojo, plan, score, score)
    if single:
        if not all(_are_shares(numbers) for numbers in fields["leaves"]):
            mojo.fail("a leaf of its trees has no probability.")
        last: Predictor = Trees(**fields, average=True, shares=True, task="shares")
        score = plan.step(mojo, last, row, method="score")
    else:
        source = plan.step(mojo, Trees(**fields, positive=True), row, name="trees")
        last = ClassShares(factors=[1.0] * count, task="shares")
        score = plan.step(mojo, last, source, name="shares", method="score")
    score, shares = _corrected(mojo, plan, last, score, score)
    if count > 2:
        return add_classes(mojo, plan, score, shares, row)
    return with_calibration(mojo, plan, add_binary_shares(mojo, plan, score, shares), shares)


def _are_shares(numbers: Numbers) -> bool:
    return bool(((numbers.values >= 0) & (numbers.values <= 1)).all())
