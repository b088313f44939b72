"""The file formats that are fuzzed: valid files, how to read one, and what its library answers."""

from __future__ import annotations

import json
import random
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from mutations import BYTES, JSON, TEXT, Mutation, change_document, overwrite_integer
from pyarrow import parquet
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

import pipegrad as pg
from pipegrad.array_cache import cached_arrays
from pipegrad.module_files import SavedModule, read_module, write_module
from pipegrad.sources.spark.folder import zipped

DATA = Path(__file__).parents[1] / "data"
MLNET, SPARK, H2O = DATA / "mlnet", DATA / "spark", DATA / "h2o"
ROWS = 40


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    seeds : callable
        Makes the valid files.
    mutations : tuple of callables
        Ways to change a file.
    read : callable
        ``read(content)`` lets pipegrad read a file, and returns a module or None.
    answers : callable, optional
        ``answers(content)`` returns rows, and what the library itself predicts for them.
    """

    seeds: Callable[[], list[bytes]]
    mutations: tuple[Mutation, ...]
    read: Callable[[bytes], Any]
    answers: Callable[[bytes], tuple[Any, Any]] | None = None


def from_file(suffix: str) -> Callable[[bytes], Any]:
    """Reads a file by its path, as users do; the forks of the fuzzing stand for the trial."""

    def read(content: bytes) -> Any:
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(content)
            file.flush()
            return pg.to_torch(file.name, trusted=True)

    return read


def data(columns: int = 4) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, columns))
    X[:, 0] = rng.integers(0, 5, ROWS)
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, np.nan_to_num(X) @ np.arange(1, columns + 1) + rng.normal(size=ROWS)


def probes(columns: int) -> Any:
    """Rows with ordinary numbers, categories, missing and extreme values."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(24, columns))
    X[:8] = rng.integers(-1, 6, size=(8, columns))
    X[rng.random(X.shape) < 0.15] = np.nan
    X[9], X[10], X[11] = 0.0, 1e30, -1e30
    return X


def difference(got: Any, wanted: Any, size: float = 0.0) -> str:
    """Where two answers differ by more than rounding; "" if they do not."""
    got, wanted = (np.asarray(a, dtype=np.float64) for a in (got, wanted))
    if got.size != wanted.size:
        return f"shapes {got.shape} and {wanted.shape}"
    got, wanted = got.reshape(len(wanted), -1), wanted.reshape(len(wanted), -1)
    finite = np.isfinite(wanted)
    scale = 1 + size + np.abs(wanted[finite]).max(initial=0)
    near = np.abs(got - wanted) <= 1e-4 * scale
    same = near | (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    # A sum beyond single precision overflows in one order of its terms and not in another.
    same |= (np.abs(got) > 1e37) & (np.abs(wanted) > 1e37)
    if same.all():
        return ""
    row = int(np.flatnonzero(~same.all(1))[0])
    return f"row {row}: {got[row]} instead of {wanted[row]}"


def largest(net: Any) -> float:
    """The largest parameter, which rounding of the answers is relative to."""
    return max((float(p.detach().abs().nan_to_num().max()) for p in net.parameters()), default=0.0)


# -- LightGBM ------------------------------------------------------------------------------------


def lightgbm_seeds() -> list[bytes]:
    import lightgbm

    X, y = data()
    quiet = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 3, "num_leaves": 5}
    settings: list[tuple[dict[str, Any], Any]] = [
        ({"objective": "regression"}, y),
        ({"objective": "binary"}, y > y.mean()),
        ({"objective": "multiclass", "num_class": 3}, np.arange(ROWS) % 3),
        ({"objective": "poisson"}, np.round(np.abs(y))),
        ({"objective": "regression", "categorical_feature": [0], "min_data_per_group": 2}, y),
        ({"objective": "regression", "linear_tree": True}, y),
        ({"objective": "huber", "monotone_constraints": [1, 0, -1, 0]}, y),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}, y),
        ({"boosting": "dart", "objective": "tweedie"}, np.abs(y)),
        ({"objective": "regression", "min_data_in_leaf": 1000}, y),
    ]
    found = []
    for options, target in settings:
        table = np.nan_to_num(X) if "linear_tree" in options else X
        kinds = options.pop("categorical_feature", [])
        rows = lightgbm.Dataset(
            table, target, params={"verbose": -1, "min_data_in_bin": 1}, categorical_feature=kinds
        )
        booster = lightgbm.train({**quiet, **options}, rows, 3)
        found.append(booster.model_to_string().encode())
    return found


