"""Paths that no model can be read from or written to: what is wrong, and how to go on."""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import Ridge

import pipegrad as pg

DATA = Path(__file__).parent / "data" / "mlnet"
X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(1)


@pytest.fixture(scope="module")
def mlnet():
    return pg.to_torch(DATA / "ols.zip")


@pytest.fixture(scope="module")
def lightgbm():
    library = pytest.importorskip("lightgbm")
    model = library.LGBMRegressor(n_estimators=2, num_leaves=3, verbose=-1, n_jobs=1).fit(X, Y)
    return pg.to_torch(model.booster_)


@pytest.mark.parametrize(
    ("name", "save", "hint"),
    [
        ("a.pkl", pickle.dump, r"Hint: to_torch\(joblib.load\(path\)\), if you trust the file"),
        ("a.pickle", pickle.dump, "it can run any code"),
        ("a.joblib", joblib.dump, "Hint: to_torch"),
        (
            "a.npz",
            lambda model, file: np.savez(file, model.coef_),
            "Hint: load the fitted pipeline",
        ),
        ("a.onnx", lambda model, file: file.write(b"onnx"), "with the library that saved it"),
        ("a", lambda model, file: file.write(b"any"), "got '.*/a'"),
    ],
)
def test_files_of_other_kinds(tmp_path, name, save, hint):
    path = tmp_path / name
    with path.open("wb") as file:
        save(Ridge().fit(X, Y), file)
    for given in (path, str(path)):
        with pytest.raises(pg.ArgumentError, match=f"(?s)that ends in .zip.*{hint}"):
            pg.to_torch(given)


@pytest.mark.parametrize("suffix", [".zip", ".mlnet", ".txt", ".json", ".ubj", ".cbm"])
def test_folders_missing_files_and_empty_ones(tmp_path, suffix):
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    with pytest.raises(pg.ModelFileError, match=r"is a folder.\nHint: give the path of a model"):
        pg.to_torch(folder)
    with pytest.raises(FileNotFoundError, match=rf"missing\{suffix}: there is no such file"):
        pg.to_torch(tmp_path / f"missing{suffix}")
    empty = tmp_path / f"empty{suffix}"
    empty.touch()
    with pytest.raises(pg.ModelFileError, match=r": (the file is empty|not a zip file)"):
        pg.to_torch(empty)


def names(folder: Path, suffix: str) -> list[tuple[str, str]]:
    """Names that no file can have, each with the fault."""
    (folder / f"taken{suffix}").mkdir()
    return [
        ("m" * 256 + suffix, "is not the name of a file: File name too long"),
        (f"no/m{suffix}", "there is no folder '.*no'"),
        (f"taken{suffix}", "is a folder.\nHint: give the path of a file"),
        (f"m\0{suffix}", "is not the name of a file"),
        ("m.pkl", rf"must end in \{suffix}"),
        ("m", rf"must end in \{suffix}"),
        (f"m{suffix}.bak", rf"must end in \{suffix}"),
    ]


@pytest.mark.parametrize(("source", "suffix"), [("mlnet", ".zip"), ("lightgbm", ".txt")])
def test_targets_that_cannot_be_written(request, tmp_path, source, suffix):
    net = request.getfixturevalue(source)
    for name, match in names(tmp_path, suffix):
        with pytest.raises(pg.ArgumentError, match=match):
            pg.from_torch(net, f"{tmp_path}/{name}")
    for wrong in (3, "", None, ["m.zip"], b"m.zip"):
        if wrong is not None:
            with pytest.raises(pg.ArgumentError, match=r"path|name"):
                pg.from_torch(net, wrong)
    assert [path.name for path in tmp_path.iterdir()] == [f"taken{suffix}"]


@pytest.mark.parametrize(("source", "suffix"), [("mlnet", ".zip"), ("lightgbm", ".txt")])
@pytest.mark.parametrize("length", [1, 200, 250, 255])
def test_names_of_every_length_that_a_file_can_have(request, tmp_path, source, suffix, length):
    stem = "m" * max(1, length - len(suffix))
    path = tmp_path / f"{stem}{suffix}"
    pg.from_torch(request.getfixturevalue(source), path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert pg.to_torch(path) is not None
