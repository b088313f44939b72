"""The benchmark behind the recipe's rules: it runs, resumes, and its page reports the results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import pipegrad as pg
from pipegrad.finetune.problem import TrainingProblem
from pipegrad.training.options import Options
from pipegrad.training.samples import Samples
from pipegrad.training.scaled_lbfgs import ScaledLBFGS
from study_files import importable, module  # noqa: F401


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Results on small tables; the one of bikes has negative counts, which no loss accepts."""
    folder, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out") / "rules.parquet"
    draw = np.random.default_rng(0)
    a, b, c = draw.normal(size=(3, 120))
    tables = {
        "ames_housing": {"a": a, "b": b, "c": c, "price": np.tanh(a) + b * c},
        "credit_g": {"a": a, "b": b, "c": c, "bad": (a + draw.logistic(size=120) > 0).astype(int)},
        "bike_sharing_hourly": {"a": a, "b": b, "cnt": -np.abs(a)},
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_parquet(folder / f"{name}.parquet")
    given = ["--data", folder, "--out", out, "--templates", "pca", "--sets", *tables]
    given = [str(word) for word in [*given, "--groups", "variants", "anchors"]]
    module("rule_study").main(given)
    return out, given, pd.read_parquet(out)


@pytest.mark.slow
def test_every_strategy_leaves_a_loss(ran):
    found = ran[2][ran[2].data != "bike_sharing_hourly"]
    assert list(found.error) == [""] * len(found)
    assert np.isfinite(found[["before", "after", "valid", "noise", "seconds"]]).all().all()
    ways = found[found.group == "variants"].arm
    assert sorted(ways) == sorted([*set(ways), *set(ways)])  # each on both
    assert len(set(ways)) == 15
    assert set(ways) > set(module("variants").RECIPE)
    assert set(found[found.group == "anchors"].split) == {0, 1}


def test_only_training_is_compared(ran):
    """All strategies start from one fitted pipeline; at checkpoint 0 they equal it."""
    for _, part in ran[2][ran[2].error == ""].groupby(["group", "data", "split"]):
        assert part.before.nunique() == 1
    still = ran[2][(ran[2].checkpoint == 0) & (ran[2].arm != module("variants").RANDOM)]
    np.testing.assert_allclose(still.after, still.before)


def test_random_weights_are_random(ran):
    known = ran[2][(ran[2].group == "variants") & (ran[2].error == "")].set_index(["data", "arm"])
    for data in known.index.unique("data"):
        found = known.after[data, module("variants").RANDOM]
        assert not np.isclose(found, known.before[data, module("variants").RANDOM])
        assert not np.isclose(found, known.after[data, module("variants").SCALED])


def test_an_error_is_noted_and_stops_nothing(ran):
    lost = ran[2][ran[2].error != ""]
    assert set(lost.data) == {"bike_sharing_hourly"}
    assert lost.error.str.contains("out of the valid range").all()


def test_it_goes_on_where_it_stopped(ran, capsys):
    out, given, _ = ran
    kept = out.read_bytes()
    module("rule_study").main(given)
    assert capsys.readouterr().out == ""
    assert out.read_bytes() == kept


@pytest.mark.parametrize("half", ["abalone", "letter"])
def test_evaluation_data_sets_have_no_part(half, capsys):
    assert half in module("data").EVALUATION
    with pytest.raises(SystemExit):
        module("rule_study").main(["--data", ".", "--sets", half])
    assert "invalid choice" in capsys.readouterr().err


# The page


def test_tables_go_between_their_markers(ran, tmp_path):
    page = tmp_path / "recipe.md"
    names = ("portfolio", "members", "coordinates", "starts", "cycles", "anchors", "pairs", "rate")
    before = "# Page\n" + "".join(
        f"<!-- {n} -->\nold {n}\n<!-- /{n} -->\nkept {n}\n" for n in names
    )
    page.write_text(before, encoding="utf-8")
    module("rule_study").main(["--out", str(ran[0]), "--report", str(page)])
    text = page.read_text("utf-8")
    assert all(f"kept {name}" in text for name in names)
    assert [name for name in names if f"old {name}" in text] == ["rate"]  # That was not run.
    between = {n: text.split(f"<!-- {n} -->")[1].split(f"<!-- /{n} -->")[0] for n in names}
    assert "2 pairs of 2 data sets and 1 pipelines" in between["portfolio"]
    assert "| best by validation |" in between["portfolio"]
    assert "solved between" in between["coordinates"]
    assert "| without Adam, scaled |" in between["members"]
    assert "| ames_housing | pca |" in between["pairs"]
    module("rule_study").main(["--out", str(ran[0]), "--report", str(page)])
    assert page.read_text("utf-8") == text


def made(arm, data, after, valid, before=1.0, error=""):
    note = {"group": "steps", "data": data, "template": "pca", "split": 0, "arm": arm}
    return note | {"before": before, "after": after, "valid": valid, "seconds": 2.0, "error": error}


def test_the_summary_counts_right():
    report = module("rule_study_report")
    runs = pd.DataFrame(
        [
            made("one", "a", 0.8, 0.5),
            made("other", "a", 1.2, 0.6),
            made("one", "b", 0.5, 0.9),
            made("other", "b", 0.9, 0.4),
            made("one", "c", 0.1, 0.1),  # without its other
            made("one", "d", 0.1, 0.1),
            made("other", "d", np.nan, np.nan, error="ValueError"),
        ]
    )
    text = report.summary(report.reductions(runs, ["steps"]), with_chosen=True)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    # Medians of the pipeline and of all, worse, worst, wins, seconds.
    assert rows[0] == ["| one", "35.0%", "35.0%", "0%", "20.0%", "1", "2.0 |"]
    assert rows[1] == ["| other", "-5.0%", "-5.0%", "50%", "-20.0%", "1", "2.0 |"]
    # By validation it is one on a and other on b.
    assert rows[2][1:5] == ["15.0%", "15.0%", "0%", "10.0%"]


# The simulation


def test_chance_is_seen_seldom_and_a_gain_often():
    chance = module("null_simulation")
    none = chance.rates(chance.Setting(200, "normal"), 60)
    large = chance.rates(chance.Setting(200, "normal", 8.0), 10)
    assert max(none.values()) <= 0.15
    assert large["recipe"] >= 0.9
    # Further splits detect gains that a single one cannot.
    assert large["recipe"] >= large["one split"]


@pytest.mark.parametrize("noise", ["normal", "heavy tails", "skewed"])
def test_the_simulated_gain_is_the_one_named(noise):
    chance = module("null_simulation")
    draw = np.random.default_rng(0)
    many = np.concatenate(
        [chance.losses_of_split(chance.Setting(2000, noise), draw) for _ in range(40)], axis=2
    )
    gains = 10.0 - many[:, -1]
    count = gains.shape[1]
    assert np.abs(gains.mean(axis=1)).max() < 4 * gains.std() / np.sqrt(count)
    one, same = (
        chance.losses_of_split(chance.Setting(500, noise, gain), np.random.default_rng(1))[0, -1]
        for gain in (3.0, 0.0)
    )
    assert (same - one).mean() == pytest.approx(3 * gains.std() / np.sqrt(2500), rel=0.15)


# The strategies


@pytest.fixture
def task():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(200, 6)) @ draw.normal(size=(6, 6))
    y = X[:, 0] + X[:, 1] * X[:, 2]
    pipe = make_pipeline(StandardScaler(), PCA(3), Ridge(alpha=1.0)).fit(X[:150], y[:150])
    net = pg.to_torch(pipe)
    train, valid = Samples(X[:150], y[:150]), Samples(X[150:], y[150:])
    task = TrainingProblem.of(net, train, valid, Options())
    return task, y[:150]


