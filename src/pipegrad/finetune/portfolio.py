"""The ways to train that a recipe compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..modules import Block, LeafIndices
from ..training.dataset import EncodedDataset
from ..training.optimizers import LEARNING_RATE, groups_with_scales, make_optimizer
from ..training.options import Options, batch_rows
from ..training.scaled_lbfgs import ScaledLBFGS

if TYPE_CHECKING:
    pass

# docs/recipe.md has the benchmark behind each number, or calls it a habit.

# Input values (samples times features) up to which L-BFGS takes all of them in one batch.
_MAX_FULL_BATCH_VALUES = 20_000_000
# Iterations of L-BFGS between two checkpoints, as a share of those already made.
_CHECKPOINT_GROWTH = 0.2
# Iterations of L-BFGS in all.
_MAX_ITERATIONS = 1500
# Checkpoints of L-BFGS without progress; by then it has made 2.5 times the best's iterations.
_PATIENCE = 5
# Optimizer steps of a one-cycle run: one for each four training samples, within these bounds.
_MIN_STEPS = 300
_MAX_STEPS = 1500
# Epochs that those steps may take.
_MIN_EPOCHS = 5
_MAX_EPOCHS = 60
# Training samples from which on an unclear difference stays a tie and a prior no longer helps.
LARGE_SAMPLE = 2000


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
    reset_head : bool
        Whether the last operator starts without weights.
    """

    name: str
    kind: Literal["lbfgs", "scaled", "adam", "relative"]
    batch_size: int
    epochs: int
    anchor: float = 0.0
    reset_head: bool = False

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
        groups = groups_with_scales(parameters, lengths, LEARNING_RATE)
        return make_optimizer(torch.optim.Adam, groups, LEARNING_RATE)

    @property
    def patience(self) -> int | None:
        """One cycle pays at its end only."""
        return _PATIENCE if self.full else None


def default_candidates(
    rows: EncodedDataset,
    options: Options,
    loss: float,
    soft: bool = False,
    reset_head: bool = False,
) -> list[Candidate]:
    """The candidates for so many rows.

    Parameters
    ----------
    rows : EncodedDataset
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
    if _input_values(rows) <= _MAX_FULL_BATCH_VALUES and not soft:
        full = Candidate("L-BFGS", "lbfgs", count, len(_plan()), options.anchor)
        found += [replace(full, name="L-BFGS, scaled", kind="scaled"), full]
        if count < LARGE_SAMPLE and not options.anchor and loss > 0:
            # As a normal prior of each parameter's own size would have it, with noise ``loss``.
            found.append(replace(full, name="L-BFGS, anchored", anchor=loss / count))
        if reset_head and not options.anchor:
            found.append(replace(found[0], name="L-BFGS, reset head", reset_head=True))
    like = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    batch = batch_rows(options.batch_size, like, count)
    steps = min(max(count // 4, _MIN_STEPS), _MAX_STEPS)
    epochs = min(max(round(steps * batch / count), _MIN_EPOCHS), _MAX_EPOCHS)
    for name, kind in (("Adam, scaled", "adam"), ("Adam, relative rates", "relative")):
        found.append(Candidate(name, kind, batch, epochs, options.anchor))  # type: ignore[arg-type]
    return found


def _input_values(rows: EncodedDataset) -> int:
    """How many values enter the neural part."""
    sizes = [_entries(block) for block in rows.encoded.blocks.values()]
    return sum(sizes) * len(rows) // max(1, len(rows.encoded))


def _entries(block: Block | LeafIndices) -> int:
    if isinstance(block, LeafIndices):
        return block.leaves.numel()
    return (block if isinstance(block, Tensor) else block.values).numel()


def _plan() -> list[int]:
    """Iterations of L-BFGS before each checkpoint."""
    plan = [1]
    while sum(plan) < _MAX_ITERATIONS:
        plan.append(max(1, round(_CHECKPOINT_GROWTH * sum(plan))))
    return plan
