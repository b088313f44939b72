"""The page of the study of boosted trees, from its results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

LABELS = {"leaves": "leaves", "soft": "soft", "straight-through": "straight-through"}
COLORS = {"leaves": "tab:gray", "soft": "tab:blue", "straight-through": "tab:orange"}
# Standard errors beyond which a difference is no noise.
NOISE = 2.0


def read(folder: Path) -> pd.DataFrame:
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise SystemExit(f"{folder} holds no results; run study.py without --report first.")
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def against(table: pd.DataFrame, kind: str, way: str, other: str, rows: str) -> pd.DataFrame:
    """Fine-tuned against another model, split by split: relative change and standard errors."""
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
    """Mean over splits, with its 95% interval."""
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
    """The same, where the original stays unless the validating rows speak clearly."""
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
    head = ["model", "trained", "median change", "better / same / worse", "only where clear"]
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
    """Write the page, and the plot beside it."""
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
                "`benchmarks/trees/study.py`, whose first lines say how rows were divided. "
                "LightGBM with 100 trees of 31 leaves, with 300, and tuned (20 settings drawn at "
                "random, each stopped early). Loss: Poisson deviance for bike sharing, squared "
                "error for the other numbers, log loss for classes. Fine-tuning had the same "
                "settings everywhere: `net.fit(X, y, validation=..., epochs=30, patience=5)`. The "
                "defaults of soft splits were settled by looking at early splits of bike sharing, "
                "california, concrete and phoneme, so that these four are not quite fresh.",
                f"![Changes of the test loss]({plot.name})",
                "## In short",
                "Median over data sets of the change of the test loss; pairs in which the change "
                f"is more than {NOISE:.0f} standard errors of the difference between rows; the "
                "same where the original stays unless the validating rows show a gain of that "
                "many standard errors, as `FineTuner` does.",
                summary(table),
                "Against 300 trees without fine-tuning, which on some of the data sets are worse "
                "than 100 already:",
                against_300(table),
                "What to take from it: where trees were stopped too early or the target is a "
                "number, fine-tuning gains, and what stands in the library's file is the same "
                "number of trees. Where boosting is at its best already, there is nothing to "
                "gain, and the best epoch on few validating rows is now and then worse than the "
                "original; asking for a clear gain, as `FineTuner` does, leaves no such pair.",
                "## 100 trees",
                "Change of the test loss in percent, mean over splits with its 95% interval.",
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
