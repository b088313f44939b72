"""Real Spark, to train models and to score tables with: what `make test-spark` compares with.

python tests/spark_runtime.py install FOLDER                  pyspark from PyPI into FOLDER: 450 MB
FOLDER/bin/python tests/spark_runtime.py train OUT [NAME...]  the models of `CASES`, as archives
FOLDER/bin/python tests/spark_runtime.py score JOBS.json      [model folder, table, result], ...

It needs Java 17 or newer. For each case, `train` writes OUT/NAME.spark, the folder that Spark
saved, and OUT/NAME.parquet, the table that Spark's `transform` makes of the rows in it.
"""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = ["pyspark>=4,<5", "numpy", "pandas", "pyarrow"]


def install(folder: Path) -> None:
    """A virtual environment with pyspark; an error if there is no Java."""
    if shutil.which("java") is None:
        sys.exit("Spark needs Java 17 or newer: install it, and see that `java` is found.")
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


# -- inside of that environment ----------------------------------------------------------------


def session():
    from pyspark.sql import SparkSession

    options = {
        "spark.ui.enabled": "false",
        "spark.driver.memory": "1g",
        "spark.sql.shuffle.partitions": "1",
        "spark.default.parallelism": "1",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        # Null where a statement divides by zero, as in Spark 3, and not an error.
        "spark.sql.ansi.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    builder = SparkSession.builder.master("local[1]")
    for name, value in options.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


NAMES = ["c", "t", "n", "b", "u", "v", "w", "k", "pos", "words", "label", "three", "y", "amount",
         "share", "day"]  # fmt: skip


def rows(count: int, seed: int) -> list[tuple]:
    draw = random.Random(seed)
    found = []
    for i in range(count):
        u, v, w = draw.gauss(0, 1), draw.gauss(2, 3), draw.gauss(-1, 0.5)
        c, t = draw.choice("aaabbc"), draw.choice(["x", "y", "z"])
        shift = {"a": 0.0, "b": 1.0, "c": -1.0}[c]
        score = u + 0.3 * v + shift + draw.gauss(0, 0.5)
        three = 0.0 if score < 0 else 1.0 if score < 1.5 else 2.0
        words = " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 8)))
        found.append((
            c, t, draw.randint(0, 3), draw.random() < 0.5, u, v, w, 3.0, float(draw.randint(0, 4)),
            words, float(score > 0.5), three, 2 * u - v + shift, math.exp(0.3 * u + 0.2 * shift),
            float(draw.random() < 1 / (1 + math.exp(-score))), float(i % 7),
        ))  # fmt: skip
    return found


WORDS = ["Red", "green", "blue", "the", "a", "fox", "Über", "naïve", "fox,", "日本", "x1", "and"]


class Case:
    """What a case trains on, and what it scores."""

    def __init__(self, spark):
        import pyspark.ml.feature as feature

        self.spark, self.feature = spark, feature
        self.train = self.table(rows(60, 0))
        self.test = self.table(rows(24, 1))

    def table(self, content):
        return self.spark.createDataFrame(content, self.schema())

    @staticmethod
    def schema():
        kinds = {"c": "string", "t": "string", "words": "string", "n": "int", "b": "boolean"}
        return ", ".join(f"{name} {kinds.get(name, 'double')}" for name in NAMES)

    def with_rows(self, *changes):
        """The rows to score, the first ones with other values."""
        content = rows(24, 1)
        for number, change in enumerate(changes):
            row = dict(zip(NAMES, content[number]))
            row.update(change)
            content[number] = tuple(row[name] for name in NAMES)
        return self.table(content)

    def assemble(self, names=("u", "v", "w", "k"), made="x"):
        return self.feature.VectorAssembler(inputCols=list(names), outputCol=made)

    def fitted(self, *stages):
        from pyspark.ml import Pipeline

        return Pipeline(stages=list(stages)).fit(self.train)


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def categories(at):
    f = at.feature
    model = at.fitted(
        f.StringIndexer(inputCols=["c", "t"], outputCols=["ci", "ti"], handleInvalid="keep"),
        f.StringIndexer(inputCol="n", outputCol="ni", stringOrderType="alphabetDesc"),
        f.StringIndexer(inputCol="day", outputCol="di"),
        f.OneHotEncoder(inputCols=["ci", "ti"], outputCols=["co", "to"], handleInvalid="keep"),
        f.OneHotEncoder(inputCol="ci", outputCol="cd", handleInvalid="keep", dropLast=False),
        f.OneHotEncoder(inputCols=["ni", "di"], outputCols=["no", "do"]),
        f.OneHotEncoder(inputCol="ni", outputCol="nd", dropLast=False),
        f.VectorAssembler(inputCols=["co", "u", "ni", "b", "no"], outputCol="all",
                          handleInvalid="keep"),
        f.Bucketizer(splits=[-math.inf, -1, 0.5, math.inf], inputCol="u", outputCol="ub",
                     handleInvalid="keep"),
        f.Bucketizer(splitsArray=[[0.0, 1.0, 2.0, 4.0], [-5.0, 0.0, 9.0]],
                     inputCols=["pos", "day"], outputCols=["pb", "db"]),
        f.QuantileDiscretizer(numBuckets=3, inputCol="v", outputCol="vb"),
        f.Binarizer(inputCol="v", outputCol="v1", threshold=1.5),
        f.Binarizer(inputCols=["u", "w"], outputCols=["u1", "w1"], thresholds=[0.0, -1.0]),
        f.IndexToString(inputCol="di", outputCol="day_text"),
    )  # fmt: skip
    nothing = {"c": None, "t": None, "u": math.nan}
    return model, at.with_rows({"c": "new", "pos": 4.0}, nothing, {"c": "", "t": "X"})


@case
def formula(at):
    f = at.feature
    model = at.fitted(
        f.TargetEncoder(inputCols=["n", "day"], outputCols=["ne", "de"], labelCol="y",
                        targetType="continuous", handleInvalid="keep", smoothing=2.0),
        f.TargetEncoder(inputCol="n", outputCol="nb", labelCol="label", handleInvalid="keep"),
        f.StringIndexer(inputCol="t", outputCol="ti"),
        f.Interaction(inputCols=["ti", "u", "v"], outputCol="crossed"),
        f.RFormula(formula="y ~ u + c + v:w + c:v + day + de + nb", labelCol="target",
                   featuresCol="f"),
        at.assemble(["f", "crossed"], "features"),
        _regressor("LinearRegression", labelCol="target", regParam=0.1),
    )  # fmt: skip
    return model, at.with_rows({"n": 9}, {"n": -1}, {"day": 11.0})


@case
def vectors(at):
    f = at.feature
    model = at.fitted(
        at.assemble(),
        f.StandardScaler(inputCol="x", outputCol="std"),
        f.StandardScaler(inputCol="x", outputCol="mean", withMean=True, withStd=False),
        f.StandardScaler(inputCol="x", outputCol="both", withMean=True),
        f.MinMaxScaler(inputCol="x", outputCol="minmax", min=-1.0, max=3.0),
        f.MaxAbsScaler(inputCol="x", outputCol="maxabs"),
        f.RobustScaler(inputCol="x", outputCol="robust"),
        f.RobustScaler(inputCol="x", outputCol="centered", withCentering=True, lower=0.1),
        f.PCA(k=2, inputCol="both", outputCol="pca"),
        f.VectorSizeHint(inputCol="pca", size=2),
        f.PCA(k=3, inputCol="x", outputCol="pca_raw"),
        f.VarianceThresholdSelector(featuresCol="x", outputCol="varying", varianceThreshold=0.5),
        f.UnivariateFeatureSelector(featuresCol="x", labelCol="label", outputCol="univariate",
                                    selectionMode="numTopFeatures")
        .setFeatureType("continuous").setLabelType("categorical").setSelectionThreshold(2),
        at.assemble(["std", "mean", "both", "minmax", "maxabs", "robust", "centered", "pca",
                     "pca_raw"], "everything"),
    )  # fmt: skip
    return model, at.test


@case
def functions(at):
    f = at.feature
    from pyspark.ml.linalg import Vectors

    model = at.fitted(
        at.assemble(),
        f.Normalizer(inputCol="x", outputCol="two"),
        f.Normalizer(inputCol="x", outputCol="one", p=1.0),
        f.Normalizer(inputCol="x", outputCol="three_norm", p=3.0),
        f.Normalizer(inputCol="x", outputCol="most", p=math.inf),
        f.ElementwiseProduct(inputCol="x", outputCol="times",
                             scalingVec=Vectors.dense([1.0, -2.0, 0.0, 0.5])),
        f.PolynomialExpansion(inputCol="x", outputCol="poly2"),
        f.PolynomialExpansion(inputCol="x", outputCol="poly3", degree=3),
        f.DCT(inputCol="x", outputCol="dct"),
        f.DCT(inputCol="x", outputCol="idct", inverse=True),
        f.VectorSlicer(inputCol="x", outputCol="slice", indices=[2, 0]),
        f.Interaction(inputCols=["u", "x", "v"], outputCol="inter"),
        f.Binarizer(inputCol="x", outputCol="xb", threshold=-0.5),
    )  # fmt: skip
    return model, at.with_rows({"u": 0.0, "v": 0.0, "w": 0.0, "k": 0.0})


@case
def imputers(at):
    f = at.feature
    at.train = at.table([
        tuple(math.nan if name == "u" and i % 5 == 0 else value for name, value in zip(NAMES, row))
        for i, row in enumerate(rows(60, 0))
    ])  # fmt: skip
    model = at.fitted(
        f.Imputer(inputCols=["u", "v"], outputCols=["um", "vm"]),
        f.Imputer(inputCol="u", outputCol="umed", strategy="median"),
        f.Imputer(inputCol="pos", outputCol="pm", strategy="mode", missingValue=2.0),
        at.assemble(["um", "vm", "pm", "w"]),
        f.MinMaxScaler(inputCol="x", outputCol="s"),
        _regressor("LinearRegression", featuresCol="s", labelCol="y"),
    )
    return model, at.with_rows({"u": math.nan}, {"v": math.nan, "pos": 2.0})


@case
def nulls(at):
    """Nulls, and NaN, in columns of several types."""
    from decimal import Decimal

    f = at.feature
    schema = "n int, big bigint, d decimal(10,2), x double, s float, b boolean, c string, y double"
    draw = random.Random(3)

    def rows_with_nulls(count, share):
        return [
            tuple(None if draw.random() < share and i < 7 else value for i, value in enumerate((
                draw.randint(0, 3), draw.randint(0, 2) << 40, Decimal(draw.randint(1, 4)) / 4,
                draw.choice([0.5, 1.0, 2.0, math.nan]), draw.choice([0.1, 2.5]),
                draw.random() < 0.5, draw.choice("ab"), draw.gauss(0, 1),
            )))
            for _ in range(count)
        ]  # fmt: skip

    at.train = at.spark.createDataFrame(rows_with_nulls(60, 0.1), schema)
    found = at.spark.createDataFrame(rows_with_nulls(24, 0.3), schema)
    names = ["n", "big", "d", "x", "s"]
    model = at.fitted(
        f.StringIndexer(inputCols=[*names, "c"], outputCols=[f"{n}_index" for n in [*names, "c"]],
                        handleInvalid="keep"),
        f.FeatureHasher(inputCols=[*names, "b", "c"], outputCol="hashed", numFeatures=32),
        f.FeatureHasher(inputCols=["n", "s"], outputCol="hashed_texts", numFeatures=32,
                        categoricalCols=["n", "s"]),
        f.VectorAssembler(inputCols=[*names, "b"], outputCol="all", handleInvalid="keep"),
        f.Bucketizer(splits=[-math.inf, 1.0, math.inf], inputCol="x", outputCol="bucket",
                     handleInvalid="keep"),
        f.Bucketizer(splits=[-math.inf, 2.0, math.inf], inputCol="n", outputCol="n_bucket",
                     handleInvalid="keep"),
        f.Imputer(inputCol="x", outputCol="x_nan", strategy="median"),
        f.Imputer(inputCol="x", outputCol="x_two", missingValue=2.0),
        f.TargetEncoder(inputCols=["n"], outputCols=["n_mean"], labelCol="y",
                        targetType="continuous", handleInvalid="keep"),
        f.VectorAssembler(inputCols=["n_index", "x_nan", "n_mean"], outputCol="features"),
        _regressor("LinearRegression", labelCol="y"),
    )  # fmt: skip
    return model, found


@case
def skips(at):
    """Every stage that may skip rows does; NAME.rows.parquet has the rows that Spark was given."""
    f, skip = at.feature, {"handleInvalid": "skip"}
    stages = [
        f.StringIndexer(inputCols=["c", "t"], outputCols=["ci", "ti"], **skip),
        f.Bucketizer(inputCol="v", outputCol="vb", splits=[-9.0, 0.0, 2.0, 19.0], **skip),
        f.QuantileDiscretizer(inputCol="u", outputCol="ub", numBuckets=3, **skip),
        at.assemble(["ci", "ti", "k"], "ids"),
        f.VectorSizeHint(inputCol="ids", size=3, **skip),
        f.VectorIndexer(inputCol="ids", outputCol="idx", maxCategories=6, **skip),
        f.VectorAssembler(inputCols=["idx", "vb", "ub", "u", "w"], outputCol="x", **skip),
    ]
    from pyspark.ml.classification import LogisticRegression

    model = at.fitted(*stages, LogisticRegression(featuresCol="x", labelCol="label"))
    changes = [{"c": "new"}, {}, {"t": None}, {"v": math.nan}, {"u": math.nan}, {"w": math.nan},
               {"w": None}, {"k": 77.0}, {"c": None, "u": math.nan}, {}, {"v": None}]  # fmt: skip
    return model, at.with_rows(*changes)


@case
def whole_imputers(at):
    """Fillings that Spark rounds to the type of the column."""
    from decimal import Decimal

    f = at.feature
    cells = [(1, Decimal("0.25"), 5), (4, Decimal("1.00"), 5), (None, None, None), (8, None, 7)]
    at.train = at.test = at.spark.createDataFrame(cells, "n int, d decimal(10,2), big bigint")
    return at.fitted(
        f.Imputer(inputCols=["n", "d", "big"], outputCols=["ni", "di", "bi"]),
        f.Imputer(inputCol="n", outputCol="n8", missingValue=8.0),
        at.assemble(["ni", "di", "bi", "n8"]),
    ), at.test


def _regressor(name, **options):
    from pyspark.ml import regression

    return getattr(regression, name)(**options)


def _classifier(name, **options):
    from pyspark.ml import classification

    return getattr(classification, name)(**options)


def _named(prefix):
    return {
        "predictionCol": f"{prefix}_prediction",
        "probabilityCol": f"{prefix}_probability",
        "rawPredictionCol": f"{prefix}_raw",
    }


@case
def linear_regressions(at):
    def general(prefix, **options):
        return _regressor("GeneralizedLinearRegression", featuresCol="x", predictionCol=prefix,
                          linkPredictionCol=f"{prefix}_link", **options)  # fmt: skip

    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        _regressor("LinearRegression", featuresCol="x", labelCol="y", predictionCol="plain"),
        _regressor("LinearRegression", featuresCol="x", labelCol="y", predictionCol="through_zero",
                   fitIntercept=False, regParam=0.1),
        _regressor("LinearRegression", featuresCol="x", labelCol="y", predictionCol="huber",
                   loss="huber"),
        general("gaussian", labelCol="y"),
        general("offset", labelCol="amount", family="gamma", link="log", offsetCol="w"),
        general("poisson", labelCol="pos", family="poisson"),
        general("poisson_root", labelCol="pos", family="poisson", link="sqrt"),
        general("gamma", labelCol="amount", family="gamma", link="inverse"),
        general("logit", labelCol="share", family="binomial"),
        general("probit", labelCol="share", family="binomial", link="probit"),
        general("cloglog", labelCol="share", family="binomial", link="cloglog"),
        general("tweedie", labelCol="amount", family="tweedie", variancePower=1.5, linkPower=0.0),
        general("tweedie_power", labelCol="amount", family="tweedie", variancePower=1.5,
                linkPower=-0.5),
        _regressor("FMRegressor", featuresCol="x", labelCol="y", predictionCol="machine",
                   factorSize=2, maxIter=5),
        _regressor("IsotonicRegression", featuresCol="x", labelCol="y", predictionCol="isotonic"),
        _regressor("IsotonicRegression", featuresCol="x", labelCol="y", predictionCol="antitonic",
                   featureIndex=1, isotonic=False),
        _regressor("LinearRegression", featuresCol="x", labelCol="y", predictionCol="last",
                   regParam=0.01),
    )  # fmt: skip
    return model, at.test


