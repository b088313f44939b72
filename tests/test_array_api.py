"""scikit-learn's array API dispatch: tuned pipelines answer tensors, and so do modules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn
from sklearn.utils.fixes import parse_version

ROOT = Path(__file__).parents[1]
CODE = """
import warnings

import numpy as np
import pipegrad as pg
import sklearn
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from pipegrad.testing import perturb
from sklearn.utils._array_api import _estimator_with_converted_arrays

warnings.simplefilter("error")
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 4))
y = X @ [1.0, -1.0, 2.0, 0.0] + X[:, 0] ** 2
two, three = (y > 0.5).astype(int), np.digitize(y, [-1, 1])
pipelines = [
    (make_pipeline(StandardScaler(), PCA(3), Ridge(solver="svd")), y, ["predict"]),
    (make_pipeline(MinMaxScaler(), MaxAbsScaler(), LinearRegression()), y, ["predict"]),
    (make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()), three, ["decision_function"]),
    (make_pipeline(LinearDiscriminantAnalysis()), two, ["predict_proba"]),
    (make_pipeline(StandardScaler(), LogisticRegression()), two, ["predict_proba"]),
    (make_pipeline(PCA(3), LogisticRegression()), three, ["predict", "decision_function"]),
]
tensor = torch.from_numpy(X)
for pipe, target, methods in pipelines:
    net = pg.to_torch(pipe.fit(X, target))
    perturb(net)
    tuned = pg.from_torch(net)
    last = methods[-1]
    assert not np.array_equal(getattr(tuned, last)(X), getattr(pipe, last)(X))
    for method in methods:
        expected = getattr(tuned, method)(X)
        with sklearn.config_context(array_api_dispatch=True):
            moved = _estimator_with_converted_arrays(tuned, torch.as_tensor)
            answers = getattr(moved, method)(tensor)
            assert isinstance(answers, torch.Tensor), type(answers)
            np.testing.assert_allclose(answers.numpy(), expected, rtol=1e-10, atol=1e-12)
            np.testing.assert_array_equal(getattr(tuned, method)(X), expected)
            for module in (net, pg.to_torch(tuned)):
                for rows in (X, tensor, tensor.float().double()):
                    mine = getattr(module, method)(rows)
                    assert type(mine) is np.ndarray
                    np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)
with sklearn.config_context(array_api_dispatch=True):
    pipe = make_pipeline(StandardScaler(), PCA(3), LogisticRegression())
    found = [
        pg.FineTuner(pipe, epochs=2, random_state=0).fit(rows, labels).predict_proba(X)
        for rows, labels in ((X, two), (tensor, torch.from_numpy(two)))
    ]
    np.testing.assert_array_equal(*found)
print("same")
"""


def run(code: str) -> str:
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        parse_version(sklearn.__version__) < parse_version("1.9"),
        reason="before 1.9, fewer of these estimators dispatch",
    ),
]


def test_tuned_pipelines_and_modules_answer_tensors() -> None:
    assert run(CODE).strip() == "same"


def test_the_code_of_the_page_runs() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    (block,) = re.findall(r"```python needs=SCIPY_ARRAY_API\n(.*?)```", text, re.DOTALL)
    run(block)
