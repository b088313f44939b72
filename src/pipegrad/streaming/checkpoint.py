"""Checkpoints of a training run on a stream, from which the same run goes on.

A checkpoint is one file, which is replaced as a whole, so that a killed process leaves the previous
one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, warn
from ..file_writing import files_library
from ..training.optimizers import is_number
from .checkpoint_file import read_checkpoint, write_checkpoint
from .trainer_state import load_trainer_state, trainer_state
from .workers import Workers

if TYPE_CHECKING:
    from .stream_trainer import StreamTrainer

FILE = "checkpoint.safetensors"
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
        above = Path(self.folder).absolute()
        while not above.exists():
            above = above.parent
        if not os.access(above, os.W_OK | os.X_OK):
            raise ArgumentError(
                f"checkpoint={str(self.folder)!r}: nothing can be written in {str(above)!r}.\n"
                "Hint: give a folder of your own."
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
        What the run depends on, see `run_of`.
    seconds : float
        Time between checkpoints; there is one after the first step and after each round as well.
    resume : bool
        Whether to go on from the checkpoint in the folder, if there is one.
    workers : Workers
        The processes; the first one reads and writes.

    Raises
    ------
    ArgumentError
        If the checkpoint is damaged, or of another run; the error names what differs.
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
        self.workers = workers
        self.seed: int | None = None
        self._steps = 0
        self._last = time.monotonic()
        self._warned = False
        self._found = self._read() if resume else None

    def _read(self) -> dict[str, Any] | None:
        found, problem = None, ""
        if self.workers.rank == 0:
            try:
                found = read_checkpoint(self.path)
                problem = "" if found is None else self._difference(found["run"])
            except ArgumentError as error:
                problem = str(error)
        # All processes end with the error, so that none waits for the first one.
        found, problem = self.workers.of_first((found, problem))
        if problem:
            raise ArgumentError(problem)
        return found

    def _difference(self, run: Mapping[str, str]) -> str:
        differing = [name for name, value in self.run.items() if run.get(name) != value]
        if not differing:
            return ""
        hint = "give another folder, or begin anew with resume=False"
        if "module" in differing:
            hint += "; the module must be as it was before training, new from to_torch"
        return (
            f"{self.path} is the checkpoint of another run: other {', '.join(differing)}.\n"
            f"Hint: {hint}."
        )

    def seed_of(self, new: int) -> int:
        """The seed of the run: that of the checkpoint, or a new one."""
        self.seed = new if self._found is None else self._found["seed"]
        return self.seed

    def restore(self, trainer: StreamTrainer) -> bool:
        """Give a trainer the state of the checkpoint; False if there is none."""
        if self._found is None:
            return False
        load_trainer_state(trainer, self._found["state"])
        self._found = None
        return True

    def after_step(self, trainer: StreamTrainer) -> None:
        """Save if it is time.

        The first step is saved in any case, so that what cannot be saved is known at once.
        """
        self._steps += 1
        due = time.monotonic() - self._last >= self.seconds
        if not self.workers.alone:
            due = self._steps % _STEPS == 0 and bool(self.workers.of_first(due))
        if due or self._steps == 1:
            self.save(trainer)

    def save(self, trainer: StreamTrainer, finished: bool = False) -> None:
        """Write the state; a warning, and the previous one stays, if that is not possible."""
        state = trainer_state(trainer, finished)
        state["cursors"] = {}
        for own in self.workers.of_all(trainer.rounds.cursors):
            state["cursors"] |= {str(shard): list(cursor) for shard, cursor in own.items()}
        content = {"run": self.run, "seed": self.seed, "state": state}
        self.workers.first_does(lambda: self._write(content))
        self._last = time.monotonic()

    def _write(self, content: dict[str, Any]) -> None:
        try:
            write_checkpoint(self.path, content)
            self._warned = False
        except OSError as error:
            if not self._warned:
                self._warned = True
                warn(
                    f"{self.path} was not written, and training goes on: {error}.\n"
                    "Hint: free some space; the previous checkpoint stays until the next one."
                )
