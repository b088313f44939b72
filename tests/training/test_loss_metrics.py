"""Histories show the metrics of scikit-learn: of the same predictions, on the same rows."""

import warnings

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    TweedieRegressor,
)
from sklearn.metrics import (
    hinge_loss,
    log_loss,
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
    mean_squared_log_error,
    mean_tweedie_deviance,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from skorch.callbacks import Callback

import pipegrad as pg
from pipegrad.finetune.losses import LOSSES, GroupPenalty, Sum, get_loss
from pipegrad.registry import Objective
from pipegrad.training.criterion import make_criterion, metric_of

RNG = np.random.default_rng(0)
N = 240
X = RNG.normal(size=(N, 3))
MEAN = np.exp(0.4 * X[:, 0] - 0.3 * X[:, 1])
REAL = 20 * X[:, 0] + RNG.normal(size=N)
TWO = np.c_[REAL, 5 * X[:, 1] + RNG.normal(size=N)]
COUNTS = RNG.poisson(2 * MEAN).astype(float)
AMOUNTS = RNG.gamma(2.0, MEAN / 2) + 0.01
BINARY = (X[:, 0] + RNG.normal(size=N) > 0).astype(int)
MANY = np.digitize(X[:, 0] + 0.5 * RNG.normal(size=N), [-0.6, 0.6])
WEIGHT = RNG.uniform(0.5, 2.0, size=N)
TRAIN, VALID = slice(0, 160), slice(160, N)
FEW = {"n_estimators": 5, "n_jobs": 1}
TREES = {**FEW, "verbose": -1, "min_child_samples": 5}


def of_predictions(metric, **options):
    return lambda model, y, w: metric(y, model.predict(X[VALID]), sample_weight=w, **options)


def of_shares(model, y, w):
    return log_loss(y, model.predict_proba(X[VALID]), sample_weight=w)


SQUARED = of_predictions(mean_squared_error)
ABSOLUTE = of_predictions(mean_absolute_error)
POISSON = of_predictions(mean_poisson_deviance)
GAMMA = of_predictions(mean_gamma_deviance)


def tweedie(power):
    return of_predictions(mean_tweedie_deviance, power=power)


CASES = [
    (Ridge(30.0), REAL, "mean squared error", SQUARED),
    (Ridge(30.0), TWO, "mean squared error", SQUARED),
    (GradientBoostingRegressor(n_estimators=5), REAL, "mean squared error", SQUARED),
    (
        GradientBoostingRegressor(n_estimators=5, loss="absolute_error"),
        REAL,
        "mean absolute error",
        ABSOLUTE,
    ),
    (
        QuantileRegressor(quantile=0.8, alpha=0.1),
        REAL,
        "mean pinball loss",
        of_predictions(mean_pinball_loss, alpha=0.8),
    ),
    (PoissonRegressor(), COUNTS, "mean Poisson deviance", POISSON),
    (GammaRegressor(), AMOUNTS, "mean gamma deviance", GAMMA),
    (TweedieRegressor(power=0), REAL, "mean squared error", SQUARED),
    (TweedieRegressor(power=1), COUNTS, "mean Poisson deviance", POISSON),
    (TweedieRegressor(power=1.5), COUNTS, "mean Tweedie deviance", tweedie(1.5)),
    (TweedieRegressor(power=2), AMOUNTS, "mean gamma deviance", GAMMA),
    (TweedieRegressor(power=3, alpha=5), AMOUNTS, "mean Tweedie deviance", tweedie(3)),
    (
        HistGradientBoostingRegressor(max_iter=5, loss="poisson"),
        COUNTS,
        "mean Poisson deviance",
        POISSON,
    ),
    (
        HistGradientBoostingRegressor(max_iter=5, loss="gamma"),
        AMOUNTS,
        "mean gamma deviance",
        GAMMA,
    ),
    (lightgbm.LGBMRegressor(**TREES), REAL, "mean squared error", SQUARED),
    (
        lightgbm.LGBMRegressor(objective="poisson", **TREES),
        COUNTS,
        "mean Poisson deviance",
        POISSON,
    ),
    (lightgbm.LGBMRegressor(objective="gamma", **TREES), AMOUNTS, "mean gamma deviance", GAMMA),
    (
        lightgbm.LGBMRegressor(objective="tweedie", tweedie_variance_power=1.3, **TREES),
        COUNTS,
        "mean Tweedie deviance",
        tweedie(1.3),
    ),
    (lightgbm.LGBMClassifier(**TREES), BINARY, "log loss", of_shares),
    (
        xgboost.XGBRegressor(objective="reg:squaredlogerror", **FEW),
        COUNTS,
        "mean squared log error",
        of_predictions(mean_squared_log_error),
    ),
    (
        xgboost.XGBRegressor(objective="count:poisson", **FEW),
        COUNTS,
        "mean Poisson deviance",
        POISSON,
    ),
    (xgboost.XGBRegressor(objective="reg:gamma", **FEW), AMOUNTS, "mean gamma deviance", GAMMA),
    (xgboost.XGBClassifier(**FEW), MANY, "log loss", of_shares),
    (LogisticRegression(), BINARY, "log loss", of_shares),
    (LogisticRegression(), MANY, "log loss", of_shares),
    (HistGradientBoostingClassifier(max_iter=5), MANY, "log loss", of_shares),
    (DecisionTreeClassifier(max_depth=3), MANY, "log loss", of_shares),
    (
        LinearSVC(loss="hinge", max_iter=50_000),
        BINARY,
        "hinge loss",
        lambda m, y, w: hinge_loss(y, m.decision_function(X[VALID]), sample_weight=w),
    ),
    (
        LinearSVC(multi_class="crammer_singer"),
        MANY,
        "hinge loss",
        lambda m, y, w: hinge_loss(y, m.decision_function(X[VALID]), sample_weight=w),
    ),
    (
        RidgeClassifier(),
        BINARY,
        "mean squared error of signs",
        lambda m, y, w: mean_squared_error(
            2 * y - 1, m.decision_function(X[VALID]), sample_weight=w
        ),
    ),
]


def name_of(model, loss=None):
    net = pg.to_torch(model)
    return metric_of(*make_criterion(loss, net.objective, net.head)).name


def history(model, y, weight, **options):
    held = (X[VALID], y[VALID]) if weight is None else (X[VALID], y[VALID], weight[VALID])
    own = None if weight is None else weight[TRAIN]
    net = pg.to_torch(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)
        net.fit(X[TRAIN], y[TRAIN], sample_weight=own, validation=held, epochs=1, **options)
    return net.history


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("model", "y", "name", "metric"), CASES, ids=[f"{type(c[0]).__name__}-{c[2]}" for c in CASES]
)
def test_the_first_row_is_the_metric_of_the_fitted_pipeline(model, y, name, metric, weight):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[TRAIN], y[TRAIN])
        wanted = metric(model, y[VALID], None if weight is None else weight[VALID])
    assert name_of(model) == name
    assert history(model, y, weight)[0, "valid_loss"] == pytest.approx(wanted, rel=2e-5)


