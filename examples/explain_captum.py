"""Which raw columns made this prediction? Integrated gradients through a whole pipeline.

python examples/explain_captum.py                     prints two tables
python examples/explain_captum.py --picture bars.png  and draws them

A translated pipeline is an ordinary PyTorch module, so methods that explain modules apply to it.
Captum (pip install 'pipegrad[explain]') propagates from the probability back through logistic
regression and PCA to the concatenated scaled numbers and encoded categories. Scaling only changes
the unit of a column, to which integrated gradients are invariant; the attributions of a one-hot
block add up to that of its column. So each raw column gets one number, and they sum to the
difference between this prediction and that of a typical row.

Sundararajan, Taly, Yan, *Axiomatic Attribution for Deep Networks*, 2017.
"""

from __future__ import annotations

import argparse
import warnings
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerIntegratedGradients
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

import pipegrad as pg

TOLERANCE = 1e-3


def busy_hours() -> tuple[pd.DataFrame, np.ndarray]:
    """Hourly bike rentals with the weather, and whether the count is above the median."""
    data = pd.read_parquet(str(files("pipegrad.demo") / "bike_sharing_hourly.parquet"))
    y = (data["cnt"] > data["cnt"].median()).to_numpy().astype(int)
    return data[["temp", "hum", "windspeed", "season", "weekday", "weathersit", "hr"]], y


def pipeline() -> Pipeline:
    """Scaled numbers, one-hot categories and a target-encoded hour; PCA; logistic regression."""
    return make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["temp", "hum", "windspeed"]),
            (OneHotEncoder(sparse_output=False), ["season", "weekday", "weathersit"]),
            (make_pipeline(TargetEncoder(), StandardScaler()), ["hr"]),
        ),
        PCA(8),
        LogisticRegression(),
    )


def typical(X: pd.DataFrame) -> pd.DataFrame:
    """A baseline row: the mode of columns with few values, the median of the others."""
    row = {
        name: column.median() if column.nunique() > 7 else column.mode()[0]
        for name, column in X.items()
    }
    return pd.DataFrame([row]).astype(X.dtypes.to_dict())


class Probability(torch.nn.Module):
    """The probability of the second class, as a function of the input blocks of the pipeline."""

    def __init__(self, net: pg.PipelineModule, names: list[str]) -> None:
        super().__init__()
        self.net, self.names = net, names

    def forward(self, *blocks: torch.Tensor) -> torch.Tensor:
        """Probability (n,)."""
        score = self.net(dict(zip(self.names, blocks, strict=True)))
        return self.net.head.predict_proba(score)[:, 1]


def explain(pipe: Pipeline, X: pd.DataFrame, baseline: pd.DataFrame, steps: int = 64) -> Any:
    """Attributions of a predicted probability to the raw columns.

    Parameters
    ----------
    pipe : Pipeline
        A fitted pipeline that starts with a ColumnTransformer and ends with a binary classifier.
    X : DataFrame of n rows
        The rows to explain.
    baseline : DataFrame of one row
        The reference row.
    steps : int
        Number of integration points on the path from the baseline to a row.

    Returns
    -------
    attributions : DataFrame (n, columns)
        Their row sums equal ``differences``, up to the integration error.
    differences : array (n,)
        Probability of each row minus that of the baseline.
    """
    net = pg.to_torch(pipe, translate="all").eval()
    blocks, start = net.encode(X).blocks, net.encode(baseline).blocks
    forward = Probability(net, list(blocks))
    # Category codes cannot be interpolated, but their encoded columns can.
    gate = next(step for step in net.graph if step.name.endswith("/concatenate"))
    ends = list(gate.inputs)
    with warnings.catch_warnings():
        # Captum warns in case one of these layers feeds another; none does.
        warnings.filterwarnings("ignore", "Multiple layers provided")
        captum = LayerIntegratedGradients(forward, [net.steps[name] for name in ends])
    inputs = tuple(blocks.values())
    references = tuple(block.expand(len(X), -1) for block in start.values())
    parts = captum.attribute(inputs, references, n_steps=steps)
    found = {}
    for name, part in zip(ends, parts, strict=True):
        found |= by_column(pipe[0], name.split("/")[1], part.detach().numpy())
    with torch.no_grad():
        differences = (forward(*inputs) - forward(*references)).numpy()
    return pd.DataFrame(found, index=X.index)[list(X.columns)], differences


def by_column(encoder: Any, name: str, part: np.ndarray) -> dict[str, np.ndarray]:
    """Attributions (n, width) of one branch, summed by raw column."""
    fitted, columns = next((t, c) for n, t, c in encoder.transformers_ if n == name)
    widths = [1] * len(columns)
    if isinstance(fitted, OneHotEncoder):
        widths = [len(labels) for labels in fitted.categories_]
    pieces = np.split(part, np.cumsum(widths)[:-1], axis=1)
    return {c: piece.sum(axis=1) for c, piece in zip(columns, pieces, strict=True)}


def draw(row: pd.Series, all_rows: pd.Series, title: str, path: str) -> None:
    """Bar charts of one row and of the mean absolute attribution over all rows."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "pipegrad"
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3), layout="constrained", sharey=True)
    order = all_rows.sort_values().index
    colors = np.where(row[order] > 0, "#1f5fa8", "#c2571a")
    axes[0].barh(order, row[order], color=colors)
    axes[0].axvline(0, color="black", linewidth=0.8)
    axes[0].set_title(title, fontsize=10)
    axes[0].set_xlabel("added to the probability")
    axes[1].barh(order, all_rows[order], color="#7a8794")
    axes[1].set_title("all rows", fontsize=10)
    axes[1].set_xlabel("mean absolute attribution")
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Print the tables and draw the bars."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--picture", help="file for the bar charts")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    X, y = busy_hours()
    order = np.random.default_rng(0).permutation(len(X))
    train, held = X.iloc[order[:3000]], X.iloc[order[3000:3250]]
    pipe = pipeline().fit(train, y[order[:3000]])
    baseline = typical(train)
    parts, differences = explain(pipe, held, baseline)
    off = np.abs(parts.sum(axis=1) - differences).max()
    start = pipe.predict_proba(baseline)[0, 1]
    print(f"Attributions of the probability of a busy hour; the baseline has {start:.3f}.\n")
    shown = parts.iloc[:5].round(3)
    shown["sum"] = parts.iloc[:5].sum(axis=1).round(3)
    shown["difference"] = differences[:5].round(3)
    print(shown.to_string(index=False))
    print(f"\nLargest deviation of a sum from the difference, {len(held)} rows: {off:.1e}")
    if off > TOLERANCE:
        raise SystemExit(f"The sums deviate by more than {TOLERANCE}.")
    sizes = parts.abs().mean()
    print("\nMean absolute attribution:")
    print(sizes.sort_values(ascending=False).round(3).to_string())
    if given.picture:
        at = f"{held['hr'].iloc[0]} o'clock: {start + differences[0]:.2f}, typical {start:.2f}"
        draw(parts.iloc[0], sizes, at, given.picture)


if __name__ == "__main__":
    main()
