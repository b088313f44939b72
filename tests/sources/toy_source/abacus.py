"""A made-up library for `docs/adding-a-source.md`; it knows nothing of pipegrad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted

__version__ = "1.0"


def numbers(X: Any, width: int) -> Any:
    """The library's own check of its input."""
    X = check_array(X, dtype=float)
    if X.shape[1] != width:
        raise ValueError(f"X has {X.shape[1]} columns, not {width}.")
    return X


class Scaler(BaseEstimator):
    def fit(self, X: Any, y: Any = None) -> Scaler:
        X = check_array(X, dtype=float)
        self.n_features_in_ = X.shape[1]
        self.center_, self.width_ = np.median(X, axis=0), X.std(axis=0)
        return self

    def transform(self, X: Any) -> Any:
        check_is_fitted(self)
        return (numbers(X, self.n_features_in_) - self.center_) / self.width_


class Line(BaseEstimator):
    def __init__(self, penalty: float = 1.0) -> None:
        self.penalty = penalty

    def fit(self, X: Any, y: Any) -> Line:
        X = check_array(X, dtype=float)
        self.n_features_in_ = X.shape[1]
        mean, start = X.mean(axis=0), float(np.mean(y))
        Z = X - mean
        square = Z.T @ Z + self.penalty * np.eye(len(mean))
        self.weights_ = np.linalg.solve(square, Z.T @ (np.asarray(y) - start))
        self.constant_ = start - float(mean @ self.weights_)
        return self

    def predict(self, X: Any) -> Any:
        check_is_fitted(self)
        return numbers(X, self.n_features_in_) @ self.weights_ + self.constant_


class Chain(BaseEstimator):
    """Transformers, and a predictor at the end."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps

    def fit(self, X: Any, y: Any) -> Chain:
        self.n_features_in_ = np.shape(X)[1]
        for step in self.steps[:-1]:
            X = step.fit(X).transform(X)
        self.steps[-1].fit(X, y)
        return self

    def predict(self, X: Any) -> Any:
        for step in self.steps[:-1]:
            X = step.transform(X)
        return self.steps[-1].predict(X)


def write(path: Any, columns: list[str], scaler: Scaler, line: Line) -> None:
    """Keep a model that reads a table by the names of its columns."""
    content = {
        "columns": columns,
        "center": scaler.center_.tolist(),
        "width": scaler.width_.tolist(),
        "weights": line.weights_.tolist(),
        "constant": line.constant_,
    }
    Path(path).write_text(json.dumps(content), encoding="utf-8")


def read(path: Any) -> tuple[list[str], Scaler, Line]:
    """What `write` kept."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    scaler, line = Scaler(), Line()
    scaler.center_, scaler.width_ = np.array(content["center"]), np.array(content["width"])
    line.weights_, line.constant_ = np.array(content["weights"]), content["constant"]
    scaler.n_features_in_ = line.n_features_in_ = len(content["columns"])
    return content["columns"], scaler, line
