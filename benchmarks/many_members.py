"""Cost of pipelines of many small models, compared with one linear layer of as many numbers.

The layer is trained by a hand-written loop with the same optimizer on the same rows in the same
batches, and predicts the same rows. Both run in alternation on one thread, and the time of the
processor counts, so that other load affects neither; the ratio of the medians counts. "step" is a
step of `net.fit`: a batch, forward, backward, optimizer. "own loop" is the same in a loop of the
user's own, whose optimizer holds each parameter of each member. "forward" is the prediction from
encoded rows, and "predict" is that from an array, with the checks of the source; "source" is the
``predict`` of the source itself, from the same array.

Run: python benchmarks/many_members.py
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import pipegrad as pg
from pipegrad.training.trainer import Trainer

BOUND = 3.0
MEMBERS, COLUMNS = 100, 20
SCALED, LINKED = 200, 50
# Batch size and number of steps of a measurement.
BATCHES = {256: 20, 2000: 5}
# Rows of the source's own fit.
FITTED = 1000


def ridges():
    return [(f"r{i}", Ridge(1 + i)) for i in range(MEMBERS)]


def scalers(*kinds):
    parts = [(f"s{i}", kinds[i % len(kinds)](), [i]) for i in range(SCALED)]
    return make_pipeline(ColumnTransformer(parts), Ridge())


bag = partial(BaggingRegressor, n_estimators=MEMBERS, random_state=0)


def numbers(y, noise):
    return y


def two_classes(y, noise):
    return y > 1


def many_classes(y, noise):
    return np.argsort(np.argsort(y)) * MEMBERS // len(y)


def targets(y, noise):
    return 0.3 * y[:, None] + noise


def labels(y, noise):
    return targets(y, noise) > 0


@dataclass(frozen=True)
class Case:
    """A pipeline, its targets, and the columns and outputs of a layer with as many parameters."""

    make: Callable[[], Any]
    columns: int = COLUMNS
    outputs: int = MEMBERS
    target: Callable[..., Any] = numbers


# As many weights and biases as the links of a chain add.
CHAINED = LINKED + LINKED * (LINKED - 1) // 2 // (COLUMNS + 1)
PIPELINES = {
    "bagging of 100 Ridge": Case(lambda: bag(Ridge())),
    "same, half of the columns": Case(lambda: bag(Ridge(), max_features=0.5)),
    "bagging of 100 LogisticRegression": Case(
        lambda: BaggingClassifier(LogisticRegression(), MEMBERS, random_state=0),
        target=two_classes,
    ),
    "VotingRegressor of 100 Ridge": Case(lambda: VotingRegressor(ridges())),
    "StackingRegressor of 100 Ridge": Case(lambda: StackingRegressor(ridges(), Ridge(), cv=2)),
    "bagging of 100 scaler, Ridge": Case(
        lambda: bag(make_pipeline(StandardScaler(), Ridge())), outputs=3 * MEMBERS
    ),
    "200 StandardScaler, Ridge": Case(lambda: scalers(StandardScaler), SCALED, 3),
    "200 of two scalers, Ridge": Case(lambda: scalers(StandardScaler, MinMaxScaler), SCALED, 3),
    "OneVsRest of 100 classes": Case(
        lambda: OneVsRestClassifier(LogisticRegression()), target=many_classes
    ),
    "RegressorChain of 50 Ridge": Case(
        lambda: RegressorChain(Ridge()), outputs=CHAINED, target=targets
    ),
    "ClassifierChain of 50": Case(
        lambda: ClassifierChain(LogisticRegression()), outputs=CHAINED, target=labels
    ),
    "same, linked by probabilities": Case(
        lambda: ClassifierChain(LogisticRegression(), chain_method="predict_proba"),
        outputs=CHAINED,
        target=labels,
    ),
}


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


def data_of(case, rows):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(rows, case.columns))
    y = X @ generator.normal(size=case.columns) + 1
    return X, case.target(y, generator.normal(size=(rows, LINKED)))


def loop_of(model, target, rows, steps, batch):
    """Seconds of a step of a hand-written loop; ``model(index)`` is the mean score of a batch."""
    parameters, score = model
    optimizer = adam(parameters)
    started = time.process_time()
    for _ in range(steps):
        index = torch.randperm(rows)[:batch]
        optimizer.zero_grad()
        (score(index) - target[index]).square().mean().backward()
        optimizer.step()
    return (time.process_time() - started) / steps


def layer_of(columns, outputs, X):
    layer = torch.nn.Linear(columns, outputs, dtype=torch.float64)
    table = torch.from_numpy(X)
    return layer, lambda index: layer(table[index]).mean(1)


def own_loop_of(net, encoded):
    def score(index):
        found = net(encoded[index])
        # The mean of the probabilities of two classes is a constant.
        return found if found.ndim == 1 else found[:, 1:].mean(1)

    net.train()
    return list(net.parameters()), score


def fitting(net, X, y, steps, batch):
    """Seconds of a step of `net.fit`, without its evaluations of the loss."""
    own = []
    run = Trainer.run_single_epoch

    def timed(trainer, *arguments):
        started = time.process_time()
        run(trainer, *arguments)
        own.append(time.process_time() - started)

    Trainer.run_single_epoch = timed
    try:
        net.fit(X, y, optim=adam, batch_size=batch, epochs=1, validation=None, cross_fit=False)
    finally:
        Trainer.run_single_epoch = run
    return own[0] / steps


def seconds(call, count):
    started = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - started) / count


def measure(case, batch, repeats, separate=False):
    """Median seconds by what was measured, of the pipeline and of the layer."""
    steps = BATCHES[batch]
    X, y = data_of(case, batch * steps)
    few = slice(None, None, max(1, len(X) // FITTED))
    pipe = case.make().fit(X[few], y[few])
    part, target = X[:batch], torch.from_numpy(y).double()
    target = target if target.ndim == 1 else target.mean(1)
    times = {}

    def add(name, mine, theirs):
        times.setdefault(name, []).append((mine, theirs))

    for turn in range(repeats + 1):
        net = pg.to_torch(pipe)
        with net.separate_members() if separate else nullcontext():
            layer, score = layer_of(case.columns, case.outputs, X)
            by_hand = (list(layer.parameters()), score)
            theirs = loop_of(by_hand, target, len(X), steps, batch)
            own = loop_of(own_loop_of(net, net.encode(X)), target, len(X), steps, batch)
            fitted = fitting(net, X, y, steps, batch)
            encoded = net.encode(part)
            table = torch.from_numpy(part)
            with torch.no_grad():
                layers = seconds(lambda table=table, layer=layer: layer(table).mean(1), steps)
            forward = seconds(lambda net=net, rows=encoded: net.raw_score(rows), steps)
            predicted = seconds(lambda net=net: net.predict(part), steps)
            source = seconds(lambda: pipe.predict(part), min(steps, 5))
        if turn:  # The first turn warms up.
            add("step", fitted, theirs)
            add("own loop", own, theirs)
            add("forward", forward, layers)
            add("predict", predicted, layers)
            add("source", source, layers)
    return {
        name: tuple(statistics.median(column) for column in zip(*pairs, strict=True))
        for name, pairs in times.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--separate", action="store_true", help="call each module on its own")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    held = True
    print("Times as multiples of those of one linear layer, float64, fused Adam")
    names = ("step", "own loop", "forward", "predict", "source")
    print(f"{'pipeline':36}{'batch':>6}{'layer':>10}" + "".join(f"{name:>10}" for name in names))
    for name, case in PIPELINES.items():
        if arguments.only not in name:
            continue
        for batch in BATCHES:
            found = measure(case, batch, arguments.repeats, arguments.separate)
            ratios = {key: mine / theirs for key, (mine, theirs) in found.items()}
            held = held and ratios["step"] <= BOUND
            print(
                f"{name:36}{batch:6}{found['step'][1] * 1e3:8.2f}ms"
                + "".join(f"{ratios[key]:10.2f}" for key in names),
                flush=True,
            )
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
