"""Draw the pictures of the documentation: `make docs`."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import pandas as pd
from make_architecture import write_picture
from sklearn.datasets import load_digits, make_friedman1
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pipegrad as pg
from pipegrad.demo.figure1 import load_bikes, make_figure1
from pipegrad.graph.display.html import graph_svg
from pipegrad.report import (
    GainDisplay,
    MovedStepsDisplay,
    ReliabilityDisplay,
    TrainingCurvesDisplay,
    moved_splits,
)

HERE = Path(__file__).parent


def main() -> None:
    """Write `graph.svg`: the paper's Figure 1, with what becomes of each step; then the others."""
    write_picture()
    X, y = load_bikes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = make_figure1().fit(X[:2300], y[:2300])
    picture = graph_svg(pg.inspect(pipe).graph)
    (HERE / "graph.svg").write_text(picture + "\n", encoding="utf-8")
    print(f"{HERE.name}/graph.svg: {len(picture):,} characters")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "pipegrad"
    draw_moved_splits()
    draw_report()


def draw_moved_splits() -> None:
    """Write `moved_splits.svg`: boosted trees on made data, trained with soft splits."""
    X, y = make_friedman1(1500, 8, noise=0.3, random_state=0)
    X = pd.DataFrame(X, columns=[f"x{i}" for i in range(1, 9)])
    model = GradientBoostingRegressor(n_estimators=30, random_state=0).fit(X[:1000], y[:1000])
    net = pg.to_torch(model, trees="soft")
    net.fit(X[:1000], y[:1000], validation=(X[1000:], y[1000:]), epochs=30)
    ax = moved_splits(net).plot()
    ax.figure.savefig(HERE / "moved_splits.svg", metadata={"Date": None})
    print(f"{HERE.name}/moved_splits.svg")


def draw_report() -> None:
    """Write `report.svg`: the report on the page about it, as four displays."""
    from matplotlib import pyplot

    X, y = load_digits(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), PCA(4), LogisticRegression())
    tuner = pg.FineTuner(pipe, random_state=0).fit(X[:1000], y[:1000] > 4)
    kinds = (GainDisplay, MovedStepsDisplay, TrainingCurvesDisplay, ReliabilityDisplay)
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    for kind, ax in zip(kinds, axes.flat, strict=True):
        kind.from_report(tuner, ax=ax)
    figure.savefig(HERE / "report.svg", metadata={"Date": None})
    print(f"{HERE.name}/report.svg")


if __name__ == "__main__":
    main()
