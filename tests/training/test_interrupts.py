"""Ctrl-C, callbacks that end training, and errors midway."""

import _thread
import signal
import sys
import threading

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping

import pipegrad as pg
from pipegrad.finetune import Configuration, StopTraining, race

rng = np.random.default_rng(0)
X = rng.normal(size=(400, 5))
y = X[:, 0] + 0.1 * rng.normal(size=400)
HELD = (X[300:], y[300:])


class Raises(Callback):
    """Raises an error the n-th time that a hook runs."""

    def __init__(self, error, event, number):
        self.error, self.event, self.number, self.count = error, event, number, 0

    def _hit(self, event):
        if event == self.event:
            self.count += 1
            if self.count == self.number:
                raise self.error

    def on_train_begin(self, *args, **kwargs):
        self._hit("train begin")

    def on_train_end(self, *args, **kwargs):
        self._hit("train end")

    def on_epoch_begin(self, *args, **kwargs):
        self._hit("epoch begin")

    def on_epoch_end(self, *args, **kwargs):
        self._hit("epoch end")

    def on_batch_end(self, *args, **kwargs):
        self._hit("batch")

    def on_grad_computed(self, *args, **kwargs):
        self._hit("gradient")


# 300 rows in batches of 50 make six steps an epoch.
MOMENTS = [
    ("train begin", 1, 0),
    ("batch", 2, 0),
    ("gradient", 9, 1),
    ("batch", 15, 2),
    ("epoch begin", 3, 2),
    ("epoch end", 2, 2),
    ("train end", 1, 4),
]


def fresh():
    return pg.to_torch(make_pipeline(StandardScaler(), Ridge(100.0)).fit(X[:300], y[:300]))


def fitted_with(net, callback, **options):
    return net.fit(
        X[:300], y[:300], validation=HELD, epochs=4, batch_size=50, callbacks=[callback], **options
    )


def numbers(net):
    return [p.detach().clone() for p in net.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def after(epochs):
    """The best parameters after so many epochs."""
    net = fresh()
    if epochs:
        net.fit(X[:300], y[:300], validation=HELD, epochs=epochs, batch_size=50)
    return numbers(net)


@pytest.mark.parametrize(("event", "number", "epochs"), MOMENTS)
def test_interrupts_reach_the_user_with_the_best_parameters(event, number, epochs):
    net = fresh()
    with pytest.raises(KeyboardInterrupt):
        fitted_with(net, Raises(KeyboardInterrupt, event, number))
    assert same(numbers(net), after(epochs))
    assert all(p.grad is None for p in net.parameters())
    if event != "train begin":
        assert [row["epoch"] for row in net.history] == list(range(epochs + 1))
        assert all("valid_loss" in row for row in net.history)
    assert net.training
    assert not net._fusing


@pytest.mark.parametrize(("event", "number", "epochs"), MOMENTS)
def test_callbacks_end_training(event, number, epochs):
    net = fresh()
    if epochs == 0:
        with pytest.warns(pg.PipegradWarning, match="did not lower"):
            fitted_with(net, Raises(StopTraining, event, number))
    else:
        fitted_with(net, Raises(StopTraining, event, number))
    assert same(numbers(net), after(epochs))
    assert [row["epoch"] for row in net.history] == list(range(epochs + 1))


def test_early_stopping_of_skorch_ends_training():
    net = fitted_with(fresh(), EarlyStopping(patience=1, threshold=1e9, threshold_mode="abs"))
    assert len(net.history) < 5
    assert same(numbers(net), after(len(net.history) - 1))


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_other_errors_restore_the_fitted_parameters(error):
    net = fresh()
    with pytest.raises(error):
        fitted_with(net, Raises(error, "batch", 9))
    assert same(numbers(net), after(0))


@pytest.mark.parametrize("number", [4, 8, 26, 35])
def test_interrupts_of_soft_trees_leave_them_soft(number):
    trees = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X[:300], y[:300])
    net = pg.to_torch(trees, trees="soft")
    start = float(np.square(net.predict(HELD[0]) - HELD[1]).mean())
    flags = [p.requires_grad for p in net.parameters()]
    with pytest.raises(KeyboardInterrupt):
        fitted_with(net, Raises(KeyboardInterrupt, "batch", number), patience=None)
    assert [p.requires_grad for p in net.parameters()] == flags
    assert net.step_module("gradientboostingregressor").body.way == "soft"
    assert all("valid_loss" in row for row in net.history)
    best = min(row["valid_loss"] for row in net.history)
    now = float(np.square(net.predict(HELD[0]) - HELD[1]).mean())
    assert now <= start
    assert now == pytest.approx(best)


