"""Online learning with several learners, selected by prequential evaluation (Dawid 1984)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..losses.loss_metric import LossMetric
from ..network import Network
from ..training.data import check_trainable
from ..training.dataset import Loader
from ..training.samples import Samples
from ..training.saved_state import ModuleState
from ..training.seeding import isolated_rng
from ..typing import Estimator, Features, SampleWeight, Targets
from .batches import Arrival, BatchPreparer, ClassCounts
from .forgetting import OldRows, Values
from .growth import FEWEST_ROWS, GrowingLearner, Translator
from .learner import (
    _MOST_STEPS,
    BATCH_ROWS,
    Learner,
    RelativeAdam,
    SavedLearner,
    UserOptimizer,
)
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
# Relative learning rates of the leaves and added rounds as a share of those of the pipeline.
# The second does what users of a library do themselves.
GROWTH = ((4e-3, 0.25), (0.0, 1.0), (4e-3, 2.0))
_USUAL_GROWTH = 1
BASELINE = "baseline"
# Share of the rows of a call on which trees grow first, to be tested on the others.
_GROWN_SHARE = 0.7
# Standard errors behind the selected learner beyond which a learner restarts from it.
_RESTART_Z = 4.0
# Initial strength of the L2-SP penalty, as a share of the loss.
_ANCHOR_SHARE = 1e-3
# Number of calls that the history keeps.
_REMEMBERED = 1000


def _portfolio(net: PipelineNetwork) -> Iterator[Learner]:
    """Learners of the whole pipeline, and of its last operator where that is not the whole."""
    last = net.parameter_prefix(net.graph.output)
    some = {name.startswith(last) for name in net.trainable_parameters()} == {True, False}
    for rate, alone in RATES:
        if not alone:
            yield Learner(f"rate {rate:g}", net, RelativeAdam(rate))
        elif some:
            yield Learner(f"last step, rate {rate:g}", net, RelativeAdam(rate), only=last)


def _growing(net: PipelineNetwork, translator: Translator) -> Iterator[Learner]:
    """Learners that add boosting rounds."""
    for rate, share in GROWTH:
        yield GrowingLearner(f"growth {share:g}, rate {rate:g}", net, rate, share, translator)


@dataclass(frozen=True)
class Losses:
    """Losses (learners, n) of rows, or of batches of ``each`` rows.

    ``metric`` turns their means into the metric that people know, with the mean offset ``shift``.
    """

    rows: NDArray[np.float64]
    each: float
    metric: LossMetric
    shift: float = 0.0

    def means(self) -> list[float]:
        """The mean metric of each learner."""
        means = np.where(np.isfinite(self.rows), self.rows, np.nan).mean(axis=1)
        return [self.metric.value(mean, self.shift) for mean in means.tolist()]


class StreamRecord(TypedDict):
    """One call: how many samples came, and the losses of the learners on them."""

    rows: int
    loss: float
    losses: dict[str, float]
    kept: str


class Stream(Generic[Network]):
    """A fitted pipeline that trains on rows as they arrive.

    Prequential evaluation (Dawid 1984; Gama et al. 2013) tests all learners on new rows before they
    train on them. One of the learners is the baseline, which never trains.

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
    translator : Translator, optional
        Translates pipelines that continue boosting; without it, none does.
    """

    def __init__(
        self,
        origin: Estimator,
        net: Network,
        known: ClassCounts,
        options: Options,
        own: bool = False,
        translator: Translator | None = None,
    ) -> None:
        check_trainable(net)
        self.origin = origin
        self.fitted_rows = known.rows
        self.arrivals = BatchPreparer(net, options.loss, known)
        self.anchor = options.anchor
        self.batch_size = options.batch_size
        self.generator = np.random.default_rng(options.seed)
        self.seed = int(options.seed or 0)
        self.learners = [Learner(BASELINE, net, None)]
        if own:
            make = UserOptimizer(options.optim, options.rate)
            self.learners.append(Learner("the settings given", net, make, options.epochs))
        else:
            self.learners += list(_portfolio(net))
        if translator is not None:
            self.learners += list(_growing(net, translator))
        self.grows = translator is not None
        self.evidence = FadingLosses(len(self.learners))
        self.chosen = 0
        self.history: list[StreamRecord] = []
        self.old: OldRows | None = None

    def remember(self, samples: Samples, score: Tensor) -> None:
        """Bound the forgetting of old rows, of which these are a sample; see `OldRows`."""
        preparer = BatchPreparer(self.arrivals.net, self.arrivals.loss, ClassCounts())
        with self._own_random_numbers():
            self.old = OldRows(preparer, samples, score)

    @property
    def net(self) -> Network:
        """The network of the selected learner."""
        return self.learners[self.chosen].net  # type: ignore[return-value]

    @property
    def moved(self) -> bool:
        """Whether a learner other than the baseline is selected."""
        return self.chosen > 0

    def write(self) -> Network:
        """Return the module with the parameters of the selected learner."""
        return self.learners[self.chosen].written()  # type: ignore[return-value]

    def learn(
        self,
        X: Features,
        y: Targets = None,
        weight: SampleWeight = None,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Test the learners on new rows, choose among them, and let them learn.

        Parameters
        ----------
        X, y, weight
            As `pipegrad.finetune.fit` takes them; of one row at least.
        then : callable
            Called at the end. An error of it undoes everything, as any other error and interrupt.

        Raises
        ------
        ArgumentError
            When something is wrong with the rows; no learner changed.
        """
        arrival = Arrival(self.arrivals, Samples(X, y, weight))
        with self._undone_by_errors(), self._own_random_numbers(), torch.enable_grad():
            losses, served = self._test(arrival), self.chosen
            if self.grows and len(arrival) >= FEWEST_ROWS:
                self._learn_in_two_parts(arrival)
            else:
                self._restart(self._select(losses))
                self._let_learn(self.learners, arrival)
            self._record(losses, served)
            self.arrivals.learned(arrival.rows(self.arrivals.net)[1])
            self._drop_encodings()
            then()

    def _learn_in_two_parts(self, arrival: Arrival) -> None:
        """Test on the last rows of a call what the first ones taught, then grow on all of them.

        Otherwise a single call could not show whether growth helps.
        """
        cut = round(_GROWN_SHARE * len(arrival))
        first, last = arrival.part(0, cut), arrival.part(cut, len(arrival))
        self._restart(self._select(self._test(first)))
        starts = [(one.net, one.copied()) for one in self.learners]
        self._let_learn(self.learners, first, grow=True)
        lost = self._select(self._test(last))
        for learner, start in zip(self.learners, starts, strict=True):
            if isinstance(learner, GrowingLearner):
                learner.adopt(*start)
                self._let_learn([learner], arrival, grow=True)
            else:
                self._let_learn([learner], last)
        self._restart(lost)

    def _test(self, arrival: Arrival) -> Losses | None:
        """Test the learners, where the selected one has finite losses."""
        found = []
        for one in self.learners:
            one.net.eval()
            found.append(one.losses(*arrival.rows(one.net)))
        losses = torch.stack(found).double().cpu().numpy()
        finite, each = np.isfinite(losses[self.chosen]), len(arrival) / losses.shape[1]
        if not finite.all():
            # Rejects NaN between steps as the source does.
            self.net.raw_score(arrival.rows(self.net)[1].X)
        losses = losses[:, finite]
        if not losses.shape[1]:
            return None
        criterion, rows = arrival.rows(self.arrivals.net)
        batch = rows.targets_and_weights()
        offsets = criterion.metric.offsets(batch[1], batch.weight)
        shift = 0.0 if offsets is None else float(offsets.cpu().numpy()[finite].mean())
        return Losses(losses, each, criterion.metric, shift)

    def _select(self, found: Losses | None) -> list[int]:
        """Select a learner; return those that diverged or fell far behind it."""
        if found is None:
            return []
        finite = np.isfinite(found.rows)
        worst = 1.0 + 10.0 * float(np.abs(found.rows[finite]).max())
        self.evidence.update(np.where(finite, found.rows, worst), found.each)
        if self.grows and self.old is None:
            # Whoever lets boosted trees forget expects a change.
            usual = len(self.learners) - len(GROWTH) + _USUAL_GROWTH
            self.chosen = self.evidence.best_unless_within_noise(usual)
        else:
            self.chosen = self.evidence.best_conservative()
        gap, error = self.evidence.gap_to(self.chosen)
        lost = (gap > 0) & (gap > _RESTART_Z * error) | ~finite.all(axis=1)
        return [int(place) for place in np.flatnonzero(lost)]

    def _restart(self, lost: Sequence[int]) -> None:
        """Restart learners from the selected one."""
        selected = self.learners[self.chosen]
        for place in lost:
            if self.learners[place].make is not None:
                self.learners[place].adopt(selected.net, selected.values)
                self.evidence.inherit(place, self.chosen)

    def _record(self, found: Losses | None, served: int) -> None:
        if found is None:
            return
        means = found.means()
        names = [one.name for one in self.learners]
        self.history.append(
            {
                "rows": round(found.each * found.rows.shape[1]),
                "loss": means[served],
                "losses": dict(zip(names, means, strict=True)),
                "kept": names[self.chosen],
            }
        )
        del self.history[:-_REMEMBERED]

    def _let_learn(self, learners: Sequence[Learner], arrival: Arrival, grow: bool = False) -> None:
        """Train the learners one after the other; ``grow`` adds trees as well."""
        size = self.batch_size
        if size == "auto":
            size = max(BATCH_ROWS, -(-len(arrival) // _MOST_STEPS))
        strength = self._strength()
        for learner in learners:
            if learner.optimizer is None:
                continue
            before = learner.net, learner.copied()
            criterion, rows = arrival.rows(learner.net)
            batches = Loader(rows, int(size), self.generator)
            learner.net.train()
            with (
                self._own_random_numbers(learner.optimizer),
                learner.net.fused_linear_maps(),
            ):
                learner.learn(criterion, batches, strength)
            learner.net.eval()
            if grow and isinstance(learner, GrowingLearner):
                learner.grow(arrival.samples)
            self._bound(learner, *before)

    def _bound(self, learner: Learner, net: PipelineNetwork, values: Values) -> None:
        """Shorten the step of a learner until it keeps to the bound of forgetting."""
        if self.old is None:
            return
        found = self.old.longest_step(learner, net, values)
        if found is None:
            learner.restore(net, values)
        else:
            learner.set(found)

    def _strength(self) -> float:
        """Strength of the L2-SP penalty, which fades as new rows outnumber the fitted ones."""
        if self.anchor or not self.evidence.weight:
            return self.anchor
        share = self.fitted_rows / (self.fitted_rows + self.arrivals.rows)
        return _ANCHOR_SHARE * share * max(self.evidence.mean(self.chosen), 0.0)

    def _drop_encodings(self) -> None:
        if self.old is not None:
            self.old.arrival.keep([one.net for one in self.learners])

    def _own_random_numbers(
        self, optimizer: torch.optim.Optimizer | None = None
    ) -> AbstractContextManager[None]:
        seed = self.seed + self.arrivals.rows
        return isolated_rng(seed, self.net, self.arrivals.loss, optimizer)

    @contextmanager
    def _undone_by_errors(self) -> Iterator[None]:
        learners = [SavedLearner(one) for one in self.learners]
        distinct = {id(one.net): one.net for one in self.learners}
        nets = [ModuleState(one) for one in distinct.values()]
        known, rows, shuffling = self.arrivals.known.copied(), self.arrivals.rows, self.generator
        drawn, evidence, chosen = shuffling.bit_generator.state, self.evidence.copied(), self.chosen
        history = list(self.history)
        try:
            yield
        except BaseException:
            for learner in learners:
                learner.restore()
            for net in nets:
                net.restore()
            self.arrivals.known, self.arrivals.rows = known, rows
            shuffling.bit_generator.state = drawn
            self.evidence, self.chosen = evidence, chosen
            self.history[:] = history
            raise