@case
def poisson(at):
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        _regressor("GeneralizedLinearRegression", featuresCol="x", labelCol="pos",
                   family="poisson", linkPredictionCol="eta"),
    )  # fmt: skip
    return model, at.test


@case
def probit(at):
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        _regressor("GeneralizedLinearRegression", featuresCol="x", labelCol="share",
                   family="binomial", link="probit", offsetCol="w"),
    )  # fmt: skip
    return model, at.test


@case
def survival(at):
    from pyspark.sql.functions import lit

    at.train, at.test = (t.withColumn("censor", lit(1.0)) for t in (at.train, at.test))
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        _regressor("AFTSurvivalRegression", featuresCol="x", labelCol="amount",
                   censorCol="censor", quantilesCol="quantiles",
                   quantileProbabilities=[0.1, 0.5, 0.9]),
    )  # fmt: skip
    return model, at.test


@case
def isotonic(at):
    return at.fitted(_regressor("IsotonicRegression", featuresCol="u", labelCol="y")), at.test


@case
def machine(at):
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        _classifier("FMClassifier", featuresCol="x", factorSize=2, maxIter=5, fitLinear=False),
    )
    return model, at.test


def _indexed(at, invalid="keep"):
    f = at.feature
    return [
        f.StringIndexer(inputCols=["c", "t"], outputCols=["ci", "ti"], handleInvalid=invalid),
        at.assemble(["ci", "u", "ti", "v"]),
        f.VectorIndexer(inputCol="x", outputCol="xi", maxCategories=5, handleInvalid="keep"),
    ]


