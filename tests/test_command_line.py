"""The command line on real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import parse_version

import pipegrad as pg
from helpers import shorten_candidates
from pipegrad.cli import main
from pipegrad.testing import perturb

pytestmark = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.6"),
    reason="skops asks whether to trust a part of older ColumnTransformers",
)
ROWS = 300


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 3)), columns=["a", "b", "c"])
    frame["color"] = rng.choice(["red", "green", "blue"], ROWS)
    noise = rng.normal(size=ROWS)
    frame["y"] = np.where(frame.a - frame.b + (frame.color == "red") + noise > 0, "yes", "no")
    return frame


def pipeline() -> Any:
    prepared = make_column_transformer(
        (StandardScaler(), ["a", "b", "c"]), (OneHotEncoder(sparse_output=False), ["color"])
    )
    return make_pipeline(prepared, LogisticRegression(C=0.001))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = table()
    model = pipeline().fit(frame.drop(columns="y"), frame.y)
    skops.io.dump(model, tmp_path / "model.skops")
    joblib.dump(model, tmp_path / "model.joblib")
    for form in ("parquet", "csv", "feather"):
        getattr(frame, f"to_{form}")(tmp_path / f"data.{form}")
    frame.to_csv(tmp_path / "data.csv", index=False)
    return tmp_path


def run(capsys: Any, *arguments: Any) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_inspect_shows_what_trains(folder: Path, capsys: Any) -> None:
    code, out, _ = run(capsys, "inspect", folder / "model.skops")
    assert code == 0
    assert "logisticregression" in out
    code, out, _ = run(capsys, "inspect", folder / "model.skops", "--json")
    steps = {step["name"]: step for step in json.loads(out)}
    assert steps["logisticregression"]["status"] == "trainable"
    assert steps["logisticregression"]["parameters"] == 7


@pytest.mark.parametrize("form", ["parquet", "csv", "feather"])
def test_score_writes_the_predictions_of_the_model(folder: Path, capsys: Any, form: str) -> None:
    to = folder / f"out.{form}"
    data = folder / f"data.{form}"
    assert run(capsys, "score", folder / "model.skops", data, "-o", to)[0] == 0
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv, "feather": pd.read_feather}[form]
    found = read(to)
    model, X = joblib.load(folder / "model.joblib"), table().drop(columns="y")
    assert list(found) == ["prediction", "probability_no", "probability_yes"]
    assert (found.prediction == model.predict(X)).all()
    np.testing.assert_allclose(found.iloc[:, 1:], model.predict_proba(X), rtol=1e-15)


def test_tune_writes_a_better_model(folder: Path, capsys: Any, monkeypatch: Any) -> None:
    shorten_candidates(monkeypatch)
    better, report = folder / "better.skops", folder / "report.html"
    given = ("tune", folder / "model.skops", folder / "data.parquet", "--label", "y")
    code, out, _ = run(capsys, *given, "-o", better, "--report", report, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["improved"]
    assert told["loss_after"] < told["loss_before"]
    assert told["interval"][0] > 0
    assert report.read_text().startswith("<!DOCTYPE html>")
    tuned = skops.io.load(better)
    frame = table()
    direct = pg.FineTuner(clone(tuned), random_state=0).fit(frame.drop(columns="y"), frame.y)
    X = frame.drop(columns="y")
    np.testing.assert_array_equal(direct.predict_proba(X), tuned.predict_proba(X))


@pytest.mark.parametrize(("name", "start"), [("r.json", "{"), ("r.md", "# Fine-tuning report")])
def test_reports_have_the_form_of_their_name(
    folder: Path, capsys: Any, monkeypatch: Any, name: str, start: str
) -> None:
    shorten_candidates(monkeypatch)
    given = ("tune", folder / "model.skops", folder / "data.parquet", "--label", "y")
    code, _, err = run(capsys, *given, "-o", folder / "better.skops", "--report", folder / name)
    assert code == 0, err
    assert (folder / name).read_text("utf-8").startswith(start)


def test_diff_tells_equal_models_from_others(folder: Path, capsys: Any) -> None:
    model = folder / "model.skops"
    code, out, _ = run(capsys, "diff", model, folder / "model.joblib", "--trust-pickle")
    assert (code, out.strip()) == (0, "The numbers of both models are the same.")
    net = pg.to_torch(joblib.load(folder / "model.joblib"))
    perturb(net, size=0.5)
    skops.io.dump(pg.from_torch(net), folder / "other.skops")
    given = ("diff", model, folder / "other.skops", folder / "data.csv")
    code, out, _ = run(capsys, *given, "--json")
    assert code == 1
    found = json.loads(out)
    changed = {entry["name"] for entry in found["numbers"] if entry["kind"] == "changed"}
    assert {name.rpartition(".")[2] for name in changed} >= {"weight", "bias"}
    one, other = (skops.io.load(folder / name) for name in ("model.skops", "other.skops"))
    X = table().drop(columns="y")
    assert found["predictions"]["different"] == (one.predict(X) != other.predict(X)).sum()


def test_export_writes_what_onnx_runtime_answers(folder: Path, capsys: Any) -> None:
    runtime = pytest.importorskip("onnxruntime")
    to, frame = folder / "model.onnx", table()
    data = folder / "data.parquet"
    assert run(capsys, "export", folder / "model.skops", to, "--data", data)[0] == 0
    session = runtime.InferenceSession(to.read_bytes())
    inputs = {i.name: frame[[i.name]].to_numpy() for i in session.get_inputs()}
    label, shares = session.run(["label", "probabilities"], inputs)
    model = joblib.load(folder / "model.joblib")
    assert (label == model.predict(frame)).all()
    np.testing.assert_allclose(shares, model.predict_proba(frame), rtol=1e-12)


def test_export_writes_a_program_of_torch(folder: Path, capsys: Any) -> None:
    frame = table()[["a", "b", "c"]]
    model = Ridge().fit(frame.to_numpy(), frame.a)
    skops.io.dump(model, folder / "for_torch.skops")
    to = folder / "model.pt2"
    assert run(capsys, "export", folder / "for_torch.skops", to)[0] == 0
    answers = torch.export.load(to).module()(torch.tensor(frame.to_numpy()))
    np.testing.assert_allclose(
        answers["variable"][:, 0], model.predict(frame.to_numpy()), rtol=1e-12
    )
    assert run(capsys, "export", folder / "for_torch.skops", folder / "m.onnx", "--compiled")[0]


def test_models_without_names_of_columns_take_numbers(folder: Path, capsys: Any) -> None:
    frame = table()[["a", "b", "c"]]
    model = Ridge().fit(frame.to_numpy(), frame.a)
    skops.io.dump(model, folder / "ridge.skops")
    frame.to_parquet(folder / "numbers.parquet")
    to = folder / "out.parquet"
    assert (
        run(capsys, "score", folder / "ridge.skops", folder / "numbers.parquet", "-o", to)[0] == 0
    )
    np.testing.assert_array_equal(pd.read_parquet(to).prediction, model.predict(frame.to_numpy()))


def test_folders_of_rows_are_tuned(folder: Path, capsys: Any, monkeypatch: Any) -> None:
    shorten_candidates(monkeypatch)
    rows = folder / "rows"
    rows.mkdir()
    frame = table()
    half = len(frame) // 2
    frame[:half].to_parquet(rows / "0.parquet")
    frame[half:].to_parquet(rows / "1.parquet")
    given = ("tune", folder / "model.skops", rows, "--label", "y")
    code, out, err = run(capsys, *given, "-o", folder / "better.skops", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"] == len(frame)
    given = ("tune", folder / "model.skops", folder / "data.parquet", "--label", "y")
    assert run(capsys, *given, "-o", folder / "direct.skops", "--json")[0] == 0
    X = frame.drop(columns="y")
    models = [skops.io.load(folder / name) for name in ("better.skops", "direct.skops")]
    np.testing.assert_array_equal(*(model.predict_proba(X) for model in models))


def test_files_of_libraries_are_scored_tuned_and_compared(folder: Path, capsys: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    frame = table()[["a", "b", "c"]]
    frame["y"] = frame.a + frame.b**2
    frame.to_parquet(folder / "numbers.parquet")
    X, model = frame[["a", "b", "c"]], folder / "model.txt"
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1, "learning_rate": 0.01}
    lightgbm.train(settings, lightgbm.Dataset(X, frame.y), 5).save_model(model)
    better = folder / "better.txt"
    given = ("tune", model, folder / "numbers.parquet", "--label", "y", "-o", better, "--json")
    code, out, err = run(capsys, *given)
    assert code == 0, err
    assert json.loads(out)["improved"]
    X.to_parquet(folder / "x.parquet")
    to = folder / "out.csv"
    assert run(capsys, "score", better, folder / "x.parquet", "-o", to)[0] == 0
    native = lightgbm.Booster(model_file=better).predict(X)
    np.testing.assert_allclose(pd.read_csv(to).prediction, native, rtol=1e-12)
    assert run(capsys, "diff", model, better)[0] == 1


@pytest.mark.filterwarnings("ignore:Fine-tuning kept")
def test_folders_of_spark_are_tuned_with_a_report(folder: Path, capsys: Any) -> None:
    data = Path(__file__).parent / "data" / "spark"
    rows = pd.concat([pd.read_parquet(data / "text_labels.parquet")] * 4)
    rows.to_parquet(folder / "rows.parquet")
    given = ("tune", data / "text_labels.spark", folder / "rows.parquet", "--label", "c")
    wanted = ("-o", folder / "tuned", "--report", folder / "report.md", "--scoring", "accuracy")
    code, _, err = run(capsys, *given, *wanted)
    assert code == 0, err
    assert "LogisticRegressionModel" in (folder / "report.md").read_text() or "kept" in err
    assert pg.to_torch(folder / "tuned").predict(rows).tolist() != []


ERRORS = {
    "no file": ("inspect missing.skops", "there is no such file"),
    "a pickle": ("inspect model.joblib", "--trust-pickle"),
    "unknown form": ("inspect data.csv", "must end in .skops"),
    "no label": ("tune model.skops data.csv --label z -o better.skops", "label must be a column"),
    "no folder": ("tune model.skops data.csv --label y -o no/better.skops", "there is no folder"),
    "bad output": ("tune model.skops data.csv --label y -o better.xls", "must end in .skops"),
    "bad report": (
        "tune model.skops data.csv --label y -o better.skops --report r.pdf",
        "must end in .html",
    ),
    "lost columns": ("score model.skops short.csv -o out.csv", "lacks 'color'"),
    "bad table": ("score model.skops data.csv -o out.xls", "must end in one of .parquet"),
    "damaged model": ("inspect damaged.skops", "cannot be read"),
    "damaged table": ("score model.skops damaged.parquet -o out.csv", "not read as parquet"),
}


@pytest.mark.parametrize(("command", "message"), list(ERRORS.values()), ids=list(ERRORS))
def test_errors_are_one_message(
    folder: Path, capsys: Any, monkeypatch: Any, command: str, message: str
) -> None:
    monkeypatch.chdir(folder)
    table()[["a", "b", "c"]].to_csv("short.csv", index=False)
    Path("damaged.skops").write_bytes(Path("model.skops").read_bytes()[:200])
    Path("damaged.parquet").write_bytes(Path("data.parquet").read_bytes()[:200])
    before = sorted(p.name for p in folder.iterdir())
    code, out, err = run(capsys, *command.split())
    assert (code, out) == (2, "")
    assert err.startswith("pipegrad: ")
    assert message in err
    assert "Traceback" not in err
    assert sorted(p.name for p in folder.iterdir()) == before


def test_types_in_a_skops_file_are_asked_for(folder: Path, capsys: Any) -> None:
    frame = table()[["a", "b", "c"]]
    path = folder / "custom.skops"
    custom = make_pipeline(pg.Featurizer(Ridge()), Ridge())
    skops.io.dump(custom.fit(frame, frame.a), path)
    unknown = skops.io.get_untrusted_types(file=path)
    assert unknown
    code, _, err = run(capsys, "inspect", path)
    assert code == 2
    assert all(name in err for name in unknown)
    assert "--trust" in err
    assert run(capsys, "inspect", path, "--trust", *unknown)[0] == 0


def test_supported_for_machines(capsys: Any) -> None:
    code, out, _ = run(capsys, "supported", "--json")
    assert code == 0
    assert {entry["name"] for entry in json.loads(out)} == {row.name for row in pg.supported()}


@pytest.mark.slow
def test_tune_with_several_processes(folder: Path, capsys: Any) -> None:
    rows = pd.concat([table()] * 4)
    rows.to_parquet(folder / "rows.parquet", row_group_size=200)
    paths = [str(folder / name) for name in ("model.skops", "rows.parquet", "better.skops")]
    more = ["--label", "y", "-o", paths[2], "--processes", "2"]
    assert main(["tune", *paths[:2], *more, "--report", "report.html"]) == 2
    assert "--report needs all rows in memory" in capsys.readouterr().err
    assert main(["tune", *paths[:2], *more[:2], "-o", paths[2], "--processes", "2", "--json"]) == 0
    answer = capsys.readouterr()
    told = json.loads(answer.out)
    assert told["improved"]
    assert told["loss_after"] < told["loss_before"]
    before, after = (skops.io.load(path, trusted=[]) for path in (paths[0], paths[2]))
    assert not np.array_equal(before[-1].coef_, after[-1].coef_)
    more[1] = "absent"
    assert main(["tune", *paths[:2], *more]) == 2
    assert "absent" in capsys.readouterr().err
