"""The training strategies that the recipe compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from ..training.dataset import EncodedDataset
from ..training.optimizers import LEARNING_RATE, groups_with_scales, make_optimizer
from ..training.options import Options, batch_rows
from ..training.row_blocks import input_values
from ..training.scaled_lbfgs import ScaledLBFGS

if TYPE_CHECKING:
    pass

# docs/recipe.md gives the benchmark behind each number, or says that it is a convention.

# Input values (samples times features) up to which L-BFGS takes the whole data set as one batch.
_MAX_FULL_BATCH_VALUES = 20_000_000
# Iterations of L-BFGS between two checkpoints, as a share of those already made.
_CHECKPOINT_GROWTH = 0.2
# Maximum total number of L-BFGS iterations.
_MAX_ITERATIONS = 1500
# Patience of L-BFGS in checkpoints: 2.5 times as many iterations as at the best checkpoint.
_PATIENCE = 5
# Optimizer steps of a one-cycle run: one for each four training samples, within these bounds.
_MIN_STEPS = 300
_MAX_STEPS = 1500
# Bounds on the number of epochs for those steps.
_MIN_EPOCHS = 5
_MAX_EPOCHS = 60
# Number of samples from which an insignificant difference counts as a tie and a prior no longer
# helps.
LARGE_SAMPLE = 2000


@dataclass(frozen=True)
class Candidate:
    """A training strategy.

    Parameters
    ----------
    name : str
        The name in the report.
    kind : {"lbfgs", "scaled", "adam", "relative"}
        The optimizer: full-batch L-BFGS ("lbfgs"), L-BFGS in coordinates scaled by curvature
        ("scaled"), Adam in such coordinates ("adam"), or Adam with rates relative to the magnitude
        of each parameter ("relative"). Both Adam variants use a one-cycle schedule.
    batch_size : int
        Number of samples per optimizer step.
    epochs : int
        Maximum number of checkpoints.
    anchor : float
        Strength of the L2-SP penalty towards the initial parameters.
    reset_head : bool
        Whether the last linear operator is re-initialized with zero weights.
    """

    name: str
    kind: Literal["lbfgs", "scaled", "adam", "relative"]
    batch_size: int
    epochs: int
    anchor: float = 0.0
    reset_head: bool = False

    @property
    def scaled(self) -> bool:
        """Whether the optimizer needs the scales of the coordinates."""
        return self.kind in ("scaled", "adam")

    @property
    def full(self) -> bool:
        """Whether the optimizer uses the full batch."""
        return self.kind in ("lbfgs", "scaled")

    def optimizer(
        self, parameters: Sequence[nn.Parameter], lengths: Sequence[float] = ()
    ) -> Optimizer:
        """Return a new optimizer; ``lengths`` are the scales of the coordinates."""
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
        """Patience in checkpoints; one-cycle runs have none, as only their end is useful."""
        return _PATIENCE if self.full else None


def default_candidates(
    rows: EncodedDataset,
    options: Options,
    loss: float,
    soft: bool = False,
    reset_head: bool = False,
    points: bool = True,
) -> list[Candidate]:
    """Return the candidates for a data set.

    Parameters
    ----------
    rows : EncodedDataset
        The training rows.
    options : Options
        The user's batch size and anchor.
    loss : float
        Training loss of the fitted pipeline, used as the noise level that sets the default anchor.
    soft : bool
        Whether trees have soft splits. The training loss then differs from the validation loss, so
        a long line search is wasted.
    reset_head : bool
        Whether the last operator is linear and may be re-initialized.
    points : bool
        Whether centers or landmarks are trained, to which distances are measured. Elsewhere, rates
        relative to the parameters add next to nothing to the other candidates.

    Returns
    -------
    list of Candidate
        The candidates in the order in which they are tried.
    """
    count = len(rows)
    found = []
    if _input_values(rows) <= _MAX_FULL_BATCH_VALUES and not soft:
        full = Candidate("L-BFGS", "lbfgs", count, len(_plan()), options.anchor)
        found += [replace(full, name="L-BFGS, scaled", kind="scaled"), full]
        if count < LARGE_SAMPLE and not options.anchor and loss > 0:
            # A normal prior with the magnitude of each parameter as scale, and ``loss`` as noise.
            found.append(replace(full, name="L-BFGS, anchored", anchor=loss / count))
        if reset_head and not options.anchor:
            found.append(replace(found[0], name="L-BFGS, reset head", reset_head=True))
    like = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    batch = batch_rows(options.batch_size, like, count)
    steps = min(max(count // 4, _MIN_STEPS), _MAX_STEPS)
    epochs = min(max(round(steps * batch / count), _MIN_EPOCHS), _MAX_EPOCHS)
    alone = not found
    found.append(Candidate("Adam, scaled", "adam", batch, epochs, options.anchor))
    if points or alone:
        found.append(Candidate("Adam, relative rates", "relative", batch, epochs, options.anchor))
    return found


def _input_values(rows: EncodedDataset) -> int:
    """Number of values that enter the neural part."""
    return input_values(rows.encoded) * len(rows) // max(1, len(rows.encoded))


def _plan() -> list[int]:
    """Number of L-BFGS iterations before each checkpoint."""
    plan = [1]
    while sum(plan) < _MAX_ITERATIONS:
        plan.append(max(1, round(_CHECKPOINT_GROWTH * sum(plan))))
    return plan
