"""`FineTuner` on tables that are read in pieces.

The pipeline is fitted, and training strategies are compared, on a sample of the rows. The better
of the two results then trains on all rows, and is kept if it is better on rows that neither saw.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import is_classifier

from ..errors import ArgumentError
from ..row_sources import RowSource, open_rows
from ..sources.arrow import column_array
from ..streaming.column_roles import ColumnRoles, check_column_names
from ..streaming.row_hashes import is_below, row_hashes
from ..streaming.stream_data import HELD_ROWS
from ..streaming.stream_fit import fits_in_memory, train_on_stream
from ..streaming.stream_trainer import StreamTrainer
from ..training.deadline import Deadline, TimeLimitReached
from ..training.row_blocks import score_of
from ..training.samples import Samples
from ..training.trainer import per_sample_loader
from .selection import MIN_RELATIVE_GAIN, critical_value

if TYPE_CHECKING:
    import pyarrow as pa

    from ..module import PipelineModule
    from ..training.dataset import EncodedDataset
    from ..training.options import Options
    from .pipeline import TunablePipeline

# Rows of the sample; of each class that has fewer in it, further rows are added up to the fewest.
SAMPLE_ROWS = 50_000
_FEWEST_OF_CLASS = 30
# Rows that are read at once.
_ROWS = 1 << 16
# Training ends after a pass over all rows, or after so many rows, and so many passes at most; and
# after so many rounds without progress.
_SEEN_ROWS, _EPOCHS, _PATIENCE = 2_000_000, 20, 3
# Rows up to which a strategy of full batches trains on all rows: each evaluation is a pass.
_FULL_BATCH_ROWS = 500_000


@dataclass(frozen=True)
class LargeTable:
    """A table, the roles of its columns, and which rows are held out.

    Parameters
    ----------
    source : RowSource
        The table.
    roles : ColumnRoles
        Its columns.
    seed : int
        Seed of the hashes.
    whole : bool
        Whether it is so small that it is read as a whole.
    """

    source: RowSource
    roles: ColumnRoles
    seed: int
    whole: bool

    @classmethod
    def open(
        cls, pipeline: TunablePipeline, rows: Any, y: Any, weight: Any, groups: Any, seed: int
    ) -> LargeTable:
        """Open a table for a pipeline.

        Raises
        ------
        ArgumentError
            If columns are missing or not named.
        """
        source = open_rows(rows)
        net = getattr(pipeline, "baseline", None)
        if net is not None:
            roles = ColumnRoles.of(net, source, y, weight, groups)
        else:
            check_column_names(source, y=y, sample_weight=weight, groups=groups)
            several = isinstance(y, list | tuple)
            targets = tuple(y) if several else (y,) if y is not None else ()
            features = [n for n in source.names if n not in {*targets, weight, groups}]
            roles = ColumnRoles(tuple(features), targets, weight, groups, several)
            source.check(roles.names)
        return cls(source, roles, seed, fits_in_memory(source, roles))

    @property
    def share(self) -> float:
        """The share of the rows that is held out, to judge the training on all rows."""
        return min(0.2, HELD_ROWS / max(self.source.rows or HELD_ROWS * 20, 1))

    def sample(self, classes: bool) -> tuple[Samples, int]:
        """The rows to fit the pipeline on, and the number of all rows.

        Parameters
        ----------
        classes : bool
            Whether each value of the target needs some rows.
        """
        share, count = self.share, self.source.rows
        wanted = SAMPLE_ROWS / max(count or SAMPLE_ROWS * 20, SAMPLE_ROWS)
        parts: list[pa.RecordBatch] = []
        rare = _RareLabels()
        total = free = 0
        for piece in self.source.pieces:
            for batch in self.source.batches(piece, self.roles.names, _ROWS):
                total += batch.num_rows
                if self.whole:
                    parts.append(batch)
                    continue
                held, chosen = self._drawn(batch, share, wanted)
                free += int((~held).sum())
                if classes:
                    rare.add(chosen, held, batch, self.roles.targets[0])
                parts.append(batch.filter(chosen))
        if not self.whole:
            self._check_parts(free, total)
        return self._samples([*parts, *rare.held_only()]), total

    def _drawn(
        self, batch: pa.RecordBatch, share: float, wanted: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which rows are held out, and which of the others are in the sample."""
        own = row_hashes(batch, self._hashed, self.seed)
        if self.roles.groups is None:
            held = is_below(own, share)
            return held, ~held & is_below(own, min(share + wanted, 1.0))
        # Whole groups are held out; a sample of whole groups would have any number of rows.
        held = is_below(row_hashes(batch, [self.roles.groups], self.seed), share)
        return held, ~held & is_below(own, wanted)

    def _check_parts(self, free: int, total: int) -> None:
        if 0 < free < total:
            return
        what = "rows" if self.roles.groups is None else f"groups in {self.roles.groups!r}"
        side = "held out" if free else "left for training"
        raise ArgumentError(
            f"{self.source.name} has so few {what} that none are {side}.\n"
            "Hint: another random_state, more of them, or no groups."
        )

    @property
    def _hashed(self) -> list[str]:
        return [*self.roles.features, *self.roles.targets]

    def _samples(self, parts: list[pa.RecordBatch]) -> Samples:
        import pyarrow as pa

        table = pa.Table.from_batches(parts)
        (whole,) = table.combine_chunks().to_batches() or [None]
        if whole is None:
            raise ArgumentError(f"{self.source.name} holds no rows.")
        roles = self.roles
        columns = [column_array(whole.column(name)) for name in roles.targets]
        y = None
        if columns:
            y = np.column_stack(columns) if roles.several else columns[0]
        groups = None if roles.groups is None else column_array(whole.column(roles.groups))
        X = whole.select(list(roles.features)).to_pandas()
        return Samples(X, y, roles.weights_of(whole), groups)


