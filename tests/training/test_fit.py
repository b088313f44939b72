"""net.fit: what decides, what is kept, what is refused."""

import copy
import io
import warnings

import numpy as np
import pytest
import skorch.callbacks
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.metrics import mean_poisson_deviance
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import pipegrad as pg
from pipegrad.losses import get_loss
from pipegrad.training.criterion import Criterion, class_weights
from pipegrad.training.optimizers import make_optimizer
from pipegrad.training.splitting import split


@pytest.fixture
def regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    return X, X @ np.arange(1.0, 6.0) + 0.1 * rng.normal(size=300)


@pytest.fixture
def pipe(regression):
    X, y = regression
    return make_pipeline(StandardScaler(), Ridge(alpha=200.0)).fit(X[:100], y[:100])


@pytest.fixture
def held(regression):
    X, y = regression
    return X[200:], y[200:]


def numbers(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def fitted(pipe, regression, held, **options):
    X, y = regression
    options = {"validation": held, "epochs": 5, **options}
    return pg.to_torch(pipe).fit(X[:200], y[:200], **options)


# What it does


@pytest.mark.parametrize(
    "optim",
    [
        torch.optim.Adam,
        torch.optim.AdamW,
        torch.optim.SGD,
        torch.optim.LBFGS,
        lambda p: torch.optim.Adam(p, lr=1e-2),
        lambda p: torch.optim.Adam([{"params": p[:1], "lr": 1e-3}, {"params": p[1:]}], lr=1e-2),
        lambda p: torch.optim.LBFGS(p, line_search_fn="strong_wolfe"),
    ],
)
def test_any_optimizer_lowers_the_loss(pipe, regression, held, optim):
    X, y = held
    net = fitted(pipe, regression, held, optim=optim)
    assert net.history[-1, "valid_loss"] < net.history[0, "valid_loss"]
    better = pg.from_torch(net)
    assert better.score(X, y) > pipe.score(X, y)
    np.testing.assert_allclose(better.predict(X), net.predict(X), rtol=1e-9)


def test_steps_are_relative_to_each_parameter():
    small = torch.nn.Parameter(torch.tensor([1e-4, 0, 2e-4, 3e-4]))
    zero, one = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(torch.optim.Adam, [small, zero, one])
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([1e-2 / 4**6, 1e-2])
    assert optimizer.defaults["fused"]
    optimizer = make_optimizer(torch.optim.Adam, [small], lr=0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3]


def test_history_starts_with_the_untouched_pipeline(pipe, regression, held):
    X, y = held
    history = fitted(pipe, regression, held).history
    assert isinstance(history, skorch.history.History)
    assert history[:, "epoch"] == list(range(6))
    assert history[0, "valid_loss"] == pytest.approx(np.mean((pipe.predict(X) - y) ** 2))
    assert set(history[-1]) >= {"train_loss", "valid_loss", "valid_loss_best", "dur"}


def test_the_best_epoch_is_restored(pipe, regression, held):
    seen = []

    class Look(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(numbers(net.module_))

    X, y = regression
    jumpy = lambda p: torch.optim.SGD(p, lr=0.9)  # noqa: E731
    net = pg.to_torch(pipe, freeze=["standardscaler"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        net.fit(
            X[:200], y[:200], optim=jumpy, validation=held, epochs=8, batch_size=40,
            callbacks=[Look()],
        )  # fmt: skip
    losses = net.history[1:, "valid_loss"]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1
    assert same(numbers(net), seen[best])


def test_nothing_better_gives_the_original_back_and_says_so(pipe, regression, held):
    before = numbers(pg.to_torch(pipe))
    X, y = regression
    net = pg.to_torch(pipe)
    worse = lambda p: torch.optim.SGD(p, lr=1e-2, maximize=True)  # noqa: E731
    with pytest.warns(pg.PipegradWarning, match="did not lower the validation loss") as record:
        net.fit(X[:200], y[:200], optim=worse, validation=held, epochs=30, patience=3)
    assert same(numbers(net), before)
    assert len(net.history) == 4
    assert record[0].filename == __file__
    np.testing.assert_array_equal(pg.from_torch(net)[-1].coef_, pipe[-1].coef_)


def test_a_loss_that_becomes_nan_stops_training(pipe, regression, held):
    X, y = regression
    net = pg.to_torch(pipe)
    before = numbers(net)
    wild = lambda p: torch.optim.SGD(p, lr=1e12)  # noqa: E731
    with pytest.warns(pg.PipegradWarning, match="smaller learning rate"):
        net.fit(X[:200], y[:200], optim=wild, validation=held, epochs=50, patience=None)
    assert len(net.history) < 50
    assert same(numbers(net), before)
    assert all(p.grad is None for p in net.parameters())


def test_the_best_so_far_survives_a_nan(pipe, regression, held):
    class Break(skorch.callbacks.Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 5:
                net.optimizer_.param_groups[0]["lr"] = np.inf

    with pytest.warns(pg.PipegradWarning, match="parameters of epoch 3 are kept"):
        net = fitted(pipe, regression, held, epochs=50, callbacks=[Break()])
    assert all(torch.isfinite(p).all() for p in net.parameters())
    X, y = held
    assert np.mean((net.predict(X) - y) ** 2) == pytest.approx(net.history[3, "valid_loss"])


def test_no_finite_loss_at_all(regression):
    X, y = regression
    ridge = LinearRegression().fit(X, y)
    net = pg.to_torch(ridge)
    before = numbers(net)
    with pytest.raises(pg.DivergedError, match="parameters are unchanged"):
        net.fit(X, y, loss=lambda score, y: score * float("nan"), validation=None)
    assert same(numbers(net), before)


def test_patience(pipe, regression, held):
    tiny = lambda p: torch.optim.SGD(p, lr=1e-9)  # noqa: E731
    net = fitted(pipe, regression, held, optim=tiny, epochs=50, patience=2)
    assert len(net.history) == 3
    assert len(fitted(pipe, regression, held, optim=tiny, epochs=7, patience=None).history) == 8


def test_frozen_parameters_stay(pipe, regression, held):
    X, y = regression
    net = pg.to_torch(pipe, train=["ridge"], translate="all")
    before = numbers(net)
    decaying = lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1)  # noqa: E731
    net.fit(X[:200], y[:200], optim=decaying, validation=held, epochs=2)
    moved = {name for name, p in numbers(net).items() if not torch.equal(p, before[name])}
    assert moved == set(net.trainable_parameters())
    assert not any("scaler" in name for name in moved)


def test_seeds_make_it_repeatable_and_leave_the_global_state(pipe, regression):
    X, y = regression
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    state, drawn = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002

    def run(seed):
        with pytest.warns(pg.PipegradWarning, match="fitted on"):
            return numbers(pg.to_torch(pipe).fit(X, y, epochs=3, seed=seed))

    assert same(run(0), run(0))
    assert not same(run(0), run(1))
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(drawn, np.random.get_state()[1])  # noqa: NPY002


def test_modules_that_draw_are_seeded_too(pipe, regression, held):
    noisy = lambda score, y: (score + torch.randn_like(score) - y) ** 2  # noqa: E731
    first = fitted(pipe, regression, held, loss=noisy, epochs=2)
    assert same(numbers(first), numbers(fitted(pipe, regression, held, loss=noisy, epochs=2)))


def test_the_source_and_the_data_stay_as_they_were(pipe, regression, held):
    X, y = regression
    kept, data = copy.deepcopy(pipe), (X.copy(), y.copy())
    fitted(pipe, regression, held)
    np.testing.assert_array_equal(pipe[-1].coef_, kept[-1].coef_)
    np.testing.assert_array_equal(pipe[0].mean_, kept[0].mean_)
    np.testing.assert_array_equal(X, data[0])
    np.testing.assert_array_equal(y, data[1])


def test_the_module_is_left_in_its_mode(pipe, regression, held):
    X, y = regression
    net = pg.to_torch(pipe).eval()
    with torch.no_grad():
        net.fit(X, y, validation=held, epochs=1)
    assert not net.training
    assert all(p.grad is None for p in net.parameters())


def test_training_rows_decide_without_validation(pipe, regression):
    X, y = regression
    net = pg.to_torch(pipe).fit(X, y, validation=None, epochs=3)
    assert "valid_loss" not in net.history[-1]
    measured = np.mean((net.predict(X) - y) ** 2)
    assert measured == pytest.approx(min(net.history[:, "train_loss"]))


def test_a_split_of_rows_warns_that_it_may_flatter(pipe, regression):
    X, y = regression
    with pytest.warns(pg.PipegradWarning, match="FineTuner") as record:
        pg.to_torch(pipe).fit(X, y, epochs=1)
    assert record[0].filename == __file__


def test_lbfgs_takes_all_rows_at_once(pipe, regression, held):
    net = fitted(pipe, regression, held, optim=torch.optim.LBFGS, epochs=2)
    assert net.history[-1, "train_batch_count"] == 1
    options = {"optim": torch.optim.LBFGS, "batch_size": 50, "epochs": 2}
    assert fitted(pipe, regression, held, **options).history[-1, "train_batch_count"] == 4


# Weights


def test_sample_weights_are_those_of_repeated_rows(pipe, regression, held):
    X, y = regression
    counts = np.random.default_rng(1).integers(0, 4, 200).astype(float)
    counts[0] = 1
    options = {"optim": torch.optim.LBFGS, "epochs": 3, "validation": held}
    weighted = pg.to_torch(pipe).fit(X[:200], y[:200], sample_weight=counts, **options)
    rows = np.repeat(np.arange(200), counts.astype(int))
    repeated = pg.to_torch(pipe).fit(X[rows], y[rows], **options)
    for name, value in numbers(weighted).items():
        torch.testing.assert_close(value, numbers(repeated)[name], rtol=1e-5, atol=1e-7)


def test_validation_rows_are_weighted(pipe, regression):
    X, y = regression
    weight = np.linspace(0, 2, 100)
    net = pg.to_torch(pipe).fit(X[:200], y[:200], validation=(X[200:], y[200:], weight), epochs=1)
    errors = (pipe.predict(X[200:]) - y[200:]) ** 2
    assert net.history[0, "valid_loss"] == pytest.approx(np.average(errors, weights=weight))


@pytest.fixture
def classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = np.array(["ant", "bee", "cow"])[(X[:, 0] + X[:, 1] > 0.5).astype(int) + (X[:, 2] > 1)]
    return X, y


@pytest.mark.parametrize("weight", [None, "balanced", {"ant": 1.0, "bee": 3.0, "cow": 0.5}])
def test_class_weights(classes, weight):
    X, y = classes
    model = LogisticRegression(class_weight=weight, C=0.01).fit(X, y)
    net = pg.to_torch(model).fit(X, y, validation=None, epochs=2)
    rows = np.ones(len(y)) if weight is None else compute_sample_weight(weight, y)
    chosen = model.predict_log_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    assert net.history[0, "train_loss"] == pytest.approx(np.average(-chosen, weights=rows))


def test_class_weights_of_terms():
    target = torch.tensor([0, 1, 2, 2, 2, 1])
    counts = np.array([1, 2, 3])
    spec = pg.Objective("hinge", {"weigh": "positives"}, "balanced")
    rows, table = class_weights(spec, target, np.arange(6), np.arange(3), "classification")
    assert rows is None
    wanted = np.ones((3, 3))
    np.fill_diagonal(wanted, 6 / (3 * counts))
    np.testing.assert_allclose(table, wanted)
    spec = pg.Objective("one_vs_rest_log_loss", {"weigh": "each"}, "balanced")
    _, table = class_weights(spec, target, np.arange(6), np.arange(3), "classification")
    for column in range(3):
        labels = (target == column).long().numpy()
        each = compute_sample_weight("balanced", labels)
        np.testing.assert_allclose(table[target.numpy(), column], each)


def test_weights_of_terms_enter_the_loss(classes):
    X, y = classes
    weight = {"ant": 2.0, "bee": 1.0, "cow": 5.0}
    model = SGDClassifier(class_weight=weight, random_state=0).fit(X, y)
    net = pg.to_torch(model).fit(X, y, validation=None, epochs=1)
    signs = np.where(y[:, None] == model.classes_, 1, -1)
    terms = np.maximum(0, 1 - signs * model.decision_function(X))
    each = np.where(signs > 0, [2.0, 1.0, 5.0], 1.0)
    assert net.history[0, "train_loss"] == pytest.approx((terms * each).sum(1).mean())


def test_class_weights_of_labels():
    target = torch.tensor([[0, 1], [1, 1], [1, 0]])
    spec = pg.Objective("log_loss", {}, "balanced")
    rows, _ = class_weights(spec, target, np.arange(3), None, "multilabel")
    np.testing.assert_allclose(rows, compute_sample_weight("balanced", target.numpy()))
    spec = pg.Objective("log_loss", {}, [{0: 1.0, 1: 2.0}, {0: 3.0, 1: 1.0}])
    rows, _ = class_weights(spec, target, np.arange(3), None, "multilabel")
    np.testing.assert_allclose(rows, [1.0, 2.0, 6.0])


# Losses


def test_loss_by_name(classes):
    X, y = classes
    model = LogisticRegression().fit(X, y)
    net = pg.to_torch(model).fit(X, y, loss="crammer_singer", validation=None, epochs=2)
    target = torch.as_tensor(np.searchsorted(model.classes_, y))
    score = torch.as_tensor(model.decision_function(X))
    wanted = float(get_loss("crammer_singer")(score, target).mean())
    assert net.history[0, "train_loss"] == pytest.approx(wanted)


def test_losses_on_predictions_know_the_link(regression):
    X, y = regression
    counts = np.round(np.exp(y / 5))
    model = PoissonRegressor(max_iter=500).fit(X, counts)
    net = pg.to_torch(model).fit(X, counts, loss="squared_error", validation=None, epochs=1)
    wanted = np.mean((model.predict(X) - counts) ** 2)
    assert net.history[0, "train_loss"] == pytest.approx(wanted)
    model = LinearRegression().fit(X, np.abs(y) + 20)
    slow = lambda p: torch.optim.SGD(p, lr=1e-5)  # noqa: E731
    net = pg.to_torch(model).fit(
        X, np.abs(y) + 20, optim=slow, loss="poisson", validation=None, epochs=1
    )
    wanted = mean_poisson_deviance(np.abs(y) + 20, model.predict(X))
    assert net.history[0, "train_loss"] == pytest.approx(wanted)


@pytest.mark.parametrize(
    "loss",
    [
        torch.nn.MSELoss(),
        torch.nn.MSELoss(reduction="none"),
        lambda score, y: (score - y) ** 2,
        pg.Objective("huber", {"delta": 0.5}),
        "absolute_error",
    ],
)
def test_losses_of_the_users_own(pipe, regression, held, loss):
    net = fitted(pipe, regression, held, loss=loss)
    assert net.history[-1, "valid_loss"] < net.history[0, "valid_loss"]


def test_loss_of_a_transformer(regression):
    X, y = regression
    pca = PCA(2).fit(X)
    with pytest.raises(pg.ArgumentError, match="no loss of its own"):
        pg.to_torch(pca).fit(X)
    net = pg.to_torch(pca).fit(
        X, y, loss=lambda score, y: (score[:, 0] - y) ** 2, validation=None, epochs=2
    )
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


def test_clusters_need_no_target(regression):
    X, _ = regression
    model = make_pipeline(StandardScaler(), KMeans(3, n_init=1, max_iter=1, random_state=0)).fit(X)
    net = pg.to_torch(model, freeze=["standardscaler"]).fit(X, validation=None, epochs=3)
    wanted = model.transform(X).min(1) ** 2
    assert net.history[0, "train_loss"] == pytest.approx(wanted.mean())
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


def test_transformed_targets(regression):
    X, y = regression
    y = np.exp(y / 5)
    model = TransformedTargetRegressor(Ridge(100.0), func=np.log, inverse_func=np.exp).fit(X, y)
    net = pg.to_torch(model).fit(X, y, validation=None, epochs=5)
    wanted = np.mean((model.regressor_.predict(X) - np.log(y)) ** 2)
    assert net.history[0, "train_loss"] == pytest.approx(wanted)
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


def test_several_labels(classes):
    X, y = classes
    labels = np.column_stack([y == "ant", y == "bee"]).astype(int)
    model = RidgeClassifier(alpha=1000.0).fit(X, labels)
    net = pg.to_torch(model).fit(X, labels, validation=None, epochs=3)
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


def test_sparse_rows(classes):
    X, y = classes
    X = sparse.csr_matrix(np.where(X > 0.5, X, 0))
    model = LogisticRegression(C=0.01).fit(X, y)
    net = pg.to_torch(model).fit(X, y, validation=None, epochs=3)
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


# Callbacks and progress


def test_skorch_callbacks_are_heard(pipe, regression, held):
    heard = []

    class Ears(skorch.callbacks.Callback):
        def on_batch_end(self, net, batch, training, loss, y_pred, **kwargs):
            heard.append((training, float(loss), len(y_pred)))

        def on_grad_computed(self, net, named_parameters, **kwargs):
            heard.append(sorted(name for name, _ in named_parameters))

    net = fitted(
        pipe, regression, held, epochs=2, batch_size=100,
        optim=lambda p: torch.optim.Adam(p, lr=1e-2),
        callbacks=[
            Ears(),
            skorch.callbacks.GradientNormClipping(1.0),
            skorch.callbacks.LRScheduler("StepLR", step_size=1, gamma=0.5),
            ("r2", skorch.callbacks.EpochScoring("r2", lower_is_better=False)),
        ],
    )  # fmt: skip
    batches = [h for h in heard if isinstance(h, tuple)]
    assert [b[2] for b in batches] == [100] * 4
    assert next(h for h in heard if isinstance(h, list)) == sorted(net.trainable_parameters())
    assert net.history[-1, "r2"] > 0
    assert net.history[1, "event_lr"] == pytest.approx(0.01)
    assert net.history[2, "event_lr"] == pytest.approx(0.005)
    assert len(net.history[-1, "batches"]) == 2


def test_scorers_see_labels(classes):
    X, y = classes
    model = LogisticRegression().fit(X, y)
    scoring = [
        ("accuracy", skorch.callbacks.EpochScoring("accuracy")),
        ("log", skorch.callbacks.EpochScoring("neg_log_loss")),
    ]
    slow = lambda p: torch.optim.SGD(p, lr=1e-6)  # noqa: E731
    net = pg.to_torch(model).fit(X, y, optim=slow, validation=(X, y), epochs=1, callbacks=scoring)
    assert net.history[-1, "accuracy"] == pytest.approx(model.score(X, y), abs=0.01)
    assert not net.history[-1, "batches"]


def test_early_stopping_of_the_users_own(pipe, regression, held):
    stop = skorch.callbacks.EarlyStopping(patience=1, threshold=10.0, sink=lambda text: None)
    assert len(fitted(pipe, regression, held, epochs=50, callbacks=[stop]).history) < 6


def test_a_callback_that_ends_training_keeps_the_best_so_far(pipe, regression, held):
    class Stop(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 4:
                raise pg.finetune.StopTraining

    net = fitted(pipe, regression, held, epochs=50, callbacks=[Stop()])
    assert len(net.history) == 4
    X, y = held
    assert np.mean((net.predict(X) - y) ** 2) == pytest.approx(net.history[-1, "valid_loss"])


def test_an_error_in_a_callback_leaves_the_parameters(pipe, regression, held):
    class Fail(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            raise LookupError("mine")

    X, y = regression
    net = pg.to_torch(pipe)
    before = numbers(net)
    with pytest.raises(LookupError, match="mine"):
        net.fit(X, y, validation=held, callbacks=[Fail()], verbose=1)
    assert same(numbers(net), before)


def test_progress_shows_epochs_and_losses(pipe, regression, held, capsys):
    fitted(pipe, regression, held, epochs=3)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    fitted(pipe, regression, held, epochs=3, verbose=1)
    captured = capsys.readouterr()
    assert "epoch 3/3" in captured.err
    assert "validation" in captured.err
    assert captured.out == ""


def test_progress_writes_where_it_is_told():
    from rich.console import Console

    from pipegrad.training.progress_bar import ShowProgress

    class Net:
        history = [{"train_loss": 0.5, "valid_loss": 0.25}]

    out = io.StringIO()
    shown = ShowProgress(1, Console(file=out, width=100))
    shown.on_train_begin(Net)
    shown.on_epoch_end(Net)
    shown.on_train_end(Net)
    assert "train 0.5  validation 0.25" in out.getvalue()


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optim": "adam"}, "optim must be callable, got 'adam'"),
        ({"optim": torch.nn.Linear}, "optim must be an optimizer class, got Linear"),
        ({"optim": lambda p: None}, "must return an optimizer, got NoneType"),
        ({"optim": lambda p: torch.optim.Adam(p, rate=1)}, "failed: TypeError"),
        ({"optim": lambda p: torch.optim.Adam(p), "lr": 0.1}, "failed: TypeError"),
        ({"lr": -1}, "lr must be a positive number, 'auto' or None, got -1"),
        ({"lr": "fast"}, "lr must be .* got 'fast'"),
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer or 'auto', got 2.5"),
        ({"patience": -1}, "patience must be a positive integer or None, got -1"),
        ({"seed": "x"}, "seed must be an integer or None, got 'x'"),
        ({"validation": 1.5}, "validation must be .* got 1.5"),
        ({"validation": 3}, "validation must be .* got 3"),
        ({"validation": (np.ones((0, 5)), np.ones(0))}, "no rows|0 sample"),
        ({"loss": "mse"}, "is not known"),
        ({"loss": "hinge"}, "is for classification"),
        ({"loss": 3}, "neither a name nor a callable"),
        ({"loss": torch.nn.MSELoss}, "is a class"),
        ({"loss": lambda score, y: 1.0}, "gave float, not a tensor"),
        ({"loss": lambda score, y: torch.zeros(3)}, "gave shape"),
        ({"loss": lambda score, y: (score.reshape(-1, 1) - y).square()}, "with all others"),
        ({"loss": lambda score, y: y - y}, "does not depend"),
        ({"loss": pg.Objective("huber", {"width": 1})}, "no option width"),
        ({"loss": torch.nn.MSELoss(), "sample_weight": np.ones(300)}, "cannot be weighted"),
        ({"sample_weight": np.ones(3)}, "one weight for each"),
        ({"sample_weight": -np.ones(300)}, "non-negative"),
        ({"sample_weight": np.zeros(300)}, "not all zero"),
    ],
)
def test_wrong_arguments_are_refused_before_work_starts(pipe, regression, options, message):
    X, y = regression
    net = pg.to_torch(pipe)
    before = numbers(net)
    options = {"validation": None, **options}
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, **options)
    assert same(numbers(net), before)
    assert net.history is None


def test_wrong_data_is_refused(pipe, regression, classes):
    X, y = regression
    net = pg.to_torch(pipe)
    with pytest.raises(pg.ArgumentError, match="300 rows, but y has 299"):
        net.fit(X, y[:-1], validation=None)
    with pytest.raises(pg.ArgumentError, match="y is missing"):
        net.fit(X, validation=None)
    with pytest.raises(pg.ArgumentError, match="y has shape"):
        net.fit(X, np.column_stack([y, y]), validation=None)
    with pytest.raises(pg.ArgumentError, match="n_samples=1"):
        net.fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="NaN"):
        net.fit(np.where(X > 2, np.nan, X), y, validation=None)
    with pytest.raises(pg.ArgumentError, match="NaN"):
        net.fit(X, np.where(y > 2, np.nan, y), validation=None)
    with pytest.raises(ValueError, match="features"):
        net.fit(X[:, :3], y, validation=None)
    X, y = classes
    net = pg.to_torch(LogisticRegression().fit(X, y))
    with pytest.raises(pg.ArgumentError, match="dog"):
        net.fit(X, np.where(y == "ant", "dog", y), validation=None)


def test_the_host_part_can_be_cached_on_disk(classes, tmp_path):
    X, y = classes
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(C=0.01))
    words = np.where(X > 0, "yes", "no")
    net = pg.to_torch(model.fit(words, y))
    net.fit(words, y, validation=None, epochs=2, cache=tmp_path)
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


def test_nothing_to_train(pipe, regression):
    net = pg.to_torch(pipe, freeze=["*"])
    with pytest.raises(pg.ArgumentError, match="Nothing to train"):
        net.fit(*regression)


# Splits


def test_split_is_stratified():
    classes = np.repeat([0, 1, 2], [70, 20, 10])
    train, valid = split(100, 0.2, np.random.default_rng(0), classes)
    assert sorted([*train, *valid]) == list(range(100))
    assert np.bincount(classes[valid]).tolist() == [14, 4, 2]


@pytest.mark.parametrize("seed", range(20))
def test_every_class_keeps_a_row_to_train_on(seed):
    classes = np.array([0] * 5 + [1] + [2] * 2)
    train, valid = split(8, 0.5, np.random.default_rng(seed), classes)
    assert set(classes[train]) == {0, 1, 2}
    assert len(train) + len(valid) == 8
    assert len(valid)


def test_split_of_rows_without_classes():
    for count, fraction in [(2, 0.2), (3, 0.9), (1000, 0.2)]:
        train, valid = split(count, fraction, np.random.default_rng(0))
        assert len(np.intersect1d(train, valid)) == 0
        assert len(train) + len(valid) == count
        assert len(train) > 0
        assert len(valid) > 0


def test_criterion_without_weights_is_a_plain_mean():
    score, target = torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3)
    assert Criterion(get_loss("squared_error"))(score, target, None) == 3.5
