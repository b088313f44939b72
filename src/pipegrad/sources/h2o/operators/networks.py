"""Multilayer perceptrons: classifiers, regressors and autoencoders."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...named.operators import Derive, Predictor, Step
from ..mojo import Mojo
from ..numbers import Numbers, listed
from ..plan import Answer, Plan, reads, refused
from .answers import add_regression, add_shares
from .distributions import DISTRIBUTIONS, add_mean, balance_factors, loss_options
from .encoding import encoded_row
from .expansion import Expand, StandardizeLast

_MOST_UNITS = 1 << 24
_ACTIVATIONS = {"Tanh": "tanh", "Rectifier": "relu", "ExpRectifier": "elu", "Maxout": "maxout"}
_WITH_DROPOUT = "WithDropout"


@dataclass(eq=False, kw_only=True)
class Network(Predictor):
    """Linear maps with an activation after each of them.

    Parameters
    ----------
    weights, biases : list of Numbers
        Weights (outputs, inputs, pieces) and biases (outputs, pieces) of each layer; an output is
        the largest of its pieces. H2O keeps weights in single precision and computes in double
        precision.
    kept : list of float
        Factor after each activation: the share of outputs that dropout kept in training.
    activation : str
        The activation between layers.
    last : str
        The activation of the last layer.
    squeeze : bool
        Whether the single output is a column (n,).
    added : array, optional
        Fixed numbers that are added to the output.
    """

    weights: list[Numbers] = field(repr=False)
    biases: list[Numbers] = field(repr=False)
    kept: list[float]
    activation: str
    last: str = ""
    squeeze: bool = False
    added: NDArray[np.float64] | None = None


@dataclass(eq=False, kw_only=True)
class Unscale(Predictor):
    """Predictions in the unit of the targets.

    Parameters
    ----------
    factor, added : float
        What a network's output is divided by, and what is added to it then.
    """

    factor: float
    added: float


@dataclass(eq=False, kw_only=True)
class Unstandardize(Step):
    """The last columns in the unit that they had before `StandardizeLast`.

    Parameters
    ----------
    start : int
        The first of those columns.
    scale, offset : array
        As in `StandardizeLast`.
    """

    start: int
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(eq=False, kw_only=True)
class SquaredGaps(Predictor):
    """Mean square of scaled differences between the columns of two blocks.

    Parameters
    ----------
    scale : array
        Factor of each difference.
    """

    scale: NDArray[np.float64]


@reads("deeplearning")
def _network(mojo: Mojo, plan: Plan) -> Answer:
    source, row, expanded, scaling = _input(mojo, plan)
    if mojo.text("category") == "AutoEncoder":
        return _autoencoder(mojo, plan, source, row, expanded, scaling)
    operator = _layers(mojo, expanded.width)
    count = mojo.integer("n_classes")
    if len(operator.biases[-1].values) != count:
        mojo.fail(f"its network has another number of outputs than {count}.")
    if count > 1:
        if mojo.text("distribution") == "modified_huber":
            raise refused(mojo, "its scorer gives the same probabilities for all rows")
        operator.task, operator.added = "softmax", _correction(mojo)
        score = plan.step(mojo, operator, source, name="network", method="score")
        shares = plan.step(mojo, Derive(what="softmax"), score, name="shares")
        return add_shares(mojo, plan, score, shares, row)
    return _regression(mojo, plan, operator, source)


def _regression(mojo: Mojo, plan: Plan, operator: Network, source: str) -> Answer:
    distribution = mojo.text("distribution")
    if distribution not in DISTRIBUTIONS:
        raise refused(mojo, f"its distribution {distribution!r:.40} is not supported")
    task, link = DISTRIBUTIONS[distribution]
    operator.squeeze = True
    last: Predictor = operator
    score = plan.step(mojo, operator, source, name="network", method="score")
    if mojo.has("norm_resp_mul"):
        factor, added = _single(mojo, "norm_resp_mul"), _single(mojo, "norm_resp_sub")
        last = Unscale(factor=factor, added=added)
        score = plan.step(mojo, last, score, name="unscaled", method="score")
    last.task, last.options = task, loss_options(mojo, distribution, link)
    return add_regression(mojo, plan, score, add_mean(mojo, plan, score, link))


def _single(mojo: Mojo, key: str) -> float:
    found = mojo.numbers(key)
    if len(found) != 1 or not np.isfinite(found).all():
        mojo.fail(f"its {key} is damaged.")
    return float(found[0])


def _autoencoder(
    mojo: Mojo, plan: Plan, source: str, row: str, expanded: Expand, scaling: StandardizeLast | None
) -> Answer:
    """The reconstructed columns, and how far they are from those that were read."""
    operator = _layers(mojo, expanded.width)
    operator.last = operator.activation
    if len(operator.biases[-1].values) != expanded.width:
        mojo.fail("its output has another size than its input.")
    score = plan.step(mojo, operator, source, name="network", method="score")
    scale = np.ones(expanded.width)
    if scaling is not None:
        # The same numbers stand before and after the network, and one of both would move alone.
        scaling.trains, start = False, sum(expanded.sizes)
        scale[start:] = scaling.scale.values
        if not scale.all():
            mojo.fail("its norm_mul has zeros.")
        back = Unstandardize(start=start, scale=scale[start:], offset=scaling.offset.values)
        score = plan.step(mojo, back, score, name="reconstructed")
    columns = plan.entries(mojo, score, _names(mojo, expanded))
    original = plan.step(mojo, replace(expanded, fill=None), row, name="original")
    gaps = SquaredGaps(scale=scale, task="reconstruction_error")
    error = plan.step(mojo, gaps, score, original, name="mse", method="score")
    return Answer(error, {**columns, "mse": error}, predict="")


def _names(mojo: Mojo, expanded: Expand) -> list[str]:
    """Names of reconstructed columns: indicators of levels, and numbers."""
    names = []
    for place, size in enumerate(expanded.sizes):
        levels = [*mojo.domains[place][expanded.first :], "missing(NA)"]
        names += [f"reconstr_{mojo.features[place]}.{level}" for level in levels[:size]]
    return names + [f"reconstr_{name}" for name in mojo.features[len(expanded.sizes) :]]


# -- what a network reads ------------------------------------------------------------------------


def _input(mojo: Mojo, plan: Plan) -> tuple[str, str, Expand, StandardizeLast | None]:
    """The steps with the input of a network and with its row, and how the input is made."""
    categories, numeric = mojo.integer("cats"), mojo.integer("nums")
    offsets = mojo.integers("cat_offsets") if categories else np.zeros(1, dtype=np.int64)
    sizes = np.diff(offsets)
    if categories + numeric != len(mojo.features) or min(categories, numeric) < 0:
        mojo.fail(f"it has {len(mojo.features)} features, but describes others.")
    if len(sizes) != categories or (sizes < 1).any() or offsets[0] or offsets[-1] > _MOST_UNITS:
        mojo.fail("its cat_offsets are damaged.")
    first = 0 if mojo.flag("use_all_factor_levels") else 1
    for place, size in enumerate(sizes.tolist()):
        # The last indicator of each column stands for missing levels.
        if size != len(mojo.domains.get(place, [])) - first + 1:
            mojo.fail(f"column {mojo.features[place]!r} has other levels than its indicators.")
    if any(place in mojo.domains for place in range(categories, categories + numeric)):
        mojo.fail("a column of numbers has levels.")
    row = source = encoded_row(mojo, plan)
    scaling = None
    if numeric and mojo.has("norm_mul") and mojo.text("norm_mul") != "[]":
        count = np.arange(numeric)
        scaling = StandardizeLast(
            start=categories,
            scale=listed(mojo, "norm_mul", count),
            offset=listed(mojo, "norm_sub", count),
        )
        source = plan.step(mojo, scaling, row, name="standardize")
    operator = Expand(
        sizes=sizes.tolist(),
        first=first,
        modes=sizes - 1 + first,
        means=None,
        numeric=numeric,
        fill=0.0,
    )
    return plan.step(mojo, operator, source, name="expand"), row, operator, scaling


def _layers(mojo: Mojo, width: int) -> Network:
    units = mojo.integers("neural_network_sizes").tolist()
    if len(units) < 2 or min(units) < 1 or max(units) > _MOST_UNITS or units[0] != width:
        mojo.fail("its neural_network_sizes are damaged.")
    name = mojo.text("activation")
    activation = _ACTIVATIONS.get(name.removesuffix(_WITH_DROPOUT))
    if activation is None:
        mojo.fail(f"activation {name!r:.40} is not known.")
    dropped = mojo.numbers("hidden_dropout_ratios")
    if len(dropped) < len(units) - 1 or not ((dropped >= 0) & (dropped < 1)).all():
        mojo.fail("its hidden_dropout_ratios are damaged.")
    kept = (1 - dropped if name.endswith(_WITH_DROPOUT) else np.ones(len(dropped))).tolist()
    layers = [_layer(mojo, number, sizes) for number, sizes in enumerate(pairwise(units))]
    final = activation if mojo.text("category") == "AutoEncoder" else ""
    for number, (_, bias) in enumerate(layers):
        kind = activation if number < len(layers) - 1 else final
        if bias.values.shape[1] > 1 and kind != "maxout":
            mojo.fail(f"its bias_layer{number} is damaged.")
    return Network(
        weights=[weight for weight, _ in layers],
        biases=[bias for _, bias in layers],
        kept=kept[: len(layers)],
        activation=activation,
    )


def _layer(mojo: Mojo, number: int, sizes: tuple[int, int]) -> tuple[Numbers, Numbers]:
    size, width = sizes
    key = f"bias_layer{number}"
    pieces = len(mojo.numbers(key)) // width
    if pieces not in (1, 2):
        mojo.fail(f"its {key} is damaged.")
    bias = listed(mojo, key, shape=(width, pieces))
    shape = (width, size, pieces)
    return listed(mojo, f"weight_layer{number}", shape=shape, stored=np.float32), bias


def _correction(mojo: Mojo) -> NDArray[np.float64] | None:
    """What is added to the scores of classes; nothing if the model learned from all rows."""
    return np.log(balance_factors(mojo)) if mojo.flag("balance_classes", False) else None
