"""Search spaces of the hyperparameters, and a random search with a time budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.model_selection import ParameterSampler
from sklearn.utils import check_random_state

# More candidates than any time budget allows.
_MOST = 100_000
VALIDATION_SHARE = 0.2

# CPU time, so that other load on the machine does not count. With one thread on an idle machine it
# equals wall-clock time.
clock = time.process_time

Space = Mapping[str, Any]
Loss = Callable[[Any, Any, Any], np.ndarray]


def _around(value: int, most: int) -> Any:
    """Integers from half a default to twice it, log-uniform."""
    low, high = max(1, value // 2), max(2, min(2 * value, most))
    return _whole(low, max(low + 1, high))


@dataclass(frozen=True)
class _Whole:
    """Log-uniform distribution of integers."""

    low: int
    high: int

    def rvs(self, random_state: Any = None) -> int:
        draw = check_random_state(random_state)
        low, high = np.log(self.low - 0.499), np.log(self.high + 0.499)
        return int(np.clip(round(np.exp(draw.uniform(low, high))), self.low, self.high))


def _whole(low: int, high: int) -> _Whole:
    return _Whole(low, high)


# (class, parameter): a distribution, or a function of the default and the number of columns.
SEARCHED: dict[tuple[str, str], Any] = {
    ("Ridge", "alpha"): stats.loguniform(1e-3, 1e3),
    ("PoissonRegressor", "alpha"): stats.loguniform(1e-5, 1),
    ("LogisticRegression", "C"): stats.loguniform(1e-2, 1e2),
    ("SGDClassifier", "alpha"): stats.loguniform(1e-5, 1e-2),
    ("PCA", "n_components"): _around,
    ("TruncatedSVD", "n_components"): lambda value, columns: _around(value, 2 * value),
    ("KMeans", "n_clusters"): lambda value, columns: _around(value, 2 * value),
    ("Nystroem", "n_components"): lambda value, columns: _around(value, 2 * value),
    ("Nystroem", "gamma"): lambda value, columns: stats.loguniform(0.05 / columns, 20 / columns),
    ("TargetEncoder", "smooth"): stats.loguniform(1, 1000),
    ("KBinsDiscretizer", "n_bins"): lambda value, columns: _around(value, 2 * value),
    ("KNeighborsRegressor", "n_neighbors"): _whole(3, 60),
    ("KNeighborsClassifier", "n_neighbors"): _whole(3, 60),
    ("GaussianNB", "var_smoothing"): stats.loguniform(1e-6, 1e-1),
    ("RandomTreesEmbedding", "n_estimators"): lambda value, columns: _around(value, 2 * value),
    ("RandomTreesEmbedding", "max_depth"): _whole(2, 7),
    ("TfidfVectorizer", "min_df"): _whole(1, 10),
    ("TfidfVectorizer", "ngram_range"): [(1, 1), (1, 2)],
    ("SplineTransformer", "n_knots"): _whole(3, 12),
    ("LinearDiscriminantAnalysis", "shrinkage"): stats.uniform(0, 1),
    ("NMF", "n_components"): _around,
    ("NMF", "alpha_W"): stats.loguniform(1e-6, 1e-2),
    ("KernelPCA", "n_components"): lambda value, columns: _around(value, 2 * value),
    ("KernelPCA", "gamma"): lambda value, columns: stats.loguniform(0.05 / columns, 20 / columns),
    ("GaussianProcessRegressor", "n_restarts_optimizer"): [0, 1],
    ("GaussianProcessClassifier", "n_restarts_optimizer"): [0, 1],
}
for _name in ("SVC", "SVR"):
    SEARCHED[_name, "C"] = stats.loguniform(1e-2, 1e2)
    SEARCHED[_name, "gamma"] = lambda value, columns: stats.loguniform(0.05 / columns, 20 / columns)
for _name in ("MLPRegressor", "MLPClassifier"):
    SEARCHED[_name, "alpha"] = stats.loguniform(1e-6, 1e-1)
    SEARCHED[_name, "learning_rate_init"] = stats.loguniform(1e-4, 1e-2)
for _name in ("HistGradientBoostingRegressor", "HistGradientBoostingClassifier"):
    SEARCHED[_name, "learning_rate"] = stats.loguniform(0.03, 0.3)
    SEARCHED[_name, "max_leaf_nodes"] = _whole(8, 64)
    SEARCHED[_name, "min_samples_leaf"] = _whole(5, 100)
    SEARCHED[_name, "l2_regularization"] = stats.loguniform(1e-3, 10)


def space(pipe: Any, columns: int) -> Space:
    """The search space of a pipeline.

    Parameters
    ----------
    pipe : estimator
        The unfitted pipeline.
    columns : int
        Number of columns after preprocessing, which bounds the width of a bottleneck.
    """
    found: dict[str, Any] = {}
    parameters = pipe.get_params()
    for path, value in parameters.items():
        owner, _, name = path.rpartition("__")
        given = SEARCHED.get((type(parameters.get(owner, pipe)).__name__, name))
        if given is not None:
            drawn = hasattr(given, "rvs") or isinstance(given, list)
            found[path] = given if drawn else given(value, max(2, columns))
    return found


@dataclass(frozen=True)
class Searched:
    """The best pipeline of a search, refitted on all rows."""

    model: Any
    settings: dict[str, Any]
    tried: int
    seconds: float


def search(
    pipe: Any, X: Any, y: np.ndarray, loss: Loss, columns: int, seconds: float, seed: int
) -> Searched:
    """Random search for ``seconds``, including the final refit; the default is tried first.

    Candidates are fitted on a part of the rows and scored on the held-out rest; the best is
    refitted on all rows. At least one candidate besides the default is tried, whatever the budget.
    """
    began = clock()
    order = np.random.default_rng(seed).permutation(len(y))
    held = round(VALIDATION_SHARE * len(y))
    rows, valid = order[held:], order[:held]
    best, least, tried, last = {}, np.inf, 0, 0.0
    for settings in _candidates(pipe, columns, seed):
        start = clock()
        # The budget must cover a fit as long as the longest so far, and the final refit.
        if tried > 1 and start - began + 2 * last > seconds:
            break
        value = _judge(clone(pipe).set_params(**settings), X, y, rows, valid, loss)
        if value < least:
            best, least = settings, value
        tried += 1
        last = max(last, clock() - start)
    model = clone(pipe).set_params(**best).fit(X, y)
    return Searched(model, best, tried, clock() - began)


def _candidates(pipe: Any, columns: int, seed: int) -> Iterator[dict[str, Any]]:
    yield {}
    wanted = space(pipe, columns)
    if wanted:
        yield from ParameterSampler(wanted, _MOST, random_state=seed)


def _judge(
    model: Any, X: Any, y: np.ndarray, rows: np.ndarray, valid: np.ndarray, loss: Loss
) -> float:
    try:
        model.fit(X.iloc[rows], y[rows])
        value = float(loss(model, X.iloc[valid], y[valid]).mean())
    except ValueError:
        return np.inf  # Invalid setting: more components than columns, for example.
    return value if np.isfinite(value) else np.inf