def lightgbm_answers(content: bytes) -> tuple[Any, Any]:
    import lightgbm

    booster = lightgbm.Booster(model_str=content.decode("utf-8"))
    X = probes(booster.num_feature())
    return X, booster.predict(X, num_threads=1)


# -- XGBoost -------------------------------------------------------------------------------------


def xgboost_seeds(form: str) -> list[bytes]:
    import xgboost

    X, y = data()
    several = np.column_stack([y, -y])
    kinds = ["c", "q", "q", "q"]
    coded = np.nan_to_num(X)
    coded[:, 0] = np.abs(coded[:, 0]).astype(int)
    settings: list[tuple[dict[str, Any], Any, Any]] = [
        ({"objective": "reg:squarederror"}, X, y),
        ({"objective": "binary:logistic"}, X, y > y.mean()),
        ({"objective": "multi:softprob", "num_class": 3}, X, np.arange(ROWS) % 3),
        ({"objective": "count:poisson"}, X, np.round(np.abs(y))),
        ({"booster": "dart", "rate_drop": 0.5}, X, y),
        ({"booster": "gblinear"}, np.nan_to_num(X), y),
        ({"multi_strategy": "multi_output_tree"}, X, several),
        ({}, X, several),
        ({"tree_method": "hist", "max_cat_to_onehot": 1}, coded, y),
        ({"num_parallel_tree": 2, "subsample": 0.7}, X, y),
        ({"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8]}, X, y),
    ]
    found = []
    for options, table, target in settings:
        categories = {"feature_types": kinds, "enable_categorical": True}
        rows = xgboost.DMatrix(
            table, target, nthread=1, **(categories if "max_cat_to_onehot" in options else {})
        )
        booster = xgboost.train({"nthread": 1, "max_depth": 3, **options}, rows, 3)
        found.append(bytes(booster.save_raw(form)))
    return found


def xgboost_answers(content: bytes) -> tuple[Any, Any]:
    import xgboost

    booster = xgboost.Booster(model_file=bytearray(content))
    booster.set_param({"nthread": 1})
    X = probes(booster.num_features())
    kinds = booster.feature_types
    chosen = [i for i, kind in enumerate(kinds or []) if kind == "c"]
    X[:, chosen] = np.where(X[:, chosen] > 1e6, 3.0, np.abs(np.round(X[:, chosen])))
    rows = xgboost.DMatrix(
        X, nthread=1, feature_names=booster.feature_names, feature_types=kinds,
        enable_categorical=bool(chosen),
    )  # fmt: skip
    return rows, booster.predict(rows)


# -- CatBoost ------------------------------------------------------------------------------------


def catboost_seeds(form: str) -> list[bytes]:
    import catboost

    from pipegrad.sources.catboost._model_json import saved

    X, y = data()
    quiet = {
        "iterations": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1,
        "max_depth": 3, "random_seed": 0,
    }  # fmt: skip
    words = X.astype(object)
    words[:, 0] = np.array(["a", "b", "c"])[np.arange(ROWS) % 3]
    deep = {"grow_policy": "Depthwise", "min_data_in_leaf": 2}
    settings: list[tuple[dict[str, Any], Any, Any]] = [
        ({"loss_function": "RMSE"}, X, y),
        ({"loss_function": "RMSE", "nan_mode": "Max"}, X, y),
        ({"loss_function": "Logloss"}, X, y > y.mean()),
        ({"loss_function": "MultiClass"}, X, np.arange(ROWS) % 3),
        ({"loss_function": "RMSE", "cat_features": [0]}, words, y),
        ({"loss_function": "RMSE", "cat_features": [0], "one_hot_max_size": 5}, words, y),
        ({"loss_function": "RMSE", **deep}, X, y),
        ({"loss_function": "MultiRMSE"}, X, np.column_stack([y, -y])),
    ]
    models = [catboost.CatBoost({**quiet, **o}).fit(table, t) for o, table, t in settings]
    return [saved(model, form) for model in models]


def catboost_answers(form: str) -> Callable[[bytes], tuple[Any, Any]]:
    def answers(content: bytes) -> tuple[Any, Any]:
        import catboost

        from pipegrad.sources.catboost._model_json import load_content

        model = load_content(content, form, catboost.CatBoost())
        X: Any = probes(len(model.feature_names_))
        chosen = model.get_cat_feature_indices()
        if chosen:
            X = X.astype(object)
            X[:, chosen] = np.array(["a", "b", "c", "d"])[np.arange(len(X)) % 4][:, None]
        return X, model.predict(X, thread_count=1)

    return answers


# -- ML.NET --------------------------------------------------------------------------------------


def mlnet_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(MLNET.glob("*.zip"))]


def change_entry(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Change one entry of the zip file, whose checksums are right again afterwards."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = archive.namelist()
        # What H2O shows of a model is never read.
        read = [name for name in names if "experimental/" not in name]
        chosen = rng.choice([name for name in read if archive.getinfo(name).file_size])
        kind = rng.randrange(12)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as changed:
            for name in names:
                data = archive.read(name)
                if name == chosen and kind == 0:
                    continue
                if name == chosen:
                    texts = name.endswith((".ini", ".txt"))
                    usual = rng.choice(TEXT) if texts else overwrite_integer
                    mutate = usual if kind < 8 else rng.choice(BYTES)
                    data = mutate(data, rng, [archive.read(n) or b"0" for n in names])
                changed.writestr(name, data)
    return out.getvalue()


def accepted(
    name: str, paths: dict[str, Path], count: int, folder: Path
) -> dict[tuple[str, int], Path]:
    """Damaged zip files that pipegrad reads nevertheless, by what they were and a number.

    Parameters
    ----------
    name : str
        Name of the format, which the changes depend on.
    paths : dict of str to Path
        Valid files by name.
    count : int
        How many are damaged.
    folder : Path
        Where they go.
    """
    found = {}
    for number in range(count):
        rng = random.Random(f"{name}/{number}")
        chosen = rng.choice(list(paths))
        path = folder / f"{number}.zip"
        path.write_bytes(change_entry(paths[chosen].read_bytes(), rng, [b"0"]))
        try:
            pg.to_torch(path)
        except (pg.ModelFileError, pg.UntranslatableError):
            continue
        found[chosen, number] = path
    return found


# -- H2O -----------------------------------------------------------------------------------------


def h2o_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(H2O.glob("*.zip"))]


# -- Spark ---------------------------------------------------------------------------------------


def spark_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SPARK.glob("*.spark"))]


