"""Fine-tunes pipelines that Spark trained, on public data: test loss before and after.

python benchmarks/accuracy/spark_pipelines.py --data FOLDER --output results.csv

It needs pyspark and Java; docs/data.md says how to make the files in FOLDER. Spark trains each
pipeline on 60% of the rows, `FineTuner` starts from the model and sees 20% that are new to it, and
the last 20% are the test. "Refitted" is Spark's pipeline fitted anew on all 80%. Where `FineTuner`
finds no gain beyond noise, it keeps Spark's model.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.ml import Pipeline, classification, feature, regression
from pyspark.sql import SparkSession
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error

import pipegrad as pg

MOST_ROWS = 10_000
Frame = pd.DataFrame


def indicators(names: list[str]) -> list[Any]:
    indices = [f"{name}_index" for name in names]
    codes = [f"{name}_code" for name in names]
    indexer = feature.StringIndexer(inputCols=names, outputCols=indices, handleInvalid="keep")
    encoder = feature.OneHotEncoder(inputCols=indices, outputCols=codes, handleInvalid="keep")
    return [indexer, encoder]


def scaled(table: Frame, target: str, projected: int = 0) -> list[Any]:
    """All columns in one vector of standard scores, or of principal components of these."""
    texts = [n for n in table if n != target and not pd.api.types.is_numeric_dtype(table[n])]
    numbers = [name for name in table if name != target and name not in texts]
    inputs = [*numbers, *(f"{name}_code" for name in texts)]
    stages = indicators(texts) if texts else []
    stages += [
        feature.VectorAssembler(inputCols=inputs, outputCol="all", handleInvalid="keep"),
        feature.StandardScaler(inputCol="all", outputCol="scaled" if projected else "features",
                               withMean=True),
    ]  # fmt: skip
    if projected:
        stages.append(feature.PCA(k=projected, inputCol="scaled", outputCol="features"))
    return stages


def labels(target: str) -> Any:
    return feature.StringIndexer(inputCol=target, outputCol="label")


@dataclass
class Case:
    """A data set, its target, a pipeline, and the loss on the test rows."""

    data: str
    target: str
    name: str
    stages: Callable[[Frame, str], list[Any]]
    kind: str


CASES = [
    Case("adult", "income", "PCA + LogisticRegression", lambda t, y: [
        labels(y), *scaled(t, y, 10), classification.LogisticRegression()], "log loss"),
    Case("letter", "letter", "PCA + LogisticRegression", lambda t, y: [
        labels(y), *scaled(t, y, 8), classification.LogisticRegression()], "log loss"),
    Case("phoneme", "oral", "MultilayerPerceptron", lambda t, y: [
        labels(y), *scaled(t, y), classification.MultilayerPerceptronClassifier(
            layers=[5, 12, 2], seed=0)], "log loss"),
    Case("credit_default_tw", "default_next_month", "GBT", lambda t, y: [
        labels(y), *scaled(t, y), classification.GBTClassifier(seed=0)], "log loss"),
    Case("credit_default_tw", "default_next_month", "LogisticRegression", lambda t, y: [
        labels(y), *scaled(t, y), classification.LogisticRegression()], "log loss"),
    Case("sms_spam", "spam", "HashingTF + IDF + NaiveBayes", lambda t, y: [
        labels(y), feature.Tokenizer(inputCol="text", outputCol="terms"),
        feature.HashingTF(inputCol="terms", outputCol="counts", numFeatures=2048),
        feature.IDF(inputCol="counts", outputCol="features"),
        classification.NaiveBayes()], "log loss"),
    Case("bike_sharing_hourly", "cnt", "PCA + GeneralizedLinearRegression (Poisson)",
         lambda t, y: [*scaled(t, y, 5), feature.PolynomialExpansion(
             inputCol="features", outputCol="powers", degree=3),
             regression.GeneralizedLinearRegression(
                 family="poisson", labelCol=y, featuresCol="powers", regParam=1e-3)],
         "Poisson deviance"),
    Case("california_housing", "median_house_value", "PCA + PolynomialExpansion + "
         "LinearRegression", lambda t, y: [
        feature.Imputer(inputCol="total_bedrooms", outputCol="bedrooms"),
        *scaled(t.drop(columns="total_bedrooms").assign(bedrooms=0.0), y, 6),
        feature.PolynomialExpansion(inputCol="features", outputCol="powers", degree=2),
        regression.LinearRegression(labelCol=y, featuresCol="powers")], "squared error"),
    Case("diamonds", "price", "RandomForest", lambda t, y: [
        *scaled(t, y), regression.RandomForestRegressor(labelCol=y, seed=0)], "squared error"),
    Case("wine_quality", "quality", "FMRegressor", lambda t, y: [
        *scaled(t, y), regression.FMRegressor(labelCol=y, seed=0, factorSize=4)],
        "squared error"),
]  # fmt: skip


def loss_of(kind: str, model: Any, rows: Frame, target: str) -> float:
    if kind == "log loss":
        order = np.argsort([str(label) for label in model.classes_])  # scikit-learn's own
        known = np.asarray(model.classes_)[order].astype(str)
        shares = model.predict_proba(rows)[:, order]
        return float(log_loss(rows[target].astype(str), shares, labels=known))
    predicted = model.predict(rows)
    if kind == "Poisson deviance":
        return float(mean_poisson_deviance(rows[target], predicted))
    return float(mean_squared_error(rows[target], predicted) / rows[target].var(ddof=0))


def run(case: Case, table: Frame, seed: int, spark: SparkSession) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(table))[:MOST_ROWS]
    cut = len(order) // 5
    test, new, old, both = (
        table.iloc[rows].reset_index(drop=True)
        for rows in (order[:cut], order[cut : 2 * cut], order[2 * cut :], order[cut:])
    )
    pipeline = Pipeline(stages=case.stages(table, case.target))
    began = time.monotonic()
    model = pipeline.fit(spark.createDataFrame(old))
    fitted = time.monotonic()
    before = pg.to_torch(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Fine-tuning kept")
        tuner = pg.FineTuner(model, random_state=seed).fit(new, case.target)
    tuned = time.monotonic()
    again = pg.to_torch(pipeline.fit(spark.createDataFrame(both)))
    models = (before, tuner.estimator_, again)
    losses = [loss_of(case.kind, one, test, case.target) for one in models]
    return {
        "data": case.data,
        "pipeline": case.name,
        "loss": case.kind,
        "seed": seed,
        "before": losses[0],
        "after": losses[1],
        "refitted": losses[2],
        "improved": tuner.improved_,
        "chosen": tuner.report_.chosen or "",
        "spark_seconds": fitted - began,
        "seconds": tuned - fitted,
    }


def summary(results: Frame) -> str:
    """A table in Markdown: means over the splits."""
    lines = ["| data | pipeline | test loss | Spark's | fine-tuned | change | refitted | kept |",
             "|---|---|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for (data, name, kind), rows in results.groupby(["data", "pipeline", "loss"], sort=False):
        change = 100 * (rows.after / rows.before - 1)
        lines.append(
            f"| {data} | {name} | {kind} | {rows.before.mean():.4g} | {rows.after.mean():.4g} | "
            f"{change.mean():+.1f}% ({change.min():+.1f} to {change.max():+.1f}) | "
            f"{rows.refitted.mean():.4g} | {(~rows.improved).sum()} of {len(rows)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("spark_pipelines.csv"))
    parser.add_argument("--splits", type=int, default=3)
    options = parser.parse_args()
    spark = (
        SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    found: list[dict[str, Any]] = []
    for seed in range(options.splits):
        for case in CASES:
            table = pd.read_parquet(options.data / f"{case.data}.parquet")
            found.append(run(case, table, seed, spark))
            print({k: v for k, v in found[-1].items() if k != "loss"}, flush=True)
            pd.DataFrame(found).to_csv(options.output, index=False)
    print(summary(pd.DataFrame(found)))
    spark.stop()


if __name__ == "__main__":
    main()
