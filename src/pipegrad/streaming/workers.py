"""The processes that train together, each on its own rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from ..errors import ArgumentError


class Workers:
    """One process or many; sums over all of them.

    Parameters
    ----------
    rank : int
        The number of this process.
    count : int
        The number of processes.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count

    @classmethod
    def current(cls) -> Workers:
        """The processes of torch's default process group.

        Where ``torchrun`` started this process and there is no group yet, it is made: of NCCL where
        CUDA is used, of Gloo otherwise.
        """
        if not distributed.is_available():
            return cls()
        if not distributed.is_initialized():
            if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
                return cls()
            distributed.init_process_group("gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def alone(self) -> bool:
        """Whether there is a single process."""
        return self.count == 1

    def add_up(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes; the tensor itself is changed.

        Raises
        ------
        ArgumentError
            If another process ended.
        """
        if not self.alone:
            try:
                distributed.all_reduce(values)
            except RuntimeError as error:
                raise ArgumentError(
                    f"Worker {self.rank} lost the others: {str(error).splitlines()[0]:.160}.\n"
                    "Hint: run the same command again; with checkpoint= it goes on from there."
                ) from error
        return values

    def of_first(self, value: Any) -> Any:
        """What the first process has."""
        if self.alone:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def of_all(self, value: Any) -> list[Any]:
        """What each process has, by rank."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value)
        return found


def add_up_gradients(
    workers: Workers, parameters: Sequence[torch.nn.Parameter], share: Sequence[float]
) -> list[float]:
    """Sum gradients over all processes, together with some numbers.

    Parameters
    ----------
    workers : Workers
        The processes.
    parameters : sequence of Parameter
        The parameters, whose gradients are replaced by their sums.
    share : sequence of float
        Numbers of this process.

    Returns
    -------
    list of float
        The sums of the numbers.
    """
    if workers.alone:
        return list(share)
    like = parameters[0]
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    numbers = torch.tensor(list(share), dtype=torch.float64)
    flat = torch.cat([part.reshape(-1).double() for part in parts] + [numbers.to(like.device)])
    workers.add_up(flat)
    *sums, totals = flat.split([*(p.numel() for p in parameters), len(numbers)])
    for parameter, total in zip(parameters, sums, strict=True):
        parameter.grad = total.to(parameter.dtype).view_as(parameter)
    return [float(value) for value in totals]