def change_stage(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Change the parameters or the table of one stage, so that its file can still be read."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    chosen = rng.choice([name for name in files if "/part-" in name and "/." not in name])
    data = files[chosen]
    if chosen.endswith(".parquet") and rng.randrange(6):
        rows = change_document(parquet.read_table(BytesIO(data)).to_pylist(), rng)
        sink = BytesIO()
        parquet.write_table(pa.Table.from_pylist(rows), sink)
        files[chosen] = sink.getvalue()
    elif chosen.endswith(".parquet"):
        files[chosen] = rng.choice(BYTES)(data, rng, [data])
    else:
        changed = change_document(json.loads(data.splitlines()[0]), rng)
        files[chosen] = json.dumps(changed).encode()
    return zipped(files)


# -- pipegrad's own ------------------------------------------------------------------------------


def graph_seeds() -> list[bytes]:
    X, y = np.eye(4), np.arange(4.0)
    pipes = [
        Ridge().fit(X, y),
        make_pipeline(StandardScaler(), Ridge()).fit(X, y),
        make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Ridge())).fit(X, y),
    ]
    return [pg.to_torch(pipe).graph.to_json().encode() for pipe in pipes]


def read_graph(content: bytes) -> None:
    graph = pg.Graph.from_json(content.decode("utf-8", "surrogateescape"))
    str(graph)
    graph._repr_html_()
    graph.to_json()