@case
def tree_regressions(at):
    def made(name, prefix, **options):
        return _regressor(name, featuresCol="xi", labelCol="y", predictionCol=prefix, maxDepth=3,
                          seed=1, **options)  # fmt: skip

    model = at.fitted(
        *_indexed(at),
        made("DecisionTreeRegressor", "tree"),
        made("RandomForestRegressor", "forest", numTrees=3),
        made("GBTRegressor", "boosted_absolute", maxIter=3, lossType="absolute"),
        made("GBTRegressor", "boosted", maxIter=4, stepSize=0.3),
    )
    return model, at.with_rows({"c": "new"}, {"t": None}, {"u": 1e300})


@case
def tree_categories(at):
    """Categories that a tree has not seen, on either side of its splits."""
    from pyspark.sql.functions import expr

    indexer = at.feature.StringIndexer(inputCols=["c", "day"], outputCols=["ci", "di"])
    indexer = indexer.fit(at.train)
    at.train, test = indexer.transform(at.train), indexer.transform(at.test)
    model = at.fitted(
        at.assemble(["ci", "di"]),
        _regressor("RandomForestRegressor", featuresCol="x", labelCol="y", maxDepth=4, numTrees=6,
                   seed=1),
    )  # fmt: skip
    for name in ("ci", "di"):
        odd = f"case when u > 0.5 then 9.0 when w < -1.4 then -1.0 else {name} end"
        test = test.withColumn(name, expr(odd))
    return model, test


