"""Monotone constraints: which leaves are ordered, and values that respect the order."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from torch.func import vmap

from pipegrad.modules import AS_ZERO, NAN, LeafOrder, TreeEnsemble

FEATURES = 3
CATEGORICAL = 2
# A value on each side of each threshold of {0, 1, 2}.
GRID = [-0.5, 0.5, 1.5, 2.5]


def grow(draw, leaves):
    """Children of a random tree in the codes of an ensemble; parents come before children."""
    left, right, ends = [], [], [None]
    for node in range(leaves - 1):
        place = ends.pop(draw(st.integers(0, len(ends) - 1)))
        if place is not None:
            side, parent = place
            side[parent] = node
        left.append(0)
        right.append(0)
        ends += [(left, node), (right, node)]
    for leaf, (side, parent) in enumerate(e for e in ends if e is not None):
        side[parent] = ~leaf
    return left, right


@st.composite
def constrained_trees(draw, categorical=False, missing=(NAN,)):
    count = draw(st.integers(2, 14))
    left, right = grow(draw, count)
    nodes = range(count - 1)
    feature = torch.tensor([draw(st.integers(0, FEATURES - 1)) for _ in nodes])
    signs = torch.tensor([draw(st.sampled_from([-1, 0, 1])) for _ in range(FEATURES)])
    if categorical:
        signs[CATEGORICAL] = 0
    chosen = (feature == CATEGORICAL) & categorical
    sets = [draw(st.sampled_from([(1, 0, 0), (0, 1, 1), (0, 1, 0)])) for c in chosen if c]
    values = [draw(st.integers(-4, 4)) for _ in range(count)]
    return TreeEnsemble(
        torch.tensor([0]),
        feature,
        torch.tensor([float(draw(st.integers(0, 2))) for _ in nodes]),
        torch.tensor(left),
        torch.tensor(right),
        torch.tensor(values, dtype=torch.float64)[:, None],
        default_left=torch.tensor([draw(st.booleans()) for _ in nodes]),
        missing=draw(st.sampled_from(missing)),
        category_width=chosen.long() * 3,
        category_left=torch.tensor(sets, dtype=torch.bool).flatten(),
        monotone=signs[feature],
    ), signs.tolist()


def closure(pairs, leaves):
    above = np.zeros((leaves, leaves), dtype=bool)
    for a, b in pairs:
        above[a, b] = True
    for middle in range(leaves):
        above |= above[:, [middle]] & above[[middle]]
    return above


def implied(trees, signs, values):
    """The ordered pairs, from all rows of a grid and their steps along constrained features."""
    rows = list(itertools.product(*values))
    leaf = trees.leaves(torch.tensor(rows, dtype=torch.float64))[:, 0].tolist()
    of = {tuple(map(str, row)): end for row, end in zip(rows, leaf, strict=True)}
    pairs = set()
    for row, (feature, sign) in itertools.product(rows, enumerate(signs)):
        if not sign or np.isnan(row[feature]) or row[feature] == max(values[feature]):
            continue
        next_row = list(row)
        next_row[feature] += 1
        pair = of[tuple(map(str, row))], of[tuple(map(str, next_row))]
        if pair[0] != pair[1]:
            pairs.add(pair if sign > 0 else pair[::-1])
    return closure(pairs, len(trees.leaf_values))


def ordered(trees):
    if trees.order is None:
        return closure([], len(trees.leaf_values))
    low, high = trees._pairs(trees.thresholds().detach())
    return closure(zip(low.tolist(), high.tolist(), strict=True), len(trees.leaf_values))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(constrained_trees())
def test_the_order_is_that_of_all_steps_along_constrained_features(found):
    trees, signs = found
    values = [*itertools.repeat([*GRID, float("nan")], FEATURES)]
    assert_array_equal(ordered(trees), implied(trees, signs, values))


@settings(max_examples=100, deadline=None)
@given(constrained_trees(missing=(AS_ZERO,)))
def test_nan_that_counts_as_zero_orders_no_further_leaves(found):
    trees, signs = found
    assert_array_equal(ordered(trees), implied(trees, signs, [GRID] * FEATURES))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(constrained_trees(categorical=True))
def test_categories_order_at_least_the_leaves_that_rows_reach(found):
    trees, signs = found
    values = [GRID, GRID, [0.0, 1.0, 2.0, float("nan")]]
    assert not (implied(trees, signs, values) & ~ordered(trees)).any()


def chain(values):
    """An order of leaves in which each must not exceed the next."""
    number = torch.arange(len(values) - 1)
    return LeafOrder(number, number + 1, len(values)), torch.tensor(values)[:, None]


def test_values_in_order_do_not_change_and_others_are_pooled():
    order, table = chain([0.1, 0.1, 0.3, 0.7])
    assert torch.equal(order(table), table)
    order, table = chain([1.0, 3.0, 2.0, 5.0])
    assert order(table)[:, 0].tolist() == [1.0, 2.5, 2.5, 5.0]
    falling = LeafOrder(order.lower, order.upper, 4, torch.tensor([-1.0]))
    assert falling(-table)[:, 0].tolist() == [-1.0, -2.5, -2.5, -5.0]


@settings(max_examples=100, deadline=None)
@given(constrained_trees(), st.integers(0, 2**32 - 1))
def test_any_values_are_mapped_to_ordered_ones(found, seed):
    trees, _ = found
    if trees.order is None:
        return
    table = torch.randn(len(trees.leaf_values), 3, generator=torch.Generator().manual_seed(seed))
    out = trees.order(table)
    assert bool((out[trees.order.lower] <= out[trees.order.upper]).all())
    assert torch.equal(trees.order(out), out)
    many = torch.stack([table, -table, out])
    assert torch.equal(vmap(trees.order)(many), torch.stack([trees.order(t) for t in many]))
    wide = vmap(trees.order, in_dims=2, out_dims=2)(many.movedim(0, 2))
    assert torch.equal(wide.movedim(2, 0), vmap(trees.order)(many))


def test_gradients_are_those_of_the_values():
    order, table = chain([4.0, 3.0, 2.0, 1.0])
    table = table.double().requires_grad_()
    weight = torch.tensor([[1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
    (order(table) * weight).sum().backward()
    # All four are the mean of the first and the last, whose gradient is half the sum of the
    # weights; a leaf that had to fall takes the larger of that and its own, one that had to rise
    # the smaller.
    assert table.grad[:, 0].tolist() == [5.0, 2.0, 0.0, 4.0]


@pytest.mark.parametrize("optim", [torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS])
def test_leaves_out_of_order_part_again_where_the_loss_asks_for_it(optim):
    order, table = chain([2.0, 1.0])
    values = torch.nn.Parameter(table.double())
    target = torch.tensor([[0.0], [3.0]], dtype=torch.float64)
    optimizer = optim([values], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (order(values) - target).square().sum()
        loss.backward()
        return loss

    for _ in range(200):
        optimizer.step(closure)
    assert torch.allclose(order(values), target, atol=1e-3)


@settings(max_examples=100, deadline=None)
@given(constrained_trees(), st.integers(0, 2**32 - 1))
def test_hard_predictions_stay_monotone_when_thresholds_move(found, seed):
    trees, signs = found
    if trees.order is None or len(trees._violated):
        return
    generator = torch.Generator().manual_seed(seed)
    trees.soften("soft")
    with torch.no_grad():
        trees.shift.copy_(torch.randn(trees.shift.shape, generator=generator).double() * 3)
        trees.leaf_values.copy_(torch.randn(trees.leaf_values.shape, generator=generator))
    rows = torch.rand(400, FEATURES, generator=generator).double() * 8 - 3
    for feature, sign in enumerate(signs):
        further = rows.clone()
        further[:, feature] += 3 * torch.rand(400, generator=generator)
        with torch.no_grad():
            step = trees.eval()(further) - trees(rows)
        assert sign == 0 or bool((sign * step >= 0).all())


def tree_of_two(**options):
    return TreeEnsemble(
        torch.tensor([0]),
        torch.tensor([0]),
        torch.tensor([0.5]),
        torch.tensor([-1]),
        torch.tensor([-2]),
        monotone=torch.tensor([1]),
        **options,
    )


def test_pairs_that_the_fitted_values_violate_stay_free():
    values = torch.tensor([[2.0], [1.0]])
    trees = tree_of_two(leaf_values=values)
    assert torch.equal(trees.leaf_table(), values)
    with torch.no_grad():
        trees.leaf_values += torch.tensor([[1.0], [0.0]])
    assert trees.leaf_table()[:, 0].tolist() == [3.0, 1.0]


def test_the_second_of_two_probabilities_is_constrained():
    trees = tree_of_two(leaf_values=torch.tensor([[0.6, 0.4], [0.5, 0.5]]), probabilities=(2,))
    with torch.no_grad():
        trees.leaf_values.weight.copy_(torch.tensor([[0.25, 0.75], [0.75, 0.25]]))
    assert trees.leaf_table().tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_copies_pickles_casts_and_exports_keep_the_order():
    trees = tree_of_two(leaf_values=torch.tensor([[0.0], [1.0]], dtype=torch.float64)).double()
    with torch.no_grad():
        trees.leaf_values.copy_(torch.tensor([[4.0], [2.0]]))
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    exported = torch.export.export(trees.eval(), (x,)).module()
    for other in (copy.deepcopy(trees), pickle.loads(pickle.dumps(trees)), exported):
        assert other(x)[:, 0].tolist() == [3.0, 3.0]
    assert trees.float()(x.float())[:, 0].tolist() == [3.0, 3.0]