ARRAYS = {"x": np.arange(30.0).reshape(-1, 3), "y": np.arange(20).reshape(-1, 2)}


def cache_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        cached_arrays(folder, "c0ffee", 10, lambda: ARRAYS)
        return [Path(folder, "c0ffee.safetensors").read_bytes()]


def read_cache(content: bytes) -> None:
    """Whatever the file holds, the arrays are right."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c0ffee.safetensors")
        path.write_bytes(content)
        path.chmod(0o600)
        found = cached_arrays(folder, "c0ffee", 10, lambda: ARRAYS)
    assert list(found) == list(ARRAYS)
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)


def module_seeds() -> list[bytes]:
    X = np.random.default_rng(0).normal(size=(ROWS, 4))
    y = X @ np.arange(4.0)
    nets = [
        pg.to_torch(make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(X, y > 0)),
        pg.to_torch(make_pipeline(StandardScaler(), Ridge()).fit(X, y), freeze=["standardscaler"]),
        pg.to_torch(DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, y), trees="soft"),
        pg.to_torch(MLNET / "fasttree_regression.zip"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        return [net.save(Path(folder, "net.safetensors")).read_bytes() for net in nets]


def read_saved(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.safetensors")
        path.write_bytes(content)
        pg.load(path, trusted=["sklearn.tree._tree.Tree"])


def change_part(content: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Change one part of a saved module, whose digests are right again afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.safetensors")
        path.write_bytes(content)
        saved = read_module(path)
        path.write_bytes(rng.choice(others))
        other = read_module(path)
        about, tensors, source = saved.about, dict(saved.tensors), saved.source
        kind = rng.randrange(8)
        if kind < 3:
            about = change_document(about, rng)
            if not isinstance(about.get("source_suffix"), str):
                about["source_suffix"] = ".zip"
        elif kind < 5:
            name, another = rng.choice(sorted(tensors)), rng.choice(sorted(other.tensors))
            moved = rng.choice((tensors.pop(name), other.tensors[another]))
            tensors[rng.choice((name, another, f"{name}x"))] = moved[..., : rng.randrange(5)]
        elif kind == 5:
            source = other.source
        else:
            source = rng.choice(BYTES)(source, rng, [other.source]) or b"0"
        path.unlink()
        write_module(path, SavedModule(about, tensors, source))
        return path.read_bytes()


FORMATS = {
    "lightgbm.txt": Format(lightgbm_seeds, TEXT, from_file(".txt"), lightgbm_answers),
    "xgboost.json": Format(
        lambda: xgboost_seeds("json"), JSON, from_file(".json"), xgboost_answers
    ),
    "xgboost.ubj": Format(lambda: xgboost_seeds("ubj"), BYTES, from_file(".ubj"), xgboost_answers),
    "catboost.cbm": Format(
        lambda: catboost_seeds("cbm"), BYTES, from_file(".cbm"), catboost_answers("cbm")
    ),
    "catboost.json": Format(
        lambda: catboost_seeds("json"), JSON, from_file(".json"), catboost_answers("json")
    ),
    "mlnet.zip": Format(mlnet_seeds, (*[change_entry] * 9, *BYTES), from_file(".zip")),
    "h2o.zip": Format(h2o_seeds, (*[change_entry] * 9, *BYTES), from_file(".zip")),
    "spark.spark": Format(spark_seeds, (*[change_stage] * 9, *BYTES), from_file(".spark")),
    "graph.json": Format(graph_seeds, JSON, read_graph),
    "cache.safetensors": Format(cache_seeds, BYTES, read_cache),
    "module.safetensors": Format(module_seeds, (*[change_part] * 6, *BYTES), read_saved),
}


def mutant(kind: Format, seeds: list[bytes], name: str, seed: int, number: int) -> bytes:
    """The mutant with a number, which depends on nothing but its format and the seed."""
    rng = random.Random(f"{name}/{seed}/{number}")
    content = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2))):
        try:
            content = rng.choice(kind.mutations)(content, rng, seeds) or b"\0"
        except Exception:
            break  # An earlier change left nothing that this one can parse.
    return content