def test_training_losses_and_batches_have_the_same_unit():
    class Batches(Callback):
        def on_batch_end(self, net, **_):
            seen.append(net.history[-1, "batches", -1, "train_loss"])

    seen = []
    model = PoissonRegressor(alpha=3.0).fit(X[TRAIN], COUNTS[TRAIN])
    told = history(model, COUNTS, WEIGHT, callbacks=[Batches()], batch_size=40, lr=1e-9)
    weight = WEIGHT[TRAIN]
    wanted = mean_poisson_deviance(COUNTS[TRAIN], model.predict(X[TRAIN]), sample_weight=weight)
    assert told[:, "train_loss"] == pytest.approx([wanted, wanted], rel=1e-6)
    assert len(seen) == 4
    assert np.mean(seen) == pytest.approx(wanted, rel=1e-6)


def test_a_loss_on_predictions_is_the_metric_of_predictions():
    model = PoissonRegressor().fit(X[TRAIN], COUNTS[TRAIN])
    told = history(model, COUNTS, None, loss="squared_error")
    wanted = mean_squared_error(COUNTS[VALID], model.predict(X[VALID]))
    assert told[0, "valid_loss"] == pytest.approx(wanted)
    line = Ridge().fit(X[TRAIN], AMOUNTS[TRAIN] + 9)
    told = history(line, AMOUNTS + 9, None, loss="gamma")
    wanted = mean_gamma_deviance(AMOUNTS[VALID] + 9, line.predict(X[VALID]))
    assert told[0, "valid_loss"] == pytest.approx(wanted)


def test_the_unit_of_a_transformed_target_is_named():
    model = TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp)
    report = pg.FineTuner(model, epochs=2, lr=1e-3, random_state=0).fit(X, AMOUNTS).report_
    assert report.metric == "mean squared error of the transformed target"


