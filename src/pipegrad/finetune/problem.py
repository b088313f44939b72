"""A module with its rows, to be trained in one way after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..training.criterion import Criterion, make_criterion
from ..training.cross_fitting import cross_fitted
from ..training.data import check_trainable, gather
from ..training.dataset import Loader, Rows
from ..training.fit import run
from ..training.options import Options, callbacks_of
from ..training.prepare import prepare
from ..training.scaled_lbfgs import scales
from ..training.trainer import unit
from ..training.tree_splits import softened
from .candidate_run import MORE, Run, last_linear
from .portfolio import Candidate, default_candidates

if TYPE_CHECKING:
    from ..module import PipelineModule


@dataclass
class Task:
    """A module with data, and its parameters at the start."""

    net: PipelineModule
    criterion: Criterion
    training: Rows
    validating: Rows | None
    options: Options
    start: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, net: PipelineModule, train: Any, valid: Any, options: Options) -> Task:
        """Encode the rows once for all candidates."""
        check_trainable(net)
        function, objective = make_criterion(options.loss, net.objective, net.head)
        X, y, weight, *groups = train
        data = gather(net, X, y, weight, valid, None, *groups)
        data = cross_fitted(net, data, X, y, weight, options.seed)
        generator = np.random.default_rng(options.seed)
        parts = prepare(net, data, objective, function, valid, generator)
        start = [p.detach().clone() for p in net.trainable_parameters().values()]
        return cls(net, *parts, options, start)

    def loss(self) -> float:
        """Of the rows that train, at the start."""
        self.net.eval()
        with torch.no_grad():
            batches = Loader(self.training, 4096)
            sums = [
                self.criterion(self.net(b[0]), b[1], b.weight, b.groups) * len(b[0])
                for b in batches
            ]
        return float(sum(sums)) / len(self.training)

    def portfolio(self) -> list[Candidate]:
        """The candidates for this module and so many rows."""
        soft, anew = bool(softened(self.net)), last_linear(self.net) is not None
        return default_candidates(self.training, self.options, self.loss(), soft, anew)

    def target(self) -> NDArray[Any] | None:
        """What the rows that validate are compared with."""
        rows = self.validating
        if rows is None or rows.target is None:
            return None
        return rows.target[rows.index].cpu().numpy()

    @cached_property
    def lengths(self) -> list[float]:
        """Of scaled coordinates, at the start."""
        parameters = list(self.net.trainable_parameters().values())
        self.net.eval()
        seed = self.options.seed or 0
        found = scales(self.net, self.criterion, self.training, parameters, seed)
        enlarged = unit(self.loss())
        return [length / enlarged for length in found]

    def run(
        self,
        candidate: Candidate,
        goal: tuple[int, float] | None = None,
        rivals: Sequence[Run] = (),
    ) -> Run:
        """Train from the start, all the way or to a goal; the parameters stay where they end."""
        parameters = list(self.net.trainable_parameters().values())
        with torch.no_grad():
            for parameter, value in zip(parameters, self.start, strict=True):
                parameter.copy_(value)
        optimizer = candidate.optimizer(parameters, self.lengths if candidate.scaled else ())
        epochs = candidate.epochs
        if goal is not None:
            epochs = min(epochs, goal[0] + (MORE if candidate.full else 0))
        trainer = Run(
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
            goal=goal,
            rivals=rivals,
        )
        run(trainer, self.net, self.options, optimizer)
        return trainer
