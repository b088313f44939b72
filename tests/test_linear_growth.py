"""Time and memory grow no faster than pipelines, columns and rows."""

from __future__ import annotations

import copy
import pickle
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import Binarizer, StandardScaler

import pipegrad as pg
from pipegrad.errors import ArgumentError
from pipegrad.graph.display import layout
from pipegrad.host import Encoded
from pipegrad.training.row_blocks import SelectedRows, rows_of_block, score_of, select

X = np.random.default_rng(0).normal(size=(40, 4))
Y = X[:, 0] + 0.1 * X[:, 1]


def chain(count):
    steps = [(f"s{number}", StandardScaler()) for number in range(count)]
    return Pipeline([*steps, ("ridge", Ridge())]).fit(X, Y)


def union(count):
    parts = [(f"s{number}", StandardScaler()) for number in range(count)]
    return Pipeline([("union", FeatureUnion(parts)), ("ridge", Ridge())]).fit(X, Y)


def nested_first(levels):
    """Nested pipelines from fitted ones, since scikit-learn itself cannot fit so many levels."""
    prepared, inner = X, StandardScaler().fit(X)
    prepared = inner.transform(prepared)
    for _ in range(levels):
        scaler = StandardScaler().fit(prepared)
        prepared = scaler.transform(prepared)
        inner = Pipeline([("inner", inner), ("scaler", scaler)])
    return Pipeline([("inner", inner), ("ridge", Ridge().fit(prepared, Y))])


def nested_last(levels):
    inner = Ridge().fit(X, Y)
    for _ in range(levels):
        inner = Pipeline(
            [("scaler", StandardScaler(with_mean=False, with_std=False).fit(X)), ("inner", inner)]
        )
    return inner


def calls_of(function, what):
    """How often functions of the package are called."""
    calls = Counter()

    def count(frame, event, _):
        if event == "call" and "pipegrad" in frame.f_code.co_filename:
            calls["all"] += 1
        elif event == "call" and "torch" in frame.f_code.co_filename:
            calls["torch"] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls[what]


WAYS = {
    "to_torch": lambda net: pg.to_torch(net.source),
    "all": lambda net: pg.to_torch(net.source, translate="all"),
    "from_torch": pg.from_torch,
    "text": str,
    "html": lambda net: net._repr_html_(),
    "json": lambda net: net.graph.to_json(),
    "predict": lambda net: net.predict(X),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [chain, union])
def test_calls_are_linear_in_the_number_of_steps(kind, way):
    few, many = (pg.to_torch(kind(count)) for count in (20, 80))
    for net in (few, many):
        WAYS[way](net)
    for what in ("all", "torch"):
        one, four = calls_of(lambda: WAYS[way](few), what), calls_of(lambda: WAYS[way](many), what)
        assert four <= 4.5 * one + 100


def test_layout_of_a_chain_settles_early(monkeypatch):
    sweeps = Counter()
    wish = layout._wish
    monkeypatch.setattr(layout, "_wish", lambda node: sweeps.update([node.name]) or wish(node))
    pg.to_torch(chain(30))._repr_html_()
    assert max(sweeps.values()) < 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pipegrad.errors.PipegradWarning")
@pytest.mark.parametrize("nested", [nested_first, nested_last])
def test_pipelines_nested_two_hundred_times(nested):
    source = nested(200)
    net = pg.to_torch(source)
    steps = [step.operator for step in net.graph]
    flat = Pipeline([(f"s{place}", step) for place, step in enumerate(steps)])
    expected = flat.predict(X)
    assert np.allclose(net.predict(X), expected)
    assert net.predict(X.astype(np.float32)).dtype == flat.predict(X.astype(np.float32)).dtype
    assert len(str(net).splitlines()) >= 200
    assert "ridge" in net._repr_html_().lower()
    assert len(pg.inspect(source)) == len(net.graph) > 200
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(again.predict(X), net.predict(X))
        assert again.source is not net.source
    net.fit(X, Y, epochs=1, validation=None)
    back = pg.from_torch(net)
    assert np.allclose(pg.to_torch(back).predict(X), net.predict(X))


