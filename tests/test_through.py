"""Steps that run in their own library inside of the module, with estimated gradients."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    TransformerMixin,
    clone,
)
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor, StackingClassifier, StackingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler
from torch import nn

import pipegrad as pg
from helpers import assert_alike, assert_round_trip, shorten_candidates
from pipegrad.finetune import Configuration, race
from pipegrad.modules import _estimates
from pipegrad.testing import DATASETS, identical

DIFFERENCES = {"functiontransformer": "finite-differences"}


def curved(X: Any) -> Any:
    """Two columns to three, in Python that torch cannot run."""
    X = np.asarray(X, dtype=float)
    return np.array([[float(a) ** 2, float(np.sin(b)), float(a) * float(b)] for a, b in X])


def rounded(X: Any) -> Any:
    return np.array([[round(float(value), 1) for value in row] for row in np.asarray(X)])


def centered(X: Any) -> Any:
    return np.array([[float(v) for v in row] for row in np.asarray(X)]) - np.mean(X, axis=0)


def logarithms(X: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.array([[np.log(float(value)) for value in row] for row in np.asarray(X)])


class Curved(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.T
        return torch.stack([a**2, torch.sin(b), a * b], 1)


class Turned(Curved):
    """The right columns in the wrong order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).flip(1)


class Narrow(Curved):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, :2]


class Dropping(Curved):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.9)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(super().forward(x)) * self.scale


class Foreign(BaseEstimator):
    """An estimator of another library around one of scikit-learn."""

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner

    def fit(self, X: Any, y: Any = None) -> Foreign:
        self.inner_ = clone(self.inner).fit(X, y)
        self.n_features_in_ = self.inner_.n_features_in_
        self.seen_ = type(X)
        if hasattr(self.inner_, "classes_"):
            self.classes_ = self.inner_.classes_
        return self

    def predict(self, X: Any) -> Any:
        return self.inner_.predict(X)


class ForeignRegressor(RegressorMixin, Foreign):
    pass


class ForeignClassifier(ClassifierMixin, Foreign):
    def predict_proba(self, X: Any) -> Any:
        return self.inner_.predict_proba(X)

    def predict(self, X: Any) -> Any:  # with a threshold of its own
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.3).astype(int)]


class Named(TransformerMixin, BaseEstimator):
    """Takes columns by their names."""

    def fit(self, X: Any, y: Any = None) -> Named:
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return X[self.feature_names_in_[::-1]].to_numpy() * 2