class _RareLabels:
    """Sees to it that each label of a table has rows in the sample."""

    def __init__(self) -> None:
        self._known: Counter[Any] = Counter()
        self._held: dict[Any, pa.RecordBatch] = {}

    def add(
        self, chosen: NDArray[np.bool_], held: NDArray[np.bool_], batch: pa.RecordBatch, name: str
    ) -> None:
        """Choose further rows of the labels of which there are few so far."""
        labels = column_array(batch.column(name))
        values, codes = np.unique(labels, return_inverse=True)
        for code, label in enumerate(values.tolist()):
            own = codes == code
            self._known[label] += int((own & chosen).sum())
            lacking = _FEWEST_OF_CLASS - self._known[label]
            if lacking > 0:
                more = np.flatnonzero(own & ~held & ~chosen)[:lacking]
                chosen[more] = True
                self._known[label] += len(more)
            if not self._known[label] and label not in self._held:
                self._held[label] = batch.slice(int(np.flatnonzero(own)[0]), 1)

    def held_only(self) -> list[pa.RecordBatch]:
        """A row of each label that only held-out rows have; the pipeline has to know it."""
        return [row for label, row in self._held.items() if not self._known[label]]


@dataclass(frozen=True)
class WholeTraining:
    """What training on all rows led to.

    Attributes
    ----------
    estimator : object
        The pipeline to keep.
    improved : bool
        Whether it is the one that was trained on all rows.
    history : skorch History, optional
        The learning curve in rows.
    told : str
        A sentence for the report.
    """

    estimator: Any
    improved: bool
    history: Any
    told: str


def train_on_all_rows(
    pipeline: TunablePipeline,
    estimator: Any,
    table: LargeTable,
    options: Options,
    candidate: str | None,
    deadline: Deadline,
    own_settings: bool,
) -> WholeTraining:
    """Train a pipeline, which was fitted on a sample, on all rows of its table.

    Parameters
    ----------
    pipeline : TunablePipeline
        Translates and writes back.
    estimator : object
        The result on the sample.
    table : LargeTable
        The table.
    options : Options
        The user's settings.
    candidate : str, optional
        The name of the strategy that won on the sample.
    deadline : Deadline
        When training has to end.
    own_settings : bool
        Whether the optimizer is the user's.
    """
    net = pipeline.translate(estimator)
    if not own_settings:
        count = table.source.rows or _SEEN_ROWS
        full = candidate is not None and candidate.startswith("L-BFGS")
        full = full and count <= _FULL_BATCH_ROWS
        optim: Any = torch.optim.LBFGS if full else torch.optim.Adam
        epochs = min(max(_SEEN_ROWS // max(count, 1), 1), _EPOCHS)
        options = replace(
            options, optim=optim, epochs=epochs, batch_size="auto", verbose=0, patience=_PATIENCE
        )
    roles = table.roles
    judge = _Judge()
    try:
        trainer = train_on_stream(
            net,
            table.source,
            roles,
            options,
            validation=table.share,
            deadline=deadline,
            watch=judge,
        )
    except TimeLimitReached:
        return WholeTraining(estimator, False, None, "There was no time to train on all rows.")
    gain, error, before, rows = judge.verdict(trainer)
    wanted = critical_value(rows, once=True)
    seen = trainer.rounds.seen_rows
    curve = (
        f"Training on all rows ended after {seen:,} of them ({trainer.reason_}) and changed the "
        f"loss on {rows:,} held-out rows from {before:.6g} by {-gain:+.3g} (standard error "
        f"{error:.2g})"
    )
    better = gain > max(wanted * error, MIN_RELATIVE_GAIN * abs(before))
    if not (better and trainer.improved_):
        told = f"{curve}, which is within noise: the result of the sample stays."
        return WholeTraining(estimator, False, trainer.history, told)
    return WholeTraining(pipeline.write_back(net), True, trainer.history, f"{curve}.")


class _Judge:
    """The losses of held-out rows before training and after it."""

    def __init__(self) -> None:
        self._before: NDArray[np.float64] | None = None

    def __call__(self, trainer: StreamTrainer) -> None:
        """Measure the losses before training."""
        self._before = _losses(trainer.module_, trainer)

    def verdict(self, trainer: StreamTrainer) -> tuple[float, float, float, int]:
        """The gain, its standard error, the loss before, and the number of rows."""
        assert self._before is not None
        after = _losses(trainer.module_, trainer)
        gains = self._before - after
        error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else np.inf
        return float(gains.mean()), error, float(self._before.mean()), len(gains)


def _losses(net: PipelineModule, trainer: StreamTrainer) -> NDArray[np.float64]:
    """The loss of each held-out row."""
    rows: EncodedDataset | None = trainer.valid
    assert rows is not None
    found = []
    net.eval()
    with torch.no_grad():
        for batch in per_sample_loader(net, trainer.criterion, rows):
            score = score_of(net, batch[0])
            found.append(trainer.criterion.compared(score, batch[1], batch.weight, batch.groups))
    return torch.cat([part.reshape(-1) for part in found]).double().cpu().numpy()


def needs_classes(estimator: Any) -> bool:
    """Whether each value of the target needs some rows of the sample."""
    return bool(is_classifier(estimator))
