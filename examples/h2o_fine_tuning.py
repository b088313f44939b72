"""Models of H2O before and after fine-tuning, on rows that no choice has seen.

python tests/h2o_runtime.py install .venv-h2o                  h2o with Java, once
python examples/h2o_fine_tuning.py .venv-h2o adult.parquet income    a table and its target
python examples/h2o_fine_tuning.py .venv-h2o bike.parquet cnt --counts --splits 5

H2O trains each model on 60% of the rows and stops on 20% (early stopping of trees and networks,
the path of penalties); pipegrad goes on from there, trains on the same 60% and stops on the same
20%. The other 20% are scored before and after: mean log loss of classes, mean deviance of counts,
root of the mean squared error of numbers. H2O scores some of the written files itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RUNTIME = Path(__file__).parents[1] / "tests" / "h2o_runtime.py"
MODELS = ["glm", "gbm", "deeplearning", "rulefit", "encoded", "ensemble"]
NAMES = {
    "glm": "GLM",
    "gbm": "GBM",
    "deeplearning": "DeepLearning",
    "rulefit": "RuleFit",
    "encoded": "TargetEncoder, GLM",
    "ensemble": "StackedEnsemble",
}
CHECKED_ROWS = 200


# -- in the environment with h2o -------------------------------------------------------------------


def train(jobs: list[dict[str, Any]]) -> None:
    """Train the models of each job and export their MOJOs."""
    sys.path.insert(0, str(RUNTIME.parent))
    import h2o_runtime

    with h2o_runtime.server() as h2o:
        for job in jobs:
            for name in job["models"]:
                start = time.perf_counter()
                frames = {part: _frame(h2o, job, part) for part in ("train", "valid")}
                _export(_fitted(name, job, frames), Path(job["folder"]), name)
                print(f"H2O: {name}, {time.perf_counter() - start:.0f} s", flush=True)
                h2o.remove_all()


def _frame(h2o: Any, job: dict[str, Any], part: str) -> Any:
    table = pd.read_parquet(f"{job['folder']}/{part}.parquet")
    texts = _texts(table, "")
    kinds = {column: "enum" if column in texts else "numeric" for column in table}
    return h2o.H2OFrame(table, column_types=kinds)


def _fitted(name: str, job: dict[str, Any], frames: dict[str, Any]) -> Any:
    from h2o import estimators

    target, task = job["target"], job["task"]
    family = {"counts": "poisson", "numbers": "gaussian"}.get(task, task)
    distribution = "bernoulli" if family == "binomial" else family
    inputs = [column for column in frames["train"].names if column != target]
    stops = {"stopping_rounds": 3, "seed": 1}
    folds = {"nfolds": 3, "keep_cross_validation_predictions": True, "fold_assignment": "modulo"}

    def fit(kind: str, x: list[str] = inputs, data: Any = frames, **options: Any) -> Any:
        model = getattr(estimators, f"H2O{kind}Estimator")(**options)
        model.train(x=x, y=target, training_frame=data["train"], validation_frame=data["valid"])
        return model

    def linear(**options: Any) -> Any:
        return fit("GeneralizedLinear", family=family, lambda_search=True, seed=1, **options)

    def boosted(**options: Any) -> Any:
        trees = {"ntrees": 100, "max_depth": 4, "score_tree_interval": 5}
        return fit("GradientBoosting", distribution=distribution, **trees, **stops, **options)

    def network(**options: Any) -> Any:
        return fit(
            "DeepLearning", distribution=distribution, hidden=[32, 32], epochs=30,
            reproducible=True, **stops, **options,
        )  # fmt: skip

    if name == "glm":
        return linear()
    if name == "gbm":
        return boosted()
    if name == "deeplearning":
        return network()
    if name == "rulefit":
        return fit("RuleFit", max_rule_length=3, max_num_rules=50, seed=1)
    if name == "ensemble":
        bases = [linear(**folds), boosted(**folds), network(**folds)]
        return fit("StackedEnsemble", base_models=bases, seed=1)
    return _Encoded(fit, inputs, frames, family)


class _Encoded:
    """A linear model of encoded categories, as one MOJO."""

    def __init__(self, fit: Any, inputs: list[str], frames: dict[str, Any], family: str):
        texts = [name for name in inputs if frames["train"].types[name] == "enum"]
        self.encoder = fit("TargetEncoder", x=texts, noise=0.0, blending=True)
        encoded = {part: self.encoder.transform(frame) for part, frame in frames.items()}
        self.names = [name for name in encoded["train"].names if name.endswith("_te")]
        columns = [name for name in inputs if name not in texts] + self.names
        self.main = fit(
            "GeneralizedLinear", columns, encoded, family=family, lambda_search=True, seed=1
        )


def _export(model: Any, folder: Path, name: str) -> None:
    target = folder / f"{name}.zip"
    if not isinstance(model, _Encoded):
        model.download_mojo(str(target))
        return
    import jpype

    import h2o_answers

    builder = h2o_answers.java().genmodel.MojoPipelineBuilder()
    file = jpype.JClass("java.io.File")
    parts = [("encoder", model.encoder), ("main", model.main)]
    for alias, part in parts:
        part.download_mojo(str(folder / f"part-{alias}.zip"))
    builder.addModel("encoder", file(str(folder / "part-encoder.zip")))
    builder.addMainModel("main", file(str(folder / "part-main.zip")))
    for number, column in enumerate(model.names):
        builder.addMapping(column, "encoder", number)
    builder.buildPipeline(file(str(target)))


# -- in the environment with pipegrad --------------------------------------------------------------


def split(table: pd.DataFrame, seed: int, folder: Path) -> dict[str, pd.DataFrame]:
    """Rows to train on, to stop on and to compare on."""
    order = np.random.default_rng(seed).permutation(len(table))
    first, second = int(0.6 * len(table)), int(0.8 * len(table))
    rows = {"train": order[:first], "valid": order[first:second], "test": order[second:]}
    parts = {name: table.iloc[each].reset_index(drop=True) for name, each in rows.items()}
    for name, part in parts.items():
        part.to_parquet(folder / f"{name}.parquet")
    return parts


def loss(net: Any, table: pd.DataFrame, target: str, task: str) -> float:
    """The loss of the task, in the unit of the table of results."""
    real = table[target].to_numpy()
    if task in ("binomial", "multinomial"):
        place = {label: number for number, label in enumerate(net.classes_)}
        shares = net.predict_proba(table)[np.arange(len(table)), [place[label] for label in real]]
        return float(-np.log(np.maximum(shares, 1e-15)).mean())
    mean = net.predict(table)
    if task == "numbers":
        return float(np.sqrt(np.mean((mean - real) ** 2)))
    mean = np.maximum(mean, 1e-9)
    return float(2 * (mean - real + real * np.log(np.maximum(real, 1) / mean)).mean())


def fine_tune(
    path: Path, parts: dict[str, pd.DataFrame], target: str, task: str, recipe: bool
) -> list[float]:
    """Losses before and after, and the seconds of training; the written file lies beside."""
    import pipegrad as pg

    net = pg.to_torch(path)
    before, start = loss(net, parts["test"], target, task), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PipegradWarning)  # where nothing is better
        if recipe:
            rows = pd.concat([parts["train"], parts["valid"]], ignore_index=True)
            halves = np.split(np.arange(len(rows)), [len(parts["train"])])
            tuner = pg.FineTuner(path, cv=[tuple(halves)], random_state=0)
            net = tuner.fit(rows, target).estimator_
        else:
            known = parts["valid"], parts["valid"][target].to_numpy()
            net.fit(parts["train"], target, lr="auto", epochs=100, validation=known, seed=0)
    seconds = time.perf_counter() - start
    after = loss(net, parts["test"], target, task)
    pg.from_torch(net, path.with_suffix(".tuned.zip"))
    return [before, after, seconds]


def greatest_difference(python: Path, paths: list[Path], folder: Path) -> float:
    """Between what H2O's scorer answers with the written files and what their modules do."""
    import pipegrad as pg

    rows = pd.read_parquet(folder / "test.parquet")[:CHECKED_ROWS]
    rows.to_parquet(folder / "rows.parquet")
    jobs = [[str(p), str(folder / "rows.parquet"), f"{p}.parquet"] for p in paths]
    (folder / "score.json").write_text(json.dumps(jobs))
    subprocess.run([python, RUNTIME, "score", folder / "score.json"], check=True)
    greatest = 0.0
    for path in paths:
        real, mine = pd.read_parquet(f"{path}.parquet"), pg.to_torch(path).columns(rows)
        for name in real:
            column = name.removeprefix("answer:")
            if column != name and column in mine and real[name].dtype.kind == "f":
                gap = np.abs(real[name] - mine[column]) / np.abs(real[name]).max()
                greatest = max(greatest, float(gap.max()))
    return greatest


