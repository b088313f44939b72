"""A module with its training and validation data, which each candidate trains in turn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..modules import Distances, KernelFeatures
from ..training.criterion import Criterion
from ..training.dataset import EncodedDataset, Loader
from ..training.deadline import Deadline, Pace
from ..training.fit import run_safely
from ..training.options import Options, callbacks_of
from ..training.prepare import build_training_data
from ..training.row_blocks import score_of
from ..training.samples import Samples
from ..training.scaled_lbfgs import fisher_scales
from ..training.seeding import isolated_rng
from ..training.trainer import loss_scale
from ..training.tree_splits import soft_ensembles
from .candidate_run import EXTRA_CHECKPOINTS, CandidateRun, last_linear
from .portfolio import Candidate, default_candidates
from .scores.predictions import HeldOut
from .scores.scoring import Scoring

if TYPE_CHECKING:
    from ..module import PipelineModule


@dataclass
class TrainingProblem:
    """A module with its data and its initial parameters.

    ``groups`` are those of the validation rows, if rows of one group depend on each other.
    """

    net: PipelineModule
    criterion: Criterion
    training: EncodedDataset
    validating: EncodedDataset | None
    options: Options
    start: list[Tensor] = field(default_factory=list)
    groups: NDArray[np.int64] | None = None
    held_out: HeldOut | None = None
    deadline: Deadline = field(default_factory=Deadline)

    @classmethod
    def of(
        cls,
        net: PipelineModule,
        train: Samples,
        valid: Samples | None,
        options: Options,
        deadline: Deadline = Deadline(),  # noqa: B008 (immutable)
        fit_seconds: float = 0.0,
        scoring: Scoring | None = None,
    ) -> TrainingProblem:
        """Encode the samples once for all candidates.

        `TimeLimitReached` is raised if that takes too long; ``fit_seconds``, the time of the
        pipeline's own fit, is the estimate for cross-fitting.
        """
        generator = np.random.default_rng(options.seed)
        data = build_training_data(
            net, train, valid, options, generator, deadline=deadline, fit_seconds=fit_seconds
        )
        start = [p.detach().clone() for p in net.trainable_parameters().values()]
        held = None
        if valid is not None:
            looks = scoring is not None and scoring.needs_input
            held = HeldOut(net, valid.y, valid.weight, valid.X if looks else None)
        return cls(
            net,
            data.criterion,
            data.training,
            data.validation,
            options,
            start,
            held_out=held,
            deadline=deadline,
        )

    def release(self) -> None:
        """Free the encoded inputs, when no further candidate trains on them."""
        self.training = self.training.without_inputs()
        self.validating = None if self.validating is None else self.validating.without_inputs()

    def loss(self) -> float:
        """Mean loss of the training rows at the initial parameters."""
        self.net.eval()
        pace, sums = Pace(self.deadline), []
        with torch.no_grad(), self.own_random_numbers():
            for batch in Loader(self.training, 4096):
                with pace:
                    score = score_of(self.net, batch[0])
                    mean = self.criterion(score, batch[1], batch.weight, batch.groups)
                    sums.append(mean * len(batch[0]))
        return float(sum(sums)) / len(self.training)

    def own_random_numbers(self) -> AbstractContextManager[None]:
        """Context in which a loss of the user draws random numbers that no one else sees."""
        return isolated_rng(self.options.seed, self.net, self.options.loss)

    def portfolio(self) -> list[Candidate]:
        """Return the candidates for this module and its number of training rows."""
        soft, reset_head = bool(soft_ensembles(self.net)), last_linear(self.net) is not None
        return default_candidates(
            self.training, self.options, self.loss(), soft, reset_head, self._has_points()
        )

    def _has_points(self) -> bool:
        """Whether points to which distances are measured are trained: centers, kernel landmarks."""
        return any(
            isinstance(part, Distances | KernelFeatures)
            and any(parameter.requires_grad for parameter in part.parameters())
            for part in self.net.modules()
        )

    def target(self) -> NDArray[Any] | None:
        """Targets of the validation rows."""
        rows = self.validating
        if rows is None or rows.target is None:
            return None
        return rows.target[rows.index].cpu().numpy()

    @cached_property
    def scales(self) -> list[float]:
        """Scale of each parameter at the initial parameters (empirical Fisher information)."""
        parameters = list(self.net.trainable_parameters().values())
        self.net.eval()
        seed = self.options.seed or 0
        with self.own_random_numbers():
            found = fisher_scales(self.net, self.criterion, self.training, parameters, seed)
        enlarged = loss_scale(self.loss())
        return [length / enlarged for length in found]

    def run(
        self,
        candidate: Candidate,
        loss_target: tuple[int, float] | None = None,
        competitors: Sequence[CandidateRun] = (),
        deadline: Deadline | None = None,
    ) -> CandidateRun:
        """Train from the initial parameters, to the end, to a target or until a deadline.

        The module keeps the last parameters of the run. The default deadline is that of the
        problem.
        """
        parameters = list(self.net.trainable_parameters().values())
        with torch.no_grad():
            for parameter, value in zip(parameters, self.start, strict=True):
                parameter.copy_(value)
        optimizer = candidate.optimizer(parameters, self.scales if candidate.scaled else ())
        epochs = candidate.epochs
        if loss_target is not None:
            epochs = min(epochs, loss_target[0] + (EXTRA_CHECKPOINTS if candidate.full else 0))
        trainer = CandidateRun(
            candidate,
            self.net,
            self.criterion,
            optimizer,
            self.training,
            self.validating,
            batch_size=candidate.batch_size,
            max_epochs=epochs,
            patience=candidate.patience if self.validating else None,
            generator=np.random.default_rng(self.options.seed),
            # The display of all runs together takes the place of one for each.
            callbacks=callbacks_of(replace(self.options, verbose=0), epochs),
            anchor=candidate.anchor,
            loss_target=loss_target,
            competitors=competitors,
            deadline=self.deadline if deadline is None else deadline,
        )
        run_safely(trainer, self.net, self.options, optimizer)
        trainer.release()
        return trainer
