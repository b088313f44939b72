"""Every row of the mapping table as an ONNX file."""

from __future__ import annotations

import pytest

from pipegrad.testing import cases

pytest.importorskip("onnxruntime")
from pipegrad.testing.onnx_check import check_onnx

FIRST = [case for case in cases() if case.number == 0 and not case.name.startswith("pipegrad.")]
QUICK = {
    "sklearn.preprocessing.StandardScaler",
    "sklearn.preprocessing.OneHotEncoder",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.tree.DecisionTreeClassifier",
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=() if case.name in QUICK else pytest.mark.slow)
        for case in FIRST
    ],
)
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
