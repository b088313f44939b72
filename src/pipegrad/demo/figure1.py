"""The paper's Figure 1 and Table 1, on the hours of two years of bike sharing.

One-hot, concatenation, PCA, min-max, two linear classifiers as featurizers on a derived label,
concatenation, Poisson regression: fitted, translated, fine-tuned as a whole, translated back.
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, PoissonRegressor, SGDClassifier
from sklearn.metrics import mean_absolute_error, mean_poisson_deviance, mean_squared_error
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

from ..featurizer import Featurizer
from ..file_writing import write_file
from ..graph.display.text import text_tree
from ..translate import from_torch, to_torch

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

CATEGORIES = ["season", "yr", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit"]
TRAIN_ROWS, TEST_ROWS, VALIDATION_ROWS = 2300, 200, 460
METRICS = ("Poisson loss", "L1 error", "L2 error")
COLUMNS = ("original", "random weights", "fine-tuned")
REPEATABILITY = (
    "With the kernels of other processors, or on two threads, the scores of each seed differ by "
    "less than 1e-11 of their size; other versions of the libraries may move them further."
)


def above_median(y: NDArray[Any]) -> NDArray[Any]:
    """The derived label: whether an hour is busier than the median hour."""
    return y > np.median(y)


def make_figure1(seed: int = 0) -> Pipeline:
    """The paper's Figure 1 in scikit-learn's words, not fitted.

    Processors round differently. Three choices keep these differences from growing:

    - One column for each binary category: two have equal and opposite loadings, and where these are
      the largest of a principal component, rounding decides its sign.
    - Smaller steps of stochastic gradient descent: the first steps of the default schedule are so
      large that differences of 1e-13 grow to 1e-3.
    - Newton's method for both other models: L-BFGS stops by tolerance, and rounding decides after
      how many iterations.
    """
    one_hot = OneHotEncoder(drop="if_binary", handle_unknown="ignore", sparse_output=False)
    sgd = SGDClassifier(
        loss="log_loss", learning_rate="invscaling", eta0=1.0, power_t=0.5, random_state=seed
    )
    logistic = LogisticRegression(solver="newton-cholesky", tol=1e-8)
    return make_pipeline(
        make_column_transformer((one_hot, CATEGORIES), remainder="passthrough"),
        PCA(n_components=30, random_state=seed),
        MinMaxScaler(),
        make_union(
            "passthrough",
            Featurizer(sgd, target=above_median),
            Featurizer(logistic, target=above_median),
        ),
        PoissonRegressor(alpha=1e-3, solver="newton-cholesky", tol=1e-8),
    )


def adam(parameters: Any) -> torch.optim.Optimizer:
    """The paper's ``optim``: from parameters to an optimizer."""
    return torch.optim.Adam(parameters, lr=1e-2)


def load_bikes() -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Hourly bike rentals (UCI, CC BY 4.0): 17,379 rows, 12 columns, and the count of each hour."""
    try:
        import pandas as pd

        table = pd.read_parquet(str(files("pipegrad.demo") / "bike_sharing_hourly.parquet"))
    except ImportError as error:
        raise ImportError(
            "The demo reads its data with pandas and pyarrow: pip install 'pipegrad[demo]'."
        ) from error
    count = table.pop("cnt").to_numpy(float)
    return table.drop(columns="dteday"), count


@dataclass
class Run:
    """What one seed gave."""

    seed: int
    scores: dict[str, tuple[float, ...]]
    curves: dict[str, list[float]]
    gap_before: float
    gap_after: float
    tuned: Any = field(repr=False)
    net: Any = field(repr=False)


def measure(y: NDArray[Any], prediction: NDArray[Any]) -> tuple[float, ...]:
    """Poisson loss (mean deviance), L1 (mean absolute error), L2 (mean squared error)."""
    positive = np.maximum(prediction, 1e-9)
    return (
        float(mean_poisson_deviance(y, positive)),
        float(mean_absolute_error(y, prediction)),
        float(mean_squared_error(y, prediction)),
    )


def run_seed(X: Any, y: NDArray[Any], seed: int) -> Run:
    """One split of the data, and the three columns of the paper's table on its test rows.

    The original is fitted on all 2,300 training rows. Fine-tuning starts from the same pipeline
    fitted on 1,840 of them, so that the other 460 can decide when to stop.
    """
    order = np.random.default_rng(seed).permutation(len(X))
    fit, valid, test = np.split(
        order[: TRAIN_ROWS + TEST_ROWS], [TRAIN_ROWS - VALIDATION_ROWS, TRAIN_ROWS]
    )
    train = np.concatenate([fit, valid])
    held = (X.iloc[valid], y[valid])

    original = make_figure1(seed).fit(X.iloc[train], y[train])
    pipe = make_figure1(seed).fit(X.iloc[fit], y[fit])

    net = to_torch(pipe)
    gap_before = _gap(net, pipe, X.iloc[test])
    net.fit(X.iloc[fit], y[fit], optim=adam, validation=held, seed=seed)
    tuned = from_torch(net)
    gap_after = _gap(net, tuned, X.iloc[test])

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        other = to_torch(pipe, init="random")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other.fit(X.iloc[fit], y[fit], optim=adam, validation=held, seed=seed)

    answers = zip(COLUMNS, (original, from_torch(other), tuned), strict=True)
    return Run(
        seed,
        {name: measure(y[test], model.predict(X.iloc[test])) for name, model in answers},
        {name: _deviances(m) for name, m in (("fine-tuned", net), (COLUMNS[1], other))},
        gap_before,
        gap_after,
        tuned,
        net,
    )


def _gap(net: Any, pipe: Any, X: Any) -> float:
    return float(np.abs(net.predict(X) - pipe.predict(X)).max())


def _deviances(net: Any) -> list[float]:
    """Poisson deviance on the validation rows after each epoch; the first is where it started."""
    return [float(row["valid_loss"]) for row in net.history]


def run(
    folder: str | Path = "demo-output", seeds: int = 5, console: Console | None = None
) -> list[Run]:
    """Run the experiment and print it.

    Parameters
    ----------
    folder : str or path
        Where the tuned pipeline (``figure1.skops``) and the learning curves
        (``learning_curves.png``) go; made if it is not there.
    seeds : int
        How many splits.
    console : rich.console.Console, optional
        Where to print.

    Returns
    -------
    list of Run
        One for each seed.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    X, y = load_bikes()
    console.print(
        f"[bold]The paper's Figure 1 on bike sharing[/bold] ({len(X):,} hours, UCI, CC BY 4.0): "
        f"{TRAIN_ROWS:,} training rows, {TEST_ROWS} test rows, {seeds} seeds\n"
    )
    runs: list[Run] = []
    with _one_thread():
        for result in _runs(X, y, seeds, console):
            if not runs:
                _print_first(result, console)
            runs.append(result)
    console.print(table_1(runs))
    _print_gain(runs, console)
    for what, path in (
        ("Tuned pipeline", save(runs[0], folder)),
        ("Learning curves", draw(runs, folder)),
    ):
        console.print(f"{what}: {path}")
    console.print(f"{time.perf_counter() - started:.0f} s")
    return runs


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices this small are quicker on one thread than on several that wait for each other."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _runs(X: Any, y: Any, seeds: int, console: Console) -> Iterator[Run]:
    for seed in range(seeds):
        with console.status(
            f"seed {seed + 1} of {seeds}: fit, translate, fine-tune, translate back"
        ):
            yield run_seed(X, y, seed)


