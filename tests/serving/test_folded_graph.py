"""Folded graphs have fewer operators and the same answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

pytest.importorskip("onnxruntime")
import onnx

from pipegrad.export.measured import session
from pipegrad.export.onnx_file import onnx_file
from pipegrad.serving.folded_graph import folded

# Of torch's exporter, about itself.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 6)) * [1, 2, 3, 1, 0.1, 5] + 7
Y = (X[:, 0] + X[:, 1] > 14).astype(int)

PIPES = {
    "standardized": make_pipeline(StandardScaler(), PCA(3), LogisticRegression()),
    "ranges": make_pipeline(MinMaxScaler(), PCA(3), Ridge()),
    "largest": make_pipeline(MaxAbsScaler(), LinearRegression()),
    "centered": make_pipeline(StandardScaler(with_std=False), PCA(2), Ridge()),
    "whitened": make_pipeline(StandardScaler(), PCA(3, whiten=True), LogisticRegression()),
    "classes": make_pipeline(StandardScaler(), PCA(4), LogisticRegression()),
    "alone": LogisticRegression(),
}


def both(pipe, rows):
    model = onnx.load_from_string(onnx_file(pipe, dtype=None, rows=None, opset=20))
    output = model.graph.output[-1].name
    names = [one.name for one in model.graph.input]
    part = onnx.utils.Extractor(model).extract_model(names, [output])
    counts = [len(part.graph.node)]
    before = session(part.SerializeToString()).run(None, {"X": rows})[0]
    part = folded(part)
    onnx.checker.check_model(part)
    counts.append(len(part.graph.node))
    after = session(part.SerializeToString())
    for few in (rows[:1], rows[:0]):
        assert after.run(None, {"X": few})[0].shape == before[: len(few)].shape
    return before, after.run(None, {"X": rows})[0], counts


@pytest.mark.parametrize("name", PIPES)
def test_answers_stay(name):
    y = np.digitize(X[:, 0], [6, 8]) if name == "classes" else Y
    before, after, counts = both(PIPES[name].fit(X, y), X)
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-15)
    assert counts[1] < counts[0]
    if name == "standardized":
        assert counts == [14, 6]


def test_columns_far_from_zero_keep_their_digits():
    far = X + 1e9
    pipe = make_pipeline(StandardScaler(), PCA(3), Ridge()).fit(far, Y)
    before, after, counts = both(pipe, far)
    np.testing.assert_allclose(after, before, rtol=1e-12)
    np.testing.assert_allclose(after[:, 0], pipe.predict(far), rtol=1e-9)
    assert counts[1] >= 5


def test_values_that_are_read_twice_stay():
    from sklearn.pipeline import make_union

    pipe = make_pipeline(StandardScaler(), make_union(PCA(2), PCA(3)), Ridge()).fit(X, Y)
    before, after, _ = both(pipe, X)
    np.testing.assert_allclose(after, before, rtol=1e-12)