@case
def tree(at):
    model = at.fitted(
        *_indexed(at),
        _classifier("DecisionTreeClassifier", featuresCol="xi", labelCol="three", maxDepth=3),
    )
    return model, at.with_rows({"c": "new"})


@case
def tree_regression(at):
    model = at.fitted(
        at.assemble(["u", "v"]),
        _regressor("DecisionTreeRegressor", featuresCol="x", labelCol="y", maxDepth=3),
    )
    return model, at.test


@case
def forest(at):
    model = at.fitted(
        *_indexed(at),
        _classifier("RandomForestClassifier", featuresCol="xi", labelCol="three", maxDepth=3,
                    numTrees=4, seed=1).setThresholds([0.5, 0.2, 0.3]),
    )  # fmt: skip
    return model, at.with_rows({"c": "new"})


@case
def forest_regression(at):
    model = at.fitted(
        at.assemble(["u", "v"]),
        _regressor("RandomForestRegressor", featuresCol="x", labelCol="y", maxDepth=3, numTrees=3,
                   seed=1),
    )  # fmt: skip
    return model, at.test


@case
def boosted(at):
    model = at.fitted(
        *_indexed(at),
        _classifier("GBTClassifier", featuresCol="xi", maxDepth=3, maxIter=4, seed=1),
    )
    return model, at.with_rows({"c": "new"})


