"""Coverage of the report's interval as a table and a figure, from interval_coverage.py.

python benchmarks/accuracy/interval_coverage_report.py RESULTS docs/no-harm.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from scipy import stats

matplotlib.use("Agg")
import matplotlib.pyplot as plt

REGIMES = ("random", "ordered", "grouped")
COLORS = dict(zip(REGIMES, ("tab:blue", "tab:orange", "tab:green"), strict=True))
START, END = "<!-- coverage -->", "<!-- /coverage -->"


def read(folder: Path) -> pd.DataFrame:
    """One row for each run that trained, with its standardised error and whether it was covered."""
    every = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    every = every[every.failure == ""]
    table = every[every.improved.astype(bool)].copy()
    miss = table.new_gain - table.gain
    table["covered"] = miss.abs() <= 2 * table.error
    # The gain on new rows has an error of its own.
    total = np.hypot(table.error, table.new_error)
    table["standardised"] = miss / total
    table["covered_both"] = miss.abs() <= 2 * total
    table.attrs["runs"] = len(every)
    return table.reset_index(drop=True)


def groups(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Regime, number of rows, and the runs: first each regime as a whole, then by size."""
    for regime in REGIMES:
        part = table[table.regime == regime]
        if len(part):
            yield regime, "all", part
            for size, rows in part.groupby("size"):
                yield regime, f"{size:,}", rows


def share(values: pd.Series) -> tuple[float, float, float]:
    """A share with its 95% interval (Wilson 1927)."""
    found = stats.binomtest(int(values.sum()), len(values)).proportion_ci(0.95, "wilson")
    return float(values.mean()), found.low, found.high


def lines(table: pd.DataFrame) -> list[str]:
    """The table in Markdown."""
    found = [
        "| rows | number | improved runs | covered | covered, with the error of the test "
        "| standardised error, mean | standard deviation | worse on the test rows |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for regime, size, part in groups(table):
        held, low, high = share(part.covered)
        z = part.standardised
        cells = [
            regime if size == "all" else "",
            size,
            str(len(part)),
            f"{held:.0%} ({low:.0%} to {high:.0%})",
            f"{part.covered_both.mean():.0%}",
            f"{z.mean():+.2f}",
            f"{z.std():.2f}" if len(part) > 1 else "",
            str(int((part.new_gain < 0).sum())),
        ]
        found.append(f"| {' | '.join(cells)} |")
    return found


def draw(table: pd.DataFrame, path: Path) -> None:
    """Coverage with its own interval for each regime and size, and all standardised errors."""
    with plt.rc_context({"svg.hashsalt": "pipegrad", "font.size": 9}):
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
        _shares(axes[0], table)
        _errors(axes[1], table)
        for ax in axes:
            ax.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)


def _shares(ax: Any, table: pd.DataFrame) -> None:
    labels = []
    for row, (regime, size, part) in enumerate(groups(table)):
        held, low, high = share(part.covered_both)
        whole = size == "all"
        ax.plot([100 * low, 100 * high], [row, row], color=COLORS[regime], lw=3 if whole else 1.5)
        ax.plot(100 * held, row, "o", color=COLORS[regime], markersize=8 if whole else 5)
        labels.append(f"{regime}, all" if whole else f"{size} rows")
    ax.axvline(95, color="0.4", linestyle=":", linewidth=1)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlim(0, 101)
    ax.set_xlabel("coverage in percent")


def _errors(ax: Any, table: pd.DataFrame) -> None:
    edges = np.arange(-5, 5.01, 0.5)
    parts = [table.standardised[table.regime == r].clip(-5, 5) for r in REGIMES]
    ax.hist(parts, edges, stacked=True, color=list(COLORS.values()), label=REGIMES)
    x = np.linspace(-5, 5, 201)
    ax.plot(x, 0.5 * len(table) * stats.norm.pdf(x), color="0.2", linewidth=1, label="normal")
    ax.set_xlabel("standardised error of the reported gain")
    ax.set_ylabel("runs")
    ax.legend(frameon=False, fontsize="small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args()
    table = read(options.results)
    draw(table, options.page.parent / "coverage.svg")
    text = options.page.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    body = "\n".join(lines(table))
    options.page.write_text(f"{before}{START}\n{body}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