def study(args: argparse.Namespace) -> None:
    """Print a line for each model."""
    table = pd.read_parquet(args.data).drop(columns=args.drop)
    if len(table) > args.rows:
        table = table.sample(args.rows, random_state=0)
    task = _task(table[args.target], args.counts)
    if task.endswith("nomial"):
        table[args.target] = "class " + table[args.target].astype(str)
    models = [name for name in args.models if name != "encoded" or _texts(table, args.target)]
    found: dict[str, list[list[float]]] = {name: [] for name in models}
    python = Path(args.h2o).resolve() / "bin" / "python"
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / str(seed) for seed in range(args.splits)]
        for folder in folders:
            folder.mkdir()
        parts = [split(table, seed, folder) for seed, folder in enumerate(folders)]
        shared = {"target": args.target, "task": task, "models": models}
        jobs = [{"folder": str(folder), **shared} for folder in folders]
        (Path(temporary) / "jobs.json").write_text(json.dumps(jobs))
        subprocess.run([python, __file__, "train", f"{temporary}/jobs.json"], check=True)
        for folder, each in zip(folders, parts, strict=True):
            for name in models:
                result = fine_tune(folder / f"{name}.zip", each, args.target, task, args.recipe)
                found[name].append(result)
                print(name, folder.name, *(f"{number:.4f}" for number in result), flush=True)
        written = [folders[0] / f"{name}.tuned.zip" for name in models]
        gap = greatest_difference(python, written, folders[0])
    print(f"\n{Path(args.data).stem}, {len(table)} rows, {args.splits} splits")
    print("| model | before | after | change | better in | seconds |\n|---|---|---|---|---|---|")
    for name, results in found.items():
        before, after, seconds = np.array(results).T
        change = after / before - 1
        better = f"{(change < 0).sum()} of {len(change)}"
        numbers = f"{before.mean():.4f} | {after.mean():.4f} | {100 * change.mean():+.1f}%"
        print(f"| {NAMES[name]} | {numbers} | {better} | {seconds.mean():.0f} |")
    print(f"Between H2O with the written files and the modules: {gap:.1e}, relative.")


def _task(target: pd.Series, counts: bool) -> str:
    if counts:
        return "counts"
    if not pd.api.types.is_numeric_dtype(target):
        return "binomial" if target.nunique() == 2 else "multinomial"
    return "numbers"


def _texts(table: pd.DataFrame, target: str) -> list[str]:
    numeric = pd.api.types.is_numeric_dtype
    return [name for name in table if not numeric(table[name]) and name != target]


def main() -> None:
    if sys.argv[1:2] == ["train"]:
        train(json.loads(Path(sys.argv[2]).read_text()))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("h2o", help="the virtual environment with h2o")
    parser.add_argument("data", help="a Parquet file")
    parser.add_argument("target", help="its column of targets")
    parser.add_argument("--counts", action="store_true", help="the targets are counts")
    parser.add_argument("--drop", nargs="*", default=[], help="columns to leave out")
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--recipe", action="store_true", help="FineTuner instead of net.fit")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--splits", type=int, default=3)
    study(parser.parse_args())


if __name__ == "__main__":
    main()
