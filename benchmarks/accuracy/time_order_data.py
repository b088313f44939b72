"""Data sets in the order of time: six tables and four simulated streams, with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data import BY_NAME, DataSet, load

# Longer series are thinned to so many rows, which still cover the whole period.
MOST_ROWS = 6_000
Table = tuple[DataSet, pd.DataFrame, NDArray[np.float64]]


def _sorted(name: str, by: list[str], drop: tuple[str, ...] = ()) -> Callable[[Path, int], Table]:
    """A table of the study whose rows are sorted by columns that tell the time."""

    def read(folder: Path, most: int) -> Table:
        data = BY_NAME[name]
        kept = tuple(c for c in data.drop if c not in by)
        X, y = load(replace(data, drop=kept), folder, 10**9)
        keys = X[by].copy()
        for column in by:
            if keys[column].dtype == object:
                values = pd.to_datetime(keys[column]) if "created" in column else keys[column]
                keys[column] = (
                    values.astype("int64") if "created" in column else values.astype(float)
                )
        order = np.lexsort([keys[c] for c in reversed(by)])
        order = order[np.linspace(0, len(order) - 1, min(most, len(order))).astype(int)]
        X = X.drop(columns=[c for c in (*drop, *data.drop) if c in X])
        return data, X.iloc[order].reset_index(drop=True), y[order]

    return read


def _as_stored(name: str) -> Callable[[Path, int], Table]:
    def read(folder: Path, most: int) -> Table:
        return BY_NAME[name], *load(BY_NAME[name], folder, most)

    return read


def _demand(folder: Path, most: int) -> Table:
    """The demand of the electricity table from the time of day, the prices and the transfer."""
    X, _ = load(BY_NAME["electricity"], folder, most)
    y = X.pop("nswdemand").to_numpy()
    return DataSet("electricity_demand", "regression", "nswdemand", timed=True), X, y


def _simulated(name: str, task: str, make: Callable[..., tuple]) -> Callable[[Path, int], Table]:
    def read(folder: Path, most: int) -> Table:
        X, y = make(np.random.default_rng(0), most)
        table = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
        return DataSet(name, task, "y", timed=True), table, np.asarray(y, dtype=np.float64)

    return read


def _hyperplane(rng: np.random.Generator, count: int) -> tuple:
    """Rotating hyperplane (Hulten, Spencer, Domingos 2001): ten features, half of them drift."""
    X = rng.uniform(size=(count, 10))
    speed = np.r_[rng.choice([-1.0, 1.0], 5), np.zeros(5)]
    weight = rng.uniform(size=10) + np.linspace(0.0, 1.0, count)[:, None] * speed
    score = (X * weight).sum(1) - weight.sum(1) / 2
    return X, (score + rng.logistic(scale=0.15, size=count) > 0).astype(int)


def _friedman(rng: np.random.Generator, count: int) -> tuple:
    """Friedman's function, whose features exchange their parts slowly (Ikonomovska 2012)."""
    X = rng.uniform(size=(count, 10))
    swapped = X[:, [2, 3, 0, 1, 5, 4]]
    share = np.linspace(0.0, 1.0, count)[:, None]
    Z = (1 - share) * X[:, :6] + share * swapped
    y = 10 * np.sin(np.pi * Z[:, 0] * Z[:, 1]) + 20 * (Z[:, 2] - 0.5) ** 2
    return X, y + 10 * Z[:, 3] + 5 * Z[:, 4] + rng.normal(size=count)


def _sea(rng: np.random.Generator, count: int) -> tuple:
    """SEA concepts (Street, Kim 2001): three features, four thresholds, 10% of labels wrong."""
    X = rng.uniform(0.0, 10.0, size=(count, 3))
    limit = np.repeat([8.0, 9.0, 7.0, 9.5], -(-count // 4))[:count]
    y = X[:, 0] + X[:, 1] <= limit
    return X, (y ^ (rng.random(count) < 0.1)).astype(int)


def _autoregressive(rng: np.random.Generator, count: int) -> tuple:
    """A fixed smooth function of slow features, with strongly autocorrelated noise."""
    X = _slow(rng, count, 6, 0.98)
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * X[:, 3]
    return X, y + 0.7 * _slow(rng, count, 1, 0.98)[:, 0] + 0.3 * rng.normal(size=count)


def _slow(rng: np.random.Generator, count: int, width: int, rho: float) -> NDArray[np.float64]:
    """Stationary autoregressive series of variance one."""
    steps = rng.normal(size=(count, width)) * np.sqrt(1 - rho**2)
    out = np.empty((count, width))
    out[0] = rng.normal(size=width)
    for i in range(1, count):
        out[i] = rho * out[i - 1] + steps[i]
    return out


SERIES: dict[str, Callable[[Path, int], Table]] = {
    "electricity": _as_stored("electricity"),
    "electricity_demand": _demand,
    "bike_sharing_hourly": _as_stored("bike_sharing_hourly"),
    "nycflights13": _sorted("nycflights13", ["month", "day", "hour"], ("day",)),
    "movielens_100k": _sorted("movielens_100k", ["timestamp"], ("timestamp",)),
    "airline_tweets": _sorted("airline_tweets", ["tweet_created"], ("user_timezone",)),
    "hyperplane": _simulated("hyperplane", "binary", _hyperplane),
    "friedman": _simulated("friedman", "regression", _friedman),
    "sea": _simulated("sea", "binary", _sea),
    "autoregressive": _simulated("autoregressive", "regression", _autoregressive),
}
