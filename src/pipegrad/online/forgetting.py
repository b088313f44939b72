"""How much worse learners became on the rows that the pipeline was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call

from ..training.samples import Samples
from .batches import Arrival, BatchPreparer

if TYPE_CHECKING:
    from ..network import PipelineNetwork
    from .learner import Learner

# The largest relative increase of the loss on old rows.
BOUND = 0.01
# Standard errors that are added to the measured increase.
_CAUTION = 3.0
# Shares of a learner's step to try where the whole step forgets too much.
_SHARES = (0.5, 0.25, 0.125)

Values = Mapping[str, Tensor]


class OldRows:
    """A sample of the rows that the pipeline was fitted on, with held-out scores.

    A pipeline predicts the rows that it was fitted on better than others. So their scores come
    from a second fit without them, and what a learner added to the score of the pipeline is added
    to these.

    Parameters
    ----------
    preparer : BatchPreparer
        Encodes them; its network is that of the pipeline as fitted.
    samples : Samples
        The rows.
    score : Tensor of shape (n,) or (n, k)
        Their raw score by a pipeline that was fitted without them.
    """

    def __init__(self, preparer: BatchPreparer, samples: Samples, score: Tensor) -> None:
        self.arrival = Arrival(preparer, samples)
        with torch.no_grad():
            own = self.score(preparer.net, preparer.net.trainable_parameters())
            self.shift = score.to(own).reshape(own.shape) - own
        self.before = self._losses(own)

    def score(self, net: PipelineNetwork, values: Values) -> Tensor:
        """Return the raw score of a learner."""
        _, rows = self.arrival.rows(net)
        with torch.no_grad():
            return functional_call(net, dict(values), (rows.batch(rows.index)[0],))

    def _losses(self, score: Tensor) -> Tensor:
        criterion, rows = self.arrival.rows(self.arrival.preparer.net)
        batch = rows.batch(rows.index)
        with torch.no_grad():
            return criterion.compared(score + self.shift, batch[1], batch.weight).double()

    def increase(self, net: PipelineNetwork, values: Values) -> float:
        """Return the relative increase of the loss, plus three standard errors."""
        gap = self._losses(self.score(net, values)) - self.before
        error = gap.std() / len(gap) ** 0.5 if len(gap) > 1 else torch.zeros(())
        scale = self.before.mean().abs().clamp(min=1e-12)
        return float((gap.mean() + _CAUTION * error) / scale)

    def longest_step(self, learner: Learner, net: PipelineNetwork, values: Values) -> Values | None:
        """Return the end of the longest step that keeps to the bound.

        Parameters
        ----------
        learner : Learner
            The learner after its step.
        net, values : PipelineNetwork, mapping of str to Tensor
            Its network and parameters before the step.

        Returns
        -------
        mapping of str to Tensor or None
            Parameters of the learner's network; None if no step keeps to the bound.
        """
        after = learner.copied()
        if self.increase(learner.net, after) <= BOUND:
            return after
        before = without_growth(values, after)
        if learner.net is not net and not self._same_scores(learner.net, before, net, values):
            return None
        for share in _SHARES:
            step = {name: torch.lerp(before[name], after[name], share) for name in after}
            if self.increase(learner.net, step) <= BOUND:
                return step
        return None

    def _same_scores(
        self, net: PipelineNetwork, values: Values, other: PipelineNetwork, others: Values
    ) -> bool:
        return bool(torch.allclose(self.score(net, values), self.score(other, others), 1e-4, 1e-5))


def without_growth(before: Values, after: Values) -> Values:
    """Return the parameters before trees were added, in the shapes after that.

    New trees come last; their leaves get the value zero.
    """
    found = {}
    for name, value in after.items():
        known = before[name]
        found[name] = known
        if known.shape != value.shape:
            found[name] = torch.zeros_like(value)
            found[name][tuple(slice(size) for size in known.shape)] = known
    return found