@case
def text_labels(at):
    f = at.feature
    from pyspark.ml.feature import IndexToString

    indexer = f.StringIndexer(inputCol="c", outputCol="label_index").fit(at.train)
    model = at.fitted(
        indexer,
        at.assemble(["u", "v", "w", "pos"]),
        f.StandardScaler(inputCol="x", outputCol="s", withMean=True),
        f.PCA(k=3, inputCol="s", outputCol="p"),
        _classifier("LogisticRegression", featuresCol="p", labelCol="label_index",
                    family="multinomial", regParam=0.01),
        IndexToString(inputCol="prediction", outputCol="answer", labels=indexer.labels),
    )  # fmt: skip
    return model, at.test


@case
def logistic(at):
    f = at.feature
    model = at.fitted(
        f.StringIndexer(inputCols=["c", "t"], outputCols=["ci", "ti"]),
        f.OneHotEncoder(inputCols=["ci", "ti"], outputCols=["co", "to"]),
        at.assemble(["co", "to", "u", "v", "k"], "a"),
        f.StandardScaler(inputCol="a", outputCol="x"),
        _classifier("LogisticRegression", featuresCol="x", threshold=0.3, regParam=0.01),
    )
    return model, at.test


@case
def linear_classifiers(at):
    f = at.feature
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        _classifier("LogisticRegression", featuresCol="x", thresholds=[0.4, 0.8], **_named("pair")),
        _classifier("LogisticRegression", featuresCol="x", labelCol="three", fitIntercept=False,
                    thresholds=[0.3, 0.0, 0.7], **_named("several")),
        _classifier("LogisticRegression", featuresCol="x", family="multinomial", **_named("two")),
        _classifier("LinearSVC", featuresCol="x", threshold=0.2, predictionCol="svc",
                    rawPredictionCol="svc_raw", maxIter=5),
        at.assemble(["pos", "k", "day"], "counts"),
        f.Binarizer(inputCol="counts", outputCol="bits", threshold=1.5),
        _classifier("NaiveBayes", featuresCol="counts", labelCol="three", **_named("multinomial")),
        _classifier("NaiveBayes", featuresCol="counts", labelCol="three", modelType="complement",
                    **_named("complement")),
        _classifier("NaiveBayes", featuresCol="bits", labelCol="three", modelType="bernoulli",
                    **_named("bernoulli")),
        _classifier("NaiveBayes", featuresCol="x", labelCol="three", modelType="gaussian",
                    **_named("gaussian")),
    )  # fmt: skip
    return model, at.test


@case
def naive_bayes_bernoulli(at):
    f = at.feature
    model = at.fitted(
        at.assemble(["pos", "k", "day"], "counts"),
        f.Binarizer(inputCol="counts", outputCol="features", threshold=1.5),
        _classifier("NaiveBayes", labelCol="three", modelType="bernoulli"),
    )
    return model, at.test


@case
def svc(at):
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        at.feature.RobustScaler(inputCol="x", outputCol="r", withCentering=True),
        at.feature.MaxAbsScaler(inputCol="r", outputCol="m"),
        _classifier("LinearSVC", featuresCol="m", maxIter=5),
    )
    return model, at.test


@case
def network(at):
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        _classifier("MultilayerPerceptronClassifier", featuresCol="x", labelCol="three",
                    layers=[3, 4, 2, 3], maxIter=10, seed=1),
    )  # fmt: skip
    return model, at.test


@case
def one_vs_rest(at):
    inner = _classifier("LogisticRegression", regParam=0.05)
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        _classifier("OneVsRest", classifier=inner, featuresCol="x", labelCol="three"),
    )
    return model, at.test


@case
def clusters(at):
    from pyspark.ml import clustering

    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        clustering.KMeans(featuresCol="x", k=3, seed=1, predictionCol="cosine",
                          distanceMeasure="cosine"),
        clustering.GaussianMixture(featuresCol="x", k=2, seed=1, predictionCol="mixture",
                                   probabilityCol="shares", maxIter=5),
        clustering.BisectingKMeans(featuresCol="x", k=4, seed=1, predictionCol="bisected"),
        clustering.BisectingKMeans(featuresCol="x", k=3, seed=1, predictionCol="bisected_cosine",
                                   distanceMeasure="cosine"),
        clustering.KMeans(featuresCol="x", k=3, seed=1),
    )  # fmt: skip
    return model, at.with_rows({"u": 1e6})


@case
def mixture(at):
    from pyspark.ml import clustering

    model = at.fitted(
        at.assemble(["u", "v"]), clustering.GaussianMixture(featuresCol="x", k=2, seed=1, maxIter=5)
    )
    return model, at.test


