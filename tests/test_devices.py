"""Where modules compute; without a GPU at hand, what is refused and that nothing moves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge

import pipegrad as pg
from pipegrad.devices import checked_device

X = np.linspace(-1, 1, 200)[:, None]
Y = 3 * X[:, 0]
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")


def test_devices_by_name():
    assert checked_device(None) is None
    assert checked_device("cpu") == torch.device("cpu")
    assert checked_device("auto").type in ("cpu", "cuda")
    for wrong in ("gpu", "", 3.5, "xla"):
        with pytest.raises(pg.ArgumentError, match=r"device must be one of|is not at hand"):
            checked_device(wrong)


@NO_GPU
def test_what_is_not_at_hand_is_refused_before_any_work():
    ridge = Ridge(alpha=100.0).fit(X, Y)
    net = pg.to_torch(ridge)
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(pg.ArgumentError, match="device='cuda' is not at hand"):
        net.fit(X, Y, device="cuda")
    with pytest.raises(pg.ArgumentError, match="device='cuda' is not at hand"):
        pg.FineTuner(ridge, device="cuda").fit(X, Y)
    assert all(map(torch.equal, before, net.parameters()))


@pytest.mark.filterwarnings("ignore:The validation rows may be")
def test_training_on_the_cpu_by_name_is_training_as_usual():
    ridge = Ridge(alpha=100.0).fit(X, Y)
    one, other = (pg.to_torch(ridge).fit(X, Y, epochs=3, device=d) for d in (None, "auto"))
    if next(other.parameters()).device.type == "cpu" == checked_device("auto").type:
        assert all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU of CUDA")
@pytest.mark.filterwarnings("ignore:The validation rows may be")
def test_training_on_a_gpu_is_training_on_the_cpu(tmp_path):
    table = pd.DataFrame({"x": X[:, 0], "y": Y})
    table.to_parquet(tmp_path / "rows.parquet", row_group_size=50)
    ridge = Ridge(alpha=100.0).fit(table[["x"]], Y)
    losses = []
    for device in ("cpu", "cuda"):
        net = pg.to_torch(ridge).fit(table[["x"]], Y, epochs=5, device=device)
        streamed = pg.to_torch(ridge).fit(
            tmp_path / "rows.parquet", "y", epochs=5, device=device, checkpoint=tmp_path / device
        )
        tuner = pg.FineTuner(ridge, random_state=0, device=device).fit(table[["x"]], Y)
        done = pg.score(net, tmp_path / "rows.parquet", tmp_path / f"{device}-out", device=device)
        found = pd.read_parquet(tmp_path / f"{device}-out")["prediction"]
        losses.append([
            net.history[-1, "valid_loss"], streamed.history[-1, "valid_loss"], tuner.score(X, Y),
            done.rows, float(np.square(found - Y).mean()),
        ])  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
