"""The ways to train that a recipe compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..modules import Block, Routed
from ..training.dataset import Rows
from ..training.optimizers import LEARNING_RATE, groups_by_length, make_optimizer
from ..training.options import Options, batch_rows
from ..training.scaled_lbfgs import ScaledLBFGS

if TYPE_CHECKING:
    pass

# Numbers that enter the neural part up to which all rows make one step.
_FULL_BATCH = 20_000_000
# Iterations of L-BFGS between checkpoints grow with those already made.
_GROWTH, _ITERATIONS = 0.2, 1500
# Checkpoints of L-BFGS without progress; by then it has made 2.5 times the best's iterations.
_PATIENCE = 5
# Steps of a one-cycle run: a quarter of the rows, within bounds; and the passes that they may take.
_STEPS, _PASSES = (300, 1500), (5, 60)
# Rows on which an unclear difference stays a tie, and a prior no longer helps.
ENOUGH = 2000


@dataclass(frozen=True)
class Candidate:
    """One way to train.

    Parameters
    ----------
    name : str
        For the report.
    kind : {"lbfgs", "scaled", "adam", "relative"}
        Optimizer: full-batch L-BFGS, the same in coordinates scaled by curvature; or, along one
        cycle, Adam in such coordinates or with rates relative to the size of each parameter.
    batch_size : int
        Rows of a step.
    epochs : int
        Largest number of checkpoints.
    anchor : float
        Strength of the pull towards the start.
    anew : bool
        Whether the last operator starts without weights.
    """

    name: str
    kind: Literal["lbfgs", "scaled", "adam", "relative"]
    batch_size: int
    epochs: int
    anchor: float = 0.0
    anew: bool = False

    @property
    def scaled(self) -> bool:
        """Whether lengths of coordinates are wanted."""
        return self.kind in ("scaled", "adam")

    @property
    def full(self) -> bool:
        """Whether all rows make one step."""
        return self.kind in ("lbfgs", "scaled")

    def optimizer(
        self, parameters: Sequence[nn.Parameter], lengths: Sequence[float] = ()
    ) -> Optimizer:
        """A new optimizer over the parameters; ``lengths`` are those of scaled coordinates."""
        if self.kind == "scaled":
            return ScaledLBFGS(parameters, lengths)
        if self.kind == "lbfgs":
            return make_optimizer(torch.optim.LBFGS, parameters)
        if self.kind == "relative":
            return make_optimizer(torch.optim.Adam, parameters)
        groups = groups_by_length(parameters, lengths, LEARNING_RATE)
        return make_optimizer(torch.optim.Adam, groups, LEARNING_RATE)

    @property
    def patience(self) -> int | None:
        """One cycle pays at its end only."""
        return _PATIENCE if self.full else None


def default_candidates(
    rows: Rows, options: Options, loss: float, soft: bool = False, anew: bool = False
) -> list[Candidate]:
    """The candidates for so many rows.

    Parameters
    ----------
    rows : Rows
        Those that train.
    options : Options
        What the user set: batch size and anchor.
    loss : float
        Of the fitted pipeline; the noise that the anchor by rule is measured against.
    soft : bool
        Whether trees have soft splits. What training lowers is not what is measured then, so that
        a long line search is wasted on it.
    """
    count = len(rows)
    found = []
    if _numbers(rows) <= _FULL_BATCH and not soft:
        full = Candidate("L-BFGS", "lbfgs", count, len(_plan()), options.anchor)
        found += [replace(full, name="L-BFGS, scaled", kind="scaled"), full]
        if count < ENOUGH and not options.anchor and loss > 0:
            # As a normal prior of each parameter's own size would have it, with noise ``loss``.
            found.append(replace(full, name="L-BFGS, anchored", anchor=loss / count))
        if anew and not options.anchor:
            found.append(replace(found[0], name="L-BFGS, reset head", anew=True))
    like = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    batch = batch_rows(options.batch_size, like, count)
    steps = min(max(count // 4, _STEPS[0]), _STEPS[1])
    epochs = min(max(round(steps * batch / count), _PASSES[0]), _PASSES[1])
    for name, kind in (("Adam, scaled", "adam"), ("Adam, relative rates", "relative")):
        found.append(Candidate(name, kind, batch, epochs, options.anchor))  # type: ignore[arg-type]
    return found


def _numbers(rows: Rows) -> int:
    """How many numbers enter the neural part."""
    sizes = [_entries(block) for block in rows.encoded.blocks.values()]
    return sum(sizes) * len(rows) // max(1, len(rows.encoded))


def _entries(block: Block | Routed) -> int:
    if isinstance(block, Routed):
        return block.leaves.numel()
    return (block if isinstance(block, Tensor) else block.values).numel()


def _plan() -> list[int]:
    """Iterations of L-BFGS before each checkpoint."""
    plan = [1]
    while sum(plan) < _ITERATIONS:
        plan.append(max(1, round(_GROWTH * sum(plan))))
    return plan
