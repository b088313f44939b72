"""Encoders of targets answer as the source does, although nothing of them trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, MultiLabelBinarizer

import pipegrad as pg
from pipegrad.testing import identical

SETS = [("red", "blue"), (), ("green",), ("blue", "green", "red")]
TABLE = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]])


def assert_same(ours: Any, theirs: Any) -> None:
    if sparse.issparse(theirs):
        ours, theirs = ours.toarray(), theirs.toarray()
    assert identical(ours, theirs)


@pytest.mark.parametrize(
    ("encoder", "y"),
    [
        (LabelEncoder(), ["b", "a", "b"]),
        (LabelEncoder(), [3, 1, 3]),
        (LabelEncoder(), np.array([True, False])),
        (MultiLabelBinarizer(), SETS),
        (MultiLabelBinarizer(sparse_output=True), [set(labels) for labels in SETS]),
        (MultiLabelBinarizer(classes=["red", "green", "blue", "none"]), SETS),
        (MultiLabelBinarizer(), ["ab", "b", "ca"]),
        (LabelBinarizer(), ["one"] * 3),
        (LabelBinarizer(neg_label=-1), [4, 2, 2]),
        (LabelBinarizer(), TABLE),
        (LabelBinarizer(neg_label=-2, pos_label=0), TABLE),
        (LabelBinarizer(sparse_output=True), sparse.csr_matrix(TABLE)),
        (LabelBinarizer(), sparse.csr_matrix(TABLE)),
    ],
    ids=lambda value: str(value) if hasattr(value, "fit") else "",
)
def test_targets_there_and_back(encoder: Any, y: Any) -> None:
    encoder.fit(y)
    net = pg.to_torch(encoder)
    codes = encoder.transform(y)
    assert_same(net.transform(y), codes)
    assert_same(net.inverse_transform(codes), encoder.inverse_transform(codes))
    assert identical(encoder, pg.from_torch(net))
    assert net(y).shape == codes.shape


def test_unknown_labels() -> None:
    for encoder in (LabelEncoder().fit(["a", "b"]), pg.to_torch(LabelEncoder().fit(["a", "b"]))):
        with pytest.raises(ValueError, match="previously unseen"):
            encoder.transform(["c"])
    sets = MultiLabelBinarizer().fit([("a",), ("b",)])
    for binarizer in (sets, pg.to_torch(sets)):
        with pytest.warns(UserWarning, match="unknown class") as told:
            found = binarizer.transform([("a", "z")])
        assert len(told) == 1
        assert found.tolist() == [[1, 0]]


def test_another_kind_of_target_than_was_fitted() -> None:
    for fitted, other in ((["a", "b"], TABLE), (TABLE, ["a", "b"])):
        binarizer = LabelBinarizer().fit(fitted)
        net = pg.to_torch(binarizer)
        try:
            expected = binarizer.transform(other)
        except ValueError as error:
            with pytest.raises(ValueError, match=str(error)[:20]):
                net.transform(other)
        else:
            assert_same(net.transform(other), expected)
