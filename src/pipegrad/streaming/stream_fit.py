"""Fine-tuning on a table that is read in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from skorch.callbacks import Callback

from ..errors import ArgumentError, PipegradWarning, warn
from ..losses.group_penalty import GroupPenalty
from ..modules import preserved_modes, standard_settings
from ..row_sources import RowSource, open_rows
from ..training.criterion import make_criterion
from ..training.data import Data, check_trainable, encode_samples, match_score_shape
from ..training.dataset import EncodedDataset
from ..training.deadline import Deadline, TimeLimitReached
from ..training.fit import (
    SEEN_ROWS_WARNING,
    end_without_training,
    run_safely,
    search_rate,
    warn_outcome,
)
from ..training.optimizers import make_optimizer, set_rate
from ..training.options import Options, batch_rows, callbacks_of, checked_validation
from ..training.prepare import build_criterion, check_loss_on_batch
from ..training.samples import Samples, Validation, ValidationArgument
from ..training.saved_state import ModuleState
from ..training.tree_splits import precompute_leaves, soft_ensembles
from .checkpoint import Checkpoint, CheckpointOptions
from .column_roles import ColumnRoles
from .run_identity import run_of
from .stream_data import HeldRows, RowWeights, StreamData
from .stream_trainer import ROUND_ROWS, StreamTrainer
from .workers import Workers

if TYPE_CHECKING:
    from ..network import PipelineNetwork

# Rows of a batch with batch_size="auto" on tables of more rows than a round.
_BATCH_ROWS = 4096
# Bytes of a table that is read as a whole.
IN_MEMORY = 128 << 20


def fits_in_memory(source: RowSource, roles: ColumnRoles) -> bool:
    """Whether a table is so small that it is read as a whole."""
    return source.rows is not None and 8 * source.rows * len(roles.names) <= IN_MEMORY


def read_samples(net: PipelineNetwork, source: RowSource, roles: ColumnRoles) -> Samples:
    """All rows of a table in memory."""
    import pyarrow as pa

    batches = [
        batch for piece in source.pieces for batch in source.batches(piece, roles.names, 1 << 16)
    ]
    if not batches:
        raise ArgumentError(f"{source.name} holds no rows.")
    (whole,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    whole = net.kept_of_arrow(whole)
    groups = None
    if roles.groups is not None:
        groups = np.asarray(whole.column(roles.groups).to_pandas())
    return Samples(
        roles.input_of(net, whole), roles.targets_of(net, whole), roles.weights_of(whole), groups
    )


@standard_settings
def train_on_stream(
    net: PipelineNetwork,
    source: RowSource,
    roles: ColumnRoles,
    options: Options,
    *,
    validation: Validation = 0.2,
    cache: str | PathLike[str] | None = None,
    deadline: Deadline | None = None,
    checkpoints: CheckpointOptions | None = None,
    watch: Callable[[StreamTrainer], None] | None = None,
) -> StreamTrainer:
    """Train a module on the rows of a table.

    Parameters
    ----------
    net : PipelineNetwork
        The module.
    source : RowSource
        The table.
    roles : ColumnRoles
        Its columns.
    options : Options
        How to train.
    validation : float, Samples or None
        The share of the rows to hold out, by a hash of the row; held-out samples; or None.
    cache : str or path, optional
        Folder for the encoded rows.
    deadline : Deadline, optional
        When training has to end.
    checkpoints : CheckpointOptions, optional
        Where and when to save the state of training.
    watch : callable, optional
        Is called with the trainer before it begins, and answers for the warnings about the outcome.

    Returns
    -------
    StreamTrainer
        The trainer after training.
    """
    options.check()
    check_trainable(net)
    _refuse(net, options)
    deadline = Deadline.after(options.max_seconds) if deadline is None else deadline
    workers = Workers.current()
    options = _shared_options(options, workers)
    _check_same_rows(workers, source, roles)
    seed = workers.of_first(_seed_of(options))
    saving = None
    if checkpoints is not None:
        run = run_of(net, source, roles, options, validation, cache is not None)
        # Of the first process: the times of files may differ between machines.
        saving = checkpoints.of(workers.of_first(run), workers)
        seed = saving.seed_of(seed)
    share = validation if isinstance(validation, float) else 0.0
    state = ModuleState(net)
    trainers: list[StreamTrainer] = []
    try:
        with _quiet(workers), StreamData(net, source, roles, share, seed, workers, cache) as data:
            workers.align(net)
            return _train(net, data, validation, options, deadline, trainers, saving, watch)
    except BaseException as error:
        state.restore()
        if trainers and trainers[0].improved_:
            trainers[0].keep_best()
            if isinstance(error, ArgumentError):
                rows = trainers[0].history[trainers[0].best_epoch_, "rows"]
                raise ArgumentError(
                    f"{error}\nThe module keeps what it learned from the first {rows:,} rows."
                ) from error
        raise


def _train(
    net: PipelineNetwork,
    data: StreamData,
    validation: Validation,
    options: Options,
    deadline: Deadline,
    trainers: list[StreamTrainer],
    checkpoint: Checkpoint | None,
    watch: Callable[[StreamTrainer], None] | None,
) -> StreamTrainer:
    with data.workers.together():
        trainer = _make_trainer(net, data, validation, options, deadline)
    optimizer = trainer.optimizer
    names = ("epochs", "patience", "anchor", "lr")
    data.workers.check_same(
        (type(optimizer).__name__, trainer.batch_size, *(getattr(options, n) for n in names)),
        "trains with other options than worker 0",
        "let all processes call fit with the same arguments",
    )
    if watch is not None:
        watch(trainer.initialize())
    elif isinstance(validation, float) and getattr(net, "init", "") != "random":
        warn(SEEN_ROWS_WARNING)
    with preserved_modes(net), trainer.decisions.interrupts():
        rate = data.workers.first_does(lambda: search_rate(net, trainer, options, optimizer))
        if rate is not None and not data.workers.first:
            set_rate(optimizer, rate)
        trainers.append(trainer)
        trainer.checkpoint = checkpoint
        try:
            # The state of an optimizer in a file is that of the parameters themselves.
            run_safely(trainer, net, options, optimizer, stacked=checkpoint is None)
        finally:
            trainer.rounds.close()
        if not trainer.history:
            raise TimeLimitReached
        if rate is not None:
            trainer.history[0]["lr"] = rate
    if watch is None:
        warn_outcome(trainer, options)
    return trainer


def _make_trainer(
    net: PipelineNetwork,
    data: StreamData,
    validation: Validation,
    options: Options,
    deadline: Deadline,
) -> StreamTrainer:
    function, objective = make_criterion(options.loss, net.objective, net.head)
    optimizer = make_optimizer(
        options.optim, list(net.trainable_parameters().values()), options.rate
    )
    held = data.held_rows()
    sets = _encoded_sets(net, held, validation, options)
    task = None if net.head is None else net.head.task
    index = np.arange(len(held.sample))
    criterion, weights = build_criterion(net, sets, objective, function, index, task)
    parts = [
        EncodedDataset(block, target, weight, np.arange(len(block)), raw)
        for block, target, weight, raw in zip(
            sets.blocks, sets.targets, weights, sets.raw, strict=True
        )
    ]
    check_loss_on_batch(net, criterion, parts[0], options.loss)
    labels = net.classes_ if task in ("classification", "several") else None
    stream = data.stream(RowWeights(objective, held.sample, labels, task))
    return StreamTrainer(
        stream,
        options.epochs,
        ROUND_ROWS,
        net,
        criterion,
        optimizer,
        parts[0],
        parts[1] if len(parts) > 1 else None,
        batch_size=_batch_rows(options, optimizer, data.source.rows),
        patience=options.patience,
        generator=np.random.default_rng(data.seed),
        callbacks=callbacks_of(options, options.epochs),
        anchor=options.anchor,
        deadline=deadline,
    )


def _encoded_sets(
    net: PipelineNetwork, held: HeldRows, validation: Validation, options: Options
) -> Data:
    """The sample of training rows and the validation rows, as training in memory has them."""
    chunks = [held.sample] if held.valid is None else [held.sample, held.valid]
    blocks = [chunk.encoded for chunk in chunks]
    targets = [chunk.target for chunk in chunks]
    weights = [chunk.weight for chunk in chunks]
    raw: list[Any] = [None] * len(chunks)
    if isinstance(validation, Samples):
        own = encode_samples(net, validation, loss=options.loss)
        blocks.append(precompute_leaves(net, own.blocks[0]))
        targets += match_score_shape(net, own)
        weights.append(own.weights[0])
        raw.append(own.raw[0])
    if any(weight is not None for weight in weights):
        like = net.reference_tensor()
        pairs = zip(blocks, weights, strict=True)
        weights = [like.new_ones(len(b)) if w is None else w for b, w in pairs]
    return Data(tuple(blocks), tuple(targets), tuple(weights), tuple(raw), (None,) * len(blocks))


def _refuse(net: PipelineNetwork, options: Options) -> None:
    """Refuse what needs all rows at once."""
    if isinstance(options.loss, GroupPenalty) or getattr(options.loss, "penalty", None) is not None:
        raise ArgumentError(
            "A loss with a group penalty compares all rows, and these are read in pieces.\n"
            "Hint: train on a sample in memory."
        )
    if soft_ensembles(net):
        raise ArgumentError(
            "Soft splits are set by all rows, and these are read in pieces.\n"
            "Hint: to_torch(pipeline, trees='leaves'), or train on a sample in memory."
        )


def _shared_options(options: Options, workers: Workers) -> Options:
    """The options of this process, by which all make the same steps and one shows progress."""
    if any(workers.of_all(bool(options.callbacks))) and not options.callbacks:
        # Whether there are callbacks tells which tensors are trained.
        options = replace(options, callbacks=[Callback()])
    return options if workers.first else replace(options, verbose=0)


def _check_same_rows(workers: Workers, source: RowSource, roles: ColumnRoles) -> None:
    """Refuse processes that would read different tables."""
    pieces = [(PurePath(piece.place).name, piece.rows) for piece in source.pieces]
    workers.check_same(
        (pieces, roles),
        f"finds other files or columns in {source.name} than worker 0",
        "all processes must see the same files, on a shared disk or in an object store",
    )


@contextmanager
def _quiet(workers: Workers) -> Iterator[None]:
    """Context in which the first process alone warns."""
    with ExitStack() as stack:
        if not workers.first:
            stack.enter_context(catch_warnings())
            simplefilter("ignore", PipegradWarning)
        yield


def _seed_of(options: Options) -> int:
    if options.seed is None:
        return int(np.random.default_rng().integers(2**63))
    return int(options.seed)


def _batch_rows(options: Options, optimizer: torch.optim.Optimizer, rows: int | None) -> int:
    if options.batch_size == "auto" and (rows is None or rows > ROUND_ROWS):
        return _BATCH_ROWS
    return batch_rows(options.batch_size, optimizer, rows or ROUND_ROWS)


def fit_on_table(
    net: PipelineNetwork,
    X: Any,
    y: Any,
    options: Options,
    sample_weight: Any = None,
    groups: Any = None,
    validation: ValidationArgument = 0.2,
    cache: str | PathLike[str] | None = None,
    checkpoints: CheckpointOptions | None = None,
) -> Samples | None:
    """Train on a table in files or batches; return its rows instead if they are few.

    Parameters
    ----------
    net : PipelineNetwork
        The module.
    X : path, data set or iterable of batches
        See `pipegrad.row_sources.open_rows`.
    y, sample_weight, groups : str, optional
        The names of the columns.
    options : Options
        How to train.
    validation : float, tuple or None
        See `pipegrad.finetune.fit`.
    cache : str or path, optional
        Folder for the encoded rows.
    checkpoints : CheckpointOptions, optional
        Where and when to save the state of training.
    """
    source = open_rows(X)
    roles = ColumnRoles.of(net, source, y, sample_weight, groups)
    if checkpoints is None and fits_in_memory(source, roles) and Workers.current().alone:
        return read_samples(net, source, roles)
    try:
        train_on_stream(
            net,
            source,
            roles,
            options,
            validation=checked_validation(validation),
            cache=cache,
            checkpoints=checkpoints,
        )
    except TimeLimitReached:
        with _quiet(Workers.current()):
            end_without_training(net, options)
    return None
