"""How often the recipe takes noise for a gain, and a gain for noise: simulated losses.

    python benchmarks/accuracy/null_simulation.py

Candidates change the loss of each row at random, with a mean of zero (the null hypothesis) or of a
known gain. The recipe examines them sequentially, split after split, until it is conclusive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipegrad.finetune.comparison import SPLITS, is_conclusive
from pipegrad.finetune.selection import Selection, select_candidate
from report import markdown, percent

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
NOISES: dict[str, Draw] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    # Student's t with three degrees of freedom.
    "heavy tails": lambda draw, shape: draw.standard_t(3, size=shape),
    # Most rows gain a little, a few lose a lot.
    "skewed": lambda draw, shape: np.exp(0.5) - draw.lognormal(size=shape),
}
_SPREADS = {"normal": 1.0, "heavy tails": 3**0.5, "skewed": (np.e**2 - np.e) ** 0.5}
_CANDIDATES, _CHECKPOINTS = 5, 8
_START = 10.0
# True gains, in standard errors of the mean over five splits.
GAINS = (0.0, 3.0)
ROWS = (60, 200, 1000, 4000)
DRAWS = 200


@dataclass(frozen=True)
class Setting:
    """A simulation: rows per split, the distribution of their noise, and the true gain.

    ``gain`` is in standard errors of the mean over five splits.
    """

    rows: int
    noise: str
    gain: float = 0.0


def losses_of_split(setting: Setting, draw: np.random.Generator) -> NDArray[np.float64]:
    """Losses (candidates, checkpoints, rows), correlated within and between candidates."""
    noise, rows = NOISES[setting.noise], setting.rows
    parts = (1, 1, rows), (_CANDIDATES, 1, rows), (_CANDIDATES, _CHECKPOINTS, rows)
    gains = sum(noise(draw, shape) for shape in parts)
    spread = np.sqrt(3) * _SPREADS[setting.noise]
    gains = gains + setting.gain * spread / np.sqrt(SPLITS * rows)
    # Later checkpoints are further from the start.
    share = np.linspace(0.3, 1.0, _CHECKPOINTS)[:, None]
    return _START - share * gains


def choices(setting: Setting, draw: np.random.Generator) -> tuple[Selection, Selection]:
    """The selection after the first split and the final one."""
    losses: list[NDArray[np.float64]] = []
    first: Selection | None = None
    while True:
        losses.append(losses_of_split(setting, draw))
        count = len(losses) * setting.rows
        choice = select_candidate(np.full(count, _START), np.concatenate(losses, axis=2), 0)
        first = first or choice
        if len(losses) == SPLITS or is_conclusive(choice, count, len(losses)):
            return first, choice


def rates(setting: Setting, draws: int, seed: int = 0) -> dict[str, float]:
    """Share of draws in which a gain is detected: after one split, and by the recipe."""
    draw = np.random.default_rng(seed)
    found = [choices(setting, draw) for _ in range(draws)]
    return {
        "one split": sum(first.significant for first, _ in found) / draws,
        "recipe": sum(last.significant for _, last in found) / draws,
    }


def table(draws: int = DRAWS) -> pd.DataFrame:
    """Detection rates of all settings."""
    settings = [Setting(rows, noise, gain) for gain in GAINS for rows in ROWS for noise in NOISES]
    return pd.DataFrame([{**vars(one), **rates(one, draws)} for one in settings])


def rates_table(draws: int = DRAWS) -> str:
    """The detection rates in percent, as Markdown."""
    found = table(draws)
    words = {0.0: "none", **{gain: f"{gain:g} standard errors" for gain in GAINS if gain}}
    rows = [
        [words[row.gain], f"{row.rows:,}", row.noise, *(percent(value) for value in row[3:])]
        for _, row in found.iterrows()
    ]
    head = ["true gain", "rows per split", "noise", *found.columns[3:]]
    return f"{draws} draws per row.\n\n{markdown(head, rows)}"


def main() -> None:
    print(rates_table())


if __name__ == "__main__":
    main()
