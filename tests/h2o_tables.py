"""The rows that the models of `tests/h2o_runtime.py` learn and score, and what a case is."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Iterator
from typing import Any

import pandas as pd

TEXTS = {"c", "t", "big", "code", "words", "label", "three", "ord", "event", "treatment"}
NUMBERS = ["u", "v", "w"]
MIXED = ["u", "v", "c", "t"]
ALL = ["u", "v", "w", "k", "n", "c", "t", "big", "code", "day"]
DAY = 86_400_000.0
# Levels that a file of levels must quote or escape, among plain ones.
BIG = ['"q" yes', "back\\nslash\\", "two\nlines", "a,b", "Übér, 日本", " padded "]
BIG += ["x=1: 2", "#hash", "[info]"]
BIG += [f"level{i:02d}" for i in range(33)]
WORDS = ["red", "green", "blue", "fox", "the", "a", "Über", "naïve"]


def _row(draw: random.Random, number: int) -> dict[str, Any]:
    u, v, w = draw.gauss(0, 1), draw.gauss(2, 3), draw.gauss(-1, 0.5)
    c, t, big = draw.choice("aaabbc"), draw.choice(["x", "y", "z", "zz"]), draw.choice(BIG)
    shift = {"a": 0.0, "b": 1.0, "c": -1.0}[c] + 0.1 * (BIG.index(big) % 5)
    score = u + 0.3 * v + shift + draw.gauss(0, 0.5)
    chance = 1 / (1 + math.exp(-score))
    mean = math.exp(0.3 * u + 0.2 * shift)
    treated = draw.random() < 0.5
    return {
        "u": u, "v": v, "w": w, "k": 3.0, "n": draw.randint(0, 4) + draw.choice([0, 1e-9, -1e-9]),
        "c": c, "t": t, "big": big, "code": draw.choice(["1", "2", "10", ""]),
        "day": 1.6e12 + DAY * draw.randint(0, 400),
        "words": " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 6))),
        "offset": draw.gauss(0, 0.3), "weight": float(draw.choice([1, 1, 2])),
        "y": 2 * u - v + shift + draw.gauss(0, 0.1),
        "label": "yes" if draw.random() < chance else "no",
        "bit": float(draw.random() < chance), "share": min(max(chance, 0.01), 0.99),
        "three": "low" if score < 0 else "mid" if score < 1.5 else "top",
        "ord": "1st" if score < 0 else "2nd" if score < 1.5 else "3rd",
        "count": float(min(int(mean * draw.expovariate(1)), 9)),
        "amount": mean * (0.2 + draw.expovariate(1)),
        "loss": 0.0 if draw.random() < 0.3 else mean * draw.expovariate(1),
        "start": float(number % 3), "stop": number % 3 + 0.1 + 5 * draw.expovariate(mean),
        "fold": float(number % 3), "event": "1" if draw.random() < 0.7 else "0",
        "treatment": "treatment" if treated else "control",
    }  # fmt: skip


# Each changes one of the rows that are scored.
TRAPS: list[dict[str, Any]] = [
    {"u": math.nan}, {"v": math.nan, "w": math.nan}, {"n": math.nan, "day": math.nan},
    {"c": None}, {"t": None, "big": None, "code": None, "words": None},
    {"c": "unseen"}, {"t": "unseen", "words": "unseen"}, {"big": "unseen", "code": "3"},
    {"c": "", "words": ""}, {"u": 1e30}, {"u": -1e30}, {"v": 1e30, "w": -1e30},
    {"w": 1e-30, "u": 0.0}, {"v": 0.0, "w": 0.0, "n": 0.0, "words": "red unseen  fox"},
    dict.fromkeys(ALL), {"u": math.nan, "c": None},
]  # fmt: skip


def training_table(count: int = 84) -> pd.DataFrame:
    """Rows to learn from, a few cells of which are missing."""
    draw, rows = random.Random(0), []
    for number in range(count):
        row = _row(draw, number)
        row["big"] = BIG[number % len(BIG)]
        for name in ("u", "w", "c", "t", "big"):
            if draw.random() < 0.04:
                row[name] = None
        rows.append(row)
    return _typed(rows)


def scored_table() -> pd.DataFrame:
    draw, rows = random.Random(1), []
    for number in range(len(TRAPS) + 9):
        row = _row(draw, number)
        ordinary = {"big": BIG[number - len(TRAPS)]}
        row.update(TRAPS[number] if number < len(TRAPS) else ordinary)
        rows.append(row)
    return _typed(rows)


def _typed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    return table.astype({name: object if name in TEXTS else "float64" for name in table})


def _lines(table: pd.DataFrame) -> Iterator[str]:
    """A table as CSV, where an empty text is quoted and what is missing is not."""
    yield ",".join(f'"{name}"' for name in table) + "\n"
    for row in table.itertuples(index=False):
        yield ",".join(_cell(value) for value in row) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return "" if value is None or math.isnan(value) else repr(float(value))


class Frames:
    """What the cases train on, and the estimators of H2O."""

    def __init__(self, h2o: Any):
        import h2o.estimators

        self.h2o, self.estimators = h2o, h2o.estimators
        self.train = self.frame(training_table())
        self.whole = self.frame(training_table().dropna())
        self.test = scored_table()

    def frame(self, table: pd.DataFrame) -> Any:
        kinds = {name: "enum" if name in TEXTS else "numeric" for name in table}
        kinds = {name: "string" if name == "words" else kind for name, kind in kinds.items()}
        with tempfile.TemporaryDirectory() as scratch:
            path = f"{scratch}/table.csv"
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(_lines(table))
            return self.h2o.import_file(path, header=1, sep=",", col_types=kinds)

    def fit(self, kind: str, y: str | None, x: list[str], **options: Any) -> Any:
        """A fitted model; options that are functions are called with these frames."""
        options = {k: v(self) if callable(v) else v for k, v in options.items()}
        frame = options.pop("frame", self.train)
        model = getattr(self.estimators, f"H2O{kind}Estimator")(**options)
        named = {} if kind == "Word2vec" else {"x": x} if y is None else {"x": x, "y": y}
        model.train(training_frame=frame, **named)
        return model


class Case:
    """A model to train, and the columns that it reads."""

    def __init__(self, kind: str, y: str | None, x: list[str], **options: Any):
        self.kind, self.y, self.x, self.options = kind, y, x, options
        self.reads = [*x, *filter(None, [options.get("offset_column")])]

    def fitted(self, at: Frames) -> Any:
        return at.fit(self.kind, self.y, self.x, **self.options)


CASES: dict[str, Case] = {}

_NO = "Export to MOJO not supported"
# What H2O 3.46 trains and does not export, with what it says of it.
WITHOUT_MOJO = {
    "GeneralizedLinear with interactions or interaction_pairs": _NO,
    "AdaBoost": _NO,
    "Aggregator": _NO,
    "ANOVAGLM": _NO,
    "AutoML with target encoding": _NO,
    "DecisionTree": _NO,
    "HGLM": _NO,
    "Infogram": _NO,
    "ModelSelection": _NO,
    "NaiveBayes": _NO,
    "SingularValueDecomposition": _NO,
    "SupportVectorMachine": _NO,
    "IsolationForest with another encoding": "Only default categorical encoding scheme is"
    " supported for MOJO",
    "Assembly": "NoClassDefFoundError: mojo/spec/PipelineOuterClass (it is not open source)",
}
# What H2O exports and its own scorer does not read, with the error.
UNREADABLE = {
    "StackedEnsemble with offset_column": "UnsupportedOperationException (`offset` column is not"
    " supported), for every row",
    "DeepLearning with enum_limited": "NullPointerException (keys of the encoding lack)",
    "StackedEnsemble in a StackedEnsemble": "NullPointerException (the base models of the inner"
    " one lack)",
}
# XGBoost with label_encoder and binary, and KMeans with one_hot_explicit, export models of the
# encoded columns (c:0, c.a), which the one who scores has to make.


def case(name: str, kind: str, y: str | None, x: list[str], **options: Any) -> None:
    CASES[name] = Case(kind, y, x, **options)
