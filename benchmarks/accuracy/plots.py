"""The pictures of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import figures
import matplotlib
import numpy as np
import pandas as pd
from templates import TEMPLATES

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLORS = {"evaluation": "tab:blue", "development": "tab:orange"}
_LABELS = {
    "search": "random search of\nhyperparameters, as long",
    "wider": "a wider bottleneck",
    "last": "training the last\noperator only",
    "random": "training from random\ninitialization",
}


def draw(table: pd.DataFrame, page: Path) -> list[Path]:
    """Write three pictures beside a page: reductions, controls, costs."""
    runs = figures.random_splits(figures.compare(table, "finetuned", "pipeline"))
    plots = {"reductions": _reductions, "controls": _controls, "costs": _costs}
    found = []
    with plt.rc_context({"svg.hashsalt": "pipegrad", "font.size": 9}):
        for name, plot in plots.items():
            figure = plot(table, runs)
            path = page.parent / f"accuracy-{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            plt.close(figure)
            found.append(path)
    return found


def _half(name: str) -> str:
    return "evaluation" if name in figures.EVALUATION else "development"


def _bare(ax: Any) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _percent(ax: Any, axis: str, least: float) -> None:
    """A cube-root scale, on which both 0.5% and 90% can be read."""
    steps = (np.cbrt, lambda v: np.asarray(v) ** 3)
    getattr(ax, f"set_{axis}scale")("function", functions=steps)
    marks = [m for m in (-100, -50, -10, -1, 0, 1, 10, 25, 50, 75, 100) if m >= min(least, -1)]
    getattr(ax, f"set_{axis}lim")(min(1.3 * least, -2), 101)
    getattr(ax, f"set_{axis}ticks")(marks, [f"{m}%" for m in marks])


def _legend(figure: Any) -> None:
    marks = [plt.Line2D([], [], color=c, marker="o", linestyle="") for c in COLORS.values()]
    labels = [f"{name} data sets" for name in COLORS]
    figure.legend(marks, labels, loc="outside lower center", ncols=2, frameon=False)


def _reductions(table: pd.DataFrame, runs: pd.DataFrame) -> Any:
    """One row per pipeline, one dot per data set, a bar at the median of each half."""
    means = figures.pairs(runs)
    names = [name for name in TEMPLATES if (means.template == name).any()]
    figure, ax = plt.subplots(figsize=(8, 0.55 * len(names) + 1.4), layout="constrained")
    for row, name in enumerate(names):
        for offset, half in ((-0.17, "evaluation"), (0.17, "development")):
            rows = means[(means.template == name) & (means.data.map(_half) == half)]
            values = 100 * rows.reduction.sort_values().to_numpy(float)
            shift = 0.09 * np.where(np.arange(len(values)) % 2, 1, -1)
            heights = np.full(len(values), row + offset) + shift
            ax.plot(values, heights, "o", color=COLORS[half], alpha=0.6, markersize=4.5, mew=0)
            if len(values):
                middle = float(np.median(values))
                ax.plot([middle] * 2, [row + offset - 0.17, row + offset + 0.17], color="0.1", lw=2)
    ax.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    _percent(ax, "x", 100 * float(means.reduction.min()))
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("reduction of the test loss by fine-tuning (dots: data sets, bars: medians)")
    _bare(ax)
    _legend(figure)
    return figure


def _controls(table: pd.DataFrame, runs: pd.DataFrame) -> Any:
    """Loss reduction of fine-tuning against that of each control, pair by pair."""
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.3), layout="constrained", sharey=True)
    least = max(-105, min(-25, 110 * float(figures.pairs(runs).reduction.min())))
    for ax, arm in zip(axes, figures.CONTROLS, strict=True):
        other = figures.random_splits(figures.compare(table, arm, "pipeline"))
        both = runs.merge(other, on=figures.RUN, suffixes=("", "_other"))
        both = both.groupby(["data", "template"])[["reduction", "reduction_other"]].mean()
        for (name, _), row in both.iterrows():
            x, y = 100 * row.clip(lower=-1.0)[["reduction_other", "reduction"]]
            ax.plot([x], [y], "o", color=COLORS[_half(name)], alpha=0.6, markersize=4, mew=0)
        ax.axline((0, 0), (1, 1), color="0.6", linewidth=0.8, zorder=0)
        ax.set(xlim=(-105, 105), ylim=(least, 105), xlabel=_LABELS[arm])
        ax.set_xticks([-100, -50, 0, 50, 100], ["≤ -100%", "-50%", "0", "50%", "100%"])
        _bare(ax)
    marks = [mark for mark in (-100, -50, 0, 50, 100) if mark >= least]
    axes[0].set_yticks(marks, [f"{mark}%" for mark in marks])
    axes[0].set_ylabel("loss reduction by fine-tuning")
    axes[0].set_title("above the line: fine-tuning is better", fontsize=8, loc="left")
    _legend(figure)
    return figure


def _costs(table: pd.DataFrame, runs: pd.DataFrame) -> Any:
    """Loss reduction against seconds and against multiples of the pipeline's fit time."""
    cost = figures.random_splits(figures.costs(table))
    both = runs.merge(cost, on=figures.RUN)
    columns = ["seconds", "times", "reduction"]
    both = both.groupby(["data", "template"])[columns].mean().reset_index()
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained", sharey=True)
    labels = ("CPU seconds of fine-tuning", "multiple of the pipeline's fit time")
    for ax, column, label in zip(axes, ("seconds", "times"), labels, strict=True):
        for half, color in COLORS.items():
            rows = both[both.data.map(_half) == half]
            ax.plot(
                rows[column], 100 * rows.reduction, "o", color=color, alpha=0.6, markersize=4, mew=0
            )
        ax.set_xscale("log")
        ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        ax.set_xlabel(label)
        _bare(ax)
    _percent(axes[0], "y", 100 * float(both.reduction.min()) if len(both) else 0.0)
    axes[0].set_ylabel("reduction of the test loss")
    _legend(figure)
    return figure
