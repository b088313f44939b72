"""Runs of several processes that go on with another number of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from stream_tables import table, write

from pipegrad.streaming.checkpoint import FILE
from pipegrad.streaming.checkpoint_file import read_checkpoint

# Trains until so many steps of this process are saved, and writes which rows each step had.
SCRIPT = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {here!r})
import torch
from stream_tables import pipeline, table
import pipegrad as pg
from pipegrad.streaming import row_stream, stream_fit, stream_trainer
from pipegrad.streaming.checkpoint import Checkpoint
stream_fit.IN_MEMORY, stream_fit.ROUND_ROWS = 0, 2000
checkpoint, until, told = sys.argv[1], int(sys.argv[2]), sys.argv[3]
own_batch, own_step = row_stream.RowStream._batch, stream_trainer.StreamTrainer.train_step
rows, left = [], [until]

def batch(self, chunk):
    found = own_batch(self, chunk)
    found.hashes = chunk.hashes.tolist()
    return found

def train_step(self, batch, **options):
    found = own_step(self, batch, **options)
    rows.append([self.rounds.epoch, getattr(batch, "hashes", [])])
    return found

def after_step(self, trainer):
    self.save(trainer)
    left[0] -= 1
    if left[0] == 0:
        tell()
        os._exit(0)

def tell():
    with open(told + os.environ.get("RANK", "0"), "w") as file:
        json.dump(rows, file)

row_stream.RowStream._batch = batch
stream_trainer.StreamTrainer.train_step = train_step
Checkpoint.after_step = after_step
net = pg.to_torch(pipeline(table()))
net.fit({folder!r}, "label", epochs=3, batch_size=250, patience=None, checkpoint=checkpoint)
tell()
if os.environ.get("RANK", "0") == "0":
    torch.save([[p.detach() for p in net.parameters()], net.history[:, "valid_loss"]],
               checkpoint + "/result.pt")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    folder = write(table(), tmp_path_factory.mktemp("table"))
    path = tmp_path_factory.mktemp("script") / "train.py"
    path.write_text(SCRIPT.format(here=str(Path(__file__).parent), folder=folder))
    return path


def train(script, where, workers, until, told):
    """Train in so many processes; the rows of each step, by epoch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": str(workers), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(where), str(until), str(told)],
            env={**os.environ, **together, "RANK": str(rank)},
        )
        for rank in range(workers)
    ]
    assert [process.wait(timeout=240) for process in started] == [0] * workers
    found = Counter()
    for rank in range(workers):
        for epoch, hashes in json.loads(Path(f"{told}{rank}").read_text()):
            found.update((epoch, one) for one in hashes)
    return found


@pytest.fixture(scope="module")
def whole(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    rows = train(script, folder / "run", 1, -1, folder / "rows")
    return rows, torch.load(folder / "run" / "result.pt")


# In the middle of an epoch, at its end (20 steps), and with few steps in between.
@pytest.mark.parametrize(
    "parts",
    [
        [(2, 7), (1, 9), (2, -1)],
        pytest.param([(1, 20), (2, -1)], marks=pytest.mark.slow),
        pytest.param([(2, 19), (1, 1), (3, 5), (2, 17), (1, -1)], marks=pytest.mark.slow),
    ],
)
def test_another_number_of_processes(parts, script, whole, tmp_path):
    rows = Counter()
    for number, (workers, until) in enumerate(parts):
        rows += train(script, tmp_path / "run", workers, until, tmp_path / f"rows{number}-")
        cursors = read_checkpoint(tmp_path / "run" / FILE)["state"]["cursors"]
        assert len(cursors) in (0, 8)  # all shards, or none at the end of an epoch
    parameters, losses = torch.load(tmp_path / "run" / "result.pt")
    assert rows == whole[0]
    assert losses == pytest.approx(whole[1][1], abs=1e-6)
    for one, other in zip(parameters, whole[1][0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
