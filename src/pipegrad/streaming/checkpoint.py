"""Checkpoints of a training run on a stream, from which the same run goes on.

A checkpoint is one file in safetensors format: tensors, and a JSON text for everything else. It is
replaced as a whole, so that a killed process leaves the previous one.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError, warn
from ..file_writing import files_library, write_file
from ..training.optimizers import is_number
from ..training.scaled_lbfgs import ScaledLBFGS
from .shards import Cursor
from .workers import Workers

if TYPE_CHECKING:
    from ..network import PipelineNetwork
    from .stream_trainer import StreamTrainer

FILE = "checkpoint.safetensors"
_VERSION = 1
_ABOUT = "about"
# Steps between looks at the clock where processes have to agree.
_STEPS = 32


@dataclass(frozen=True)
class CheckpointOptions:
    """Where and when to save the state of a run.

    Parameters
    ----------
    folder : str or path
        The folder.
    seconds : float
        Time between checkpoints.
    resume : bool
        Whether to go on from the checkpoint that is there.
    """

    folder: str | os.PathLike[str]
    seconds: float = 300.0
    resume: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike) or not str(self.folder).strip():
            raise ArgumentError(
                f"checkpoint must be the path of a folder, got {self.folder!r:.80}."
            )
        if os.path.lexists(self.folder) and not os.path.isdir(self.folder):
            raise ArgumentError(
                f"checkpoint must be the path of a folder; {str(self.folder)!r} is a file."
            )
        if not (is_number(self.seconds) and self.seconds >= 0):
            raise ArgumentError(
                f"checkpoint_seconds must be a non-negative number, got {self.seconds!r}."
            )
        if not isinstance(self.resume, bool):
            raise ArgumentError(f"resume must be True or False, got {self.resume!r}.")
        files_library("safetensors.torch", "checkpoint=")

    def of(self, run: Mapping[str, str], workers: Workers) -> Checkpoint:
        """The checkpoint of a run."""
        return Checkpoint(self.folder, run, self.seconds, self.resume, workers)


class Checkpoint:
    """Saves the state of a run in a folder, and restores it.

    Parameters
    ----------
    folder : str or path
        The folder; it is made if it does not exist.
    run : mapping of str to str
        What the run depends on: a name for people, and a digest of each part.
    seconds : float
        Time between checkpoints; there is one after each round as well.
    resume : bool
        Whether to go on from the checkpoint in the folder, if there is one.
    workers : Workers
        The processes; the first one writes.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        run: Mapping[str, str],
        seconds: float,
        resume: bool,
        workers: Workers,
    ) -> None:
        self.path = Path(folder) / FILE
        self.run = dict(run)
        self.seconds = seconds
        self.resume = resume
        self.workers = workers
        self._steps = 0
        self._last = time.monotonic()
        self._warned = False

    def restore(self, trainer: StreamTrainer) -> bool:
        """Give a trainer the state of the checkpoint; False if there is none.

        Raises
        ------
        ArgumentError
            If it is damaged, or of another run; the error names what differs.
        """
        if not self.resume:
            return False
        found = self.workers.first_does(self._read)
        if found is None:
            return False
        tensors, about = found
        differing = [name for name, value in self.run.items() if about["run"].get(name) != value]
        if differing:
            raise ArgumentError(
                f"{self.path} is the checkpoint of another run: other {', '.join(differing)}.\n"
                "Hint: give another folder, or resume=False to begin anew."
            )
        _apply(trainer, _unpacked(about["state"], tensors))
        return True

    def after_step(self, trainer: StreamTrainer) -> None:
        """Save if it is time."""
        self._steps += 1
        due = time.monotonic() - self._last >= self.seconds
        if not self.workers.alone:
            due = self._steps % _STEPS == 0 and bool(self.workers.of_first(due))
        if due:
            self.save(trainer)

    def save(self, trainer: StreamTrainer, finished: bool = False) -> None:
        """Write the state; a warning, and the previous one stays, if that is not possible."""
        state = _state(trainer, finished)
        cursors: dict[str, Any] = {}
        for own in self.workers.of_all(trainer.rounds.cursors):
            cursors |= {str(shard): list(cursor) for shard, cursor in own.items()}
        state["cursors"] = cursors
        self.workers.first_does(lambda: self._write(state))
        self._last = time.monotonic()

    def _write(self, state: dict[str, Any]) -> None:
        save = files_library("safetensors.torch", "checkpoint=").save
        tensors: dict[str, Tensor] = {}
        about = {"version": _VERSION, "run": self.run, "state": _packed(state, tensors)}
        text = json.dumps(about).encode()
        tensors[_ABOUT] = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())
        tensors["checksum"] = torch.tensor(list(_checksum(tensors)), dtype=torch.uint8)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_file(self.path, save(tensors), private=True)
        except OSError as error:
            if not self._warned:
                self._warned = True
                warn(
                    f"{self.path} was not written, and training goes on: {error}.\n"
                    "Hint: free some space; the next checkpoint is tried again."
                )

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        load = files_library("safetensors.torch", "checkpoint=").load
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            tensors = load(content)
            checksum = bytes(tensors.pop("checksum").tolist())
            about = json.loads(tensors[_ABOUT].numpy().tobytes())
            whole = checksum == _checksum(tensors) and about["version"] == _VERSION
        except Exception as error:  # Whatever a damaged file leads to.
            raise self._damaged() from error
        if not whole:
            raise self._damaged()
        return tensors, about

    def _damaged(self) -> ArgumentError:
        return ArgumentError(
            f"{self.path} is damaged, or of another version.\n"
            "Hint: remove it, or resume=False to begin anew."
        )


