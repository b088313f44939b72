"""Runs that go on from a checkpoint: time limits, callbacks, caches, full disks, optimizers."""

from __future__ import annotations

import resource
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback, LRScheduler
from stream_tables import FEATURES, pipeline, table, write
from test_checkpoint import Killed, assert_same, interrupted, outcome
from torch.optim.lr_scheduler import OneCycleLR, StepLR

import pipegrad as pg
from pipegrad.streaming import checkpoint as checkpoints
from pipegrad.streaming import stream_fit
from pipegrad.streaming.checkpoint import FILE, Checkpoint
from pipegrad.streaming.checkpoint_file import read_checkpoint
from pipegrad.training.scaled_lbfgs import ScaledLBFGS
from pipegrad.training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:The validation rows may be", "ignore:Training stopped at max_seconds"
)


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


def fit_of(folder, **options):
    given = {"epochs": 2, "batch_size": 250, "patience": None, "checkpoint_seconds": 0, **options}
    return partial(pg.PipelineModule.fit, X=folder, y="label", **given)


@pytest.mark.parametrize("steps", [3, 8, 22])
def test_a_time_limit_skips_no_row(steps, frame, folder, tmp_path, monkeypatch):
    pipe, fit = pipeline(frame), fit_of(folder)
    whole = outcome(fit(pg.to_torch(pipe)))
    own, left = Trainer.train_step, iter(range(steps))

    def train_step(self, batch, **options):
        found = own(self, batch, **options)
        self.out_of_time_ = self.out_of_time_ or next(left, None) is None
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "train_step", train_step)
        part = fit(pg.to_torch(pipe), checkpoint=tmp_path, max_seconds=600)
    assert part.history[-1]["time_limit"]
    assert_same(outcome(fit(pg.to_torch(pipe), checkpoint=tmp_path)), whole)


@pytest.mark.parametrize("steps", [5, 8, 16, 30])
def test_schedules_of_learning_rates_go_on(steps, frame, folder, tmp_path, monkeypatch):
    pipe = pipeline(frame)

    def fit(**options):
        schedules = [
            ("rounds", LRScheduler(StepLR, step_size=2, gamma=0.3)),
            ("steps", LRScheduler(OneCycleLR, max_lr=0.01, total_steps=50, step_every="batch")),
        ]
        return fit_of(folder, callbacks=schedules)(pg.to_torch(pipe), **options)

    whole = outcome(fit())
    interrupted(monkeypatch, lambda: fit(checkpoint=tmp_path), steps)
    assert_same(outcome(fit(checkpoint=tmp_path)), whole)


def test_durations_of_all_rounds_are_kept(frame, folder, tmp_path, monkeypatch):
    pipe, fit = pipeline(frame), fit_of(folder, checkpoint=tmp_path)
    interrupted(monkeypatch, lambda: fit(pg.to_torch(pipe)), 20)
    net = fit(pg.to_torch(pipe))
    assert all(seconds > 0 for seconds in net.history[1:, "dur"])


def test_a_callback_that_ends_training_has_ended_it(frame, folder, tmp_path, monkeypatch):
    class AfterTwo(Callback):
        def on_epoch_end(self, net, **kwargs):
            if net.history[-1, "epoch"] == 2:
                raise pg.finetune.StopTraining

    pipe, fit = pipeline(frame), fit_of(folder, checkpoint=tmp_path, callbacks=[AfterTwo()])
    whole = outcome(fit(pg.to_torch(pipe)))
    monkeypatch.setattr(Trainer, "train_step", lambda *_, **__: pytest.fail("a step was made"))
    assert_same(outcome(fit(pg.to_torch(pipe))), whole)


def test_a_run_without_a_seed_goes_on(frame, folder, tmp_path, monkeypatch):
    pipe, fit = pipeline(frame), fit_of(folder, checkpoint=tmp_path, seed=None)
    interrupted(monkeypatch, lambda: fit(pg.to_torch(pipe)), 12)
    seed = read_checkpoint(tmp_path / FILE)["seed"]
    drawn = []
    own = stream_fit.StreamData.__init__

    def remember(self, *arguments):
        drawn.append(arguments[4])
        own(self, *arguments)

    monkeypatch.setattr(stream_fit.StreamData, "__init__", remember)
    assert len(fit(pg.to_torch(pipe)).history) > 1
    assert drawn == [seed]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_other_numbers_of_epochs(limit, frame, folder, tmp_path):
    pipe, fit = pipeline(frame), fit_of(folder)
    fit(pg.to_torch(pipe), epochs=2, checkpoint=tmp_path)
    found = outcome(fit(pg.to_torch(pipe), epochs=limit, checkpoint=tmp_path))
    assert_same(found, outcome(fit(pg.to_torch(pipe), epochs=max(limit, 2))))