@case
def texts(at):
    f = at.feature
    model = at.fitted(
        f.Tokenizer(inputCol="words", outputCol="terms"),
        f.RegexTokenizer(inputCol="words", outputCol="parts", pattern="\\W", minTokenLength=2),
        f.RegexTokenizer(inputCol="words", outputCol="found", pattern="\\w+", gaps=False,
                         toLowercase=False),
        f.StopWordsRemover(inputCol="terms", outputCol="kept"),
        f.StopWordsRemover(inputCol="found", outputCol="cased", caseSensitive=True,
                           stopWords=["Red", "fox"]),
        f.NGram(inputCol="terms", outputCol="pairs"),
        f.HashingTF(inputCol="terms", outputCol="hashes", numFeatures=32),
        f.HashingTF(inputCol="pairs", outputCol="wide", binary=True),
        f.CountVectorizer(inputCol="kept", outputCol="counts", minDF=2.0),
        f.CountVectorizer(inputCol="kept", outputCol="often", minTF=0.3, binary=True),
        f.IDF(inputCol="hashes", outputCol="idf", minDocFreq=3),
        f.Word2Vec(inputCol="terms", outputCol="meaning", vectorSize=3, minCount=1, seed=1),
        f.FeatureHasher(inputCols=["c", "n", "u", "b", "day"], outputCol="hashed", numFeatures=64,
                        categoricalCols=["day"]),
        at.assemble(["idf", "counts", "u", "meaning", "hashed"]),
        _classifier("LogisticRegression", featuresCol="x", regParam=0.1),
    )  # fmt: skip
    return model, at.with_rows({"words": ""}, {"words": "  two  spaces "}, {"words": "fox\tfox"})


@case
def hashes(at):
    f = at.feature
    model = at.fitted(
        at.assemble(["u", "v", "w"]),
        f.StandardScaler(inputCol="x", outputCol="s"),
        f.BucketedRandomProjectionLSH(inputCol="s", outputCol="buckets", bucketLength=0.7,
                                      numHashTables=3, seed=1),
        f.BucketedRandomProjectionLSH(inputCol="x", outputCol="bucket", bucketLength=2.5, seed=2),
        at.assemble(["pos", "n", "day", "k"], "counts"),
        f.MinHashLSH(inputCol="counts", outputCol="least", numHashTables=4, seed=1),
        f.Tokenizer(inputCol="words", outputCol="terms"),
        f.HashingTF(inputCol="terms", outputCol="wide"),
        f.MinHashLSH(inputCol="wide", outputCol="wide_least", numHashTables=2, seed=2),
        _regressor("LinearRegression", featuresCol="s", labelCol="y"),
    )  # fmt: skip
    return model, at.test


@case
def topics(at):
    from pyspark.ml import clustering

    f = at.feature
    model = at.fitted(
        f.Tokenizer(inputCol="words", outputCol="terms"),
        f.CountVectorizer(inputCol="terms", outputCol="counts"),
        f.HashingTF(inputCol="terms", outputCol="hashes", numFeatures=512),
        clustering.LDA(featuresCol="counts", k=3, maxIter=4, seed=1, topicDistributionCol="few",
                       docConcentration=[0.1, 0.5, 2.0], optimizeDocConcentration=False),
        clustering.LDA(featuresCol="hashes", k=7, maxIter=3, seed=2, topicDistributionCol="many"),
        clustering.LDA(featuresCol="counts", k=2, maxIter=10, seed=3, subsamplingRate=0.5),
    )  # fmt: skip
    return model, at.with_rows({"words": "unknown"}, {"words": "fox " * 500}, {"words": "fox a"})


@case
def selector(at):
    f = at.feature
    model = at.fitted(
        at.assemble(["pos", "k", "day", "n", "label"], "counts"),
        f.ChiSqSelector(featuresCol="counts", labelCol="three", outputCol="chosen",
                        numTopFeatures=3),
        f.ChiSqSelector(featuresCol="counts", labelCol="three", outputCol="sure",
                        selectorType="fpr", fpr=0.05),
        _classifier("LogisticRegression", featuresCol="chosen", labelCol="three", regParam=0.1),
    )  # fmt: skip
    return model, at.test


PATTERNS = [
    r"[^\p{L}\p{N}]+", r"\s*,\s*|\s+", r"(?i)the|FOX", r"[\p{Punct}\s&&[^,]]+",
    r"(?<=[a-z])(?=[\W_])",
    r"\Qx1\E|[\h\v]", "", r"a*+", r"(?:\w(?!\w))+?",
]  # fmt: skip


@case
def patterns(at):
    tokens = [
        at.feature.RegexTokenizer(inputCol="words", outputCol=f"{kind}_{i}", pattern=pattern,
                                  gaps=kind == "split", minTokenLength=i % 3,
                                  toLowercase=i % 2 == 0)
        for i, pattern in enumerate(PATTERNS)
        for kind in ("split", "found")
    ]  # fmt: skip
    count = at.feature.HashingTF(inputCol="split_0", outputCol="features", numFeatures=16)
    line = _regressor("LinearRegression", labelCol="y", regParam=0.1)
    return at.fitted(*tokens, count, line), at.with_rows(
        {"words": ""}, {"words": " , a"}, {"words": "..."}, {"words": "THE Fox_and\tÜber--x1"}
    )


