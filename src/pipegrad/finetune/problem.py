"""A module with its training and validation data, which each candidate trains in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..training.criterion import Criterion
from ..training.dataset import EncodedDataset, Loader
from ..training.fit import run_safely
from ..training.options import Options, callbacks_of
from ..training.prepare import build_training_data
from ..training.samples import Samples
from ..training.scaled_lbfgs import fisher_scales
from ..training.trainer import loss_scale
from ..training.tree_splits import soft_ensembles
from .candidate_run import EXTRA_CHECKPOINTS, CandidateRun, last_linear
from .portfolio import Candidate, default_candidates
from .predictions import HeldOut
from .scoring import Scoring

if TYPE_CHECKING:
    from ..module import PipelineModule


@dataclass
class TrainingProblem:
    """A module with its data and its initial parameters."""

    net: PipelineModule
    criterion: Criterion
    training: EncodedDataset
    validating: EncodedDataset | None
    options: Options
    start: list[Tensor] = field(default_factory=list)
    held_out: HeldOut | None = None

    @classmethod
    def of(
        cls,
        net: PipelineModule,
        train: Samples,
        valid: Samples | None,
        options: Options,
        scoring: Scoring | None = None,
    ) -> TrainingProblem:
        """Encode the samples once for all candidates."""
        generator = np.random.default_rng(options.seed)
        data = build_training_data(net, train, valid, options, generator)
        start = [p.detach().clone() for p in net.trainable_parameters().values()]
        held = None
        if valid is not None:
            looks = scoring is not None and scoring.needs_input
            held = HeldOut(net, valid.y, valid.weight, valid.X if looks else None)
        return cls(net, data.criterion, data.training, data.validation, options, start, held)

    def loss(self) -> float:
        """Mean loss of the training rows at the initial parameters."""
        self.net.eval()
        with torch.no_grad():
            batches = Loader(self.training, 4096)
            sums = [
                self.criterion(self.net(b[0]), b[1], b.weight, b.groups) * len(b[0])
                for b in batches
            ]
        return float(sum(sums)) / len(self.training)

    def portfolio(self) -> list[Candidate]:
        """Return the candidates for this module and its number of training rows."""
        soft, reset_head = bool(soft_ensembles(self.net)), last_linear(self.net) is not None
        return default_candidates(self.training, self.options, self.loss(), soft, reset_head)

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
        found = fisher_scales(self.net, self.criterion, self.training, parameters, seed)
        enlarged = loss_scale(self.loss())
        return [length / enlarged for length in found]

    def run(
        self,
        candidate: Candidate,
        loss_target: tuple[int, float] | None = None,
        competitors: Sequence[CandidateRun] = (),
    ) -> CandidateRun:
        """Train from the initial parameters, to the end or to a target.

        The module keeps the last parameters of the run.
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
            callbacks=callbacks_of(self.options, epochs),
            anchor=candidate.anchor,
            loss_target=loss_target,
            competitors=competitors,
        )
        run_safely(trainer, self.net, self.options, optimizer)
        return trainer
