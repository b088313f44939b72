"""The ways to train that a recipe compares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from ..modules import Block, Linear, Routed, bare
from ..training.dataset import Loader, Rows
from ..training.fit import Options, batch_rows
from ..training.optimizers import LEARNING_RATE, groups_by_length, make_optimizer
from ..training.scaled_lbfgs import ScaledLBFGS, scales
from ..training.trainer import Trainer, measuring

if TYPE_CHECKING:
    from ..module import PipelineModule

# Numbers that enter the neural part up to which all rows make one step.
_FULL_BATCH = 20_000_000
# Iterations of L-BFGS between checkpoints grow with those already made.
_GROWTH, _ITERATIONS = 0.2, 1500
# After so many, two more checkpoints have to bring this share of the gain that is there already.
_MANY, _SHARE = 250, 0.01
# Iterations after which two ways of L-BFGS are compared, and the standard errors by which one gives
# up.
_COMPARED, _BEATEN = 60, 2.0
# Checkpoints of L-BFGS without progress; by then it has made 2.5 times the best's iterations. The
# first 30 iterations may wander: its picture of the curvature is only forming.
_PATIENCE, _FORMING = 5, 30
# On all rows it may make so many checkpoints more than on fewer, twice the iterations, as line
# searches differ. It ends once the training loss fell as far, or nearly so in as many checkpoints.
MORE, _NEARLY = 4, 0.9
# Steps of a one-cycle run: a quarter of the rows, within bounds; and the passes that they may take.
_STEPS, _PASSES = (300, 1500), (5, 60)
# A one-cycle run rises over this share of its steps, from this share of its rate.
_RISE, _LOW = 0.3, 0.04
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


class Run(Trainer):
    """One candidate: keeps loss and score of each row that validates at each checkpoint.

    Parameters
    ----------
    candidate : Candidate
        How to train.
    *args
        See `Trainer`.
    goal : (int, float), optional
        Checkpoints, and by how much the training loss is to fall. All-rows steps end when it fell
        so far; or, once there were so many checkpoints, when it nearly did.
    rivals : sequence of Run
        Of the same kind, on the same rows; a run that falls clearly behind one of them ends.
    **kwargs
        See `Trainer`.
    """

    def __init__(
        self,
        candidate: Candidate,
        *args: Any,
        goal: tuple[int, float] | None = None,
        rivals: Sequence[Run] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.candidate = candidate
        self.rivals = list(rivals)
        self.goal = goal
        self.losses_: list[NDArray[np.float64]] = []
        self.scores_: list[NDArray[np.float32]] = []
        self.steps_ = 0
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._iterations = _plan()
        # A run that ends earlier has a shorter cycle, as high as that was by then: numbers from
        # its middle are as noisy as its steps are long, and nothing would tell which are good.
        self._peak = one_cycle(min(self.max_epochs / candidate.epochs, _RISE))

    def _measure_start(self) -> None:
        super()._measure_start()
        self.fallen_from_ = float(self.history[0, "train_loss"])
        if self.candidate.anew:
            self._empty()
            self._evaluate(self.train, "from")
            self.fallen_from_ = float(self.history[0, "from_loss"])
            self._progress_loss = math.inf  # It begins behind.

    def _empty(self) -> None:
        """Leave the last operator nothing but the intercept that is best by itself.

        A linear model that was fitted to the end may have learned too much. From nothing, training
        passes all that lies between, and validation says where to stop.
        """
        module = last_linear(self.module_)
        assert module is not None
        with torch.no_grad():
            score = self._scores(Loader(self.train, 4096))
            module.weight.zero_()
        if module.bias is not None and module.bias.requires_grad:
            self._center(module, module.bias, score)
        if isinstance(self.optimizer_, ScaledLBFGS):
            # Where all is fitted to the end, next to nothing of the loss is left to measure by.
            own = [p for p in module.parameters() if p.requires_grad]
            found = scales(self.module_, self.criterion_, self.train, own)
            self.optimizer_.lengths.update(zip(own, (s / self._unit for s in found), strict=True))

    def _center(self, module: Linear, bias: nn.Parameter, score: Tensor) -> None:
        """The best intercept for a score that is the same for all rows; ``score`` is a start."""
        rows = self.train.columns()
        fixed = 0.0 if module.offset is None else module.offset
        with torch.no_grad():
            bias.copy_(score.mean(0) - fixed)
        optimizer = torch.optim.LBFGS([bias], max_iter=50, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            constant = (bias + fixed).squeeze() if module.squeeze else bias + fixed
            same = constant.expand(score.shape)
            loss = self.criterion_(same, rows[1], rows.weight, rows.groups) * self._unit
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)

    def run_single_epoch(self, iterator: Any, *args: Any, **kwargs: Any) -> None:
        if self.candidate.full:
            iterations = self._iterations[self.steps_]
            for group in self.optimizer.param_groups:
                group.update(max_iter=iterations, max_eval=2 * iterations + 4)
        self._total = self.max_epochs * len(iterator)
        super().run_single_epoch(iterator, *args, **kwargs)

    def train_step(self, batch: Any, **kwargs: Any) -> dict[str, Any]:
        if not self.candidate.full:
            share = self._peak * one_cycle(self.steps_ / self._total)
            for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * share
        self.steps_ += 1
        return super().train_step(batch, **kwargs)

    def _measure(self) -> None:
        if self.candidate.full and self.steps_:
            # The loss that the optimizer met first is that of the checkpoint before.
            self._evaluate(self.train, "train")
        if self.valid is None:
            return  # How long to train is settled already.
        losses, scores = self._row_losses(self.valid)
        self.losses_.append(losses)
        self.scores_.append(scores)
        self.history.record("valid_loss", float(self.losses_[-1].mean()))

    def _row_losses(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        self.module_.eval()
        with torch.no_grad():
            if self.criterion_.penalty is None:
                batches = measuring(self.module_, self.criterion_, rows)
                parts = [self._terms(batch) for batch in batches]
                losses, scores = (torch.cat(some) for some in zip(*parts, strict=True))
            else:
                scores, own = self._scores(Loader(rows, 4096)), rows.columns()
                losses = self.criterion_.compared(scores, own[1], own.weight, own.groups)
        self.module_.train()
        return losses.double().cpu().numpy(), scores.float().cpu().numpy()

    def _terms(self, batch: Any) -> tuple[Tensor, Tensor]:
        encoded, target = batch
        score = self.module_(encoded)
        return self.criterion_.compared(score, target, batch.weight), score

    def _judge(self) -> bool:
        if self.candidate.full and sum(self._iterations[: self.steps_]) < _FORMING:
            self._waited = -1
        going = super()._judge() and not self._arrived()
        return going and not self._beaten() and not self._slow()

    def _slow(self) -> bool:
        """Whether what more iterations bring is no longer worth them."""
        many = self.candidate.full and sum(self._iterations[: self.steps_]) >= _MANY
        if self.valid is None or not many:
            return False
        losses = self.history[:, "valid_loss"]
        best = min(losses)
        slow = bool(min(losses[1:-2]) - best <= _SHARE * (losses[0] - best))
        if slow:
            self.reason_ = "little progress"
        return slow

    def _arrived(self) -> bool:
        if self.goal is None or not self.candidate.full:
            return False
        checkpoints, wanted = self.goal
        start, now = self.history[0, "train_loss"], self.history[-1, "train_loss"]
        if self.steps_ >= checkpoints:
            # Where a last step anew is to fit the training rows better than the pipeline did, most
            # of its way leads to where that was. Where it is to stop before, all of it counts.
            beyond = wanted - (self.fallen_from_ - start)
            wanted -= (1 - _NEARLY) * (beyond if beyond > 0 else wanted)
        return bool(self.fallen_from_ - now >= wanted)

    def _beaten(self) -> bool:
        """Whether a rival is clearly ahead after as many iterations."""
        if not self.candidate.full or sum(self._iterations[: self.steps_]) < _COMPARED:
            return False
        for rival in self.rivals:
            behind = self.losses_[-1] - rival.losses_[min(self.steps_, len(rival.losses_) - 1)]
            if behind.mean() > _BEATEN * behind.std() / math.sqrt(len(behind)):
                self.reason_ = f"{rival.candidate.name} is ahead"
                return True
        return False

    def restore(self) -> None:
        """Nothing: the caller knows which checkpoint it wants."""
        self.optimizer_.zero_grad()


def last_linear(net: PipelineModule) -> Linear | None:
    """The last operator's linear map, where there is one and it trains."""
    module = bare(net._module(net.graph.output))
    return module if isinstance(module, Linear) and module.weight.requires_grad else None


def one_cycle(progress: float) -> float:
    """Share of the full rate: up along a cosine, and down to nothing."""
    if progress < _RISE:
        return _LOW + (1 - _LOW) * (1 - math.cos(math.pi * progress / _RISE)) / 2
    return (1 + math.cos(math.pi * (progress - _RISE) / (1 - _RISE))) / 2