def run_of(net: PipelineNetwork, table: str, roles: Any, options: Any, seed: int) -> dict[str, str]:
    """What a run depends on, by names for people."""
    digest = sha256(net.graph.to_json().encode())
    for name, parameter in net.named_parameters():
        values = parameter.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name}{parameter.shape}{parameter.requires_grad}".encode())
        digest.update(values.view(torch.uint8).numpy().tobytes())
    named = {
        name: _described(getattr(options, name))
        for name in ("optim", "loss", "batch_size", "lr", "patience", "anchor")
    }
    return {
        "pipeline": digest.hexdigest(),
        "rows": table,
        "columns": repr(roles),
        "seed": str(seed),
        **named,
    }


def _described(value: Any) -> str:
    # The address in the default text of an object differs in each process.
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{getattr(value, '__module__', '')}.{name}"
    return repr(value) if isinstance(value, str | int | float | None) else type(value).__name__


def _state(trainer: StreamTrainer, finished: bool) -> dict[str, Any]:
    names = {id(p): name for name, p in trainer.module_.named_parameters()}
    own = {name: p.detach() for name, p in trainer.module_.named_parameters() if p.requires_grad}
    best = {names[id(p)]: value for p, value in trainer._best.numbers.items()}
    key = f"{trainer.monitor}_best"
    complete = sum(key in row for row in trainer.history)
    rows = [{k: v for k, v in row.items() if k != "batches"} for row in trainer.history[:complete]]
    rounds = trainer.rounds
    return {
        "parameters": own,
        "best": best,
        "best_epoch": trainer.best_epoch_,
        "best_loss": trainer.best_loss_,
        "optimizer": optimizer_state(trainer.optimizer_),
        "random": torch.get_rng_state(),
        "history": rows,
        "minimized": trainer.minimized_[:complete],
        "waited": [trainer._progress_loss, trainer._waited, trainer.start_loss_, trainer._unit],
        "reason": trainer.reason_,
        "diverged": trainer.diverged_,
        "finished": finished,
        "rounds": [rounds.epoch, rounds.seen_rows, rounds.done, rounds.over],
        "partial": list(trainer.partial),
    }


def _apply(trainer: StreamTrainer, state: dict[str, Any]) -> None:
    from skorch.history import History

    parameters = dict(trainer.module_.named_parameters())
    with torch.no_grad():
        for name, value in state["parameters"].items():
            parameters[name].copy_(value)
    load_optimizer_state(trainer.optimizer_, state["optimizer"])
    best = {parameters[name]: value.to(parameters[name]) for name, value in state["best"].items()}
    trainer._best = trainer._best._replace(
        epoch=state["best_epoch"], loss=state["best_loss"], numbers=best
    )
    history = History()
    for row in state["history"]:
        history.append({**row, "batches": []})
    trainer.history_ = history
    trainer.minimized_ = state["minimized"]
    trainer._progress_loss, trainer._waited, trainer.start_loss_, trainer._unit = state["waited"]
    trainer.reason_, trainer.diverged_ = state["reason"], state["diverged"]
    trainer.stopped_ = state["finished"]
    rounds = trainer.rounds
    rounds.epoch, rounds.seen_rows, rounds.done, rounds.over = state["rounds"]
    rounds.resumed = True
    # Shards that others read are of no interest here.
    rounds.cursors = {int(s): Cursor(*cursor) for s, cursor in state["cursors"].items()}
    trainer.partial = tuple(state["partial"])
    torch.set_rng_state(state["random"])


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer, by the numbers of its parameters."""
    if isinstance(optimizer, ScaledLBFGS):
        return {**optimizer.saved(), "kind": "ScaledLBFGS"}
    return {**optimizer.state_dict(), "kind": type(optimizer).__name__}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer a state that `optimizer_state` returned."""
    own = {name: value for name, value in state.items() if name != "kind"}
    if isinstance(optimizer, ScaledLBFGS):
        optimizer.load(own)
    else:
        optimizer.load_state_dict(own)


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON; its tensors get numbers."""
    if isinstance(value, Tensor):
        tensors[str(len(tensors))] = value.detach().cpu().clone().contiguous()
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, Mapping):
        pairs = [[_packed(k, tensors), _packed(v, tensors)] for k, v in value.items()]
        return {"mapping": pairs}
    if isinstance(value, tuple):
        return {"tuple": [_packed(one, tensors) for one in value]}
    if isinstance(value, list | deque):
        return [_packed(one, tensors) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ArgumentError(
        f"checkpoint= cannot store a {type(value).__name__}, which the optimizer keeps.\n"
        "Hint: take an optimizer of torch.optim, or train without checkpoint=."
    )


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpacked(one, tensors) for one in content)
    return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in content}


def _checksum(tensors: Mapping[str, Tensor]) -> bytes:
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()
