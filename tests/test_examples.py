"""The examples: what they claim, on fewer rows."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    """The module of an example, which no package holds."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def captum():
    pytest.importorskip("captum")
    return example("explain_captum")


@pytest.fixture(scope="module")
def business():
    return example("business_loss")


def test_attributions_add_up_to_the_prediction(captum):
    X, y = captum.busy_hours()
    train, held = X[::20], X[5::900]
    pipe = captum.pipeline().fit(train, y[::20])
    baseline = captum.typical(train)
    parts, differences = captum.explain(pipe, held, baseline)
    assert list(parts.columns) == list(X.columns)
    wanted = pipe.predict_proba(held)[:, 1] - pipe.predict_proba(baseline)[0, 1]
    np.testing.assert_allclose(differences, wanted, atol=1e-9)
    np.testing.assert_allclose(parts.sum(axis=1), wanted, atol=captum.TOLERANCE)
    assert parts.abs().mean().idxmax() == "hr"  # What else, of bikes.


def test_attributions_are_those_of_the_formula(captum):
    """Of a linear score, a column's part is its share of the change, times one slope for all."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.normal(40, 10, 200), "work": rng.choice(list("abc"), 200)})
    y = (X["age"] + 10 * (X["work"] == "a") + rng.normal(0, 5, 200) > 45).astype(int)
    encoder = make_column_transformer(
        (StandardScaler(), ["age"]), (OneHotEncoder(sparse_output=False), ["work"])
    )
    pipe = make_pipeline(encoder, LogisticRegression()).fit(X, y)
    baseline = X.iloc[[0]]
    parts, differences = captum.explain(pipe, X, baseline, steps=100)
    coef = pipe[-1].coef_[0]
    change = (encoder.transform(X) - encoder.transform(baseline)) * coef
    score = change.sum(axis=1)
    moved = np.abs(score) > 1e-6
    slope = (differences[moved] / score[moved])[:, None]
    wanted = np.c_[change[:, 0], change[:, 1:].sum(axis=1)][moved] * slope
    np.testing.assert_allclose(parts[["age", "work"]].to_numpy()[moved], wanted, atol=1e-6)


def test_attributions_are_drawn(captum, tmp_path):
    pytest.importorskip("matplotlib")
    row = pd.Series({"age": 0.2, "work": -0.1})
    captum.draw(row, row.abs(), "a row", str(tmp_path / "bars.svg"))
    text = (tmp_path / "bars.svg").read_text("utf-8")
    assert "<svg" in text


def test_the_cost_of_decisions(business):
    import torch

    cost = business.Decision(5, 1)
    y = np.array([1, 1, 0, 0])
    assert cost.bill(y, np.array([1, 0, 1, 0])) == 6 / 4
    sure = torch.tensor([50.0, -50.0, 50.0, -50.0])
    smooth = cost(sure, torch.as_tensor(y))
    assert smooth.mean().item() == pytest.approx(6 / 4)
    assert business.bill(np.array([1.0, 5.0]), np.array([3.0, 4.0])) == (6 + 1) / 2
    score = torch.log(torch.tensor([1.0, 5.0]))
    rows = business.price_of_bikes(score, torch.tensor([3.0, 4.0]))
    np.testing.assert_allclose(rows, [6.0, 1.0], rtol=1e-6)


def test_the_table_says_who_did_the_work(business, capsys):
    costs = {business.START: [10.0, 12.0], business.MOVED: [9.0, 11.0]}
    business.show("Costs", {**costs, business.OWN: [7.0, 9.0], business.TUNED: [6.0, 8.0]})
    shown = capsys.readouterr().out
    assert "alone gives 25% of the saving" in shown
    assert "alone gives 75% of the saving; tuning for the cost saves another 1.000 ± 0.000" in shown


def test_the_gap_closes_as_the_penalty_grows(business, monkeypatch, tmp_path):
    monkeypatch.setattr(business, "STRENGTHS", (0.0, 30.0))
    X, y, group = business.made_incomes(2000)
    found = business.trade(X, y, group, splits=1)
    assert found[0, 1, 0] < 0.6 * found[0, 0, 0]
    assert found[0, 1, 1] > found[0, 0, 1]  # Nothing is free.
    pytest.importorskip("matplotlib")
    business.draw(found, str(tmp_path / "curve.svg"))
    assert "<svg" in (tmp_path / "curve.svg").read_text("utf-8")