@pytest.mark.parametrize("held", [False, True])
def test_rows_in_a_cache_and_held_out_data(held, frame, folder, tmp_path, monkeypatch):
    pipe = pipeline(frame)
    own = frame.iloc[:400]
    validation = (own[FEATURES], own["label"]) if held else 0.2
    fit = fit_of(folder, cache=tmp_path / "cache", validation=validation, anchor=0.1)
    whole = outcome(fit(pg.to_torch(pipe)))
    broken = partial(fit, checkpoint=tmp_path)
    interrupted(monkeypatch, lambda: broken(pg.to_torch(pipe)), 14)
    assert_same(outcome(broken(pg.to_torch(pipe))), whole)
    if held:
        with pytest.raises(pg.ArgumentError, match="another run: other validation"):
            broken(pg.to_torch(pipe), validation=(own[FEATURES][1:], own["label"][1:]))


def scaled(parameters):
    parameters = list(parameters)
    return ScaledLBFGS(parameters, np.linspace(0.5, 2, len(parameters)).tolist())


@pytest.mark.parametrize("optim", [scaled, torch.optim.LBFGS])
@pytest.mark.parametrize("rounds", [1, 3])
def test_steps_on_all_rows(optim, rounds, frame, folder, tmp_path, monkeypatch):
    pipe, fit = pipeline(frame), fit_of(folder, optim=optim, epochs=5, anchor=0.01)
    whole = outcome(fit(pg.to_torch(pipe)))
    own, left = Checkpoint.save, iter(range(rounds - 1))

    def save(self, trainer, finished=False):
        own(self, trainer, finished)
        if next(left, None) is None:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", save)
        with pytest.raises(Killed):
            fit(pg.to_torch(pipe), checkpoint=tmp_path)
    assert_same(outcome(fit(pg.to_torch(pipe), checkpoint=tmp_path)), whole)


class Odd(torch.optim.SGD):
    """An optimizer that keeps what a file cannot hold."""

    def step(self, closure=None):
        loss = super().step(closure)
        self.state[self.param_groups[0]["params"][0]]["odd"] = {1, 2}
        return loss


def test_an_optimizer_that_cannot_be_saved_is_refused_at_once(frame, folder, tmp_path):
    net = pg.to_torch(pipeline(frame))
    before = [p.clone() for p in net.parameters()]
    fit = fit_of(folder, optim=partial(Odd, lr=1e-3), checkpoint_seconds=300)
    with pytest.raises(pg.ArgumentError, match="cannot store a set, which the optimizer keeps"):
        fit(net, checkpoint=tmp_path)
    assert all(map(torch.equal, before, net.parameters()))
    assert not (tmp_path / FILE).exists()


def test_a_disk_that_is_full_for_some_time(frame, folder, tmp_path, monkeypatch):
    pipe, fit = pipeline(frame), fit_of(folder, checkpoint=tmp_path)
    whole = outcome(fit_of(folder)(pg.to_torch(pipe)))
    own, calls, kept = checkpoints.write_checkpoint, [], []

    def limited(path, content):
        calls.append(path)
        if 5 < len(calls) < 12:
            kept.append(path.read_bytes())
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
            try:
                own(path, content)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
        elif len(calls) == 12:
            raise Killed
        else:
            own(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "write_checkpoint", limited)
        with (
            pytest.warns(pg.PipegradWarning, match="was not written, and training goes on"),
            pytest.raises(Killed),
        ):
            fit(pg.to_torch(pipe))
    assert len(set(kept)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert_same(outcome(fit(pg.to_torch(pipe))), whole)


def test_other_functions_are_other_losses(frame, folder, tmp_path):
    pipe = pipeline(frame)
    fit = fit_of(folder, epochs=1, checkpoint=tmp_path)
    losses = [
        lambda score, y: torch.nn.functional.softplus(-score * (2 * y - 1)).reshape(-1),
        lambda score, y: 2 * torch.nn.functional.softplus(-score * (2 * y - 1)).reshape(-1),
    ]
    for loss in (losses[0], losses[0]):
        fit(pg.to_torch(pipe), loss=loss)
    with pytest.raises(pg.ArgumentError, match="another run: other loss\\."):
        fit(pg.to_torch(pipe), loss=losses[1])


def test_members_that_train_as_one_without_checkpoints(frame, folder, tmp_path, monkeypatch):
    members = BaggingClassifier(LogisticRegression(), 12, random_state=0)
    pipe = members.fit(frame[FEATURES][:300], frame["label"][:300])
    fit = fit_of(folder)
    plain, whole = fit(pg.to_torch(pipe)), fit(pg.to_torch(pipe), checkpoint=tmp_path / "whole")
    for one, other in zip(plain.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    broken = partial(fit, checkpoint=tmp_path / "broken")
    interrupted(monkeypatch, lambda: broken(pg.to_torch(pipe)), 11)
    assert_same(outcome(broken(pg.to_torch(pipe))), outcome(whole))
