"""Online learning with several learners, selected by prequential evaluation (Dawid 1984)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from ..losses.loss_metric import LossMetric
from ..network import Network
from ..training.criterion import Criterion
from ..training.data import check_trainable
from ..training.dataset import EncodedDataset, Loader
from ..training.seeding import isolated_rng
from ..typing import Estimator, Features, SampleWeight, Targets
from .batches import BatchPreparer, ClassCounts
from .learner import _MOST_STEPS, BATCH_ROWS, Learner, RelativeAdam, UserOptimizer
from .prequential import FadingLosses

if TYPE_CHECKING:
    from ..network import PipelineNetwork
    from ..training.options import Options


# Relative learning rates of Adam, and whether only the last operator is trained; the more
# conservative learners come first.
RATES = (
    (1e-3, False),
    (4e-3, False),
    (1.6e-2, True),
    (1.6e-2, False),
    (6.4e-2, True),
    (6.4e-2, False),
)
BASELINE = "baseline"
# Standard errors behind the selected learner beyond which a learner restarts from it.
_RESTART_Z = 4.0
# Initial strength of the L2-SP penalty, as a share of the loss.
_ANCHOR_SHARE = 1e-3
# Number of calls that the history keeps.
_REMEMBERED = 1000


def _portfolio(net: PipelineNetwork) -> Iterator[Learner]:
    """Learners of the whole pipeline, and of its last operator where that is not the whole."""
    start = net.trainable_parameters()
    last = net.parameter_prefix(net.graph.output)
    some = {name.startswith(last) for name in start} == {True, False}
    for rate, alone in RATES:
        if not alone:
            yield Learner(f"rate {rate:g}", start, RelativeAdam(rate))
        elif some:
            yield Learner(f"last step, rate {rate:g}", start, RelativeAdam(rate), only=last)


class StreamRecord(TypedDict):
    """One call: how many samples came, and the losses of the learners on them."""

    rows: int
    loss: float
    losses: dict[str, float]
    kept: str


class Stream(Generic[Network]):
    """A fitted pipeline that trains on rows as they arrive.

    Prequential evaluation (Dawid 1984; Gama et al. 2013) tests all learners on new rows before they
    train on them. One of the learners is the baseline, which never trains. No rows are stored.

    Parameters
    ----------
    origin : estimator
        The fitted pipeline, which is the baseline.
    net : PipelineNetwork
        The network translated from it; its parameters are unchanged until `write`.
    known : ClassCounts
        The class counts of the rows that the pipeline was fitted on.
    options : Options
        Loss, seed, batch size, anchor, and the optimizer of ``own``.
    own : bool
        Whether the user chose training settings. A single learner then uses them, next to the
        baseline.
    """

    def __init__(
        self,
        origin: Estimator,
        net: Network,
        known: ClassCounts,
        options: Options,
        own: bool = False,
    ) -> None:
        check_trainable(net)
        start = net.trainable_parameters()
        self.origin, self.net = origin, net
        self.fitted_rows = known.rows
        self.arrivals = BatchPreparer(net, options.loss, known)
        self.anchor = options.anchor
        self.batch_size = options.batch_size
        self.generator = np.random.default_rng(options.seed)
        self.seed = int(options.seed or 0)
        self.learners = [Learner(BASELINE, start, None)]
        if own:
            make = UserOptimizer(options.optim, options.rate)
            self.learners.append(Learner("the settings given", start, make, options.epochs))
        else:
            self.learners += list(_portfolio(net))
        self.evidence = FadingLosses(len(self.learners))
        self.chosen = 0
        self.history: list[StreamRecord] = []

    @property
    def moved(self) -> bool:
        """Whether a learner other than the baseline is selected."""
        return self.chosen > 0

    def write(self) -> Network:
        """Return the module with the parameters of the selected learner."""
        values = self.learners[self.chosen].values
        with torch.no_grad():
            for name, parameter in self.net.trainable_parameters().items():
                parameter.copy_(values[name])
        return self.net

    def learn(self, X: Features, y: Targets = None, weight: SampleWeight = None) -> None:
        """Test the learners on new rows, choose among them, and let them learn.

        Parameters
        ----------
        X, y, weight
            As `pipegrad.finetune.fit` takes them; of one row at least.

        Raises
        ------
        ArgumentError
            When something is wrong with the rows; no learner changed.
        """
        criterion, rows = self.arrivals.take(X, y, weight)
        losses = self._test(criterion, rows)
        with self._undone_by_errors(), torch.enable_grad():
            if losses is not None:
                self._compare(*losses, criterion.metric)
            self._let_learn(criterion, rows)
        self.arrivals.learned(rows)

    def _test(
        self, criterion: Criterion, rows: EncodedDataset
    ) -> tuple[NDArray[np.float64], float, float] | None:
        """Losses (learners, n) where the kept learner has one, rows of each, and mean offset."""
        self.net.eval()
        found = [one.losses(self.net, criterion, rows) for one in self.learners]
        losses = torch.stack(found).double().cpu().numpy()
        finite, each = np.isfinite(losses[self.chosen]), len(rows) / losses.shape[1]
        if not finite.all():
            self.net.raw_score(rows.X)  # Rejects NaN between steps as the source does.
        losses = losses[:, finite]
        batch = rows.targets_and_weights()
        offsets = criterion.metric.offsets(batch[1], batch.weight)
        shift = 0.0 if offsets is None else float(offsets.cpu().numpy()[finite].mean())
        return (losses, each, shift) if losses.shape[1] else None

    def _compare(
        self, losses: NDArray[np.float64], each: float, shift: float, metric: LossMetric
    ) -> None:
        finite = np.isfinite(losses)
        worst = 1.0 + 10.0 * float(np.abs(losses[finite]).max())
        self.evidence.update(np.where(finite, losses, worst), each)
        served, self.chosen = self.chosen, self.evidence.best_conservative()
        self._restart(np.asarray(finite.all(axis=1)))
        means = np.where(finite, losses, np.nan).mean(axis=1)
        shown = [metric.value(mean, shift) for mean in means.tolist()]
        names = [one.name for one in self.learners]
        self.history.append(
            {
                "rows": round(each * losses.shape[1]),
                "loss": shown[served],
                "losses": dict(zip(names, shown, strict=True)),
                "kept": names[self.chosen],
            }
        )
        del self.history[:-_REMEMBERED]

    def _restart(self, finite: NDArray[np.bool_]) -> None:
        """Restart learners that diverged or fell far behind from the selected learner."""
        gap, error = self.evidence.gap_to(self.chosen)
        lost = (gap > 0) & (gap > _RESTART_Z * error) | ~finite
        for place, learner in enumerate(self.learners):
            if lost[place] and learner.make is not None:
                learner.load(self.learners[self.chosen].values)
                self.evidence.inherit(place, self.chosen)

    def _let_learn(self, criterion: Criterion, rows: EncodedDataset) -> None:
        size = self.batch_size
        if size == "auto":
            size = max(BATCH_ROWS, -(-len(rows) // _MOST_STEPS))
        batches = Loader(rows, int(size), self.generator)
        strength = self._strength()
        self.net.train()
        for learner in self.learners[1:]:
            assert learner.optimizer is not None
            randomness = isolated_rng(self.seed + self.arrivals.rows, learner.optimizer)
            with randomness, self.net.fused_linear_maps():
                learner.learn(self.net, criterion, batches, strength)
        self.net.eval()

    def _strength(self) -> float:
        """Strength of the L2-SP penalty, which fades as new rows outnumber the fitted ones."""
        if self.anchor or not self.evidence.weight:
            return self.anchor
        share = self.fitted_rows / (self.fitted_rows + self.arrivals.rows)
        return _ANCHOR_SHARE * share * max(self.evidence.mean(self.chosen), 0.0)

    @contextmanager
    def _undone_by_errors(self) -> Iterator[None]:
        before = [one.copied() for one in self.learners]
        evidence, chosen, count = self.evidence.copied(), self.chosen, len(self.history)
        try:
            yield
        except BaseException:
            self.evidence, self.chosen = evidence, chosen
            del self.history[count:]
            for learner, values in zip(self.learners, before, strict=True):
                learner.load(values)
            raise