def test_distances_are_those_of_the_clustering():
    model = KMeans(3, n_init=1, random_state=0).fit(X[TRAIN])
    with pytest.warns(pg.PipegradWarning, match="did not lower"):
        net = pg.to_torch(model).fit(X[TRAIN], validation=None, epochs=1)
    assert net.history[0, "train_loss"] == pytest.approx(model.inertia_ / len(X[TRAIN]))
    assert name_of(model) == "mean squared distance"


def test_composite_losses_are_shown_as_they_are():
    model = Ridge().fit(X[TRAIN], REAL[TRAIN])
    squares = (model.predict(X[VALID]) - REAL[VALID]) ** 2
    told = history(model, REAL, None, loss=Sum("squared_error", ("absolute_error", 2.0)))
    wanted = (squares / 2 + 2 * np.sqrt(squares)).mean()
    assert told[0, "valid_loss"] == pytest.approx(wanted)
    assert name_of(model, Sum("squared_error")) == "loss (Sum)"
    assert name_of(model, GroupPenalty()) == "loss with group penalty"
    assert name_of(model, lambda score, y: (score - y) ** 2) == "loss"
    assert name_of(model, pg.Objective("tweedie", {"power": 2.0})) == "mean gamma deviance"


def test_every_loss_has_a_metric():
    for loss in LOSSES.values():
        metric = loss.metric()
        assert metric.name
        assert "_" not in metric.name
        assert metric.factor in (1.0, 2.0)
    assert get_loss("gamma").metric() == get_loss("tweedie").metric(power=2)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_one_name_for_options(scale):
    net = pg.to_torch(LogisticRegression().fit(X, BINARY))
    spec = Objective("log_loss", {"scale": scale})
    assert metric_of(*make_criterion(spec, net.objective, net.head)).name == "log loss"


def test_a_race_is_told_in_the_unit_of_the_metric():
    from pipegrad.finetune import Configuration, race

    model = PoissonRegressor(alpha=3.0).fit(X[TRAIN], COUNTS[TRAIN])
    net = pg.to_torch(model)
    found = race(
        net,
        X[TRAIN],
        COUNTS[TRAIN],
        [Configuration(lr=0.01), Configuration(lr=0.1)],
        validation=(X[VALID], COUNTS[VALID], WEIGHT[VALID]),
        epochs=4,
    )
    weight = WEIGHT[VALID]
    for loss, served in ((found.before, model), (found.best.loss, net)):
        wanted = mean_poisson_deviance(
            COUNTS[VALID], served.predict(X[VALID]), sample_weight=weight
        )
        assert loss == pytest.approx(wanted, rel=1e-6)


def test_a_stream_is_told_in_the_unit_of_the_metric():
    tuner = pg.FineTuner(PoissonRegressor(alpha=3.0), random_state=0)
    tuner.partial_fit(X[TRAIN], COUNTS[TRAIN])
    wanted = mean_poisson_deviance(COUNTS[VALID], tuner.predict(X[VALID]))
    tuner.partial_fit(X[VALID], COUNTS[VALID])
    assert tuner.stream_[-1]["loss"] == pytest.approx(wanted, rel=1e-6)
    assert tuner.stream_[-1]["losses"]["baseline"] == pytest.approx(wanted, rel=1e-6)


def test_messages_use_the_unit_of_the_metric():
    model = Ridge(1e-9).fit(X[VALID], REAL[VALID])
    wanted = mean_squared_error(REAL[VALID], model.predict(X[VALID]))
    with pytest.warns(pg.PipegradWarning, match=f"it was {str(wanted)[:5]}"):
        pg.to_torch(model).fit(
            X[TRAIN], REAL[TRAIN], validation=(X[VALID], REAL[VALID]), epochs=2, lr=1.0
        )


def test_the_single_run_of_a_tuner_reports_the_metric():
    split = [(np.arange(160), np.arange(160, N))]
    tuner = pg.FineTuner(Ridge(300.0), epochs=3, cv=split, random_state=0).fit(X, REAL)
    fitted = Ridge(300.0).fit(X[TRAIN], REAL[TRAIN])
    report = tuner.report_
    start, end = (mean_squared_error(REAL[VALID], m.predict(X[VALID])) for m in (fitted, tuner))
    assert (report.before, report.after) == pytest.approx((start, end))
    curve = report.curves[0]
    assert (curve.valid[0], min(curve.valid)) == pytest.approx((start, end))
