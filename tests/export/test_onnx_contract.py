"""Every row of the mapping table as an ONNX file."""

from __future__ import annotations

import pytest

from helpers import first_examples

pytest.importorskip("onnxruntime")
from pipegrad.testing.onnx_check import check_onnx

QUICK = {
    "sklearn.preprocessing.StandardScaler",
    "sklearn.preprocessing.OneHotEncoder",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.tree.DecisionTreeClassifier",
}


@first_examples(QUICK)
def test_onnx_runtime_answers_as_the_operator(case):
    check_onnx(case)


def test_at_least_95_of_100_rows_have_an_onnx_file():
    import pipegrad as pg
    from pipegrad.registry import Translation, rows

    table = dict(rows())
    names = [row.name for row in pg.supported()]
    lacking = [
        name for name in names if isinstance(table[name], Translation) and table[name].not_exported
    ]
    assert len(lacking) <= 0.05 * len(names), lacking
