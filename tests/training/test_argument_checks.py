"""Arguments that no training can use are refused before any work, with the way to go on."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.finetune import losses

pytestmark = pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = X @ [1.0, 2.0, 3.0] + RNG.normal(size=60)
LABELS = (Y > 0).astype(int)
RIDGE = make_pipeline(StandardScaler(), Ridge()).fit(X, Y)
LOGISTIC = LogisticRegression().fit(X, LABELS)


class Untouchable(Ridge):
    """An estimator whose fit must not be called."""

    def fit(self, *arguments, **options):
        raise AssertionError("work was done before the arguments were checked")


class Step(StandardScaler):
    def fit(self, *arguments, **options):
        raise AssertionError("work was done before the arguments were checked")


def refused(call, match):
    """The call is refused, and the parameters of the module it returns are as before."""
    with pytest.raises(pg.ArgumentError, match=match) as caught:
        call()
    assert len(str(caught.value)) < 1000


def both(match, X=X, y=Y, source=RIDGE, **options):
    """`fit` and `partial_fit` refuse, and change nothing."""
    for method in ("fit", "partial_fit"):
        net = pg.to_torch(source)
        before = [p.detach().clone() for p in net.parameters()]
        refused(lambda m=method, net=net: getattr(net, m)(X, y, **options), match)
        assert all(map(torch.equal, before, net.parameters()))


def tuner(match, X=X, y=Y, weight=None, **options):
    """`FineTuner` refuses before it fits anything."""
    for method in ("fit", "partial_fit"):
        estimator = make_pipeline(Step(), Ridge())
        given = pg.FineTuner(estimator, **{"epochs": 1, "random_state": 0, **options})
        refused(lambda m=method, t=given: getattr(t, m)(X, y, sample_weight=weight), match)


# -- numbers and switches --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "match"),
    [
        (-1, r"seed must be from 0 to 2\*\*64 - 1, got -1"),
        (2**70, "seed must be from 0"),
        (1.5, "seed must be an integer or None, got 1.5"),
        (True, "seed must be an integer or None, got True"),
        ("a", "seed must be an integer or None, got 'a'"),
        (np.array([1]), "seed must be an integer"),
    ],
)
def test_seeds(seed, match):
    both(match, seed=seed)


@pytest.mark.parametrize("seed", [0, np.int64(3), 2**64 - 1, None])
def test_seeds_that_serve(seed):
    pg.to_torch(RIDGE).fit(X, Y, epochs=1, validation=None, seed=seed)
    pg.to_torch(RIDGE).partial_fit(X, Y, seed=seed)


@pytest.mark.parametrize("verbose", ["yes", -1, 1.5, None, []])
def test_verbose(verbose):
    match = "verbose must be True, False or a number from 0, got "
    refused(lambda: pg.to_torch(RIDGE).fit(X, Y, verbose=verbose), match)
    tuner(match, verbose=verbose)


@pytest.mark.parametrize("rate", [True, -1, 0, "fast", [1e-3], np.nan, np.inf, 10**400])
def test_rates(rate):
    both("lr must be a positive number", lr=rate)
    both("anchor must be a non-negative", anchor=True if rate == 0 else rate)


@pytest.mark.parametrize(
    "callbacks",
    [
        5,
        "x",
        print,
        skorch.callbacks.EarlyStopping,
        {"stop": skorch.callbacks.EarlyStopping()},
        [print],
        [lambda net: None],
        [("name", print)],
        [("name",)],
        ["checkpoint"],
        [5],
    ],
)
def test_callbacks(callbacks):
    for match in ("callbacks must", "Hint: a callback is an object of a subclass of skorch"):
        refused(lambda: pg.to_torch(RIDGE).fit(X, Y, callbacks=callbacks), match)
    tuner("callbacks must", callbacks=callbacks)


@pytest.mark.parametrize(
    "callbacks",
    [
        None,
        [],
        [skorch.callbacks.EarlyStopping()],
        (("stop", skorch.callbacks.EarlyStopping()),),
        [skorch.callbacks.EarlyStopping],
    ],
)
def test_callbacks_that_serve(callbacks):
    pg.to_torch(RIDGE).fit(X, Y, epochs=1, callbacks=callbacks)


# -- optimizers ------------------------------------------------------------------------------------


def test_optimizers_of_other_parameters():
    other = pg.to_torch(RIDGE)
    match = "2 that belong to no trainable step of this module"
    lone = pg.to_torch(Ridge().fit(X, Y))
    both(match, optim=lambda p: torch.optim.Adam(lone.parameters()))
    tuner(match, optim=lambda p: torch.optim.Adam(lone.parameters()))
    both("that belong to no", optim=lambda p: torch.optim.Adam([*p, *other.parameters()]))
    foreign = torch.optim.Adam(other.parameters())
    net = pg.to_torch(RIDGE)
    refused(lambda: net.partial_fit(X, Y, optim=foreign), "belong to no trainable step")
    refused(lambda: net.fit(X, Y, optim=foreign), r"got an optimizer \(Adam\), which is over")
    frozen = [p.detach() for p in net.parameters()]
    refused(lambda: net.partial_fit(X, Y, optim=torch.optim.SGD(frozen)), "has none of them")


def test_optimizers_of_own_parameters():
    net = pg.to_torch(RIDGE, freeze=["standardscaler"])
    net.partial_fit(X, Y, optim=torch.optim.Adam(net.parameters(), lr=1e-3))
    net.fit(X, Y, epochs=1, optim=lambda p: torch.optim.Adam(net.parameters(), lr=1e-3))
    net.fit(X, Y, epochs=1, optim=lambda p: torch.optim.SGD(p[:1], lr=1e-3))
    tuned = pg.FineTuner(RIDGE, optim=lambda p: torch.optim.SGD(p, lr=1e-3), epochs=1)
    tuned.fit(X, Y)


# -- targets, rows and weights ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [3, 3.5, np.array(3), "target", b"y", {"a": 1}, {1, 2}, (v for v in Y), sum, Ridge, object()],
)
def test_targets_that_are_no_array(y):
    both(r"y must be an array of shape \(n,\)( or \(n, k\))?, got ", y=y)
    both(r"y must be an array of shape \(n,\)", y=y, source=LOGISTIC)
    tuner("y must be an array of shape", y=y)


@pytest.mark.parametrize(
    ("y", "got"),
    [
        (np.array(["a"] * 60), "'a'"),
        (np.array([1.0, "b"] * 30, dtype=object), "'b'"),
        (pd.Series(["c"] * 60), "'c'"),
        (np.array([None, {}] * 30, dtype=object), "None|{}"),
        (pd.period_range("2020", periods=60), "Period"),
    ],
)
def test_targets_of_a_regression_that_are_no_numbers(y, got):
    both(f"y must hold numbers, got (np.str_\\()?{got}", y=y)
    both("Hint: the pipeline predicts numbers; to predict classes", y=y)
    tuner(f"y must hold numbers, got (np.str_\\()?{got}", y=y)


def test_complex_numbers():
    both("Complex data not supported: y must hold real numbers", y=Y + 1j)
    tuner("Complex data not supported: y must hold real numbers", y=Y + 1j)
    both("Complex data not supported: sample_weight must", sample_weight=Y + 1j)
    tuner("Complex data not supported: sample_weight must", weight=Y + 1j)


def test_targets_of_a_transformed_regression():
    source = TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=lambda z: z**3)
    both("y must hold numbers, got .*'a'", y=np.array(["a"] * 60), source=source.fit(X, Y))


@pytest.mark.parametrize("shape", [(60, 1, 1), (20, 3, 1, 1)])
def test_targets_of_too_many_dimensions(shape):
    both("y must be an array of shape .*, got shape", y=np.ones(shape))
    tuner("y must be an array of shape .*, got shape", y=np.ones(shape))


def test_targets_of_a_classifier_in_columns():
    both(r"of shape \(n,\), got shape \(60, 2\)", y=np.c_[LABELS, LABELS], source=LOGISTIC)
    pg.to_torch(LOGISTIC).partial_fit(X, LABELS[:, None])


@pytest.mark.parametrize(
    "y",
    [
        Y.astype(object),
        pd.Series(Y),
        list(Y),
        Y.astype(str),
        np.array([decimal.Decimal(i) for i in range(60)]),
        Y[:, None],
        LABELS.astype(bool),
        torch.tensor(Y),
    ],
)
def test_targets_that_serve(y):
    pg.to_torch(RIDGE).partial_fit(X, y)


def test_missing_and_infinite_targets():
    for bad in (np.nan, np.inf, -np.inf, None):
        y = Y.astype(object)
        y[3] = bad
        both("y contains NaN or infinity", y=y)
        tuner("y contains NaN", y=y)
    net = pg.to_torch(RIDGE, dtype=torch.float32)
    y = Y.copy()
    y[5] = 1e39
    refused(lambda: net.fit(X, y), r"y must be between -3.4e\+38 and 3.4e\+38, .* got 1e\+39")


@pytest.mark.parametrize("rows", [None, 3, np.array(3.0), "X", b"X", {1}, Ridge, len])
def test_rows_that_are_no_array(rows):
    both("X must be an array, a DataFrame, a sparse matrix or a list of rows, got ", X=rows)
    tuner("X must be an array", X=rows)


@pytest.mark.parametrize("weight", ["balanced", np.array(["a"] * 60), {"a": 1}, [object()] * 60])
def test_weights_that_are_no_numbers(weight):
    both("sample_weight must hold numbers, got ", sample_weight=weight)
    both("To balance classes, use class_weight='balanced'", sample_weight=weight)
    tuner("sample_weight must hold numbers, got ", weight=weight)


@pytest.mark.parametrize(
    "weight", [[1, 2], -np.ones(60), np.zeros(60), np.full(60, np.nan), np.ones((60, 1)), 3]
)
def test_weights_of_other_rows_or_signs(weight):
    both("sample_weight must", sample_weight=weight)


# -- losses ----------------------------------------------------------------------------------------


class Loss(torch.nn.Module):
    def forward(self, score):
        return score.square()


@pytest.mark.parametrize(
    "loss",
    [
        lambda: 1.0,
        lambda score: score.square(),
        lambda score, y, weight: score,
        lambda score, *, y: score,
        Loss(),
        torch.nn.Identity(),
        losses.Sum(("squared_error", 1.0), (lambda score: score, 1.0)),
    ],
)
def test_losses_of_other_arguments(loss):
    match = r"must take the two arguments \(score, y\), but its arguments are \("
    both(match, loss=loss)
    tuner(match, loss=loss)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (torch.nn.MSELoss, "loss=MSELoss is a class"),
        (3, "loss=3 is neither a name nor a callable"),
        ("nope", "loss='nope' is not known"),
        ([print], "is neither a name nor a callable"),
    ],
)
def test_what_is_no_loss(loss, match):
    both(match, loss=loss)
    tuner(match, loss=loss)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (lambda score, y: 3.0, "gave float, not a tensor"),
        (lambda score, y: None, "gave NoneType, not a tensor"),
        (lambda score, y: (score - y).detach().numpy(), "gave ndarray, not a tensor"),
        (lambda score, y: (score - y).square().detach(), "does not depend on any trainable"),
        (lambda score, y: score > y, "does not depend on any trainable"),
        (lambda score, y: (score - y).to(torch.complex128), "must give real numbers, got torch.c"),
        (lambda score, y: score[:3], "gave shape"),
    ],
)
def test_what_a_loss_gives(loss, match):
    both(match, loss=loss)


@pytest.mark.parametrize(
    "loss",
    [
        lambda score, y, power=2: (score - y).abs() ** power,
        lambda *both: (both[0] - both[1]).square(),
        torch.nn.MSELoss(),
        torch.nn.functional.mse_loss,
        torch.dist,
        losses.Sum(("squared_error", 1.0), ("absolute_error", 0.5)),
    ],
)
def test_losses_that_serve(loss):
    pg.to_torch(RIDGE).partial_fit(X, Y, loss=loss)


def test_the_range_of_a_named_loss_is_checked_before_a_fit():
    tuner("y must be non-negative with the loss 'poisson', got", loss="poisson")
    tuner("y must be positive with the loss 'gamma', got", loss=losses.named("gamma"))
    inside = TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp)
    pg.FineTuner(inside, loss="poisson", epochs=1, random_state=0).fit(X, np.exp(np.exp(Y / 9)))


# -- what is translated ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    [torch.int32, torch.bool, torch.complex64, "float32", np.float32, int, 3],
)
def test_types_that_no_module_has(dtype):
    match = "dtype must be one of torch.float16, torch.bfloat16, torch.float32, "
    refused(lambda: pg.to_torch(RIDGE, dtype=dtype), match)
    refused(lambda: pg.to_torch(RIDGE, dtype=dtype), "Hint: ")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, float, None])
def test_types_of_modules(dtype):
    net = pg.to_torch(RIDGE, dtype=dtype)
    np.testing.assert_allclose(net.predict(X), RIDGE.predict(X), rtol=0.02, atol=0.02)


def test_steps_that_both_train_and_freeze_name():
    for options, step in (
        ({"train": ["ridge"], "freeze": ["ridge"]}, "train='ridge': 'ridge'"),
        ({"train": ["*"], "freeze": ["*"]}, "'standardscaler', 'ridge'"),
        ({"train": ["ridge", "standardscaler"], "freeze": ["stand*"]}, "train='standardscaler'"),
    ):
        for call in (pg.to_torch, pg.inspect):
            refused(lambda c=call, o=options: c(RIDGE, **o), f"freeze names all of.*{step}")
    net = pg.to_torch(RIDGE, train=["*"], freeze=["ridge"])
    assert net.graph["standardscaler"].status == "trainable"


def test_objects_of_the_other_side():
    net = pg.to_torch(RIDGE)
    refused(lambda: pg.FineTuner(net).fit(X, Y), "estimator must be a pipeline, not the module")
    with pytest.raises(FileNotFoundError, match=r"model\.zip: there is no such file"):
        pg.FineTuner("model.zip").fit(X, Y)
    for wrong in (Ridge, None, torch.nn.Linear(3, 1)):
        refused(lambda w=wrong: pg.FineTuner(w).fit(X, Y), "estimator must be an estimator inst")
    for call in (pg.to_torch, pg.inspect):
        refused(lambda c=call: c(net), "not a module that it made")
        refused(lambda c=call: c(pg.FineTuner(RIDGE)), r"Hint: to_torch\(tuner.estimator_\)")
    refused(lambda: pg.to_torch(torch.nn.Linear(3, 1)), "takes a fitted pipeline or operator")
    refused(lambda: pg.from_torch(RIDGE), r"not a Pipeline.\nHint: net = to_torch\(pipeline\)")


def test_dates():
    dates = np.full((60, 3), np.datetime64("2020-01-01"))
    for rows in (dates, dates - dates[0, 0]):
        net = pg.to_torch(RIDGE)
        for call in (net.predict, lambda rows, net=net: net.fit(rows, Y)):
            with pytest.raises(TypeError, match=r"X must hold numbers, got .*\nHint: make numbers"):
                call(rows)