def test_whitened_inputs_are_white(task):
    ways, (task, _) = module("variants"), task
    parameters = list(task.net.trainable_parameters().values())
    maps = ways.whitening(task, parameters, 0.0)
    assert sum(one is not None for one in maps) >= 1
    encoded, target = task.training.batch(task.training.index)
    with ways._Products(parameters) as products:
        losses = task.criterion.rows(task.net(encoded), target)
    for place, (x, out) in products.found.items():
        white = (x - x.mean(0)) @ maps[place]
        gradient = torch.autograd.grad(losses.sum(), out, retain_graph=True)[0]
        size = gradient.square().mean()
        expected = torch.eye(x.shape[1], dtype=x.dtype) / size
        torch.testing.assert_close(white.T @ white / len(x), expected, rtol=1e-6, atol=1e-6)


def test_whitened_coordinates_are_coordinates():
    """With multiples of one as maps they are those scaled by these multiples."""
    ways = module("variants")

    def run(make):
        matrix = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64))
        number = nn.Parameter(torch.tensor([5.0], dtype=torch.float64))
        optimizer = make([matrix, number])

        def closure():
            matrix.grad = number.grad = None
            loss = (matrix.sum(0) - 1).pow(4).sum() + (number * matrix[0, 0] - 2).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return torch.cat([matrix.detach().flatten(), number.detach()])

    maps = [3.0 * torch.eye(2, dtype=torch.float64), None]
    found = run(lambda p: ways.WhitenedLBFGS(p, [1.0, 0.5], maps))
    torch.testing.assert_close(found, run(lambda p: ScaledLBFGS(p, [3.0, 0.5])))


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_last_operator_is_solved_for(task, goes_on):
    ways, (task, y) = module("variants"), task
    parameters = list(task.net.trainable_parameters().values())
    encoded, target = task.training.batch(task.training.index)
    judged = iter([1.0, 0.0, 0.0, 1.0])  # the solution is better once, and then worse

    def loss():
        return task.criterion(task.net(encoded), target, None)

    def closure():
        for p in parameters:
            p.grad = None
        value = loss()
        value.backward()
        return value

    seen = []

    def solve():
        seen.append([p.detach().clone() for p in parameters])
        ways.solve_last(task, y)

    optimizer = ways.Solving(parameters, solve, lambda: next(judged), goes_on)
    optimizer.step(closure)
    solved = [p.detach().clone() for p in parameters]
    # Its own solver's answer to what reaches it, and nothing else moved.
    moved = [not torch.equal(a, b) for a, b in zip(seen[0], solved)]
    assert 1 <= sum(moved) <= 2
    assert not any(moved[:-2])
    with torch.no_grad():
        step = task.net.graph[task.net.graph.output]
        before = task.net.graph.ancestors(step.name)
        x = task.net.evaluate_steps(encoded.blocks, before)[step.inputs[0]].numpy()
        expected = Ridge(alpha=1.0).fit(x, y).predict(x)
        np.testing.assert_allclose(task.net(encoded).flatten().numpy(), expected, atol=1e-9)
    from_where = solved if goes_on else seen[0]
    for p, value in zip(parameters, from_where):
        p.data.copy_(value)
    start = loss().item()
    for p, value in zip(parameters, solved):
        p.data.copy_(value)
    asked = []

    def watched():
        asked.append(closure())
        return asked[-1]

    optimizer.step(watched)
    assert asked[0].item() == pytest.approx(start, rel=1e-12)
    # Worse: forgotten.
    for p, value in zip(parameters, seen[1]):
        assert torch.equal(p.detach(), value)