def test_nested_host_steps_run():
    net = pg.to_torch(nested_first(200), train=["ridge"])
    assert [step.status for step in net.graph][:2] == ["host", "host"]
    assert np.isfinite(net.predict(X)).all()


def test_four_hundred_host_steps_run():
    steps = [(f"s{number}", Binarizer(threshold=0.5 if number else 0.0)) for number in range(400)]
    source = Pipeline([*steps, ("last", StandardScaler()), ("line", LinearRegression())]).fit(X, Y)
    assert np.allclose(pg.to_torch(source).predict(X), source.predict(X))


def test_deeper_nesting_than_python_allows_is_refused():
    with pytest.raises(ArgumentError, match="must not be nested more deeply"):
        pg.to_torch(nested_first(700))


def test_copies_share_parts_as_the_source_does():
    scaler = StandardScaler().fit(X)
    ridge = Ridge().fit(X, Y)
    inner = Pipeline([("a", scaler), ("b", scaler)])
    net = pg.to_torch(Pipeline([("x", inner), ("y", inner), ("z", ridge)]))
    again = pickle.loads(pickle.dumps(net)).source
    for source in (net.source, again, pg.from_torch(net)):
        assert source.steps[0][1] is source.steps[1][1]
        assert source.steps[0][1].steps[0][1] is source.steps[0][1].steps[1][1]


def wide_net():
    rows = np.random.default_rng(0).normal(size=(1100, 500))
    target = rows[:, 0]
    net = pg.to_torch(Pipeline([("s", StandardScaler()), ("r", Ridge())]).fit(rows, target))
    return net, net.encode(rows), torch.as_tensor(target)


def test_scores_in_blocks_have_the_same_gradients():
    net, encoded, target = wide_net()
    assert rows_of_block(encoded) < len(encoded)

    def gradients(score):
        loss = (score - target).square().mean()
        return torch.autograd.grad(loss, list(net.trainable_parameters().values()))

    for exact, found in zip(
        gradients(net(encoded)), gradients(score_of(net, encoded)), strict=True
    ):
        assert torch.allclose(exact, found, rtol=1e-9, atol=1e-12)


def test_scores_in_blocks_hold_one_block_at_a_time():
    net, encoded, _ = wide_net()
    seen = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    index = torch.randperm(len(encoded), generator=torch.Generator().manual_seed(0))
    rows = select(encoded, index)
    assert isinstance(rows, SelectedRows)
    score_of(net, rows).sum().backward()
    assert max(seen) == rows_of_block(encoded)
    assert sum(seen) == 2 * len(encoded)  # Forward, and again in the backward pass.


def test_few_values_are_computed_at_once():
    net = pg.to_torch(chain(1))
    encoded = net.encode(X)
    assert type(select(encoded, torch.arange(10))) is Encoded
    assert score_of(net, encoded).grad_fn.name() != "_ScoreOfBlocksBackward"


@pytest.mark.filterwarnings("ignore:Fine-tuning kept")
def test_finished_runs_keep_no_inputs():
    from pipegrad.finetune import problem

    kept = []
    run = problem.TrainingProblem.run
    rows = np.random.default_rng(0).normal(size=(120, 5))
    target = rows[:, 0] ** 2
    pipe = clone(Pipeline([("s", StandardScaler()), ("r", Ridge())]))

    def spied(self, *arguments, **options):
        kept.append(run(self, *arguments, **options))
        return kept[-1]

    problem.TrainingProblem.run = spied
    try:
        pg.FineTuner(pipe, random_state=0).fit(rows, target)
    finally:
        problem.TrainingProblem.run = run
    assert kept
    assert all(one.train.encoded is None and not one.optimizer_.state for one in kept)
