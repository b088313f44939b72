"""Small data sets for the contract tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

ROWS = 80


def _features(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    scales = np.array([1.0, 10.0, 0.1, 3.0, 100.0, 1.0])
    return rng.normal(size=(ROWS, 6)) * scales + scales * [0, 1, 2, -1, 0.5, 0]


def _signal(X: Any) -> Any:
    Z = (X - X.mean(0)) / X.std(0)
    noise = np.random.default_rng(1).normal(size=len(Z)) * 0.3
    return Z @ np.array([1.0, -0.5, 0.8, 0.3, -0.7, 0.0]) + noise


def _correlated() -> tuple[Any, Any]:
    """Columns of one unit, each correlated with the next."""
    Z = np.random.default_rng(3).normal(size=(ROWS, 7))
    return Z[:, :-1] + 0.8 * Z[:, 1:] + np.arange(6), None


def _regression() -> tuple[Any, Any]:
    X = _features()
    return X, 3 * _signal(X) + 5


def _binary() -> tuple[Any, Any]:
    X = _features()
    return X, (_signal(X) > 0).astype(int)


def _binary_floats() -> tuple[Any, Any]:
    X, y = _binary()
    return X, y.astype(float)


def _binary_strings() -> tuple[Any, Any]:
    X, y = _binary()
    return X, np.where(y == 1, "yes", "no")


def _multiclass() -> tuple[Any, Any]:
    X = _features()
    return X, np.array(["ant", "bee", "cat"])[np.digitize(_signal(X), [-0.6, 0.6])]


def _partly_labeled() -> tuple[Any, Any]:
    """Rows without a label have the label -1."""
    X, codes = _multiclass_codes()
    return X, np.where(np.arange(ROWS) % 3 == 0, codes, -1)


def _multiclass_codes() -> tuple[Any, Any]:
    X, y = _multiclass()
    return X, np.unique(y, return_inverse=True)[1]


def _counts() -> tuple[Any, Any]:
    X = _features()
    return X, np.random.default_rng(2).poisson(np.exp(0.5 * _signal(X))).astype(float)


def _positive() -> tuple[Any, Any]:
    X = np.abs(_features()) + 0.1
    return X, np.exp(0.3 * _signal(X)) + 0.1


def _multioutput() -> tuple[Any, Any]:
    X = _features()
    s = _signal(X)
    return X, np.column_stack([s, 2 * s + X[:, 0], -s + X[:, 2]])


def _multilabel() -> tuple[Any, Any]:
    X = _features()
    s = _signal(X)
    return X, np.column_stack([s > 0, s + X[:, 0] > 0, X[:, 3] > 0]).astype(int)


def _several() -> tuple[Any, Any]:
    X = _features()
    s = _signal(X)
    return X, np.column_stack([np.digitize(s, [-0.6, 0.6]) + 3, s + X[:, 0] > 0, X[:, 3] > 0])


def _sparse() -> tuple[Any, Any]:
    X = sparse.random(ROWS, 12, density=0.3, format="csr", random_state=0, dtype=np.float64)
    X.data += 0.1
    empty = sparse.csr_matrix((2, 12))
    X = sparse.vstack([X[:-2], empty]).tocsr()
    return X, np.asarray(X @ np.linspace(-1, 1, 12)) + 0.1 * np.arange(ROWS) / ROWS


def _sparse_multiclass() -> tuple[Any, Any]:
    X, y = _sparse()
    return X, np.array(["ant", "bee", "cat"])[np.digitize(y, np.quantile(y, [0.33, 0.66]))]


def _missing() -> tuple[Any, Any]:
    X, y = _regression()
    hole = np.random.default_rng(3).random(X.shape) < 0.15
    hole[:, 5] = False
    hole[0] = False
    X[hole] = np.nan
    return X, y


def _categories() -> tuple[Any, Any]:
    import pandas as pd

    rng = np.random.default_rng(4)
    table = pd.DataFrame(
        {
            "color": rng.choice(["red", "green", "blue"], ROWS, p=[0.5, 0.3, 0.2]),
            "size": rng.choice(["s", "m", "l", "xl"], ROWS, p=[0.4, 0.3, 0.25, 0.05]),
        }
    )
    table.iloc[:4, 1] = ["s", "m", "l", "xl"]
    y = np.where((table["color"] == "red") ^ (rng.random(ROWS) < 0.2), "yes", "no")
    return table, y


def _missing_binary() -> tuple[Any, Any]:
    X, y = _missing()
    return X, np.where(y > y.mean(), "yes", "no")


def _marked() -> tuple[Any, Any]:
    X, y = _missing()
    return np.where(np.isnan(X), -99.0, X), y


def _sparse_missing() -> tuple[Any, Any]:
    X, y = _sparse()
    X.data[np.random.default_rng(5).random(X.nnz) < 0.2] = np.nan
    return X, y


def _categories_missing() -> tuple[Any, Any]:
    table, y = _categories()
    table["size"] = table["size"].astype(object)
    table.iloc[5:12, 1] = np.nan
    table["grade"] = np.arange(ROWS) % 4.0
    table.iloc[3:9, 2] = np.nan
    return table, y


def _categories_of_pandas() -> tuple[Any, Any]:
    table, y = _categories_missing()
    return table.astype({"color": "category", "size": "category"}), y


def _codes() -> tuple[Any, Any]:
    X, y = _regression()
    X[:, 5] = np.random.default_rng(6).integers(0, 9, ROWS) * 3.0
    X[4:9, 5] = np.nan
    return X, y + np.nan_to_num(X[:, 5]) % 2 * 5


def _multiclass_numbers() -> tuple[Any, Any]:
    X, y = _multiclass()
    X[4:9, 2] = np.nan
    return X, np.unique(y, return_inverse=True)[1]


def _numbers_of_categories() -> tuple[Any, Any]:
    table, y = _categories_of_pandas()
    return table, (y == "yes").astype(int)


def _ranked() -> tuple[Any, Any]:
    import pandas as pd

    X = _features()
    table = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    table["qid"] = np.arange(ROWS) // 16
    return table, np.digitize(_signal(X), [-0.6, 0.6])


def _word_counts() -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    y = rng.integers(0, 3, ROWS)
    means = np.array([[3.0, 1, 0.5, 1, 2, 1], [1, 3, 0.5, 1, 1, 2], [1, 1, 2, 0.5, 1, 1]])
    X = np.minimum(rng.poisson(means[y]), 5).astype(float)
    return X, np.array(["ant", "bee", "cat"])[y]


def _word_counts_binary() -> tuple[Any, Any]:
    X, y = _word_counts()
    return X, (y == "bee").astype(int)


def _one_column() -> tuple[Any, Any]:
    X, y = _regression()
    return X[:, 0], y


def _labels() -> tuple[Any, Any]:
    return _multiclass()[1], None


def _objects(rows: list[Any]) -> Any:
    found = np.empty(len(rows), dtype=object)
    found[:] = rows
    return found


def _two_labels() -> tuple[Any, Any]:
    return _binary_strings()[1], None


def _numbers() -> tuple[Any, Any]:
    return _several()[1][:, 0] * 2.5, None


def _indicators() -> tuple[Any, Any]:
    return _multilabel()[1].astype(float), None


def _sets_of_labels() -> tuple[Any, Any]:
    names = np.array(["ant", "bee", "cat"])
    return _objects([tuple(names[row == 1]) for row in _multilabel()[1]]), None


def _similarities() -> tuple[Any, Any]:
    X, y = _regression()
    Z = (X - X.mean(0)) / X.std(0)
    gaps = ((Z[:, None] - Z[None]) ** 2).sum(2)
    return np.exp(-0.2 * gaps), y


def _similarities_multiclass() -> tuple[Any, Any]:
    return _similarities()[0], _multiclass()[1]


_NOUNS = ("bus", "boat", "naïve café", "ship", "night train")


def _texts() -> tuple[Any, Any]:
    rng = np.random.default_rng(8)
    kinds = rng.integers(0, 2, ROWS)
    words = [
        f"The {rng.choice(['red', 'big', 'old'])} {_NOUNS[kind + rng.integers(0, 4)]} "
        f"{rng.choice(['by night', 'by day', 'goes by'])} {noun} {noun}"
        for kind, noun in zip(kinds, rng.choice(_NOUNS, ROWS), strict=True)
    ]
    words[-1] = "nothing that others say"
    return np.array(words, dtype=object), np.where(kinds == 1, "yes", "no")


def _dictionaries() -> tuple[Any, Any]:
    table, y = _categories()
    sizes = np.random.default_rng(9).normal(size=ROWS)
    rows = [
        {**row, "length": float(n)} for row, n in zip(table.to_dict("records"), sizes, strict=True)
    ]
    return _objects(rows), y


def _pairs() -> tuple[Any, Any]:
    rows, y = _dictionaries()
    return _objects(
        [[(name, 2.5) for name in row.values() if name == str(name)] for row in rows]
    ), y


def _names() -> tuple[Any, Any]:
    rows, y = _dictionaries()
    return _objects([[row["color"], row["size"], row["color"]] for row in rows]), y


def _images() -> tuple[Any, Any]:
    return np.random.default_rng(10).normal(size=(ROWS, 4, 5)), None


def _color_images() -> tuple[Any, Any]:
    return np.random.default_rng(11).normal(size=(ROWS, 3, 3, 3)), None


DATASETS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "features": _regression,
    "regression": _regression,
    "binary": _binary,
    "binary_floats": _binary_floats,
    "binary_strings": _binary_strings,
    "multiclass": _multiclass,
    "correlated": _correlated,
    "partly_labeled": _partly_labeled,
    "counts": _counts,
    "positive": _positive,
    "multiclass_codes": _multiclass_codes,
    "multioutput": _multioutput,
    "multilabel": _multilabel,
    "several": _several,
    "sparse": _sparse,
    "sparse_multiclass": _sparse_multiclass,
    "missing": _missing,
    "missing_binary": _missing_binary,
    "marked": _marked,
    "sparse_missing": _sparse_missing,
    "categories": _categories,
    "categories_missing": _categories_missing,
    "categories_of_pandas": _categories_of_pandas,
    "codes": _codes,
    "multiclass_numbers": _multiclass_numbers,
    "numbers_of_categories": _numbers_of_categories,
    "ranked": _ranked,
    "labels": _labels,
    "two_labels": _two_labels,
    "numbers": _numbers,
    "indicators": _indicators,
    "sets_of_labels": _sets_of_labels,
    "one_column": _one_column,
    "word_counts": _word_counts,
    "word_counts_binary": _word_counts_binary,
    "similarities": _similarities,
    "similarities_multiclass": _similarities_multiclass,
    "texts": _texts,
    "dictionaries": _dictionaries,
    "pairs": _pairs,
    "names": _names,
    "images": _images,
    "color_images": _color_images,
}
"""Data sets of the contract tests by name, as functions that return (X, y) with 80 rows."""
