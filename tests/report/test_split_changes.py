"""The splits that moved most, as a table and as a picture."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_friedman1
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor

import pipegrad as pg
from pipegrad.modules import TreeEnsemble
from pipegrad.report import moved_splits

X, Y = make_friedman1(200, 5, random_state=0)
X = pd.DataFrame(X, columns=list("abcde"))
MODEL = GradientBoostingRegressor(n_estimators=3, max_depth=2).fit(X, Y)


def moved_by_hand():
    net = pg.to_torch(MODEL, trees="soft")
    (trees,) = (m for m in net.modules() if isinstance(m, TreeEnsemble))
    with torch.no_grad():
        trees.shift[4] = 2.0
        trees.shift[1] = -1.0
    return net, trees


def test_the_farthest_comes_first():
    net, trees = moved_by_hand()
    found = moved_splits(net)
    assert (len(found), found.moved, found.total) == (2, 2, 9)
    assert len(moved_splits(net, 1)) == 1
    better = pg.from_torch(net)
    for split in found:
        old, new = (m.estimators_[split.tree, 0].tree_ for m in (MODEL, better))
        (node,) = np.flatnonzero(old.threshold == split.before)
        assert new.threshold[node] == split.after
        assert "abcde"[old.feature[node]] == split.column
    assert [s.distance for s in found] == sorted((s.distance for s in found), reverse=True)
    tree = trees.node_trees()
    assert torch.equal(tree, torch.arange(3).repeat_interleave(3))


def test_it_prints_and_draws():
    pytest.importorskip("matplotlib").use("Agg")
    found = moved_splits(moved_by_hand()[0])
    text = str(found)
    assert "2 of 9 splits moved" in text
    for split in found:
        assert f"{split.after:.6g}" in text
    ax = found.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"{s.column}  (tree {s.tree})" for s in found
    ]
    drawn = {text.get_text() for text in ax.texts}
    assert drawn == {f"{value:.4g}" for s in found for value in (s.before, s.after)}


def test_there_must_be_splits_that_train():
    for net in (
        pg.to_torch(MODEL),
        pg.to_torch(HistGradientBoostingRegressor(max_iter=2).fit(X, Y)),
    ):
        with pytest.raises(pg.ArgumentError, match="no trees with trainable splits"):
            moved_splits(net)
