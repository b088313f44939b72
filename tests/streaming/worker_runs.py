"""What processes that train together do in the tests, and what each of them tells about it."""

from __future__ import annotations

import os
import pickle
import signal
import time
import warnings
from pathlib import Path

import numpy as np
from skorch.callbacks import Callback
from torch import distributed

import pipegrad as pg
from pipegrad.streaming import row_stream, shards, units

DEFAULTS = {"validation": 0.2, "batch_size": 256, "epochs": 3}


class Raises(Callback):
    """Raises an error in a hook, in one process or in all."""

    def __init__(self, hook, error, rank=None, after=3):
        self.error, self.rank, self.after = error, rank, after
        setattr(self, hook, self.fail)

    def fail(self, net, **kwargs):
        self.after -= 1
        if self.rank in (None, rank()) and self.after <= 0:
            if isinstance(self.error, KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            else:
                raise self.error


class BatchHook(Raises):
    def __init__(self, error, rank=None, after=3):
        super().__init__("on_batch_end", error, rank, after)

    def on_batch_end(self, net, **kwargs):
        raise NotImplementedError  # replaced, but seen by the trainer


def rank():
    return distributed.get_rank() if distributed.is_initialized() else 0


def run(pipe, folder, label="label", hooks=(), break_unit=None, by_rank=None, **options):
    """Train, and return what can be compared."""
    hashes, written = [], []
    own_batch, own_write = row_stream.RowStream._batch, units.write_arrays
    own_read = shards.ShardReader._read

    def batch(self, chunk):
        hashes.append(chunk.hashes)
        return own_batch(self, chunk)

    def write(path, *rest):
        written.append(Path(path).name)
        own_write(path, *rest)

    def read(self, start):
        for found in own_read(self, start):
            if break_unit == rank():
                raise pg.ArgumentError("this file is damaged")
            yield found

    options = options | (by_rank[rank()] if by_rank else {})
    net = pg.to_torch(pipe)
    row_stream.RowStream._batch, units.write_arrays = batch, write
    shards.ShardReader._read = read
    told = {"error": ""}
    began = time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            callbacks = [hook for hook in hooks if hook is not None] or None
            net.fit(folder, label, callbacks=callbacks, **{**DEFAULTS, **options})
    except (Exception, KeyboardInterrupt) as error:
        told["error"] = f"{type(error).__name__}: {error}"
    finally:
        row_stream.RowStream._batch, units.write_arrays = own_batch, own_write
        shards.ShardReader._read = own_read
    history = list(getattr(net, "history", None) or [])
    return told | {
        "rank": rank(),
        "seconds": time.perf_counter() - began,
        "train": [row["train_loss"] for row in history],
        "valid": [row.get("valid_loss") for row in history],
        "rows": [row["rows"] for row in history],
        "rate": history[0].get("lr") if history else None,
        "limit": bool(history) and history[-1].get("time_limit", False),
        "hashes": np.concatenate(hashes) if hashes else np.zeros(0, np.uint64),
        "written": written,
        "parameters": [p.detach().numpy() for p in net.parameters()],
        "warnings": [str(w.message) for w in caught if issubclass(w.category, pg.PipegradWarning)],
    }


def run_all(runs, output):
    """Do several runs in this process; results go into a file for each process."""
    # Shells let processes in the background ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = {name: run(**options) for name, options in runs.items()}
    Path(output, f"{rank()}.pickle").write_bytes(pickle.dumps(found))


def run_and_die(pipe, folder, output):
    """Train until worker 1 is killed in an epoch; the others tell how they ended."""

    class Dies(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if rank() == 1 and len(net.history) == 4:
                os._exit(1)

    told = run(pipe, folder, hooks=[Dies()], epochs=50)
    Path(output, f"{rank()}.pickle").write_bytes(pickle.dumps(told))


def run_in_script(pipe_file, folder, output):
    """The body of a script of torchrun."""
    told = run(pickle.loads(Path(pipe_file).read_bytes()), folder)
    Path(output, f"{rank()}.pickle").write_bytes(pickle.dumps(told))