@pytest.fixture
def interruptible():
    """Python's own answer to Ctrl-C, which processes in the background do not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_real_interrupt():
    net = fresh()
    timer = threading.Timer(0.5, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X[:300], y[:300], validation=HELD, epochs=10**6, patience=None)
    losses = [row["valid_loss"] for row in net.history]
    now = float(np.square(net.predict(HELD[0]) - HELD[1]).mean())
    assert now == pytest.approx(min(losses))


def test_callbacks_end_the_runs_of_a_tuner():
    callback = Raises(StopTraining, "epoch end", 2)
    tuner = pg.FineTuner(Ridge(100.0), random_state=0, callbacks=[callback]).fit(X, y)
    assert callback.count >= 2
    assert tuner.predict(X).shape == y.shape


class Broken(torch.optim.SGD):
    """Fails at its third step."""

    error: type[BaseException] = RuntimeError
    count = 0

    def step(self, closure=None):
        self.count += 1
        if self.count > 2:
            raise self.error
        return super().step(closure)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("known", [False, True])
def test_partial_fit_restores_the_parameters(error, known):
    net = fresh()
    before = numbers(net)

    def make(parameters):
        made = Broken(parameters, lr=0.01, momentum=0.9)
        made.error = error
        return made

    optimizer = make(net.parameters()) if known else make
    with pytest.raises(error):
        net.partial_fit(X, y, optim=optimizer, batch_size=10)
    assert same(numbers(net), before)
    assert all(p.grad is None for p in net.parameters())
    assert net.training
    if known:
        assert not optimizer.state_dict()["state"]


def test_partial_fit_restores_a_diverged_optimizer():
    net = fresh()
    sgd = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    net.partial_fit(X, y, optim=sgd)
    before = numbers(net), [s["momentum_buffer"].clone() for s in sgd.state.values()]
    with pytest.raises(pg.DivergedError):
        net.partial_fit(X, y * 1e300, optim=sgd)
    assert same(numbers(net), before[0])
    assert same([s["momentum_buffer"] for s in sgd.state.values()], before[1])
    net.partial_fit(X, y, optim=sgd)
    assert not same(numbers(net), before[0])


def test_partial_fit_goes_on_as_if_the_failed_call_had_not_been_made():
    nets, optimizers = [fresh(), fresh()], []
    for net in nets:
        optimizers.append(torch.optim.LBFGS(net.parameters(), lr=0.01))
        net.partial_fit(X[:100], y[:100], optim=optimizers[-1], batch_size=50)
    state = str(optimizers[0].state_dict())

    def loss(score, target):
        loss.count += 1
        if loss.count == 5:
            raise ZeroDivisionError
        return (score - target).square()

    loss.count = 0
    with pytest.raises(ZeroDivisionError):
        nets[0].partial_fit(X, y, optim=optimizers[0], loss=loss, batch_size=50)
    assert str(optimizers[0].state_dict()) == state
    for net, optimizer in zip(nets, optimizers, strict=True):
        net.partial_fit(X[100:200], y[100:200], optim=optimizer, batch_size=50)
    assert same(numbers(nets[0]), numbers(nets[1]))


def test_errors_restore_buffers_and_gradients_and_hooks():
    trees = GradientBoostingRegressor(n_estimators=3, random_state=0).fit(X[:300], y[:300])
    net = pg.to_torch(trees, trees="soft")
    next(net.parameters()).grad = torch.ones_like(next(net.parameters()))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.eval()
    with pytest.raises(ZeroDivisionError):
        fitted_with(net, Raises(ZeroDivisionError, "batch", 9))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(part.training for part in net.modules())
    assert not any(part._forward_pre_hooks for part in net.modules())
    assert torch.equal(next(net.parameters()).grad, torch.ones_like(next(net.parameters())))
    assert net.history is None


# Arbitrary moments


class Interrupt:
    """Raises `KeyboardInterrupt` at the n-th line of the package that runs."""

    def __init__(self, number):
        self.number, self.count = number, 0

    def _called(self, frame, event, argument):
        return self._line if "/pipegrad/" in frame.f_code.co_filename else None

    def _line(self, frame, event, argument):
        if event == "line":
            self.count += 1
            if self.count == self.number:
                raise KeyboardInterrupt
        return self._line

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *error):
        sys.settrace(self._before)


def moments(make, run, count):
    """Some lines of a run, the last ones among them."""
    run(make())  # What is loaded and kept only once is then there.
    net = make()
    with Interrupt(0) as interrupt:
        run(net)
    dice = np.random.default_rng(0)
    return [*dice.integers(1, interrupt.count, count), *range(interrupt.count - 4, interrupt.count)]


RUNS = {
    "adam": (None, {}),
    "L-BFGS": (None, {"optim": torch.optim.LBFGS}),
    "rate": (None, {"lr": "auto", "epochs": 1}),
    "soft": ("soft", {}),
    "straight-through": ("straight-through", {}),
    "leaves": ("leaves", {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_interrupts_at_any_line(name):
    trees, options = RUNS[name]
    options = {"epochs": 2, "batch_size": 100, "validation": HELD, **options}
    if trees is None:
        source = make_pipeline(StandardScaler(), Ridge(100.0)).fit(X[:300], y[:300])
    else:
        source = GradientBoostingRegressor(n_estimators=2, random_state=0).fit(X[:300], y[:300])
    made = {} if trees is None else {"trees": trees}

    def make():
        return pg.to_torch(source, **made)

    def run(net):
        net.fit(X[:300], y[:300], **options)

    for moment in moments(make, run, 8):
        net = make()
        with pytest.raises(KeyboardInterrupt), Interrupt(moment):
            run(net)
        losses = [row["valid_loss"] for row in net.history or []]
        best = min(losses) if losses else np.square(source.predict(HELD[0]) - HELD[1]).mean()
        now = float(np.square(net.predict(HELD[0]) - HELD[1]).mean())
        assert now == pytest.approx(best, rel=1e-9), moment
        assert not net._fusing
        assert not any(part._forward_pre_hooks for part in net.modules())
        assert all(part.training for part in net.modules())


def test_an_interrupted_race_keeps_the_best_parameters():
    rates = [Configuration(lr=10.0**power) for power in range(-3, 0)]

    def run(net):
        race(net, X[:300], y[:300], rates, validation=HELD, epochs=4, batch_size=100)

    start = np.square(fresh().predict(HELD[0]) - HELD[1]).mean()
    better = 0
    for moment in moments(fresh, run, 12):
        net = fresh()
        with pytest.raises(KeyboardInterrupt), Interrupt(moment):
            run(net)
        now = np.square(net.predict(HELD[0]) - HELD[1]).mean()
        assert now <= start * (1 + 1e-9)
        better += now < start
        assert not net._fusing
    assert better > 3
