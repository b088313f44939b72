"""The training run of one candidate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..modules import Linear, unwrap_head
from ..training.dataset import Batch, EncodedDataset, Loader
from ..training.deadline import Deadline
from ..training.row_blocks import score_of
from ..training.scaled_lbfgs import ScaledLBFGS, fisher_scales
from ..training.schedules import RISE, one_cycle
from ..training.trainer import StepResult, Trainer, per_sample_loader
from .portfolio import Candidate, _plan

if TYPE_CHECKING:
    from ..module import PipelineModule

# docs/recipe.md gives the benchmark behind each number, or says that it is a convention.

# L-BFGS iterations after which a plateau ends a run.
_PLATEAU_ITERATIONS = 250
# Share of the gain so far that two more checkpoints must add from then on.
_PLATEAU_GAIN = 0.01
# L-BFGS iterations after which a run is compared with its competitors.
_RACE_ITERATIONS = 60
# Critical value: a run stops when it is so many standard errors behind a competitor.
_DOMINATED_Z = 2.0
# L-BFGS iterations without early stopping, while its curvature estimate is still poor.
_WARMUP_ITERATIONS = 30
# Extra checkpoints for the refit on all rows: twice the iterations, because line searches differ.
EXTRA_CHECKPOINTS = 4
# Share of the target reduction of the training loss that suffices once the target number of
# checkpoints is reached.
_TARGET_TOLERANCE = 0.9


class CandidateRun(Trainer):
    """The training run of a candidate; records per-sample validation losses and scores.

    Parameters
    ----------
    candidate : Candidate
        The training strategy.
    *args
        See `Trainer`.
    loss_target : (int, float), optional
        Number of checkpoints, and target reduction of the training loss. A full-batch run ends when
        it reaches that reduction, or most of it after this number of checkpoints.
    competitors : sequence of CandidateRun
        Full-batch runs on the same rows; a run that falls significantly behind one of them ends.
    **kwargs
        See `Trainer`.
    """

    def __init__(
        self,
        candidate: Candidate,
        *args: Any,
        loss_target: tuple[int, float] | None = None,
        competitors: Sequence[CandidateRun] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.candidate = candidate
        self.competitors = list(competitors)
        self.loss_target = loss_target
        self.losses_: list[NDArray[np.float64]] = []
        self.scores_: list[NDArray[np.float32]] = []
        self.steps_ = 0
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._iterations = _plan()
        # A shortened run gets a shorter cycle with the peak reached so far: parameters from
        # mid-cycle are noisy, and without validation data we could not tell good ones.
        self._peak = one_cycle(min(self.max_epochs / candidate.epochs, RISE))

    def _measure_start(self) -> None:
        super()._measure_start()
        self._began = Deadline.clock()
        self.reference_loss_ = self.minimized_[0]["train_loss"]
        if self.candidate.reset_head:
            self._reset_head()
            self._evaluate(self.train, "from")
            self.reference_loss_ = self.minimized_[0]["from_loss"]
            self._progress_loss = math.inf  # It starts above the baseline loss.

    def _reset_head(self) -> None:
        """Re-initialize the last linear operator: zero weights and the optimal intercept.

        A linear model that was fitted to convergence may overfit. From zero weights, training
        passes through less fitted models, and early stopping selects among them.
        """
        module = last_linear(self.module_)
        assert module is not None
        with torch.no_grad():
            score = self._scores(Loader(self.train, 4096))
            module.weight.zero_()
        if module.bias is not None and module.bias.requires_grad:
            self._fit_intercept(module, module.bias, score)
        if isinstance(self.optimizer_, ScaledLBFGS):
            # At a converged fit, the gradients of the last operator almost vanish, so its scales
            # are measured again after the reset.
            own = [p for p in module.parameters() if p.requires_grad]
            found = fisher_scales(self.module_, self.criterion_, self.train, own)
            self.optimizer_.scales.update(zip(own, (s / self._unit for s in found), strict=True))

    def _fit_intercept(self, module: Linear, bias: nn.Parameter, score: Tensor) -> None:
        """Fit the intercept of a constant score; the mean of ``score`` is the starting point."""
        rows = self.train.targets_and_weights()
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

    def run_single_epoch(
        self,
        iterator: Loader,
        training: bool,
        prefix: str,
        step_fn: Callable[..., StepResult],
        **fit_params: object,
    ) -> None:
        if self.candidate.full:
            iterations = self._iterations[self.steps_]
            for group in self.optimizer.param_groups:
                group.update(max_iter=iterations, max_eval=2 * iterations + 4)
        self._total = self.max_epochs * len(iterator)
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    def train_step(self, batch: Batch, **fit_params: object) -> StepResult:
        if not self.candidate.full:
            share = self._peak * one_cycle(max(self.steps_ / self._total, self._time_share()))
            for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * share
        self.steps_ += 1
        return super().train_step(batch, **fit_params)

    def _time_share(self) -> float:
        """Share of the time that has passed: a cycle that has to end early still ends at rest."""
        if not self.deadline.limited:
            return 0.0
        whole = self.deadline.end - self._step_pace.reserve - self._began
        return min((Deadline.clock() - self._began) / whole, 1.0) if whole > 0 else 1.0

    def _measure(self) -> None:
        if self.candidate.full and self.steps_:
            # The first loss that the optimizer evaluates belongs to the previous checkpoint.
            self._evaluate(self.train, "train")
        if self.valid is None:
            return  # Without validation rows, the target sets the length of training.
        losses, scores = self._row_losses(self.valid)
        self.losses_.append(losses)
        self.scores_.append(scores)
        self.record_loss("valid", float(self.losses_[-1].mean()))

    def _row_losses(self, rows: EncodedDataset) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        self.module_.eval()
        with torch.no_grad():
            if self.criterion_.penalty is None:
                batches = per_sample_loader(self.module_, self.criterion_, rows)
                parts = [self._terms(batch) for batch in batches]
                losses, scores = (torch.cat(some) for some in zip(*parts, strict=True))
            else:
                scores, own = self._scores(Loader(rows, 4096)), rows.targets_and_weights()
                losses = self.criterion_.compared(scores, own[1], own.weight, own.groups)
        self.module_.train()
        return losses.double().cpu().numpy(), scores.float().cpu().numpy()

    def _terms(self, batch: Batch) -> tuple[Tensor, Tensor]:
        encoded, target = batch
        score = score_of(self.module_, encoded)
        return self.criterion_.compared(score, target, batch.weight), score

    def _judge(self) -> bool:
        if self.candidate.full and sum(self._iterations[: self.steps_]) < _WARMUP_ITERATIONS:
            self._waited = -1
        going = super()._judge() and not self._reached_target()
        return going and not self._dominated() and not self._plateaued()

    def _plateaued(self) -> bool:
        """Whether further iterations bring too little progress."""
        many = self.candidate.full and sum(self._iterations[: self.steps_]) >= _PLATEAU_ITERATIONS
        if self.valid is None or not many:
            return False
        losses = [row["valid_loss"] for row in self.minimized_]
        best = min(losses)
        slow = bool(min(losses[1:-2]) - best <= _PLATEAU_GAIN * (losses[0] - best))
        if slow:
            self.reason_ = "little progress"
        return slow

    def _reached_target(self) -> bool:
        if self.loss_target is None or not self.candidate.full:
            return False
        checkpoints, wanted = self.loss_target
        start, now = (self.minimized_[place]["train_loss"] for place in (0, -1))
        if self.steps_ >= checkpoints:
            # If a reset head must end below the training loss of the fitted pipeline, only the
            # reduction beyond that loss counts. If it must stop above, the whole reduction counts.
            beyond = wanted - (self.reference_loss_ - start)
            wanted -= (1 - _TARGET_TOLERANCE) * (beyond if beyond > 0 else wanted)
        return bool(self.reference_loss_ - now >= wanted)

    def _dominated(self) -> bool:
        """Whether a competitor is significantly better after the same number of iterations."""
        if not self.candidate.full or sum(self._iterations[: self.steps_]) < _RACE_ITERATIONS:
            return False
        for competitor in self.competitors:
            behind = (
                self.losses_[-1] - competitor.losses_[min(self.steps_, len(competitor.losses_) - 1)]
            )
            if behind.mean() > _DOMINATED_Z * behind.std() / math.sqrt(len(behind)):
                self.reason_ = f"{competitor.candidate.name} is ahead"
                return True
        return False

    def seconds_until(self, checkpoint: int | None = None) -> float:
        """Seconds of training until a checkpoint; by default, of all training."""
        stop = None if checkpoint is None else checkpoint + 2
        return float(sum(row["dur"] for row in self.history[1:stop]))

    def release(self) -> None:
        """Free what only training needs: the encoded rows and the state of the optimizer."""
        self.train = self.train.without_inputs()
        self.valid = None if self.valid is None else self.valid.without_inputs()
        self.optimizer_.state.clear()
        if isinstance(self.optimizer_, ScaledLBFGS):
            self.optimizer_.forget()

    def restore(self) -> None:
        """Restore no parameters: the caller selects the checkpoint."""
        self.optimizer_.zero_grad()


def last_linear(net: PipelineModule) -> Linear | None:
    """Return the trainable linear map of the last operator, or None."""
    module = unwrap_head(net.step_module(net.graph.output))
    return module if isinstance(module, Linear) and module.weight.requires_grad else None
