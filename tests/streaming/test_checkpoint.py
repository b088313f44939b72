"""A run that was interrupted goes on, and ends as if it had not been."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from stream_tables import FEATURES, pipeline, table, write

import pipegrad as pg
from pipegrad.streaming import checkpoint as checkpoints
from pipegrad.streaming import stream_fit
from pipegrad.streaming.checkpoint import FILE, Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:The validation rows may be")


@pytest.fixture(autouse=True)
def _small_rounds(monkeypatch):
    monkeypatch.setattr(stream_fit, "IN_MEMORY", 0)
    monkeypatch.setattr(stream_fit, "ROUND_ROWS", 2000)


@pytest.fixture(scope="module")
def frame():
    return table()


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    return write(frame, tmp_path_factory.mktemp("table"))


class Killed(BaseException):
    """What ends a run in the middle."""


def interrupted(monkeypatch, run, steps):
    """Run until so many steps, each of which is saved."""
    own, count = Checkpoint.after_step, iter(range(steps))

    def after_step(self, trainer):
        own(self, trainer)
        if next(count, None) is None:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "after_step", after_step)
        with pytest.raises(Killed):
            run()


def outcome(net):
    rows = [{k: v for k, v in row.items() if k not in ("dur", "batches")} for row in net.history]
    return [p.detach().clone() for p in net.parameters()], rows


def assert_same(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        assert torch.equal(a, b)
    assert one[1] == other[1]


OPTIMIZERS = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "SGD": partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
    "LBFGS": torch.optim.LBFGS,
}


@pytest.mark.parametrize("steps", [1, 7, 13])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_an_interrupted_run_ends_as_the_unbroken_one(
    name, steps, frame, folder, tmp_path, monkeypatch
):
    options = {
        "epochs": 3, "optim": OPTIMIZERS[name], "batch_size": 250, "patience": 4,
        "anchor": 0.0 if name == "SGD" else 0.01, "sample_weight": "weight",
        "checkpoint_seconds": 0,
    }  # fmt: skip
    pipe = pipeline(frame)
    fit = partial(pg.PipelineModule.fit, X=folder, y="label", **options)
    whole = outcome(fit(pg.to_torch(pipe), checkpoint=tmp_path / "whole"))
    plain = outcome(fit(pg.to_torch(pipe)))
    assert_same(whole, plain)
    resumed = partial(fit, checkpoint=tmp_path / "broken")
    interrupted(monkeypatch, lambda: resumed(pg.to_torch(pipe)), steps)
    assert_same(outcome(resumed(pg.to_torch(pipe))), whole)


def test_lbfgs_goes_on_after_a_round(frame, folder, tmp_path, monkeypatch):
    pipe = pipeline(frame)
    fit = partial(
        pg.PipelineModule.fit, X=folder, y="label", optim=lambda p: torch.optim.LBFGS(
            p, max_iter=3, line_search_fn="strong_wolfe"
        ), epochs=5, patience=None,
    )  # fmt: skip
    whole = outcome(fit(pg.to_torch(pipe)))
    own = Checkpoint.save

    def save(self, trainer, finished=False):
        own(self, trainer, finished)
        if len(trainer.history) == 3 and not finished:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", save)
        with pytest.raises(Killed):
            fit(pg.to_torch(pipe), checkpoint=tmp_path)
    assert_same(outcome(fit(pg.to_torch(pipe), checkpoint=tmp_path)), whole)


def test_many_members(frame, folder, tmp_path, monkeypatch):
    labels = frame["kind"] + frame["label"]
    pipe = OneVsRestClassifier(LogisticRegression()).fit(frame[FEATURES][:300], labels[:300])
    path = tmp_path / "own.parquet"
    frame.assign(both=labels).to_parquet(path, row_group_size=500)
    fit = partial(
        pg.PipelineModule.fit, X=path, y="both", epochs=2, batch_size=250, checkpoint_seconds=0
    )
    whole = outcome(fit(pg.to_torch(pipe), checkpoint=tmp_path / "whole"))
    broken = partial(fit, checkpoint=tmp_path / "broken")
    interrupted(monkeypatch, lambda: broken(pg.to_torch(pipe)), 6)
    assert_same(outcome(broken(pg.to_torch(pipe))), whole)


def test_a_finished_run_returns_at_once(frame, folder, tmp_path, monkeypatch):
    pipe = pipeline(frame)
    fit = partial(pg.PipelineModule.fit, X=folder, y="label", epochs=2, checkpoint=tmp_path)
    whole = outcome(fit(pg.to_torch(pipe)))
    monkeypatch.setattr(
        checkpoints.Checkpoint, "after_step", lambda *_: pytest.fail("a step was made")
    )
    assert_same(outcome(fit(pg.to_torch(pipe))), whole)


def test_a_run_that_begins_anew(frame, folder, tmp_path):
    pipe = pipeline(frame)
    fit = partial(pg.PipelineModule.fit, X=folder, y="label", epochs=1, checkpoint=tmp_path)
    first = outcome(fit(pg.to_torch(pipe)))
    assert_same(outcome(fit(pg.to_torch(pipe), resume=False)), first)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"seed": 1}, "seed"),
        ({"batch_size": 100}, "batch_size"),
        ({"y": "kind"}, "columns"),
        ({"validation": 0.3}, "validation"),
        ({"optim": partial(torch.optim.Adam, lr=0.1)}, "optim"),
        ({"cache": "folder"}, "cache"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(change, what, frame, folder, tmp_path):
    pipe = pipeline(frame)
    if "y" in change:
        pipe = pipe.fit(frame[FEATURES][:300], frame["kind"][:300])
        pg.to_torch(pipe).fit(folder, "kind", epochs=1, checkpoint=tmp_path, seed=0)
        pipe.fit(frame[FEATURES][:300], frame["label"][:300])
        change = {}
    else:
        pg.to_torch(pipe).fit(folder, "label", epochs=1, checkpoint=tmp_path)
    net = pg.to_torch(pipe)
    before = outcome(net.eval())[0] if net.history else [p.clone() for p in net.parameters()]
    with pytest.raises(pg.ArgumentError, match=f"another run: other .*{what}"):
        net.fit(folder, "label", epochs=1, checkpoint=tmp_path, **change)
    assert all(map(torch.equal, before, net.parameters()))


def test_damaged_checkpoints_are_refused(frame, folder, tmp_path):
    pipe = pipeline(frame)
    fit = partial(pg.PipelineModule.fit, X=folder, y="label", epochs=1, checkpoint=tmp_path)
    fit(pg.to_torch(pipe))
    content = (tmp_path / FILE).read_bytes()
    rng = np.random.default_rng(0)
    for place in (*rng.integers(len(content), size=8), None):
        spoiled = bytearray(content)
        if place is None:
            spoiled = spoiled[: len(content) // 2]
        else:
            spoiled[place] ^= 1 + int(rng.integers(255))
        (tmp_path / FILE).write_bytes(bytes(spoiled))
        with pytest.raises(pg.ArgumentError, match="is damaged"):
            fit(pg.to_torch(pipe))


def test_a_full_disk_does_not_end_the_run(frame, folder, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    pipe = pipeline(frame)
    whole = outcome(pg.to_torch(pipe).fit(folder, "label", epochs=2))
    monkeypatch.setattr(checkpoints, "write_checkpoint", full)
    with pytest.warns(pg.PipegradWarning, match="was not written, and training goes on") as told:
        net = pg.to_torch(pipe).fit(folder, "label", epochs=2, checkpoint=tmp_path / "new")
    assert sum("was not written" in str(one.message) for one in told) == 1
    assert_same(outcome(net), whole)


def test_arguments(frame, folder, tmp_path):
    net = pg.to_torch(pipeline(frame))
    (tmp_path / "file").write_text("")
    for options, match in [
        ({"checkpoint": tmp_path / "file"}, "is a file"),
        ({"checkpoint": 3}, "checkpoint must be the path of a folder, got 3"),
        ({"checkpoint": tmp_path, "checkpoint_seconds": -1}, "checkpoint_seconds must be"),
        ({"checkpoint": tmp_path, "resume": "yes"}, "resume must be True or False"),
    ]:
        with pytest.raises(pg.ArgumentError, match=match):
            net.fit(folder, "label", **options)
    with pytest.raises(pg.ArgumentError, match="checkpoint= is for rows that are read in pieces"):
        net.fit(frame[FEATURES], frame["label"], checkpoint=tmp_path)


SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {here!r})
import torch
from stream_tables import pipeline, table
import pipegrad as pg
from pipegrad.streaming import stream_fit
stream_fit.IN_MEMORY, stream_fit.ROUND_ROWS = 0, 2000
net = pg.to_torch(pipeline(table()))
net.fit({folder!r}, "label", epochs={epochs}, batch_size=50, patience=None, checkpoint=sys.argv[1],
        checkpoint_seconds=0.0)
torch.save([p.detach() for p in net.parameters()], sys.argv[1] + "/result.pt")
"""


def killed_at_random(tmp_path, folder, moments):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), folder=folder, epochs=12))

    def start(where):
        return subprocess.Popen([sys.executable, str(script), str(where)])

    whole = tmp_path / "whole"
    assert start(whole).wait() == 0
    broken, rng = tmp_path / "broken", np.random.default_rng(moments)
    killed = 0
    for _ in range(moments):
        process, before = start(broken), (broken / FILE)
        stamp = before.stat().st_mtime_ns if before.exists() else 0
        # Wait for its first own checkpoint, so that each process gets further than the last.
        while process.poll() is None and not (
            before.exists() and before.stat().st_mtime_ns > stamp
        ):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    assert killed >= moments - 1  # The last ones may find the run finished.
    assert start(broken).wait() == 0
    wanted, found = (torch.load(path / "result.pt") for path in (whole, broken))
    assert all(map(torch.equal, wanted, found))


def test_killed_processes(tmp_path, folder):
    killed_at_random(tmp_path, folder, 3)


@pytest.mark.slow
def test_processes_killed_at_many_moments(tmp_path, folder):
    killed_at_random(tmp_path, folder, 20)