def _print_first(result: Run, console: Console) -> None:
    console.print(text_tree(result.net.graph), soft_wrap=True, markup=False)
    console.print(
        "\nLargest difference between scikit-learn and the module, over the test rows: "
        f"{result.gap_before:.1e} before fine-tuning, {result.gap_after:.1e} after translating "
        "back (predictions of some hundred).\n"
    )


def table_1(runs: list[Run]) -> Any:
    """The paper's Table 1: mean and standard deviation over the seeds."""
    from rich.table import Table

    table = Table(title=f"Table 1: test rows, mean ± standard deviation over {len(runs)} seeds")
    table.add_column("")
    headings = ("original pipeline", "same network, random weights", "fine-tuned and back")
    for heading in headings:
        table.add_column(heading, justify="right")
    for place, metric in enumerate(METRICS):
        cells = []
        for column in COLUMNS:
            values = np.array([r.scores[column][place] for r in runs])
            cells.append(f"{values.mean():,.1f} ± {values.std():,.1f}")
        table.add_row(metric, *cells)
    return table


def _print_gain(runs: list[Run], console: Console) -> None:
    def mean(column: str, place: int) -> float:
        return float(np.mean([r.scores[column][place] for r in runs]))

    parts = [
        f"{metric} {mean('fine-tuned', i) / mean('original', i) - 1:+.1%}"
        for i, metric in enumerate(METRICS)
    ]
    better = sum(r.scores["fine-tuned"][0] < r.scores["original"][0] for r in runs)
    console.print(
        f"Fine-tuned against original: {', '.join(parts)}; better on {better} of {len(runs)} seeds "
        "(the paper, on other data: -12.1%, -15.4%, -19.4%)."
    )
    console.print(f"{REPEATABILITY}\n")


def save(result: Run, folder: Path) -> Path:
    """Write the tuned pipeline as a skops file; it loads without torch in sight."""
    import skops.io

    path = folder / "figure1.skops"
    write_file(path, skops.io.dumps(result.tuned))
    return path


def draw(runs: list[Run], folder: Path) -> Path:
    """Draw validation loss by epoch beside the loss that the pipeline started from."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    colors = {"fine-tuned": "tab:blue", "random weights": "tab:orange"}
    for number, result in enumerate(runs):
        for name, color in colors.items():
            label = None if number else name
            axes.plot(result.curves[name], color=color, alpha=0.8, lw=1.2, label=label)
        label = None if number else "untouched pipeline"
        start = result.curves["fine-tuned"][0]
        axes.axhline(start, color="0.4", lw=0.8, ls="--", label=label)
    axes.set(
        xlabel="epoch",
        ylabel="Poisson loss on validation rows",
        yscale="log",
        title="Figure 1 pipeline on bike sharing",
    )
    axes.legend(frameon=False)
    path = folder / "learning_curves.png"
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150)
    write_file(path, picture.getvalue())
    plt.close(figure)
    return path
