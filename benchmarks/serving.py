"""Speed of predictions: pg.compile and the module beside the library itself and other engines.

Five pipelines answer `predict_proba` for 1, 10,000 and 100,000 rows in float64. Contenders: the
library itself, the module (`net.predict_proba`, in float32, too) and `pg.compile`. ONNX Runtime on
the file of skl2onnx, hummingbird and treelite join where `pip install skl2onnx hummingbird-ml
treelite` was run, and where they convert a pipeline and are right.
All are timed in alternation, so that other load affects all of them; the ratios of the medians to
the library itself count.

Run: python benchmarks/serving.py [--threads 2] [--rows 1 10000] [--markdown]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import time
import warnings
from importlib.util import find_spec

import lightgbm
import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pipegrad as pg

ROWS, TRAINING, FEATURES = 100_000, 5_000, 30
BOUNDS = {1: 0.05, 10_000: None, 100_000: None}
PATIENCE = 8.0  # time limit of all contenders in one cell, in seconds

warnings.filterwarnings("ignore")


def data():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(ROWS, FEATURES))
    table = pd.DataFrame({f"n{i}": X[:, i] for i in range(6)})
    for number in range(3):
        table[f"c{number}"] = generator.choice([f"value {i}" for i in range(8)], ROWS)
    return X, table, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)


def pipelines(threads):
    texts, numbers = [f"c{i}" for i in range(3)], [f"n{i}" for i in range(6)]
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), texts), (StandardScaler(), numbers)
    )
    return {
        "scaler + PCA + LR": make_pipeline(StandardScaler(), PCA(10), LogisticRegression()),
        "columns with text + LR": make_pipeline(columns, LogisticRegression()),
        "HistGradientBoosting 100x31": HistGradientBoostingClassifier(early_stopping=False),
        "LightGBM 500x31": lightgbm.LGBMClassifier(n_estimators=500, n_jobs=threads, verbose=-1),
        "RandomForest 100, depth 10": RandomForestClassifier(100, max_depth=10, n_jobs=threads),
    }


def contenders(pipe, rows, threads):
    """The functions of rows by name; all of them give the probabilities."""
    serving = pg.compile(pipe, rows=rows[:200], threads=threads)
    serving.predict_proba(rows[:2])
    found = {
        "source": pipe.predict_proba,
        "module": pg.to_torch(pipe).predict_proba,
        "compile": serving.predict_proba,
    }
    for name, maker in (
        ("skl2onnx", skl2onnx),
        ("hummingbird", hummingbird),
        ("treelite", treelite),
    ):
        try:
            made = maker(pipe, rows, threads)
        except Exception as error:
            print(f"  ({name}: {type(error).__name__}: {str(error).splitlines()[0]:.80})")
            continue
        if made is not None:
            found[name] = made
    expected = pipe.predict_proba(rows[:1000])
    for name in list(found):
        off = np.abs(np.asarray(found[name](rows[:1000])) - expected).max()
        if off > 1e-9:
            print(f"  ({name} differs from the source by {off:.1e})")
            if off > 1e-5:
                del found[name]
    return found


def skl2onnx(pipe, rows, threads):
    if find_spec("skl2onnx") is None or "LGBM" in type(pipe).__name__:
        return None
    import onnxruntime
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

    table = hasattr(rows, "columns")
    if table:
        kinds = {n: DoubleTensorType if n[0] == "n" else StringTensorType for n in rows.columns}
        inputs = [(name, kind([None, 1])) for name, kind in kinds.items()]
    else:
        inputs = [("X", DoubleTensorType([None, rows.shape[1]]))]
    options = {id(pipe): {"zipmap": False}}
    content = to_onnx(pipe, initial_types=inputs, options=options).SerializeToString()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    if table:
        return lambda X: session.run(
            ["probabilities"],
            {n: X[[n]].to_numpy(dtype=None if n[0] == "n" else object) for n in X.columns},
        )[0]
    return lambda X: session.run(["probabilities"], {"X": X})[0]


def hummingbird(pipe, rows, threads):
    if find_spec("hummingbird") is None or hasattr(rows, "columns"):
        return None
    from hummingbird.ml import convert

    model = convert(pipe, "torch", extra_config={"n_threads": threads})
    return model.predict_proba


def treelite(pipe, rows, threads):
    if find_spec("treelite") is None or hasattr(rows, "columns") or hasattr(pipe, "steps"):
        return None
    import treelite

    if isinstance(pipe, lightgbm.LGBMModel):
        model = treelite.frontend.from_lightgbm(pipe.booster_)
    else:
        model = treelite.sklearn.import_model(pipe)

    def predict(X):
        answer = treelite.gtil.predict(model, X, nthread=threads)
        answer = answer.reshape(len(X), -1)
        return np.hstack([1 - answer, answer]) if answer.shape[1] == 1 else answer

    return predict


def timed(functions, rows):
    """The median time of each function, all called in turn; single rows some times in a row."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function(rows)
    end = time.perf_counter() + PATIENCE
    repeats, calls = 0, 20 if len(rows) == 1 else 1
    while repeats < 5 or (time.perf_counter() < end and repeats < 300):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls):
                function(rows)
            times[name].append((time.perf_counter() - start) / calls)
        repeats += 1
    return {name: statistics.median(found) for name, found in times.items()}


def single_precision(pipe, rows):
    """The module in float32 as a ratio to the source, both on float32 rows."""
    narrow = rows.astype(np.float32)
    net = pg.to_torch(pipe).float()
    found = timed({"source": pipe.predict_proba, "module": net.predict_proba}, narrow)
    return found["module"] / found["source"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="+", default=list(BOUNDS))
    parser.add_argument("--markdown", action="store_true", help="print a table for a document")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    packages = ("scikit-learn", "torch", "onnxruntime", "lightgbm")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {versions}")
    print(f"{options.threads} threads, load {os.getloadavg()[0]:.1f}; ratios to the source")
    X, table, y = data()
    lines = []
    for name, pipe in pipelines(options.threads).items():
        rows = table if "text" in name else X
        pipe.fit(rows[:TRAINING], y[:TRAINING])
        functions = contenders(pipe, rows, options.threads)
        for count in options.rows:
            found = timed(functions, rows[:count])
            ratios = {key: value / found["source"] for key, value in found.items()}
            if rows is X:
                ratios["module, float32"] = single_precision(pipe, rows[:count])
            cells = ", ".join(f"{key} {value:.3g}" for key, value in ratios.items())
            print(f"{name:28} {count:7,} rows: source {found['source'] * 1e3:.3f} ms; {cells}")
            lines.append((name, count, found["source"], ratios))
    if options.markdown:
        print(markdown(lines))


def markdown(lines):
    columns = ["module", "module, float32", "compile", "skl2onnx", "hummingbird", "treelite"]
    columns = [name for name in columns if any(name in ratios for *_, ratios in lines)]
    rows = [["pipeline", "rows", "library itself", *columns]]
    rows.append(["---"] * len(rows[0]))
    for name, count, seconds, ratios in lines:
        cells = [f"{ratios[key]:.2g}" if key in ratios else "" for key in columns]
        rows.append([name, f"{count:,}", f"{seconds * 1e3:.3g} ms", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
