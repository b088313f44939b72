"""The state of a trainer on a stream between two steps, as values that a file can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..training.scaled_lbfgs import ScaledLBFGS
from .checkpoint_file import packed
from .shards import Cursor

if TYPE_CHECKING:
    from .stream_trainer import StreamTrainer

_LAST = "the last epoch"


def trainer_state(trainer: StreamTrainer, finished: bool) -> dict[str, Any]:
    """The state of a trainer, without the cursors of the shards.

    Parameters
    ----------
    trainer : StreamTrainer
        The trainer, between two steps or after a round.
    finished : bool
        Whether training is over.
    """
    named = dict(trainer.module_.named_parameters())
    names = {id(parameter): name for name, parameter in named.items()}
    key = f"{trainer.monitor}_best"
    complete = sum(key in row for row in trainer.history)
    rows = [{k: v for k, v in row.items() if k != "batches"} for row in trainer.history[:complete]]
    rounds = trainer.rounds
    return {
        "parameters": {name: p.detach() for name, p in named.items() if p.requires_grad},
        "best": {names[id(p)]: value for p, value in trainer._best.numbers.items()},
        "best_epoch": trainer.best_epoch_,
        "best_loss": trainer.best_loss_,
        "optimizer": optimizer_state(trainer.optimizer_),
        "callbacks": {name: _callback_state(callback) for name, callback in trainer.callbacks_},
        "random": _random_state(),
        "history": rows,
        "minimized": trainer.minimized_[:complete],
        "waited": [trainer._progress_loss, trainer._waited, trainer.start_loss_, trainer._unit],
        "reason": trainer.reason_,
        "diverged": trainer.diverged_,
        "finished": finished,
        "rounds": [rounds.epoch, rounds.seen_rows, rounds.done, rounds.over],
        "partial": list(trainer.partial),
    }


def load_trainer_state(trainer: StreamTrainer, state: dict[str, Any]) -> None:
    """Give a trainer a state that `trainer_state` returned, with the cursors of all shards."""
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
    for name, callback in trainer.callbacks_:
        _load_callback_state(callback, state["callbacks"].get(name, {}))
    trainer.history_ = History({**row, "batches": []} for row in state["history"])
    trainer.minimized_ = state["minimized"]
    trainer._progress_loss, trainer._waited, trainer.start_loss_, trainer._unit = state["waited"]
    trainer.reason_, trainer.diverged_ = state["reason"], state["diverged"]
    trainer.partial = tuple(state["partial"])
    _load_rounds(trainer, state)
    _load_random_state(state["random"])


def _load_rounds(trainer: StreamTrainer, state: dict[str, Any]) -> None:
    rounds = trainer.rounds
    rounds.epoch, rounds.seen_rows, rounds.done, rounds.over = state["rounds"]
    rounds.resumed = True
    # Those that others read would take the place of theirs in the next checkpoint.
    own = set(trainer.stream.own_shards)
    cursors = {int(shard): Cursor(*cursor) for shard, cursor in state["cursors"].items()}
    rounds.cursors = {shard: cursor for shard, cursor in cursors.items() if shard in own}
    # Now there may be more epochs to do, or fewer; a round that is over has yet to be measured.
    early = state["finished"] and trainer.reason_ != _LAST
    trainer.stopped_ = early or (rounds.ended and not rounds.over)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer, by the numbers of its parameters."""
    return optimizer.saved() if isinstance(optimizer, ScaledLBFGS) else optimizer.state_dict()


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer a state that `optimizer_state` returned."""
    if isinstance(optimizer, ScaledLBFGS):
        optimizer.load(state)
    else:
        optimizer.load_state_dict(state)


def _callback_state(callback: Any) -> dict[str, Any]:
    """What a callback keeps beside its settings, as far as a file can hold it."""
    settings = set(callback.get_params(deep=False)) if hasattr(callback, "get_params") else set()
    found = {}
    for name, value in vars(callback).items():
        own = {"state_dict": value.state_dict()} if _has_state(value) else value
        try:
            packed(own, {})
        except ArgumentError:
            continue  # Networks, files and the like, which callbacks find again by themselves.
        if name not in settings:
            found[name] = own
    return found


def _load_callback_state(callback: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        own: Any = getattr(callback, name, None)
        if isinstance(value, dict) and "state_dict" in value and _has_state(own):
            own.load_state_dict(value["state_dict"])
        else:
            setattr(callback, name, value)


def _has_state(value: Any) -> bool:
    """Whether it is a scheduler of learning rates, or alike; modules are saved elsewhere."""
    other = isinstance(value, torch.nn.Module | torch.optim.Optimizer | type)
    return hasattr(value, "load_state_dict") and hasattr(value, "state_dict") and not other


def _random_state() -> list[Tensor]:
    """The states of torch's generators: that of the processor, and those of devices in use."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *devices]


def _load_random_state(states: list[Tensor]) -> None:
    processor, *devices = states
    torch.set_rng_state(processor)
    if devices and len(devices) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(devices)