@case
def nested(at):
    f = at.feature
    inner = at.fitted(
        at.assemble(["u", "v", "w"]), f.StandardScaler(inputCol="x", outputCol="features")
    )
    from pyspark.ml import Pipeline
    from pyspark.ml.evaluation import RegressionEvaluator
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    line = _regressor("LinearRegression", labelCol="y")
    grid = ParamGridBuilder().addGrid(line.regParam, [0.0, 0.5]).build()
    search = CrossValidator(estimator=line, estimatorParamMaps=grid, numFolds=2, seed=1,
                            evaluator=RegressionEvaluator(labelCol="y"))  # fmt: skip
    return Pipeline(stages=[inner, search]).fit(at.train), at.test


@case
def single(at):
    at.train, at.test = (at.assemble(["u", "v"], "features").transform(t)
                         for t in (at.train, at.test))  # fmt: skip
    return _regressor("LinearRegression", labelCol="y").fit(at.train), at.test


@case
def leaves(at):
    def made(name, kind, **options):
        classes = name.endswith("Classifier")
        label = "y" if not classes else "label" if name.startswith("GBT") else "three"
        stage = (_classifier if classes else _regressor)(
            name, featuresCol="xi", seed=1, maxDepth=3, labelCol=label, leafCol=f"{kind}_leaf",
            predictionCol=kind, **options)  # fmt: skip
        if classes:
            stage.setProbabilityCol(f"{kind}_probability").setRawPredictionCol(f"{kind}_raw")
        return stage

    model = at.fitted(
        *_indexed(at),
        made("DecisionTreeRegressor", "tree", varianceCol="variance"),
        made("RandomForestRegressor", "forest", numTrees=3),
        made("GBTRegressor", "boosted", maxIter=3),
        made("DecisionTreeClassifier", "tree_classes"),
        made("RandomForestClassifier", "forest_classes", numTrees=3),
        made("GBTClassifier", "boosted_classes", maxIter=3),
    )
    return model, at.with_rows({"c": "new"}, {"t": None}, {"u": 1e300})


@case
def als(at):
    from pyspark.ml.recommendation import ALS

    draw = random.Random(5)
    ratings = [(draw.randint(0, 9) * 7, draw.randint(0, 6) + 100, float(draw.randint(1, 5)))
               for _ in range(60)]  # fmt: skip
    at.train = at.spark.createDataFrame(ratings, "who int, what bigint, stars double")
    test = [*ratings[:20], (1, 100, 3.0), (7, 5, 3.0), (8, 9, 2.0)]
    model = at.fitted(
        ALS(
            userCol="who",
            itemCol="what",
            ratingCol="stars",
            rank=4,
            maxIter=3,
            seed=1,
            numItemBlocks=1,
        )
    )
    return model, at.spark.createDataFrame(test, "who int, what bigint, stars double")


SQL = """
SELECT *, u + v * 2 AS s1, u - -v AS s2, u / v AS s3, v / (n - n) AS s4, pos % 3 AS s5,
  (u + v) % w AS s6, -n AS s7, n + 1 AS s8, n * 2L AS s9, n / 2 AS s10, n % 2 AS s11,
  abs(u) AS f1, sqrt(abs(v)) AS f2, sqrt(u) AS f3, exp(u) AS f4, ln(pos) AS f5, log(v) AS f6,
  log10(pos + 1) AS f7, log1p(u / 1e9) AS f8, expm1(u / 1e9) AS f9, pow(v, 2) AS f10,
  power(abs(u), 0.5) AS f11, greatest(u, v, w) AS f12, least(u, b_null, v) AS f13,
  coalesce(b_null, u) AS f14, log(2, pos + 1) AS f15, log2(pos) AS f16, floor(v) AS f17,
  ceil(v) AS f18, round(v) AS f19, round(v, 2) AS f20, tanh(u) AS f21, sign(v) AS f22,
  atan2(u, v) AS f23, cbrt(v) AS f24, nanvl(b_nan, u) AS f25, greatest(b_nan, u) AS f26,
  u > v AS c1, u >= 0 AND v < 2 AS c2, b_null > 0 OR u > 0 AS c3, NOT b_null > 0 AS c4,
  b_null IS NULL AS c5, b_null IS NOT NULL AS c6, n BETWEEN 1 AND 2 AS c7, n IN (0, 3) AS c8,
  n NOT IN (0, 3) AS c9, b_nan = b_nan AS c10, b_nan > 1e300 AS c11, u <=> b_null AS c12,
  isnan(b_nan) AS c13, c = 'a' AS c14, c < "b" AS c15, b AND u > 0 AS c16,
  CASE WHEN u > 0 THEN v WHEN u > -0.5 THEN w END AS k1, if(b_null > 0, 1.0D, u) AS k2,
  CASE c WHEN 'a' THEN 1 WHEN 'b' THEN 2 ELSE 3 END AS k3, nullif(n, 2) AS k4,
  CAST(n AS double) AS t1, int(v) AS t2, cast(b AS int) AS t3, double(b) * 2 AS t4,
  upper(c) AS x1, concat(c, '_', t) AS x2, c || `t` AS x3, length(words) AS x4,
  CAST(n AS string) AS x5, CAST(u > 0 AS string) AS x6, CASE WHEN n = 2 THEN NULL ELSE c END AS x7,
  cast(n * 0.5 as string) AS x8, n * 0.25 + 1 AS x9, cast(pos AS string) AS x10
FROM __THIS__
"""


