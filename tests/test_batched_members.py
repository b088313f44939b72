"""Alike members of a composite are computed as one, with the numbers of each on its own."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import (
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputRegressor, RegressorChain
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC

import pipegrad as pg
from pipegrad.calls import Group
from pipegrad.host import Encoded
from pipegrad.modules import _chains
from pipegrad.training.parameter_stacks import stacked_parameters

_ROWS, _COLUMNS = 60, 6
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(_ROWS, _COLUMNS)) + 1
Y = X @ _RNG.normal(size=_COLUMNS) + 0.3 * _RNG.normal(size=_ROWS)
TWO = np.median(Y) < Y
THREE = np.digitize(Y, np.quantile(Y, [0.3, 0.6]))
FIVE = np.digitize(Y, np.quantile(Y, [0.2, 0.4, 0.6, 0.8]))
SEVERAL = X[:, :5] + 0.2 * Y[:, None]
LABELS = SEVERAL.mean(0) < SEVERAL


def named(make, count=5):
    return [(f"m{i}", make(i)) for i in range(count)]


def bag(member, **options):
    return BaggingRegressor(member, 6, random_state=0, **options)


def per_column(*makers, **options):
    parts = [(f"c{i}", makers[i % len(makers)](), [i]) for i in range(_COLUMNS)]
    return ColumnTransformer(parts, **options)


def unequal():
    parts = [("a", [0]), ("b", [5, 2]), ("c", [1, 3, 4]), ("d", [3]), ("e", [0, 1])]
    return ColumnTransformer([(name, StandardScaler(), columns) for name, columns in parts])


def positive(number):
    return Ridge(0.5 + number, positive=True)


# Pipeline, targets, and the number of members of each group.
PIPELINES = {
    "bagging": (bag(Ridge()), Y, [6]),
    "no intercept": (bag(Ridge(fit_intercept=False)), Y, [6]),
    "half of the columns": (bag(Ridge(), max_features=0.5), Y, [6]),
    "columns twice": (bag(Ridge(), max_features=0.9, bootstrap_features=True), Y, [6]),
    "some zeros": (bag(Lasso(0.3)), Y, [6]),
    "pipelines": (bag(make_pipeline(StandardScaler(), Ridge())), Y, [6, 6]),
    "pipelines of a selection": (
        bag(make_pipeline(StandardScaler(), Ridge()), max_features=0.5),
        Y,
        [6, 6],
    ),
    "after a scaler": (make_pipeline(MinMaxScaler(), bag(Ridge(), max_features=0.5)), Y, [6, 6]),
    "projections": (bag(make_pipeline(PCA(2, whiten=True), Ridge())), Y, [6, 6]),
    "several targets": (bag(Ridge()), np.column_stack([Y, X[:, 0]]), [6]),
    "voting": (VotingRegressor(named(lambda i: Ridge(i + 1))), Y, [5]),
    "weighted voting": (VotingRegressor(named(positive), weights=[1, 2, 3, 4, 5]), Y, [5]),
    "stack": (StackingRegressor(named(lambda i: Ridge(i + 1)), Ridge(), cv=2), Y, [5]),
    "stack and its input": (
        StackingRegressor(named(lambda i: Ridge(i + 1)), Ridge(), cv=2, passthrough=True),
        Y,
        [5],
    ),
    "probabilities of two": (BaggingClassifier(LogisticRegression(), 6, random_state=0), TWO, [6]),
    "probabilities of three": (
        BaggingClassifier(LogisticRegression(), 6, random_state=0),
        THREE,
        [6],
    ),
    "votes": (BaggingClassifier(RidgeClassifier(), 6, random_state=0), THREE, [6]),
    "soft voting": (
        VotingClassifier(named(lambda i: LogisticRegression(C=i + 1)), voting="soft"),
        THREE,
        [5],
    ),
    "hard voting": (VotingClassifier(named(lambda i: LogisticRegression(C=i + 1))), THREE, [5]),
    "stacked probabilities": (
        StackingClassifier(named(lambda i: LogisticRegression(C=i + 1)), cv=2),
        TWO,
        [5],
    ),
    "scalers": (make_pipeline(per_column(StandardScaler), Ridge()), Y, [6]),
    "scalers of unequal widths": (make_pipeline(unequal(), Ridge()), Y, [5]),
    "unequal widths after a scaler": (
        make_pipeline(StandardScaler(), unequal(), Ridge()),
        Y,
        [5, 5],
    ),
    "two kinds of scalers": (
        make_pipeline(
            ColumnTransformer(
                [
                    (f"c{i}", StandardScaler() if i % 3 else RobustScaler(), [i % _COLUMNS])
                    for i in range(12)
                ]
            ),
            Ridge(),
        ),
        Y,
        [4, 8],
    ),
    "alternating kinds": (
        make_pipeline(
            ColumnTransformer(
                [
                    (f"c{i}", [StandardScaler, MinMaxScaler][i % 2](), [i % _COLUMNS])
                    for i in range(10)
                ]
            ),
            Ridge(),
        ),
        Y,
        [5, 5],
    ),
    "weighted columns": (
        make_pipeline(
            per_column(StandardScaler, transformer_weights={"c1": 2.0, "c4": 0.5}), Ridge()
        ),
        Y,
        [6],
    ),
    "power transforms": (
        make_pipeline(per_column(lambda: PowerTransformer(standardize=False)), Ridge()),
        Y,
        [6],
    ),
    "union": (
        make_pipeline(FeatureUnion(named(lambda i: MinMaxScaler((0, i + 1)))), Ridge()),
        Y,
        [5],
    ),
    "columns, then members": (
        make_pipeline(per_column(StandardScaler), bag(Ridge())),
        Y,
        [6, 6],
    ),
    "two votes of alike members": (
        StackingRegressor(
            [
                ("first", VotingRegressor(named(lambda i: Ridge(i + 1)))),
                ("second", VotingRegressor(named(lambda i: Ridge(10 * i + 5), 4))),
            ],
            Ridge(),
            cv=2,
        ),
        Y,
        [9],
    ),
    "two times one against the rest": (
        StackingClassifier(
            [
                ("first", OneVsRestClassifier(LogisticRegression())),
                ("second", OneVsRestClassifier(LogisticRegression(C=0.1))),
            ],
            LogisticRegression(),
            cv=2,
        ),
        THREE,
        [6],
    ),
    "one against the rest": (OneVsRestClassifier(LogisticRegression()), FIVE, [5]),
    "one against one": (OneVsOneClassifier(LinearSVC(max_iter=5000)), FIVE, [10]),
    "one for each target": (MultiOutputRegressor(Ridge()), X[:, :5] + Y[:, None], [5]),
    **{
        f"chain of {name}": (RegressorChain(member, order=[2, 0, 4, 1, 3]), targets, [5])
        for name, member, targets in (
            ("numbers", Ridge(), SEVERAL),
            ("rates", PoissonRegressor(), SEVERAL - SEVERAL.min() + 1),
            ("zeros", Lasso(0.3), SEVERAL),
        )
    },
    **{
        f"chain of {method}": (ClassifierChain(member, chain_method=method), LABELS, [5])
        for member, method in (
            (LinearSVC(), "predict"),
            (LogisticRegression(), "predict_proba"),
            (LogisticRegression(), "predict_log_proba"),
            (LogisticRegression(), "decision_function"),
        )
    },
    "chain of other labels": (ClassifierChain(RidgeClassifier()), np.where(LABELS, 7, -2), [5]),
    "chain after a scaler": (
        make_pipeline(StandardScaler(), ClassifierChain(LogisticRegression())),
        LABELS,
        [5],
    ),
    "chain after scalers": (
        make_pipeline(per_column(StandardScaler), RegressorChain(Ridge())),
        SEVERAL,
        [6, 5],
    ),
}
NAMES = list(PIPELINES)


def fitted(name):
    pipe, y, sizes = PIPELINES[name]
    return copy.deepcopy(pipe).fit(X, y), y, sizes


def groups_of(net):
    net.raw_score(X[:2])
    return [len(task.calls) for task in net._schedule.tasks if isinstance(task, Group)]


def close(actual, desired):
    """Equal to 1e-12 of the largest value."""
    scale = float(desired.abs().max()) if desired.numel() else 0.0
    assert_allclose(actual, desired, rtol=1e-12, atol=1e-12 * max(scale, 1e-300))


def scores_and_gradients(net, rows):
    net.zero_grad()
    score = net(rows)
    weights = torch.linspace(0.5, 1.5, score.numel(), dtype=score.dtype).view(score.shape)
    (score * weights).square().sum().backward()
    names = [name for name, _ in net.named_parameters()]
    return score.detach(), {n: net.get_parameter(n).grad for n in names}


def both_ways(net, rows):
    together = scores_and_gradients(net, rows)
    with net.separate_members():
        apart = scores_and_gradients(net, rows)
    return together, apart


@contextmanager
def fused(net):
    net.train()
    with net.fused_linear_maps():
        yield
    net.eval()


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_those_of_each_member(name):
    pipe, _, sizes = fitted(name)
    net = pg.to_torch(pipe)
    assert groups_of(net) == sizes
    encoded = net.encode(X)
    (score, gradients), (expected, separate) = both_ways(net, encoded)
    close(score, expected)
    for key, gradient in separate.items():
        assert (gradients[key] is None) == (gradient is None), key
        if gradient is not None:
            scale = max(float(g.abs().max()) for g in separate.values() if g is not None)
            assert_allclose(gradients[key], gradient, rtol=1e-9, atol=1e-11 * scale)
    with net.separate_members():
        apart = net.raw_score(X)
    close(net.raw_score(X), apart)


@pytest.mark.parametrize("name", NAMES)
def test_training_multiplies_scales_with_the_maps_after_them(name):
    pipe, _, _ = fitted(name)
    net = pg.to_torch(pipe)
    encoded = net.encode(X)
    with fused(net):
        score, gradients = scores_and_gradients(net, encoded)
    with net.separate_members():
        expected, separate = scores_and_gradients(net, encoded)
    assert_allclose(score, expected, rtol=1e-10, atol=1e-11 * float(expected.abs().max()))
    scale = max(float(g.abs().max()) for g in separate.values() if g is not None)
    for key, gradient in separate.items():
        if gradient is not None:
            assert_allclose(gradients[key], gradient, rtol=1e-7, atol=1e-10 * scale)


@pytest.mark.filterwarnings("ignore::pipegrad.errors.PipegradWarning")
@pytest.mark.parametrize("optim", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize(
    "name",
    [
        "bagging",
        "stack",
        "pipelines",
        "alternating kinds",
        "probabilities of three",
        "chain of numbers",
        "chain of predict",
        "chain of predict_proba",
    ],
)
def test_training_gives_the_numbers_of_training_each_member(name, optim):
    pipe, y, _ = fitted(name)
    found = []
    for joint in (True, False):
        net = pg.to_torch(pipe)
        net._batching = joint
        net.fit(X, y, optim=optim, epochs=3, batch_size=20, validation=None, patience=None)
        found.append((net.history[:, "train_loss"], net.state_dict(), pg.from_torch(net)))
    (losses, state, written), (expected, separate, _) = found
    assert losses[-1] != losses[0]
    assert_allclose(losses, expected, rtol=1e-6)
    assert list(state) == list(separate)
    for key, value in separate.items():
        assert_allclose(state[key], value, rtol=1e-5, atol=1e-7)
    net._batching = True
    net.load_state_dict(state)
    assert_allclose(written.predict(X), net.predict(X), rtol=1e-9)


def modules_called(net, rows):
    """How often modules and functions of torch are called in a forward pass."""
    calls = Counter()
    call = torch.nn.Module._call_impl

    def counted(module, *arguments, **options):
        calls[type(module).__name__] += 1
        return call(module, *arguments, **options)

    torch.nn.Module._call_impl = counted
    wrapped = torch.nn.Module.__call__
    torch.nn.Module.__call__ = counted
    try:
        net.raw_score(rows)
        net.train()(rows)
    finally:
        torch.nn.Module._call_impl, torch.nn.Module.__call__ = call, wrapped
    return sum(calls.values())


def of_size(kind, count):
    if kind == "chain":
        targets = X @ np.random.default_rng(1).normal(size=(_COLUMNS, count))
        return RegressorChain(Ridge()).fit(X, targets)
    if kind == "scalers":
        parts = [(f"c{i}", StandardScaler(), [i % _COLUMNS]) for i in range(count)]
        return make_pipeline(ColumnTransformer(parts), Ridge()).fit(X, Y)
    member = make_pipeline(StandardScaler(), Ridge()) if kind == "pipelines" else Ridge()
    options = {"max_features": 0.5} if kind == "selections" else {}
    return BaggingRegressor(member, count, random_state=0, **options).fit(X, Y)


@pytest.mark.parametrize("kind", ["members", "selections", "pipelines", "scalers", "chain"])
def test_the_number_of_calls_does_not_grow_with_the_members(kind):
    few, many = (pg.to_torch(of_size(kind, count)) for count in (8, 40))
    counts = [modules_called(net, net.encode(X)) for net in (few, many)]
    assert counts[0] == counts[1]
    with many.separate_members():
        assert modules_called(many, many.encode(X)) >= counts[1] + 40


@pytest.mark.parametrize("kind", ["members", "selections", "scalers"])
def test_the_input_of_alike_members_is_encoded_once(kind, monkeypatch):
    net = pg.to_torch(of_size(kind, 20))
    calls = Counter()
    for row in {id(step.translation): step.translation for step in net.graph}.values():
        encode = row.encode
        monkeypatch.setattr(
            row, "encode", lambda o, x, e=encode: (calls.update([type(o)]), e(o, x))[1]
        )
    encoded = net.encode(X)
    assert set(calls.values()) == {1}
    assert len(encoded.blocks) == 1
    assert_allclose(net.predict(X), net.source.predict(X), rtol=1e-9)


# Chains


def chained(method="predict_proba"):
    net = pg.to_torch(ClassifierChain(LogisticRegression(), chain_method=method).fit(X, LABELS))
    assert groups_of(net) == [5]
    return net


def test_labels_and_probabilities_of_a_chain_are_those_of_its_source():
    for method in ("predict", "predict_proba"):
        net = chained(method)
        rows = np.random.default_rng(1).normal(size=(500, _COLUMNS)) * 2
        assert np.array_equal(net.predict(rows), net.source.predict(rows))
        assert_allclose(net.predict_proba(rows), net.source.predict_proba(rows), rtol=1e-9)
    assert len(net.predict(rows[:1])) == 1


def test_more_members_than_a_block():
    source = of_size("chain", 40)
    net = pg.to_torch(source)
    assert_allclose(net.predict(X), source.predict(X), rtol=1e-9, atol=1e-9)
    numbers = X @ np.random.default_rng(2).normal(size=(_COLUMNS, 40))
    labels = numbers > np.median(numbers, 0)
    chain = ClassifierChain(LogisticRegression(), chain_method="predict_proba").fit(X, labels)
    net = pg.to_torch(chain)
    (score, gradients), (expected, separate) = both_ways(net, net.encode(X))
    close(score, expected)
    for key, gradient in separate.items():
        close(gradients[key], gradient)


@pytest.mark.parametrize("kind", ["above", "exp", "log_logistic", "logistic"])
def test_derivatives_of_the_answers_of_a_chain(kind):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 4, generator=generator, dtype=torch.float64).triu(1)
    weight.requires_grad_()

    def scores(base, weight):
        return _chains._scores(base, weight.triu(1), kind)[: 1 if kind == "above" else 2]

    assert torch.autograd.gradcheck(scores, (base, weight))
    assert torch.autograd.gradgradcheck(scores, (base, weight))
    each = [scores(base * factor, weight) for factor in (1.0, -2.0)]
    together = torch.func.vmap(lambda factor: scores(base * factor, weight))(
        torch.tensor([1.0, -2.0], dtype=torch.float64)
    )
    for joint, apart in zip(together, zip(*each, strict=True), strict=True):
        close(joint.detach(), torch.stack(apart).detach())


@pytest.mark.parametrize(
    "step", ["estimators_/2", "estimators_/1/predict_proba", "estimators_/3/columns"]
)
def test_a_hook_within_a_chain_is_called(step):
    net = chained()
    before = net.predict_proba(X)
    seen = []
    hook = net.step_module(step).register_forward_hook(lambda *_: seen.append(1))
    assert_allclose(net.predict_proba(X), before, rtol=1e-12)
    assert seen
    hook.remove()


def test_blocks_replace_or_add_to_the_steps_of_a_chain():
    net = chained()
    blocks = net.encode(X).blocks
    ones = torch.ones(_ROWS, dtype=torch.float64)
    for name in ("+estimators_/0", "=estimators_/2", "=estimators_/1/predict_proba"):
        joint = net(Encoded({**blocks, name: ones}))
        with net.separate_members():
            apart = net(Encoded({**blocks, name: ones}))
        close(joint.detach(), apart.detach())
        assert not torch.equal(joint, net(Encoded(blocks)))


def test_outputs_within_a_chain_can_be_asked_for():
    net = chained()
    wanted = {step.name for step in net.neural_steps()}
    blocks = net.encode(X).blocks
    joint = net.evaluate_steps(blocks, wanted)
    with net.separate_members():
        apart = net.evaluate_steps(blocks, wanted)
    for name in wanted:
        close(joint[name].detach(), apart[name].detach())


def test_members_of_a_chain_that_come_after_frozen_ones():
    source = ClassifierChain(LogisticRegression()).fit(X, LABELS)
    net = pg.to_torch(source, freeze=["estimators_/0"])
    (score, _), (expected, _) = both_ways(net, net.encode(X))
    close(score, expected)
    net.step_module("estimators_/1").register_forward_hook(lambda *_: None)
    assert groups_of(net) == [3]  # the last, whose columns have the answers of the first two
    close(net.raw_score(X), expected)


def test_a_score_that_is_infinite_between_members_is_refused():
    net = chained("predict_log_proba")
    with torch.no_grad():
        net.step_module("estimators_/1").body.bias -= 1e4
    with pytest.raises(ValueError, match=r"estimators_/2.*contains infinity"):
        net.predict(X)


def test_the_answer_shares_no_memory_with_the_rows():
    source = FeatureUnion(named(lambda i: StandardScaler(with_mean=False, with_std=False)))
    for pipe in (source, StandardScaler(with_mean=False, with_std=False)):
        net, rows = pg.to_torch(pipe.fit(X), translate="all"), X.copy()
        out = net.transform(rows)
        assert not np.shares_memory(out, rows)


def far_from_zero(center):
    rows = X + center
    return make_pipeline(per_column(StandardScaler), Ridge()).fit(rows, Y), rows


@pytest.mark.parametrize("center", [0.0, 1e9])
def test_scales_are_taken_up_where_no_digits_are_lost(center):
    source, rows = far_from_zero(center)
    net = pg.to_torch(source)
    assert_allclose(net.predict(rows), source.predict(rows), rtol=1e-12)
    values = net.evaluate_steps(net.encode(rows).blocks, net.graph.ancestors(net.graph.output))
    assert bool(values.waiting) == (center == 0)
    columns = source[0].transform(rows)
    assert_allclose(
        values["columntransformer/concatenate"].detach(), columns, rtol=1e-9, atol=1e-12
    )


def test_a_hook_on_the_map_after_scalers_sees_columns():
    source, rows = far_from_zero(0.0)
    net = pg.to_torch(source)
    before, seen = net.predict(rows), []
    net.step_module("ridge").register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    assert_allclose(net.predict(rows), before, rtol=1e-12)
    assert_allclose(seen[0], source[0].transform(rows), rtol=1e-9, atol=1e-12)


# What users do to single members


def ensemble():
    net = pg.to_torch(bag(Ridge()).fit(X, Y))
    assert groups_of(net) == [6]
    return net


def test_a_hook_on_a_member_is_called_and_the_others_stay_together():
    net = ensemble()
    before = net.predict(X)
    seen = []
    hook = net.step_module("estimators_/2").register_forward_hook(lambda *_: seen.append(1))
    assert_allclose(net.predict(X), before, rtol=1e-12)
    assert groups_of(net) == [5]
    assert seen
    hook.remove()
    seen.clear()
    assert np.array_equal(net.predict(X), before)
    assert groups_of(net) == [6]
    assert not seen


def test_a_hook_that_changes_the_output_counts():
    net = ensemble()
    before = net.predict(X)
    net.step_module("estimators_/2").register_forward_hook(lambda m, i, out: out + 6.0)
    assert_allclose(net.predict(X), before + 1)


def test_a_hook_on_the_mean_sees_each_member():
    net = ensemble()
    seen = []
    net.step_module("average").register_forward_pre_hook(lambda m, inputs: seen.append(len(inputs)))
    net.predict(X)
    assert seen == [6]


def test_a_member_with_another_function_or_module():
    net = ensemble()
    before = net.predict(X)
    member = net.step_module("estimators_/1")
    own = member.body(torch.from_numpy(X)).detach().numpy()
    member.body.forward = lambda x: torch.zeros(len(x), dtype=x.dtype)
    assert_allclose(net.predict(X), before - own / 6)
    del member.body.forward
    assert np.array_equal(net.predict(X), before)
    member.body = torch.nn.Sequential(member.body)
    assert_allclose(net.predict(X), before, rtol=1e-12)
    assert groups_of(net) == [5]


def test_a_parametrized_member():
    net = ensemble()
    before = net.predict(X)
    member = net.step_module("estimators_/1").body
    own = member(torch.from_numpy(X)).detach().numpy() - member.bias.item()

    class Twice(torch.nn.Module):
        def forward(self, weight):
            return 2 * weight

    torch.nn.utils.parametrize.register_parametrization(member, "weight", Twice())
    assert_allclose(net.predict(X), before + own / 6)


def test_changed_and_replaced_parameters_count():
    net = ensemble()
    before = net.predict(X)
    member = net.step_module("estimators_/3").body
    with torch.no_grad():
        member.bias += 6
    assert_allclose(net.predict(X), before + 1)
    member.bias = torch.nn.Parameter(member.bias.detach() + 6)
    assert_allclose(net.predict(X), before + 2)
    member.bias.data = member.bias.data + 6
    assert_allclose(net.predict(X), before + 3)
    state = {key: value + 6 for key, value in net.state_dict().items() if key.endswith("bias")}
    net.load_state_dict(state, strict=False)
    assert_allclose(net.predict(X), before + 9)
    halved = {key: value / 2 for key, value in net.named_parameters()}
    called = torch.func.functional_call(net, halved, (X,))
    assert_allclose(called.detach(), (before + 9) / 2)


def test_a_member_of_another_precision():
    net = ensemble()
    net.step_module("estimators_/3").float()
    with pytest.raises(RuntimeError):
        net(X)
    with net.separate_members(), pytest.raises(RuntimeError):
        net(X)


def test_copies_pickles_and_casts():
    net = ensemble()
    expected = net.predict(X)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(again.predict(X), expected)
        with torch.no_grad():
            again.step_module("estimators_/0").body.bias += 6
        assert_allclose(again.predict(X), expected + 1)
    assert np.array_equal(net.predict(X), expected)
    assert_allclose(net.float().predict(X), expected, rtol=1e-4, atol=1e-4)


def test_frozen_members_stay_as_they_are():
    source = bag(Ridge()).fit(X, Y)
    frozen = ["estimators_/1", "estimators_/4"]
    net = pg.to_torch(source, freeze=frozen)
    assert groups_of(net) == [4]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.fit(X, 2 * Y, epochs=2, validation=None)
    assert not any(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    after = make_pipeline(StandardScaler(), source).fit(X, Y)
    net = pg.to_torch(after, freeze=[f"baggingregressor/{name}" for name in frozen])
    assert groups_of(net) == [6]
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    net.fit(X, 2 * Y, epochs=2, validation=None)
    same = [torch.equal(value, before[key]) for key, value in net.named_parameters()]
    assert same == [any(f"{name}." in key for name in frozen) for key in before]
    (_, gradients), (_, separate) = both_ways(net, X)
    assert [g is None for g in gradients.values()] == [g is None for g in separate.values()]


def test_one_operator_at_several_places():
    ridge = Ridge().fit(X, Y)
    voting = VotingRegressor(named(lambda i: Ridge())).fit(X, Y)
    voting.estimators_ = [ridge] * 5
    net = pg.to_torch(voting)
    (score, gradients), (expected, separate) = both_ways(net, X)
    close(score, expected)
    for key, gradient in separate.items():
        close(gradients[key], gradient)
    net.fit(X, 2 * Y, epochs=3, validation=None)
    assert_allclose(pg.from_torch(net).predict(X), net.predict(X))


# What rows may be


def test_sparse_rows():
    table = np.where(X > 1, X, 0.0)
    rows = sp.csr_array(table)
    source = VotingRegressor(named(lambda i: Ridge(i + 1, solver="sag"))).fit(rows, Y)
    net = pg.to_torch(source)
    assert groups_of(net) == [5]
    (score, gradients), (expected, separate) = both_ways(net, net.encode(rows))
    close(score, expected)
    for key, gradient in separate.items():
        assert_allclose(gradients[key], gradient, rtol=1e-10, atol=1e-10)
    union = FeatureUnion(named(lambda i: StandardScaler(with_mean=False)))
    net = pg.to_torch(make_pipeline(union, Ridge(solver="sag")).fit(rows, Y))
    assert_allclose(net.predict(rows), net.source.predict(rows))
    net.fit(rows, 2 * Y, epochs=1, validation=None)
    assert_allclose(pg.from_torch(net).predict(rows), net.predict(rows))


def test_selected_columns_beside_infinity():
    source = make_pipeline(StandardScaler(), bag(Ridge(), max_features=0.5)).fit(X, Y)
    net = pg.to_torch(source)
    rows = torch.from_numpy(X.copy())
    rows[3, 2] = torch.inf
    with net.separate_members():
        expected = net(rows)
    assert_allclose(net(rows).detach(), expected.detach(), rtol=1e-12)
    (selections,) = [t for t in net._schedule.tasks if isinstance(t, Group)][:1]
    taken = [2 in call.step.operator.indices for call in selections.calls]
    assert any(taken)
    assert not all(taken)
    values = net.evaluate_steps(net.encode(X).blocks, {s.name for s in net.neural_steps()})
    assert all(torch.isfinite(values[call.step.name]).all() for call in selections.calls)


def test_nan_between_steps_is_rejected_with_the_name_of_the_step():
    net = pg.to_torch(bag(make_pipeline(StandardScaler(), Ridge())).fit(X, Y))
    with torch.no_grad():
        net.step_module("estimators_/3/standardscaler").shift[1] = torch.nan
    with pytest.raises(ValueError, match=r"estimators_/3/ridge.*contains NaN"):
        net.predict(X)


def test_missing_entries_pass_scalers():
    rows = X.copy()
    rows[5, 2] = rows[7, 0] = np.nan
    source = per_column(StandardScaler, MinMaxScaler).fit(rows)
    net = pg.to_torch(source)
    assert_allclose(net.transform(rows), source.transform(rows), rtol=1e-12)
    with pytest.raises(ValueError, match="contains NaN"):
        pg.to_torch(make_pipeline(per_column(StandardScaler), Ridge()).fit(X, Y)).predict(rows)


@pytest.mark.parametrize("container", [pd.DataFrame, np.asarray, lambda t: t.tolist()])
def test_tables_of_any_kind(container):
    names = [f"x{i}" for i in range(_COLUMNS)]
    table = pd.DataFrame(X, columns=names)
    fitted_on = table if container is pd.DataFrame else X
    columns = names if container is pd.DataFrame else list(range(_COLUMNS))
    parts = [(f"c{i}", StandardScaler(), [columns[i]]) for i in (0, 2, 1, 4, 5)]
    source = make_pipeline(ColumnTransformer(parts), Ridge()).fit(fitted_on, Y)
    net = pg.to_torch(source)
    given = table if container is pd.DataFrame else container(X)
    assert_allclose(net.predict(given), source.predict(given), rtol=1e-12)
    if container is pd.DataFrame:
        turned = given[names[::-1]].assign(more="text", x3=1)
        assert_allclose(net.predict(turned), source.predict(turned), rtol=1e-12)
        with pytest.raises(ValueError, match="x4"):
            net.predict(given.drop(columns="x4"))
        whole = given.round().astype(int)
        assert_allclose(net.predict(whole), source.predict(whole), rtol=1e-12)
    else:
        with pytest.raises(ValueError, match="5 features"):
            net.predict(X[:, :5])


def test_outputs_of_single_members_can_be_asked_for():
    net = ensemble()
    blocks = net.encode(X).blocks
    wanted = {"checked", "estimators_/2"}
    alone = net.step_module("estimators_/2")(torch.from_numpy(X))
    assert_allclose(
        net.evaluate_steps(blocks, wanted)["estimators_/2"].detach(), alone.detach(), rtol=1e-12
    )
    with pytest.raises(KeyError):
        net.evaluate_steps(blocks, wanted)["nothing"]


def test_blocks_that_replace_or_add_to_outputs():
    net = ensemble()
    blocks = net.encode(X).blocks
    zero = torch.zeros(_ROWS, dtype=torch.float64)
    score = net(Encoded(blocks)).detach()
    own = net.step_module("estimators_/2")(torch.from_numpy(X)).detach()
    replaced = net(Encoded({**blocks, "=estimators_/2": zero})).detach()
    assert_allclose(replaced, score - own / 6)
    given = net(Encoded({**blocks, ">estimators_/2": torch.from_numpy(2 * X)})).detach()
    assert not np.allclose(given, score)
    one = net(Encoded({**blocks, "+estimators_/2": zero + 6})).detach()
    assert_allclose(one, score + 1)
    offsets = {f"+estimators_/{i}": zero + i for i in range(6)}
    assert_allclose(net(Encoded({**blocks, **offsets})).detach(), score + 2.5)


# Parameters in a few tensors


def stacked_step(net, optimizer):
    with stacked_parameters(net, optimizer):
        assert net.stacks
        for _ in range(3):
            optimizer.zero_grad()
            (net(X) - torch.from_numpy(Y)).square().mean().backward()
            optimizer.step()
    assert not net.stacks


@pytest.mark.parametrize("split", [False, True])
def test_an_optimizer_goes_on_with_its_own_parameters(split):
    found = []
    for joint in (True, False):
        net = ensemble()
        parameters = list(net.parameters())
        groups = [parameters]
        if split:
            groups = [{"params": parameters[::2]}, {"params": parameters[1::2], "lr": 1e-2}]
            groups[0]["params"].append(groups[1]["params"].pop(0))
        optimizer = torch.optim.Adam(groups if split else parameters, lr=1e-3)
        held = [[*group["params"]] for group in optimizer.param_groups]
        if joint:
            stacked_step(net, optimizer)
        for _ in range(2 if joint else 5):
            optimizer.zero_grad()
            (net(X) - torch.from_numpy(Y)).square().mean().backward()
            optimizer.step()
        now = [group["params"] for group in optimizer.param_groups]
        assert all(a is b for one, two in zip(held, now, strict=True) for a, b in zip(one, two))
        assert set(map(id, optimizer.state)) == set(map(id, parameters))
        assert all(p.untyped_storage().nbytes() == 8 * p.numel() for p in parameters)
        found.append([p.detach().clone() for p in net.parameters()])
    for joint, apart in zip(*found, strict=True):
        assert_allclose(joint, apart, rtol=1e-12)


def test_gradients_of_parameters_themselves_count():
    net, other = ensemble(), ensemble()
    name = "estimators_/1"

    def penalty_of(own):
        def loss(score, y):
            penalty = own.step_module(name).body.weight.square().sum()
            return (score - y).square() + penalty

        return loss

    other._batching = False
    for one in (net, other):
        one.fit(X, Y, loss=penalty_of(one), optim=torch.optim.SGD, lr=1e-2, epochs=3,
                validation=None, patience=None)  # fmt: skip
    for key, value in other.state_dict().items():
        assert_allclose(net.state_dict()[key], value, rtol=1e-9, atol=1e-12)


def test_optimizers_that_look_at_whole_tensors_keep_them():
    net = ensemble()
    parameters = list(net.parameters())
    used = torch.optim.Adam(parameters)
    (net(X) ** 2).sum().backward()
    used.step()
    hooked = torch.optim.SGD(parameters)
    hooked.register_step_post_hook(lambda *_: None)
    for optimizer in (torch.optim.LBFGS(parameters), used, hooked):
        with stacked_parameters(net, optimizer):
            assert not net.stacks


def test_a_callback_sees_the_gradient_of_each_member():
    from skorch.callbacks import Callback

    seen = []

    class Watch(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            seen.append(all(p.grad is not None for _, p in named_parameters))

    ensemble().fit(X, Y, epochs=1, callbacks=[Watch()], validation=None)
    assert seen
    assert all(seen)


def test_members_apart_while_their_parameters_are_stacked():
    net = pg.to_torch(bag(make_pipeline(StandardScaler(with_mean=False), Ridge())).fit(X, Y))
    rows = sp.csr_array(X)
    other = copy.deepcopy(net)
    other._batching = False
    for one in (net, other):
        one.fit(rows, 2 * Y, epochs=3, validation=None, patience=None)
        assert one.history[-1, "train_loss"] < one.history[0, "train_loss"]
    for key, value in other.state_dict().items():
        assert_allclose(net.state_dict()[key], value, rtol=1e-9, atol=1e-12)


def test_training_that_fails_leaves_parameters_of_their_own():
    net = ensemble()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    calls = []

    def loss(score, y):
        calls.append(1)
        if len(calls) > 4:
            raise RuntimeError("stop")
        return (score - y).square()

    with pytest.raises(RuntimeError, match="stop"):
        net.fit(X, Y, loss=loss, batch_size=20, validation=None)
    assert not net.stacks
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(p.untyped_storage().nbytes() == 8 * p.numel() for p in net.parameters())


def test_scores_in_blocks_train_the_stacks(monkeypatch):
    from pipegrad.training import row_blocks

    found = []
    for joint in (True, False):
        net = pg.to_torch(make_pipeline(per_column(StandardScaler), Ridge()).fit(X, Y))
        net._batching = joint
        with monkeypatch.context() as patch:
            if joint:
                patch.setattr(row_blocks, "rows_of_block", lambda encoded: 7)
            net.fit(X, 2 * Y, epochs=2, validation=None, batch_size=_ROWS, patience=None)
        found.append(net.state_dict())
    for key, value in found[1].items():
        assert_allclose(found[0][key], value, rtol=1e-9, atol=1e-12)


def test_exports_and_traces_see_each_module():
    net = ensemble()
    rows = net.encode(X).blocks
    exported = torch.export.export(net, (rows,), strict=False)
    assert_allclose(exported.module()(rows).detach(), net(rows).detach(), rtol=1e-12)
