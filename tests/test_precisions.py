"""16 bits, 8 bits and other devices."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch import NeuralNetRegressor

import pipegrad as pg
from pipegrad.modules import Linear, QuantizedLinear
from pipegrad.testing import DATASETS, assert_close

X, Y = DATASETS["multiclass"]()
HALF = {torch.float16: 2e-3, torch.bfloat16: 2e-2}
PIPE = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


def largest(ours, theirs):
    """The largest difference, relative to the largest number."""
    ours, theirs = (torch.as_tensor(v).detach().double() for v in (ours, theirs))
    return float((ours - theirs).abs().max() / theirs.abs().max())


# -- 16 bits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "error"), HALF.items(), ids=str)
def test_answers_keep_the_digits_of_the_type(dtype, error):
    net = pg.to_torch(PIPE)
    small = copy.deepcopy(net).to(dtype)
    assert small(X).dtype == dtype
    assert 0 < largest(small(X), net(X)) < error
    probabilities = small.predict_proba(X)
    assert probabilities.dtype == np.float64
    assert largest(probabilities, PIPE.predict_proba(X)) < error
    assert np.mean(small.predict(X) != PIPE.predict(X)) <= 0.02


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_untrained_parameters_come_back_as_they_were(dtype):
    back = pg.from_torch(pg.to_torch(PIPE).to(dtype))
    assert back[-1].coef_.tobytes() == PIPE[-1].coef_.tobytes()


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_trained_parameters_come_back_in_the_type_of_the_source(dtype):
    net = pg.to_torch(PIPE).to(dtype)
    with torch.no_grad():
        net.step_module("logisticregression").body.weight += 0.5
    back = pg.from_torch(net)
    assert back[-1].coef_.dtype == np.float64
    weight = net.step_module("logisticregression").body.weight.double().detach().numpy()
    assert (back[-1].coef_ == weight.T).all()
    assert largest(net.predict_proba(X), back.predict_proba(X)) < HALF[dtype]


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_trees_are_refused(dtype):
    net = pg.to_torch(RandomForestClassifier(2, random_state=0).fit(X, Y))
    for convert in (net.to, lambda dtype: pg.to_torch(net.source, dtype=dtype)):
        with pytest.raises(pg.ArgumentError, match=f"{dtype} is too coarse for the trees of step"):
            convert(dtype)
    assert net.reference_tensor().dtype == torch.float64
    assert (net.float().predict(X) == net.source.predict(X)).mean() > 0.95


def test_numbers_out_of_range_are_refused():
    for factor, name in ((1e-9, "initial"), (1e9, "shift")):
        net = pg.to_torch(make_pipeline(StandardScaler(), Ridge()).fit(X * factor, X[:, 0]))
        with pytest.raises(pg.ArgumentError, match=rf"float16 has no number near .*\({name}\)"):
            net.half()
        assert net.reference_tensor().dtype == torch.float64
        net.bfloat16()  # which has the range of float32


def test_a_network_of_ones_own_keeps_its_precision():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 1)
    rows, y = X.astype(np.float32), X[:, :1].astype(np.float32)
    net = pg.to_torch(NeuralNetRegressor(layer, max_epochs=1, verbose=0).fit(rows, y)).half()
    assert net.step_module(net.graph.output).body.network.weight.dtype == torch.float32


# -- 8 bits --------------------------------------------------------------------------------------


def test_quantized_answers_are_near_and_the_module_stays():
    net = pg.to_torch(PIPE)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    small = net.quantize(rows=X)
    assert type(small) is type(net)
    assert small.quantized
    assert not net.quantized
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.trainable_parameters()
    found = small.largest_differences
    assert list(found) == ["predict", "predict_proba", "decision_function"]
    assert found["predict"] == np.mean(small.predict(X) != net.predict(X))
    assert 0 < found["decision_function"] < 0.03
    assert_close(small.predict_proba(X), net.predict_proba(X), 0.05)
    assert net.quantize().largest_differences is None


def test_codes_are_those_of_the_largest_weight():
    weight = torch.tensor([[1.0, -0.02], [-0.5, 0.01]], dtype=torch.float64)
    layer = QuantizedLinear(weight)
    assert layer.weight.T.tolist() == [[127, -127], [-64, 64]]
    rows = torch.tensor([[2.0, 0.0], [0.0, 0.0], [torch.nan, 1.0]], dtype=torch.float64)
    out = layer(rows)
    assert_close(out[0], np.array([2.0, -0.04]), 1e-12)
    assert (out[1] == 0).all()
    assert out[2].isnan().all()
    assert layer(rows[:0]).shape == (0, 2)


def test_options_of_linear_maps_are_kept():
    torch.manual_seed(0)
    weight, rows = torch.randn(20, 3).double(), torch.randn(50, 20).double()
    for options in (
        {"bias": torch.randn(3).double(), "offset": torch.randn(3).double()},
        {"shift": 10 * torch.randn(20).double()},
        {"nonnegative": True},
    ):
        layer = Linear(weight, **options)
        holder = torch.nn.Sequential(layer)
        from pipegrad.modules import quantize_linear_

        assert quantize_linear_(holder) == 1
        assert largest(holder(rows), layer(rows)) < 0.02


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_all_linear_maps_are_quantized():
    pipe = make_pipeline(
        StandardScaler(), PCA(4), MLPRegressor(hidden_layer_sizes=(5, 3), max_iter=20)
    )
    small = pg.to_torch(pipe.fit(X, X[:, 0])).quantize(rows=X)
    assert sum(isinstance(part, QuantizedLinear) for part in small.modules()) == 4
    assert not any(isinstance(part, Linear) for part in small.modules())
    assert small.largest_differences["predict"] < 0.1


def test_a_quantized_module_only_answers(tmp_path):
    small = pg.to_torch(PIPE).quantize()
    for call in (lambda: small.fit(X, Y), lambda: small.partial_fit(X, Y)):
        with pytest.raises(pg.ArgumentError, match="A quantized module does not train"):
            call()
    with pytest.raises(pg.ArgumentError, match="A quantized module cannot be saved"):
        small.save(tmp_path / "net")
    with pytest.raises(pg.ArgumentError, match="is quantized already"):
        small.quantize()
    for call in (lambda: pg.from_torch(small), lambda: pg.export(small, tmp_path / "net.pt2")):
        with pytest.raises(pg.WriteBackError, match="has no parameters for a pipeline"):
            call()
    assert not list(tmp_path.iterdir())
    again = pickle.loads(pickle.dumps(small))
    assert (again.predict_proba(X) == small.predict_proba(X)).all()


def test_a_pipeline_without_linear_maps_is_refused():
    net = pg.to_torch(RandomForestClassifier(2, random_state=0).fit(X, Y))
    with pytest.raises(pg.ArgumentError, match=r"linear map, .* none in RandomForestClassifier"):
        net.quantize()


# -- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_devices_that_are_missing_raise_the_error_of_torch(device):
    if getattr(torch, device).is_available():
        pytest.skip(f"{device} is available")
    net = pg.to_torch(PIPE)
    with pytest.raises((AssertionError, RuntimeError)) as theirs:
        torch.zeros(1).to(device)
    with pytest.raises(type(theirs.value)) as ours:
        net.to(device)
    assert str(ours.value) == str(theirs.value)
    assert net.reference_tensor().device.type == "cpu"


def test_the_meta_device_gives_shapes_and_no_numbers():
    table = np.round(X[:, :2])
    net = pg.to_torch(make_pipeline(OneHotEncoder(), LogisticRegression()).fit(table, Y)).to("meta")
    encoded = net.encode(table)
    assert {block.device.type for block in encoded.blocks.values()} == {"meta"}
    numeric = pg.to_torch(PIPE).to("meta")
    assert numeric(X).device.type == "meta"
    assert numeric(X).shape == (len(X), 3)
    for call in (lambda: numeric.predict(X), lambda: pg.from_torch(numeric)):
        with pytest.raises(RuntimeError, match="meta tensor"):
            call()