@case
def sql(at):
    from pyspark.sql.functions import expr

    f = at.feature
    added = {"b_null": "if(n = 1, NULL, v)", "b_nan": "if(n = 0, double('NaN'), w)"}
    at.train, at.test = (
        table.withColumns({name: expr(text) for name, text in added.items()})
        for table in (at.train, at.test)
    )
    made = ["s1", "s2", "f1", "f2", "f13", "c1", "c8", "k3", "t1", "n_next", "k3_index"]
    model = at.fitted(
        f.SQLTransformer(statement=SQL),
        f.SQLTransformer(statement="SELECT *, n + 1 AS n_next FROM __THIS__"),
        f.StringIndexer(inputCols=["n_next", "k3", "x2", "x5"], handleInvalid="keep",
                        outputCols=["n_next_index", "k3_index", "x2_index", "x5_index"]),
        f.Imputer(inputCol="b_null", outputCol="filled"),
        f.SQLTransformer(statement="SELECT *, log1p(abs(filled)) / (1 + exp(-u)) AS m1, "
                         "IF(filled > 0 AND u > 0, filled, -n) AS m2, "
                         "greatest(filled, u) * k3_index AS m3 FROM __THIS__"),
        at.assemble([*made, "m1", "m2", "m3"]),
        _regressor("LinearRegression", featuresCol="x", labelCol="y", predictionCol="p",
                   regParam=0.1),
        f.SQLTransformer(statement="SELECT *, exp(p) AS back, p > 0 OR p IS NULL AS positive, "
                         "p / n AS ratio, coalesce(p / n, least(p, 0)) AS never FROM __THIS__"),
    )  # fmt: skip
    return model, at.test


@case
def without_translation(at):
    f = at.feature
    model = at.fitted(
        f.SQLTransformer(statement="SELECT *, cast(hash(c) % 7 AS double) AS total FROM __THIS__"),
        at.assemble(["u", "v"]),
        at.assemble(["x", "total"], "features"),
        _regressor("LinearRegression", labelCol="y"),
    )
    return model, at.test


def train(out: Path, names: list[str]) -> None:
    spark = session()
    out.mkdir(parents=True, exist_ok=True)
    for name in names or CASES:
        try:
            model, test = CASES[name](Case(spark))
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / name
                model.write().save(str(folder))
                _zipped(folder, out / f"{name}.spark")
                answer = model.transform(test)
                _as_parquet(answer, out / f"{name}.parquet")
                if answer.count() < test.count():
                    _as_parquet(test, out / f"{name}.rows.parquet")
            print(name, (out / f"{name}.spark").stat().st_size, flush=True)
        except Exception as error:  # the next cases are still worth knowing
            print(name, error, flush=True)


def _zipped(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for place in sorted(folder.rglob("*")):
            if place.is_file():
                entry = zipfile.ZipInfo(place.relative_to(folder).as_posix())
                entry.compress_type = zipfile.ZIP_DEFLATED
                file.writestr(entry, place.read_bytes())


def _as_parquet(table, target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        table.coalesce(1).write.parquet(f"{scratch}/table")
        (part,) = Path(scratch, "table").glob("part-*.parquet")
        shutil.copy(part, target)


def score(jobs: list[list[str]]) -> None:
    from pyspark.ml.util import DefaultParamsReader

    spark = session()
    for folder, table, result in jobs:
        try:
            model = DefaultParamsReader.loadParamsInstance(folder, spark.sparkContext)
            given = spark.read.parquet(table)
            made = [name for name in _outputs(model) if name in given.columns]
            _as_parquet(model.transform(given.drop(*made)), Path(result))
        except Exception as error:  # the next jobs are still worth knowing
            Path(f"{result}.error").write_text(f"{error}")


def _outputs(model) -> list[str]:
    """The columns that a model writes."""
    if hasattr(model, "bestModel"):
        return _outputs(model.bestModel)
    if hasattr(model, "stages"):
        return [name for stage in model.stages for name in _outputs(stage)]
    if type(model).__name__ == "SQLTransformer":
        return re.findall(r"(?i)\bas (\w+)(?=,| from)", " ".join(model.getStatement().split()))
    if type(model).__name__ == "RFormulaModel":
        return [model.getOrDefault("featuresCol"), model.getOrDefault("labelCol")]
    found = []
    for name in ("outputCol", "predictionCol", "probabilityCol", "rawPredictionCol", "outputCols",
                 "linkPredictionCol", "quantilesCol", "leafCol", "varianceCol",
                 "topicDistributionCol"):  # fmt: skip
        if model.hasParam(name) and model.isDefined(name):
            value = model.getOrDefault(name)
            found += [value] if isinstance(value, str) else value
    return found


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "install":
        install(Path(arguments[0]).resolve())
    elif what == "train":
        train(Path(arguments[0]), arguments[1:])
    else:
        score(json.loads(Path(arguments[0]).read_text()))
