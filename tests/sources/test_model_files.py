"""Boosted trees in the files of their own libraries: read, tuned, written again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import pipegrad as pg
from pipegrad.testing import DATASETS, assert_close, perturb


def lightgbm_model(path: Path) -> Any:
    lightgbm = pytest.importorskip("lightgbm")
    X, y = DATASETS["missing"]()
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1}
    lightgbm.train(settings, lightgbm.Dataset(X, y), 5).save_model(path)
    return lambda p, X: lightgbm.Booster(model_file=p).predict(X)


def xgboost_model(path: Path) -> Any:
    xgboost = pytest.importorskip("xgboost")
    X, y = DATASETS["missing"]()
    xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(X, y).save_model(path)
    return lambda p, X: xgboost.Booster(model_file=p).predict(xgboost.DMatrix(X))


def catboost_model(path: Path) -> Any:
    catboost = pytest.importorskip("catboost")
    X, y = DATASETS["missing"]()
    quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1}
    model = catboost.CatBoostRegressor(iterations=5, **quiet).fit(X, y)
    form = path.suffix[1:]
    model.save_model(str(path), format=form)
    return lambda p, X: catboost.CatBoost().load_model(str(p), format=form).predict(X)


MAKERS = {
    "a.txt": lightgbm_model,
    "a.ubj": xgboost_model,
    "xgboost.json": xgboost_model,
    "a.cbm": catboost_model,
    "catboost.json": catboost_model,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MAKERS))
def test_a_file_is_read_tuned_and_written_again(tmp_path: Path, name: str) -> None:
    path, tuned = tmp_path / name, tmp_path / f"tuned{Path(name).suffix}"
    native = MAKERS[name](path)
    X, y = DATASETS["missing"]()
    before = path.read_bytes()
    for given in (path, str(path)):
        assert_close(pg.to_torch(given).predict(X), native(path, X), 2e-6)
    net = pg.to_torch(path).fit(X, y, epochs=3, lr=0.01, validation=None)
    perturb(net)
    result = pg.from_torch(net, tuned)
    assert type(result) is type(net.source)
    assert_close(net.predict(X), native(tuned, X), 2e-6)
    assert not np.allclose(native(path, X), native(tuned, X))
    assert_close(pg.to_torch(tuned).predict(X), net.predict(X), 2e-6)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, tuned.name])


@pytest.mark.parametrize("name", list(MAKERS))
def test_bad_paths_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    MAKERS[name](path)
    net = pg.to_torch(path)
    for bad in ("a.bin", "a", "a.zip"):
        with pytest.raises(pg.ArgumentError, match="must end in"):
            pg.from_torch(net, tmp_path / bad)
    with pytest.raises(pg.ArgumentError, match="no folder"):
        pg.from_torch(net, tmp_path / "nowhere" / name)
    with pytest.raises(FileNotFoundError, match="missing"):
        pg.to_torch(tmp_path / f"missing{path.suffix}")
    for content in (b"", b"{}", b"[1, 2]", b"tree\nnonsense\n", path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(pg.ModelFileError, match=name):
            pg.to_torch(path)


def test_estimators_are_written_as_their_library_does(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    X, y = DATASETS["binary"]()
    model = xgboost.XGBClassifier(n_estimators=4, n_jobs=1).fit(X, y)
    net = pg.to_torch(model)
    perturb(net)
    pg.from_torch(net, tmp_path / "model.json")
    again = xgboost.XGBClassifier()
    again.load_model(tmp_path / "model.json")
    assert_close(again.predict_proba(X), net.predict_proba(X), 2e-6)


def test_what_lives_in_no_file_is_refused(tmp_path: Path) -> None:
    net = pg.to_torch(Ridge().fit(*DATASETS["regression"]()))
    with pytest.raises(pg.ArgumentError, match="joblib"):
        pg.from_torch(net, tmp_path / "a.txt")


def test_a_library_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.cbm"
    path.write_bytes(b"CBM1")
    for name in [n for n in sys.modules if n.startswith("pipegrad.sources.catboost")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(pg.ArgumentError, match=r"pipegrad\[trees\]"):
        pg.to_torch(path)
