"""The tree splits whose thresholds changed most in training, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import ArgumentError
from ..graph import Step
from ..graph.display.table import as_text
from ..modules import TreeEnsemble, unwrap_head
from ..network import PipelineNetwork, fresh_module
from ..printable import printable
from .formatting import plot_label

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

_WIDTH = 100


@dataclass(frozen=True)
class Split:
    """A split before and after training.

    Parameters
    ----------
    step : str
        Name of the step.
    tree : int
        Index of the tree, from 0.
    column : str
        Name of the column that the split tests, or its index.
    before, after : float
        Threshold before and after training.
    spread : float
        Spread of the column, the unit of ``distance``.
    """

    step: str
    tree: int
    column: str
    before: float
    after: float
    spread: float

    @property
    def distance(self) -> float:
        """The change of the threshold in units of the spread of its column."""
        return abs(self.after - self.before) / self.spread


class MovedSplits:
    """The splits that moved most; prints as a table, and `plot` draws it.

    Parameters
    ----------
    splits : tuple of Split
        The splits with the largest changes, in descending order.
    moved, total : int
        Number of splits that moved, and of all splits.
    """

    def __init__(self, splits: tuple[Split, ...], moved: int, total: int) -> None:
        self.splits, self.moved, self.total = splits, moved, total

    def __iter__(self) -> Iterator[Split]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        yield _table(self)

    def __str__(self) -> str:
        return as_text(self, _WIDTH)

    __repr__ = __str__

    def plot(self, ax: Any = None) -> Any:
        """Draw each split as a line from its old to its new threshold.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; a new figure by default.

        Returns
        -------
        matplotlib Axes
            The axes. Positions are in units of the column's spread, relative to the mean of the
            positions drawn for that column.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            height = 1.2 + 0.32 * max(1, len(self))
            _, ax = plt.subplots(figsize=(7, height), layout="constrained")
        centres = self._centres()
        for row, split in enumerate(self.splits):
            start, end = (
                (value - centres[split.step, split.column]) / split.spread
                for value in (split.before, split.after)
            )
            ax.plot([start, end], [row, row], color="0.7", linewidth=1.5, zorder=1)
            ax.scatter([start], [row], facecolors="white", edgecolors="0.4", zorder=2)
            ax.scatter([end], [row], color="tab:blue", zorder=3)
            side = 1 if end >= start else -1
            _label(ax, split.after, end, row, side)
            _label(ax, split.before, start, row, -side)
        ax.set_yticks(
            range(len(self)), [f"{plot_label(s.column)}  (tree {s.tree})" for s in self.splits]
        )
        ax.invert_yaxis()
        ax.margins(x=0.15)
        ax.set_xlabel("position in units of the column's spread (hollow: before, filled: after)")
        most = "; these moved most" if self.splits else ""
        ax.set_title(f"{self.moved:,} of {self.total:,} splits moved{most}")
        for side_ in ("top", "right"):
            ax.spines[side_].set_visible(False)
        return ax

    def _centres(self) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], list[float]] = {}
        for split in self.splits:
            found.setdefault((split.step, split.column), []).extend([split.before, split.after])
        return {key: float(np.mean(values)) for key, values in found.items()}


def _label(ax: Any, value: float, x: float, row: int, side: int) -> None:
    ax.annotate(
        f"{value:.4g}",
        (x, row),
        xytext=(7 * side, 0),
        textcoords="offset points",
        va="center",
        ha="left" if side > 0 else "right",
        fontsize=8,
    )


def moved_splits(net: PipelineNetwork, count: int = 10) -> MovedSplits:
    """The tree splits that moved most since the translation.

    Parameters
    ----------
    net : PipelineNetwork
        The trained result of ``to_torch(pipe, trees="soft")``.
    count : int
        Number of splits to return.

    Returns
    -------
    MovedSplits
        Prints as a table; its ``plot()`` draws it.

    Raises
    ------
    ArgumentError
        When the pipeline has no trees with trainable splits.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn.ensemble import GradientBoostingRegressor
    >>> import pipegrad as pg
    >>> from pipegrad.report import moved_splits
    >>> X, y = make_friedman1(400, 5, random_state=0)
    >>> model = GradientBoostingRegressor(n_estimators=10, random_state=0).fit(X[:200], y[:200])
    >>> net = pg.to_torch(model, trees="soft")
    >>> net = net.fit(X[:200], y[:200], validation=(X[200:], y[200:]), epochs=5)
    >>> farthest = next(iter(moved_splits(net)))
    >>> farthest.distance > 0
    True
    """
    found: list[Split] = []
    total = 0
    for step in net.neural_steps():
        for now, then in _pairs(net, step):
            total += int(torch.isfinite(then.thresholds()).sum())
            found.extend(_splits(net, step, now, then))
    if not total:
        raise ArgumentError(
            "The pipeline has no trees with trainable splits.\n"
            "Hint: train them with to_torch(pipe, trees='soft') and net.fit."
        )
    found.sort(key=lambda split: -split.distance)
    return MovedSplits(tuple(found[:count]), len(found), total)


def _pairs(net: PipelineNetwork, step: Step) -> Iterator[tuple[TreeEnsemble, TreeEnsemble]]:
    module = unwrap_head(net.step_module(step.name))
    if not any(isinstance(m, TreeEnsemble) and m.way != "leaves" for m in module.modules()):
        return
    fresh = fresh_module(net, step)
    for now, then in zip(module.modules(), fresh.modules(), strict=True):
        if isinstance(now, TreeEnsemble) and isinstance(then, TreeEnsemble):
            yield now, then


def _splits(
    net: PipelineNetwork, step: Step, now: TreeEnsemble, then: TreeEnsemble
) -> Iterator[Split]:
    before = then.thresholds().detach().cpu().double()
    after = now.thresholds().detach().cpu().double()
    names = _names(step)
    trees = now.node_trees().tolist()
    for node in torch.nonzero(before != after)[:, 0].tolist():
        column = int(now.feature[node])
        yield Split(
            step.name,
            trees[node],
            names[column] if names is not None and column < len(names) else f"column {column}",
            float(before[node]),
            float(after[node]),
            float(now.spread[column]),
        )


def _names(step: Step) -> list[str] | None:
    """Names of the columns that the step's operator was fitted on, or None."""
    names = getattr(step.operator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _table(moved: MovedSplits) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    caption = f"{moved.moved:,} of {moved.total:,} splits moved"
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    table.add_column("step", overflow="fold")
    table.add_column("tree", justify="right")
    table.add_column("column", overflow="fold")
    for name in ("before", "after", "in spreads"):
        table.add_column(name, justify="right")
    for split in moved:
        table.add_row(
            Text(printable(split.step)),
            str(split.tree),
            Text(printable(split.column)),
            f"{split.before:.6g}",
            f"{split.after:.6g}",
            f"{split.distance:.3f}",
        )
    return table
