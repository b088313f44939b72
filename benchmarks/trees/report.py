"""Writes the page of the study of boosted trees from its results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

LABELS = {"leaves": "leaves", "soft": "soft", "straight-through": "straight-through"}
COLORS = {"leaves": "tab:gray", "soft": "tab:blue", "straight-through": "tab:orange"}
# Critical value: a difference of more standard errors is beyond noise.
NOISE = 2.0


def read(folder: Path) -> pd.DataFrame:
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise SystemExit(f"{folder} holds no results; run study.py without --report first.")
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def against(table: pd.DataFrame, kind: str, way: str, other: str, rows: str) -> pd.DataFrame:
    """Relative change of the loss against another model, and its z-score, split by split."""
    tuned = table[(table.model == kind) & (table.way == way)].set_index(["data", "split"])
    plain = table[(table.model == other) & (table.way == "")].set_index(["data", "split"])
    found = []
    for key in tuned.index:
        gap = np.asarray(tuned.loc[key, rows], float) - np.asarray(plain.loc[key, rows], float)
        error = gap.std(ddof=1) / np.sqrt(len(gap))
        base = float(np.mean(plain.loc[key, rows]))
        z = gap.mean() / error if error > 0 else 0.0
        found.append((*key, gap.mean() / base, z))
    return pd.DataFrame(found, columns=["data", "split", "change", "z"])


def interval(values: pd.Series) -> tuple[float, float, float]:
    """Mean over splits with its 95% confidence interval."""
    mean, count = values.mean(), len(values)
    if count < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half


def percent(values: pd.Series) -> str:
    mean, low, high = interval(100 * values)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def tally(changes: pd.DataFrame) -> str:
    better, worse = (changes.z < -NOISE).sum(), (changes.z > NOISE).sum()
    return f"{better} / {len(changes) - better - worse} / {worse}"


def accepted(table: pd.DataFrame, kind: str, way: str) -> pd.DataFrame:
    """Changes on the test set if the original is kept unless the validation gain is significant."""
    test = against(table, kind, way, kind, "test")
    clear = against(table, kind, way, kind, "validate").z < -NOISE
    test.loc[~clear.to_numpy(), ["change", "z"]] = 0.0
    return test


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def changes_of(table: pd.DataFrame, kind: str) -> str:
    rows = []
    ways = {way: against(table, kind, way, kind, "test") for way in LABELS}
    for name in table.data.unique():
        base = table[(table.data == name) & (table.model == kind) & (table.way == "")]
        cells = [percent(c[c.data == name].change) for c in ways.values()]
        rows.append([name, f"{base.loss.mean():.4g}", f"{base.trees.mean():.0f}", *cells])
    return markdown(["data", "loss", "trees", *LABELS.values()], rows)


def summary(table: pd.DataFrame) -> str:
    rows = []
    for kind in ("100 trees", "tuned"):
        for way in LABELS:
            all_of = against(table, kind, way, kind, "test")
            kept = accepted(table, kind, way)
            middle = all_of.groupby("data").change.mean().median()
            rows.append([kind, way, f"{100 * middle:+.1f}%", tally(all_of), tally(kept)])
    head = ["model", "trained", "median change", "better / same / worse", "if gain is significant"]
    return markdown(head, rows)


def against_300(table: pd.DataFrame) -> str:
    rows = []
    for way in LABELS:
        changes = against(table, "100 trees", way, "300 trees", "test")
        means = changes.groupby("data").change.mean()
        least = [means[name] for name in means.index]
        rows.append(
            [
                way,
                f"{sum(m <= 0 for m in least)} of {len(least)}",
                f"{100 * np.median(least):+.1f}%",
            ]
        )
    return markdown(["100 trees, trained", "at least as good on", "median difference"], rows)


def draw(table: pd.DataFrame, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(table.data.unique())
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.42 * len(names) + 1.5), sharey=True)
    for ax, kind in zip(axes, ("100 trees", "tuned"), strict=True):
        for offset, way in zip((-0.2, 0, 0.2), LABELS, strict=True):
            changes = against(table, kind, way, kind, "test")
            for row, name in enumerate(names):
                mean, low, high = interval(100 * changes[changes.data == name].change)
                ax.plot([low, high], [row + offset] * 2, color=COLORS[way], linewidth=1.2)
                ax.plot([mean], [row + offset], "o", color=COLORS[way], markersize=4)
        ax.axvline(0, color="0.6", linewidth=0.8)
        ax.set_title("LightGBM, 100 trees" if kind == "100 trees" else "LightGBM, tuned")
        ax.set_xlabel("change of the test loss, %")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    marks = [plt.Line2D([], [], color=c, marker="o", markersize=4) for c in COLORS.values()]
    figure.legend(marks, LABELS.values(), loc="outside lower center", ncols=3, frameon=False)
    figure.set_layout_engine("constrained")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write(results: Path, page: Path) -> None:
    """Write the page and its plot."""
    table = read(results)
    pairs = table[["data", "split"]].drop_duplicates()
    seconds = table[table.way != ""].groupby(["model", "way"]).seconds.median()
    times = ", ".join(f"{m}, {w}: {s:.0f} s" for (m, w), s in seconds.items())
    plot = page.with_suffix(".svg")
    draw(table, plot)
    page.write_text(
        "\n\n".join(
            [
                "# Boosted trees before and after fine-tuning",
                f"{len(pairs)} pairs of data set and split, written by "
                "`benchmarks/trees/study.py`, whose docstring describes the splits. The models "
                "are LightGBM with 100 trees of 31 leaves, with 300 trees, and tuned (random "
                "search over 20 settings, each with early stopping). Loss: Poisson deviance for "
                "bike sharing, squared error for the other regression targets, log loss for "
                "classes. Fine-tuning had the same settings everywhere: "
                "`net.fit(X, y, validation=..., epochs=30, patience=5)`. The defaults of soft "
                "splits were chosen by looking at early splits of bike sharing, california, "
                "concrete and phoneme, so these four are not entirely clean test sets.",
                f"![Changes of the test loss]({plot.name})",
                "## Summary",
                "Median over data sets of the change of the test loss; number of pairs in which "
                f"the change exceeds {NOISE:.0f} standard errors of the per-sample differences; "
                "the same if the original is kept unless the validation rows show a gain of that "
                "many standard errors, as `FineTuner` does.",
                summary(table),
                "Compared with 300 trees without fine-tuning, which on some data sets are "
                "themselves worse than 100:",
                against_300(table),
                "Conclusion: where boosting was stopped too early or the target is numeric, "
                "fine-tuning helps, and the model file has as many trees as before. Where "
                "boosting is already at its best, there is nothing to gain, and the best epoch on "
                "few validation rows is sometimes worse than the original; requiring a "
                "significant gain, as `FineTuner` does, leaves no such pair.",
                "## 100 trees",
                "Change of the test loss in percent: mean over splits and its 95% confidence "
                "interval.",
                changes_of(table, "100 trees"),
                "## Tuned",
                changes_of(table, "tuned"),
                f"Median seconds of a run on one thread: {times}.",
            ]
        )
        + "\n",
        encoding="utf-8",
    )
    print(f"{page}: {len(pairs)} pairs; {plot}")
