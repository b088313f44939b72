"""Modules in files: saved, loaded and trained on; damaged files are refused."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
import shutil
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import pipegrad as pg
from helpers import identical, shorten_candidates
from pipegrad.cli import main
from pipegrad.cli.models import write_model
from pipegrad.module_files import SavedModule, read_module, write_module
from pipegrad.testing import cases, perturb
from pipegrad.testing.checks import Case

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
from mutations import BYTES

pytest.importorskip("skops")

ROWS = 80
MLNET = Path(__file__).parent / "data" / "mlnet"
METHODS = ("predict", "predict_proba", "decision_function", "transform")
FORMS = ("net.safetensors", "net")
TREES = ["sklearn.tree._tree.Tree"]  # skops asks, since a malformed tree can crash.


def numbers() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 4))
    return X, X @ [1.0, -2.0, 0.5, 0.0] + rng.normal(size=ROWS)


def words() -> tuple[Any, Any]:
    X, y = numbers()
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["color"] = np.array(["red", "grün", "blue"])[np.arange(ROWS) % 3]
    return frame, np.where(y + (frame.color == "red") > 0, "yes", "no")


def pca() -> tuple[Any, Any, Any]:
    X, y = numbers()
    pipe = make_pipeline(StandardScaler(), PCA(3), LogisticRegression())
    return pg.to_torch(pipe.fit(X, y > 0)), X, y > 0


def strings() -> tuple[Any, Any, Any]:
    X, y = words()
    prepared = make_column_transformer(
        (StandardScaler(), list("abcd")), (OneHotEncoder(), ["color"])
    )
    pipe = make_pipeline(prepared, LogisticRegression()).fit(X, y)
    return pg.to_torch(pipe, translate="all", train=iter(["logistic*"])), X, y


def soft_trees() -> tuple[Any, Any, Any]:
    X, y = numbers()
    forest = RandomForestRegressor(4, max_depth=3, random_state=0)
    pipe = make_pipeline(PCA(3), forest).fit(X, y)
    return pg.to_torch(pipe, trees="soft", temperature=0.01), X, y


def estimated() -> tuple[Any, Any, Any]:
    X, y = numbers()
    pipe = make_pipeline(StandardScaler(), FunctionTransformer(np.tanh), Ridge()).fit(X, y)
    return pg.to_torch(pipe, through={"functiontransformer": "straight-through"}), X, y


def mlnet() -> tuple[Any, Any, Any]:
    X = pd.read_parquet(MLNET / "fasttree_binary.input.parquet")
    return pg.to_torch(MLNET / "fasttree_binary.zip"), X, None


def booster() -> tuple[Any, Any, Any]:
    lightgbm = pytest.importorskip("lightgbm")
    X, y = numbers()
    options = {"verbose": -1, "num_threads": 1, "num_leaves": 5}
    return pg.to_torch(lightgbm.train(options, lightgbm.Dataset(X, y), 5)), X, y


def scaled_target() -> tuple[Any, Any, Any]:
    X, y = numbers()
    model = TransformedTargetRegressor(make_pipeline(KMeans(3, random_state=0), Ridge()))
    model.set_params(transformer=StandardScaler()).fit(X, y)
    return pg.to_torch(model, freeze=["*kmeans"], dtype=torch.float32), X, y


def random_weights() -> tuple[Any, Any, Any]:
    X, y = numbers()
    net = pg.to_torch(make_pipeline(PCA(2), Ridge()), init="random", data=(X, y))
    net.steps["ridge"].requires_grad_(False)
    return net.eval(), X, y


MADE = [pca, strings, soft_trees, estimated, mlnet, booster, scaled_target, random_weights]


@cache
def made(maker: Any) -> tuple[Any, Any, Any]:
    """A module that was trained halfway, and its data."""
    net, X, y = maker()
    perturb(net)
    if y is not None:
        net.fit(X, y, epochs=2, lr=1e-4, validation=(X, y), callbacks=[])
    return net, X, y


def answers(net: Any, X: Any) -> list[Any]:
    methods = [m for m in METHODS if hasattr(net, m)]
    return [getattr(net, method)(X) for method in methods]


@pytest.mark.filterwarnings("ignore::pipegrad.PipegradWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("maker", MADE)
def test_what_is_loaded_is_what_was_saved(maker: Any, form: str, tmp_path: Path) -> None:
    net, X, y = made(maker)
    assert net.save(tmp_path / form) == tmp_path / form
    again = pg.load(tmp_path / form, trusted=TREES if maker is soft_trees else ())
    assert type(again) is type(net)
    for ours, theirs in zip(answers(again, X), answers(net, X)):
        np.testing.assert_array_equal(ours, theirs)
    assert str(again) == str(net)
    assert list(again.trainable_parameters()) == list(net.trainable_parameters())
    assert {k: (v.dtype, v.requires_grad) for k, v in again.named_parameters()} == {
        k: (v.dtype, v.requires_grad) for k, v in net.named_parameters()
    }
    assert (again.init, again.training) == (net.init, net.training)
    assert again.translation_options == net.translation_options
    if hasattr(net.source, "get_params"):
        assert identical(pg.from_torch(again), pg.from_torch(net))
    if y is not None:
        both = [one.fit(X, y, epochs=1, lr=1e-3) for one in (copy.deepcopy(net), again)]
        for ours, theirs in zip(*(answers(one, X) for one in both)):
            np.testing.assert_array_equal(ours, theirs)


# What skops cannot store, with the libraries whose objects it lacks.
NOT_STORED = {
    "sklearn.cluster.Birch",
    *(f"category_encoders.{name}Encoder" for name in ("Count", "JamesStein", "OneHot", "Ordinal")),
    "category_encoders.TargetEncoder",
    *(f"skorch.NeuralNet{name}" for name in ("Classifier", "BinaryClassifier", "Regressor")),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", [case for case in cases() if case.number == 0], ids=str)
def test_every_row_of_the_mapping_table_is_saved(case: Case, tmp_path: Path) -> None:
    net, X = case.module()[1], case.data()[0]
    perturb(net)
    if case.name in NOT_STORED:
        with pytest.raises(pg.ArgumentError, match="skops cannot store"):
            net.save(tmp_path / "net")
        return
    again = pg.load(net.save(tmp_path / "net"), trusted=["all"])
    assert str(again) == str(net)
    for ours, theirs in zip(answers(again, X), answers(net, X)):
        assert identical(ours, theirs)


def test_a_finetuner_result_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_candidates(monkeypatch)
    X, y = numbers()
    tuner = pg.FineTuner(make_pipeline(PCA(2), Ridge()), random_state=0, max_seconds=5).fit(X, y)
    again = pg.load(pg.to_torch(tuner.estimator_).save(tmp_path / "tuned.safetensors"))
    np.testing.assert_array_equal(pg.from_torch(again).predict(X), tuner.predict(X))


def test_copies_and_pickles_are_saved_alike(tmp_path: Path) -> None:
    net, _, _ = made(pca)
    for number, one in enumerate([copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net]):
        one.save(tmp_path / f"{number}.safetensors")
    again = pg.load(tmp_path / "0.safetensors")
    again.save(tmp_path / "3.safetensors")
    first, *others = (read_module(path) for path in sorted(tmp_path.iterdir()))
    for other in others:
        about = {**other.about, "tuned": first.about["tuned"]}  # Of this process's training alone.
        assert about == first.about
        assert all(torch.equal(other.tensors[k], v) for k, v in first.tensors.items())


def test_the_precision_of_a_module_is_kept(tmp_path: Path) -> None:
    net, X, _ = made(pca)
    for dtype in (torch.float32, torch.bfloat16):
        half = copy.deepcopy(net).to(dtype)
        half.save(tmp_path / "net")
        again = pg.load(tmp_path / "net")
        assert again.reference_tensor().dtype == dtype
        rows = half.encode(X)
        assert torch.equal(again(again.encode(X)), half(rows))


def test_other_programs_read_the_parameters(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    net, _, _ = made(pca)
    net.save(tmp_path / "net")
    assert {path.name for path in (tmp_path / "net").iterdir()} == {
        "parameters.safetensors", "model.json", "source.skops",
    }  # fmt: skip
    found = load_file(tmp_path / "net" / "parameters.safetensors")
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())
    about = json.loads((tmp_path / "net" / "model.json").read_text())["about"]
    assert about["tuned"]["epochs"] == 2
    assert about["versions"]["torch"] == torch.__version__
    single = load_file(net.save(tmp_path / "net.safetensors"))
    assert single.keys() == {*found, "source"}


# -- what is not known to be safe ----------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_types_that_are_not_known_to_be_safe_are_asked_for(tmp_path: Path, form: str) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    X, y = numbers()
    model = lightgbm.LGBMRegressor(n_estimators=3, n_jobs=1, verbose=-1).fit(X, y)
    net = pg.to_torch(model)
    path = net.save(tmp_path / form)
    with pytest.raises(pg.ArgumentError) as caught:
        pg.load(path)
    types = ["collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMRegressor"]
    hint = f"pg.load(path, trusted=[{', '.join(map(repr, types))}])"
    assert str(caught.value).endswith(hint)
    np.testing.assert_array_equal(pg.load(path, trusted=types).predict(X), net.predict(X))
    with pytest.raises(pg.ArgumentError, match="trusted must be a list"):
        pg.load(path, trusted=types[0])


def test_no_type_is_loaded_before_it_is_trusted(tmp_path: Path) -> None:
    import skops.io

    net, _, _ = made(pca)
    saved = read_module(net.save(tmp_path / "net.safetensors"))
    evil = skops.io.dumps(Noisy())
    write_module(tmp_path / "evil.safetensors", SavedModule(saved.about, saved.tensors, evil))
    Noisy.made.clear()
    with pytest.raises(pg.ArgumentError, match=r"trusted=\['test_saved_modules\.Noisy'\]"):
        pg.load(tmp_path / "evil.safetensors")
    assert not Noisy.made
    with pytest.raises(pg.ModelFileError, match="cannot be translated"):
        pg.load(tmp_path / "evil.safetensors", trusted=["test_saved_modules.Noisy"])
    assert Noisy.made


class Noisy:
    made: list[str] = []

    def __setstate__(self, state: Any) -> None:
        self.made.append("loaded")

    def __getstate__(self) -> Any:
        return {"x": 1}


# -- where and what ------------------------------------------------------------------------------


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    X, y = numbers()
    pipe = make_pipeline(FunctionTransformer(np.tanh), Ridge()).fit(X, y)
    net = pg.to_torch(pipe, through={"functiontransformer": torch.nn.Tanh()}, train=["ridge"])
    with pytest.raises(pg.ArgumentError, match=r"through\['functiontransformer'\]"):
        net.save(tmp_path / "net")
    pipe = make_pipeline(FunctionTransformer(lambda X: X + 1), Ridge()).fit(X, y)
    with pytest.raises(pg.ArgumentError, match="skops cannot store a Pipeline"):
        pg.to_torch(pipe).save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_places_that_must_not_be_replaced_are_refused(tmp_path: Path) -> None:
    net, _, _ = made(pca)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "model.json").write_text("{}")
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "folder.safetensors").mkdir()
    for name, match in [
        ("photos", "does not hold a saved module"),
        ("notes", "is a file that does not hold"),
        ("folder.safetensors", "is a folder"),
        ("net.bin", "must end in .safetensors, or name a folder"),
        ("missing/net", "there is no folder"),
        ("missing/net.safetensors", "there is no folder"),
        ("a\0b", "not the name of a folder"),
    ]:
        with pytest.raises(pg.ArgumentError, match=match):
            net.save(tmp_path / name)
    for bad in (5, b"net", None, "", "/"):
        with pytest.raises(pg.ArgumentError, match="path must be"):
            net.save(bad)
    assert len(list(tmp_path.iterdir())) == 3
    for name in ("photos", "folder.safetensors"):
        with pytest.raises(pg.ModelFileError):
            pg.load(tmp_path / name)
    with pytest.raises(pg.ArgumentError, match="path must be"):
        pg.load(5)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        pg.load(tmp_path / "missing")


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, X, _ = made(pca)
    other, rows, _ = made(booster)
    one.save(tmp_path / "net")
    other.save(tmp_path / "net")
    np.testing.assert_array_equal(pg.load(tmp_path / "net").predict(rows), other.predict(rows))
    monkeypatch.setattr("pipegrad.file_writing._exchanged", lambda one, other: False)
    one.save(tmp_path / "net")
    np.testing.assert_array_equal(pg.load(tmp_path / "net").predict(X), one.predict(X))

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipegrad.module_files.write_checked", full_disk)
    with pytest.raises(OSError, match="No space"):
        other.save(tmp_path / "net")
    np.testing.assert_array_equal(pg.load(tmp_path / "net").predict(X), one.predict(X))
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


# -- damaged files -------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", [pca, booster])
def test_mutants_are_refused_or_read_right(maker: Any, tmp_path: Path) -> None:
    net, X, _ = made(maker)
    content = net.save(tmp_path / "net.safetensors").read_bytes()
    other = made(strings)[0].save(tmp_path / "other.safetensors").read_bytes()
    rng, refused, path = random.Random(0), 0, tmp_path / "mutant.safetensors"
    for _ in range(300):
        path.write_bytes(rng.choice(BYTES)(content, rng, [content, other]))
        try:
            again = pg.load(path)
        except (pg.ModelFileError, pg.ArgumentError):
            refused += 1
        else:
            np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert refused > 200


@pytest.mark.parametrize("part", ["parameters.safetensors", "model.json", "source.skops"])
@pytest.mark.parametrize("damage", ["lacks", "cut", "of another module"])
def test_folders_of_mixed_or_missing_parts_are_refused(
    tmp_path: Path, part: str, damage: str
) -> None:
    net, _, _ = made(pca)
    net.save(tmp_path / "net")
    another = copy.deepcopy(net)
    perturb(another, seed=3)
    another.source.named_steps["pca"].noise_variance_ += 1.0
    another.save(tmp_path / "other")
    place = tmp_path / "net" / part
    if damage == "lacks":
        place.unlink()
    elif damage == "cut":
        place.write_bytes(place.read_bytes()[:-20])
    else:
        shutil.copy(tmp_path / "other" / part, place)
    with pytest.raises(pg.ModelFileError):
        pg.load(tmp_path / "net")


def changed(saved: SavedModule, change: str) -> SavedModule:
    """A file whose digests are right, as somebody could make it on purpose."""
    about, tensors = copy.deepcopy(saved.about), dict(saved.tensors)
    weight = next(name for name in tensors if name.endswith("weight"))
    if change == "a shape":
        tensors[weight] = tensors[weight][..., :-1].clone()
    elif change == "a type":
        tensors[weight] = tensors[weight].float()
    elif change == "a name":
        tensors["x"] = tensors.pop(weight)
    elif change == "another tensor":
        tensors["x"] = torch.zeros(3)
    elif change == "the structure":
        about["graph"]["steps"][0]["kind"] = "os.system"
    elif change == "what trains":
        about["trainable"] = ["x"]
    elif change == "the options":
        about["options"]["through"] = {"x": "straight-through"}
    elif change == "an unknown option":
        about["options"]["trees"] = "x"
    elif change == "no options":
        del about["options"]
    return SavedModule(about, tensors, saved.source if change != "the source" else b"PK")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("a shape", "must be torch.float64 of shape"),
        ("a type", "not torch.float32"),
        ("a name", "lacks|unknown tensor"),
        ("another tensor", "unknown tensor, 'x'"),
        ("the structure", "does not have this structure here.*\nHint: it was saved with python"),
        ("what trains", "'x' is no parameter"),
        ("the options", "names no step"),
        ("an unknown option", "options/trees: x is unknown"),
        ("no options", "options: is missing"),
        ("the source", "cannot be read: BadZipFile"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, change: str, match: str) -> None:
    saved = read_module(made(pca)[0].save(tmp_path / "net.safetensors"))
    write_module(tmp_path / "net", changed(saved, change))
    with pytest.raises(pg.ModelFileError, match=match):
        pg.load(tmp_path / "net")


def test_nodes_of_other_trees_are_refused(tmp_path: Path) -> None:
    saved = read_module(made(soft_trees)[0].save(tmp_path / "net.safetensors"))
    name = next(name for name in saved.tensors if name.endswith(".left"))
    tensors = {**saved.tensors, name: saved.tensors[name] + 10**6}
    write_module(tmp_path / "net", SavedModule(saved.about, tensors, saved.source))
    with pytest.raises(pg.ModelFileError, match="does not belong to the source"):
        pg.load(tmp_path / "net", trusted=TREES)


@pytest.mark.parametrize(
    ("bomb", "match"), [("zeros", "it unpacks to"), ("a large array", "cannot be read: .*Memory")]
)
def test_sources_that_unpack_to_more_than_fits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str, match: str
) -> None:
    monkeypatch.setattr("pipegrad.skops_files._MOST_UNPACKED", 1 << 20)
    saved = read_module(made(pca)[0].save(tmp_path / "net.safetensors"))
    content = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved.source)) as archive,
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as changed,
    ):
        for name in archive.namelist():
            inner = archive.read(name)
            if bomb == "zeros" and name == "schema.json":
                changed.writestr("zeros", bytes(2 << 20))
            elif bomb == "a large array" and name.endswith(".npy") and b"(3, 4)" in inner:
                inner = npy_header((10**9, 1000))
            changed.writestr(name, inner)
    write_module(tmp_path / "net", SavedModule(saved.about, saved.tensors, content.getvalue()))
    with pytest.raises(pg.ModelFileError, match=match):
        pg.load(tmp_path / "net")


def npy_header(shape: tuple[int, ...]) -> bytes:
    content = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue()


def test_newer_and_other_files_are_told_apart(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    made(pca)[0].save(tmp_path / "net")
    model = tmp_path / "net" / "model.json"
    content = json.loads(model.read_text())
    model.write_text(json.dumps({**content, "version": 2}))
    with pytest.raises(pg.ModelFileError, match="2 is newer than 1"):
        pg.load(tmp_path / "net")
    save_file({"x": torch.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(pg.ModelFileError, match="holds no module"):
        pg.load(tmp_path / "x.safetensors")


# -- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("maker", [strings, booster])
def test_the_command_line_reads_saved_modules(
    maker: Any, form: str, tmp_path: Path, capsys: Any
) -> None:
    net, X, _ = made(maker)
    path, data = str(net.save(tmp_path / form)), str(tmp_path / "data.parquet")
    pd.DataFrame(X).rename(columns=str).to_parquet(data)
    assert main(["score", path, data, "-o", str(tmp_path / "out.csv")]) == 0
    found = pd.read_csv(tmp_path / "out.csv").prediction
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, net.predict(X), rtol=1e-12)
    else:
        assert (found == net.predict(X)).all()
    assert main(["inspect", path]) == 0
    assert main(["diff", path, path, data]) == 0
    assert "0 of 80 predictions differ" in capsys.readouterr().out


def test_the_command_line_writes_saved_modules(tmp_path: Path) -> None:
    net, X, y = made(booster)
    path, data = str(net.save(tmp_path / "net")), str(tmp_path / "data.parquet")
    # Other targets than those of the fit, so that the fitted model is not kept.
    pd.DataFrame(X).rename(columns=str).assign(y=y + 5).to_parquet(data)
    better = str(tmp_path / "better.safetensors")
    assert main(["tune", path, data, "--label", "y", "-o", better, "--json"]) == 0
    assert pg.load(better).history is None
    assert not np.array_equal(pg.load(better).predict(X), net.predict(X))
    net, X, _ = made(pca)
    write_model(better, pg.from_torch(net))
    np.testing.assert_allclose(pg.load(better).predict_proba(X), net.predict_proba(X), rtol=1e-12)


def test_without_safetensors_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    net = pg.to_torch(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))
    for name in ("net.safetensors", "folder"):
        with pytest.raises(pg.ArgumentError, match="requires safetensors"):
            net.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