def rows(n: int = 90) -> tuple[Any, Any]:
    """Rows whose principal components are not the directions that matter."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    a, b = X[:, 0] + X[:, 1], X[:, 2] - X[:, 3]
    return X, a**2 + np.sin(b) + a * b + 0.1 * rng.normal(size=n)


def pipeline(function: Any = curved) -> tuple[Any, Any, Any]:
    X, y = rows()
    steps = StandardScaler(), PCA(2), FunctionTransformer(function), Ridge(1.0)
    return make_pipeline(*steps).fit(X, y), X, y


def gradients(net: pg.PipelineModule, X: Any, y: Any) -> torch.Tensor:
    net.train()
    loss = (net(X) - torch.as_tensor(y)).square().mean()
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(loss, net.trainable_parameters().values())]
    )


# -- the option ----------------------------------------------------------------------------------


def test_without_the_option_the_error_names_it():
    pipe, _, _ = pipeline()
    with pytest.raises(pg.UntranslatableError) as caught:
        pg.to_torch(pipe)
    assert "through={'functiontransformer': 'finite-differences'}" in str(caught.value)


@pytest.mark.parametrize("way", ["finite-differences", Curved()], ids=["differences", "module"])
def test_predictions_stay_and_training_helps(way):
    pipe, X, y = pipeline()
    through = {"functiontransformer": way}
    assert_round_trip(pipe, X, X[::-3], through=through)
    net = pg.to_torch(pipe, through=through)
    before = np.mean((net.predict(X) - y) ** 2)
    net.fit(X, y, epochs=30, lr=0.02, seed=0, validation=None)
    back = pg.from_torch(net)
    assert np.mean((back.predict(X) - y) ** 2) < 0.9 * before
    assert not np.allclose(back[1].components_, pipe[1].components_)
    assert back[2].func is curved


def test_steps_are_named_as_elsewhere():
    pipe, _, _ = pipeline()
    for pattern in ("functiontransformer", "func*", "*"):
        graph = pg.inspect(pipe, through={pattern: "finite-differences"}).graph
        assert graph["functiontransformer"].status == "translated"
        assert graph["functiontransformer"].reason.endswith("own library, finite differences")
        assert graph["pca"].status == graph["ridge"].status == "trainable"


def test_the_first_pattern_counts():
    pipe, _, _ = pipeline(rounded)
    net = pg.to_torch(pipe, through={"func*": "straight-through", "*": "finite-differences"})
    assert isinstance(net.step_module("functiontransformer"), _estimates.StraightThrough)


@pytest.mark.parametrize(
    ("through", "message"),
    [
        ("functiontransformer", "through must be a dict of step patterns"),
        ({"functiontransformer": "magic"}, "must be 'straight-through', 'finite-differences' or a"),
        ({"functiontransformer": Curved}, "or a torch module, got <class"),
        ({0: "straight-through"}, "must name steps by strings, got 0"),
        ({"nothing": "straight-through"}, "through='nothing' names no step"),
        ({"p*": "straight-through"}, "must name a step without a module, but 'pca' has one"),
    ],
)
def test_what_is_refused(through, message):
    pipe, X, y = pipeline()
    with pytest.raises(pg.ArgumentError, match="^" + message if message[0] == "t" else message):
        pg.to_torch(pipe, through=through)
    if message != "through='nothing' names no step" and "without a module" not in message:
        with pytest.raises(pg.ArgumentError, match=message):
            pg.FineTuner(pipe, through=through).fit(X, y)
        with pytest.raises(pg.ArgumentError, match=message):
            pg.FineTuner(pipe, through=through).partial_fit(X, y)


def test_a_step_cannot_train_and_be_estimated():
    pipe, _, _ = pipeline()
    with pytest.raises(pg.ArgumentError, match="train and through must not name the same steps"):
        pg.to_torch(pipe, through=DIFFERENCES, train=["pca", "func*"])


def test_a_module_belongs_to_the_net():
    pipe, X, _ = pipeline()
    given = Dropping()
    net = pg.to_torch(pipe, through={"functiontransformer": given})
    with torch.no_grad():
        given.scale.fill_(np.nan)
    assert identical(pg.from_torch(net), pipe)
    net(X).sum().backward()
    assert all(p.grad.isfinite().all() for p in net.trainable_parameters().values())


def test_a_step_that_follows_no_trained_one_runs_once():
    X, y = DATASETS["regression"]()
    pipe = make_pipeline(FunctionTransformer(rounded), StandardScaler(), Ridge()).fit(X, y)
    net = pg.to_torch(pipe, through={"functiontransformer": "straight-through"})
    assert net.graph["functiontransformer"].status == "host"
    assert_alike(net, pipe, X)


# -- straight-through ----------------------------------------------------------------------------


def test_straight_through_is_the_gradient_of_the_identity():
    pipe, X, _ = pipeline(rounded)
    net = pg.to_torch(pipe, through={"functiontransformer": "straight-through"})
    assert_alike(net, pipe, X)
    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    out = net.step_module("functiontransformer")(x)
    np.testing.assert_array_equal(out.detach(), rounded(x.detach()))
    out.backward(torch.arange(10.0, dtype=torch.float64).reshape(5, 2))
    assert torch.equal(x.grad.flatten(), torch.arange(10.0, dtype=torch.float64))


def test_straight_through_requires_equal_widths():
    pipe, X, _ = pipeline()
    net = pg.to_torch(pipe, through={"functiontransformer": "straight-through"})
    with pytest.raises(
        ValueError, match="as many columns in its output as in its input, got 3 from 2"
    ):
        net.predict(X)


# -- finite differences --------------------------------------------------------------------------


def test_finite_differences_are_close_to_the_true_gradient():
    pipe, X, y = pipeline()
    exact = gradients(pg.to_torch(pipe, through={"functiontransformer": Curved()}), X, y)
    near = gradients(pg.to_torch(pipe, through=DIFFERENCES), X, y)
    assert (near - exact).abs().max() < 2e-3 * exact.abs().max()
    assert (near - exact).abs().max() > 0


def test_one_call_has_all_the_copies_of_the_rows(monkeypatch):
    sizes = []

    def noting(X: Any) -> Any:
        sizes.append(len(X))
        return curved(X)

    pipe, X, y = pipeline(noting)
    net = pg.to_torch(pipe, through=DIFFERENCES)
    sizes.clear()
    expected = gradients(net, X, y)
    assert sizes == [len(X), len(X) // 2, 4 * len(X)]
    sizes.clear()
    monkeypatch.setattr(_estimates, "_AT_ONCE", 1)
    assert torch.allclose(gradients(net, X, y), expected)
    assert sizes == [len(X), len(X) // 2, 2 * len(X), 2 * len(X)]


def test_steps_of_a_function_have_a_slope():
    X = torch.linspace(-1, 1, 2000, dtype=torch.float64)[:, None].requires_grad_()
    module = _estimates.FiniteDifferences(lambda x: (x > 0.1).to(x.dtype), "step")
    module(X).sum().backward()
    # The slopes of a step of height one add up to about one over the distance of the rows.
    assert float(X.grad.sum()) * 2 / 2000 == pytest.approx(1, rel=0.05)


def test_differences_are_one_sided_where_the_function_ends():
    x = torch.tensor([[0.01], [1.0], [3.0], [-1.0]], dtype=torch.float64, requires_grad=True)
    module = _estimates.FiniteDifferences(lambda x: torch.from_numpy(logarithms(x.numpy())), "log")
    module(x)[:3].sum().backward()
    step = 0.05 * float(x.detach().std(correction=0))
    assert float(x.grad[0]) == pytest.approx((np.log(0.01 + step) - np.log(0.01)) / step)
    assert float(x.grad[1]) == pytest.approx(1.0, rel=2e-3)
    assert float(x.grad[3]) == 0


@pytest.mark.parametrize("values", [[[2.0, 0.0]], [[1.0, 1e-9]] * 4])
def test_constant_columns_move_by_their_size(values):
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    module = _estimates.FiniteDifferences(lambda x: x @ x.new_tensor([[2.0], [3.0]]), "linear")
    module(x).sum().backward()
    assert torch.allclose(x.grad, torch.tensor([2.0, 3.0], dtype=torch.float64).expand_as(x))


def test_a_missing_value_has_no_slope_and_spoils_no_other():
    x = torch.tensor([[1.0], [np.nan], [2.0]], dtype=torch.float64, requires_grad=True)
    _estimates.FiniteDifferences(lambda x: 2 * x, "double")(x).sum().backward()
    assert torch.allclose(x.grad, torch.tensor([[2.0], [0.0], [2.0]], dtype=torch.float64))


def test_rows_that_depend_on_each_other_are_refused():
    pipe, X, y = pipeline(centered)
    net = pg.to_torch(pipe, through=DIFFERENCES)
    assert_alike(net, pipe, X)
    with pytest.raises(ValueError, match="computes each row on its own"):
        net.fit(X, y, epochs=1, batch_size=7, validation=None)


def test_no_rows():
    x = torch.zeros(0, 2, dtype=torch.float64, requires_grad=True)
    module = _estimates.FiniteDifferences(lambda x: 2 * x, "double")
    module(x).sum().backward()
    assert x.grad.shape == (0, 2)


# -- modules -------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_the_module_in_evaluation_mode():
    pipe, X, y = pipeline()
    given = Dropping().train()
    net = pg.to_torch(pipe, through={"functiontransformer": given})
    exact = gradients(pg.to_torch(pipe, through={"functiontransformer": Curved()}), X, y)
    assert torch.allclose(gradients(net, X, y), exact)
    net.fit(X, y, epochs=2, validation=None)
    assert given.training
    assert given.scale.requires_grad
    assert given.scale.dtype == torch.float32
    assert not any(
        "scale" in name and "functiontransformer" in name for name in net.trainable_parameters()
    )


def test_a_module_of_something_else_is_noticed():
    pipe, X, y = pipeline()
    message = r"differs by up to .* \(in column .* instead of .*\) and explains"
    through = {"functiontransformer": Turned()}
    with pytest.raises(ValueError, match=message):
        pg.to_torch(pipe, through=through, data=(X, None))
    net = pg.to_torch(pipe, through=through)
    assert_alike(net, pipe, X)
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, epochs=1, validation=None)
    pg.to_torch(pipe, through={"functiontransformer": Curved()}, data=(X, y))


def test_a_module_of_another_shape_is_noticed():
    pipe, X, y = pipeline()
    with pytest.raises(
        ValueError, match=r"shape of the step's, which is \(\d+, 3\), got \(\d+, 2\)"
    ):
        pg.to_torch(pipe, through={"functiontransformer": Narrow()}).fit(
            X, y, epochs=1, validation=None
        )


def test_data_without_a_module_to_compare():
    pipe, X, y = pipeline()
    with pytest.raises(pg.ArgumentError, match="requires init='random' or a module in through"):
        pg.to_torch(pipe, through=DIFFERENCES, data=(X, y))


# -- predictors ----------------------------------------------------------------------------------


def test_an_unknown_member_of_a_stack():
    X, y = DATASETS["binary"]()
    member = ForeignClassifier(LogisticRegression())
    stack = StackingClassifier([("a", LogisticRegression()), ("b", member)], LogisticRegression())
    pipe = make_pipeline(StandardScaler(), stack).fit(X, y)
    through = {"stackingclassifier/b": "finite-differences"}
    net = assert_trains(pipe, X, through)
    assert net.graph["stackingclassifier/b"].method == "rest_proba"


def test_an_unknown_regressor_in_a_stack():
    X, y = DATASETS["regression"]()
    member = ForeignRegressor(RandomForestRegressor(10, random_state=0))
    stack = StackingRegressor([("a", Ridge()), ("b", member)], Ridge())
    pipe = make_pipeline(PCA(3), stack).fit(X, y)
    assert_trains(pipe, X, {"b": "finite-differences"})


def assert_trains(pipe: Any, X: Any, through: Any) -> pg.PipelineModule:
    """Parity before and after a change, and a gradient for each parameter."""
    assert_round_trip(pipe, X, through=through)
    net = pg.to_torch(pipe, through=through)
    net.train()
    net(X).square().sum().backward()
    for name, p in net.trainable_parameters().items():
        assert p.grad is not None, name
        assert torch.isfinite(p.grad).all(), name
        assert p.grad.abs().max() > 0, name
    return net


def test_an_unknown_regressor_at_the_end():
    X, y = DATASETS["regression"]()
    pipe = make_pipeline(StandardScaler(), ForeignRegressor(Ridge(1000.0))).fit(X, y)
    net = assert_trains(pipe, X, {"foreignregressor": "finite-differences"})
    before = np.mean((net.predict(X) - y) ** 2)
    net.fit(X, y, epochs=20, lr=0.05, validation=None)
    assert np.mean((pg.from_torch(net).predict(X) - y) ** 2) < before


def test_an_unknown_classifier_at_the_end_predicts_as_it_does():
    X, y = DATASETS["binary"]()
    pipe = make_pipeline(StandardScaler(), ForeignClassifier(LogisticRegression(C=0.01)))
    pipe.fit(X, y)
    net = assert_trains(pipe, X, {"*": "finite-differences"})
    assert (pipe.predict(X) != pipe.classes_[pipe.predict_proba(X).argmax(1)]).any()
    np.testing.assert_array_equal(net.predict(X), pipe.predict(X))
    net.fit(X, y, epochs=3, validation=None)


def test_nothing_to_train_before_the_last_step():
    X, y = DATASETS["regression"]()
    pipe = make_pipeline(StandardScaler(), ForeignRegressor(Ridge())).fit(X, y)
    with pytest.raises(pg.UntranslatableError, match="serves steps after a trained one"):
        pg.to_torch(pipe, through={"*": "finite-differences"}, freeze=["standardscaler"])


def test_a_last_step_without_probabilities_is_refused():
    X, y = DATASETS["binary"]()
    pipe = make_pipeline(StandardScaler(), Foreign(LogisticRegression())).fit(X, y)
    with pytest.raises(pg.UntranslatableError, match="needs probabilities, or has to be a regress"):
        pg.to_torch(pipe, through={"foreign": "finite-differences"})


def test_trees_that_let_no_gradient_through():
    X, y = rows(300)
    forest = pg.Featurizer(RandomForestRegressor(20, random_state=0))
    pipe = make_pipeline(PCA(3), FeatureUnion([("f", forest), ("p", PCA(2))]), Ridge())
    pipe.fit(X[:150], y[:150])
    assert pg.inspect(pipe).graph["featureunion/f"].status == "trainable"
    net = pg.to_torch(pipe, through={"featureunion/f": "finite-differences"})
    assert net.graph["featureunion/f"].status == "translated"
    assert_alike(net, pipe, X)
    net.fit(X[150:], y[150:], epochs=5, lr=1e-3, validation=None)
    assert identical(pg.from_torch(net)[1].transformer_list[0], pipe[1].transformer_list[0])


def test_an_inverse_of_the_target_in_the_middle():
    X, y = DATASETS["regression"]()
    inner = TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=cubed)
    stack = StackingRegressor([("t", inner), ("r", Ridge())], Ridge())
    pipe = make_pipeline(StandardScaler(), stack).fit(X, y)
    name = "stackingregressor/t/regressor/inverse"
    with pytest.raises(pg.UntranslatableError, match="no differentiable inverse"):
        pg.to_torch(pipe)
    for through in ({name: "finite-differences"}, {"*": "finite-differences"}):
        assert_trains(pipe, X, through)


def cubed(values: Any) -> Any:
    return np.array([float(v) ** 3 for v in np.ravel(values)]).reshape(np.shape(values))


# -- what the operator gets ----------------------------------------------------------------------


def test_columns_by_name():
    import pandas as pd

    X, y = DATASETS["regression"]()
    table = pd.DataFrame(X, columns=list("abcdef"))
    scaler = StandardScaler().set_output(transform="pandas")
    pipe = make_pipeline(scaler, Named(), Ridge()).fit(table, y)
    assert_trains(pipe, table, {"named": "finite-differences"})


def test_scikit_learn_warns_of_no_names():
    import pandas as pd

    X, y = DATASETS["regression"]()
    table = pd.DataFrame(X, columns=list("abcdef"))
    union = FeatureUnion([("s", StandardScaler()), ("r", FunctionTransformer(curved_table))])
    pipe = make_pipeline(StandardScaler(), union, Ridge()).set_output(transform="pandas")
    pipe.fit(table, y)
    assert_trains(pipe, table, {"*": "finite-differences"})


def curved_table(table: Any) -> Any:
    return table[["a"]] ** 2 if float(table.shape[1]) else table


def test_the_operator_may_overwrite_what_it_gets():
    pipe, X, _ = pipeline(overwriting)
    net = pg.to_torch(pipe, through={"functiontransformer": "straight-through"})
    assert_alike(net, pipe, X)
    net(X).sum().backward()
    x = torch.ones(3, 2, dtype=torch.float64)
    net.step_module("functiontransformer")(x)
    assert torch.equal(x, torch.ones(3, 2, dtype=torch.float64))


def overwriting(X: Any) -> Any:
    for row in X:
        row[:] = [float(value) * 2 for value in row]
    return X


def test_the_dtype_is_that_of_the_module():
    pipe, X, y = pipeline()
    single = pg.to_torch(pipe, through=DIFFERENCES, dtype=torch.float32)
    assert single(X).dtype == torch.float32
    np.testing.assert_allclose(single.predict(X), pipe.predict(X), rtol=1e-3, atol=1e-3)
    single.fit(X, y, epochs=1, validation=None)


def test_sparse_rows_have_no_estimate():
    X, y = DATASETS["sparse"]()
    pipe = make_pipeline(MaxAbsScaler(), FunctionTransformer(halved), Ridge()).fit(X, y)
    net = pg.to_torch(pipe, through={"functiontransformer": "straight-through"})
    with pytest.raises(ValueError, match="must follow a step with dense output"):
        net.predict(X)


def halved(X: Any) -> Any:
    X = X.tocsr().copy()
    X.data = np.array([float(value) / 2 for value in X.data])
    return X


def test_texts_are_no_table_of_numbers():
    pipe, X, _ = pipeline()
    net = pg.to_torch(pipe, through=DIFFERENCES)
    net.step_module("functiontransformer").answer.operator.func = texts
    with pytest.raises(pg.ArgumentError, match="that give a table of numbers, but the FunctionTr"):
        net.predict(X)


def texts(X: Any) -> Any:
    return np.full(np.shape(X), "a")


# -- the rest of the package ---------------------------------------------------------------------


@pytest.mark.parametrize("way", ["finite-differences", Curved()], ids=["differences", "module"])
def test_copies_and_pickles(way):
    pipe, X, _ = pipeline()
    net = pg.to_torch(pipe, through={"functiontransformer": way})
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
        answer = other.step_module("functiontransformer").answer
        assert answer.operator is other.graph["functiontransformer"].operator
        assert answer.operator is not net.graph["functiontransformer"].operator


def test_export_says_why_not():
    pipe, X, _ = pipeline()
    net = pg.to_torch(pipe, through=DIFFERENCES)
    blocks = net.encode(X).blocks
    with pytest.raises(ValueError, match="the module cannot be exported"):
        torch.export.export(net, (blocks,), strict=False)


def test_candidates_race_side_by_side():
    pipe, X, y = pipeline()
    for way in ("finite-differences", Curved()):
        net = pg.to_torch(pipe, through={"functiontransformer": way})
        rates = [Configuration(lr=10.0**power) for power in (-3, -2)]
        found = race(net, X[::2], y[::2], rates, epochs=2, validation=(X[1::2], y[1::2]), seed=0)
        assert found.batched, found
        assert found.best is not None
        assert found.best.loss < found.before


@pytest.mark.slow
def test_fine_tuning(monkeypatch):
    shorten_candidates(monkeypatch)
    pipe, X, y = pipeline()
    plain = pg.FineTuner(clone(pipe), epochs=3, lr=0.02, random_state=0).fit(X, y)
    assert plain.frozen_ == ["standardscaler", "pca"]
    X, y = rows(300)
    tuner = pg.FineTuner(clone(pipe), through=DIFFERENCES, random_state=0).fit(X, y)
    assert tuner.frozen_ == []
    assert tuner.improved_
    assert tuner.partial_fit(X, y).frozen_ == []
    assert clone(tuner).through == DIFFERENCES


def test_fine_tuning_before_an_unknown_last_step():
    X, y = DATASETS["regression"]()
    pipe = make_pipeline(StandardScaler(), ForeignRegressor(Ridge(1000.0)))
    with pytest.raises(pg.UntranslatableError):
        pg.FineTuner(pipe).fit(X, y)
    through = {"foreignregressor": "finite-differences"}
    tuner = pg.FineTuner(pipe, through=through, epochs=2, random_state=0).fit(X, y)
    assert tuner.improved_
    assert isinstance(tuner.estimator_[-1], ForeignRegressor)


def test_updates_on_a_stream():
    pipe, X, y = pipeline()
    net = pg.to_torch(pipe, through=DIFFERENCES)
    net.partial_fit(X[:20], y[:20])
    net.partial_fit(X[20:21], y[20:21])
    assert np.isfinite(net.predict(X)).all()
