"""The processes that train together, each on its own rows."""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from ..errors import ArgumentError

Value = TypeVar("Value")
# How errors begin that only tell of those of another process.
WORKER_FAILED = re.compile(r"Worker \d+ (failed, so that all ended|lost the others): ")


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

        Where ``torchrun`` started this process and there is no group yet, it is made: of Gloo for
        tensors in main memory, and of NCCL for those on CUDA.
        """
        if not distributed.is_available():
            return cls()
        if not distributed.is_initialized():
            if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
                return cls()
            begin_group()
            atexit.register(_end_group)
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def alone(self) -> bool:
        """Whether there is a single process."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that warns, shows progress and writes files."""
        return self.rank == 0

    def add_up(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes; the tensor itself is changed.

        Raises
        ------
        ArgumentError
            If another process ended.
        """
        self._call(distributed.all_reduce, values)
        return values

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sums of some numbers over all processes."""
        if self.alone:
            return list(numbers)
        device = _device_of_sums(torch.device("cpu"))
        found: list[float] = self.add_up(
            torch.tensor(numbers, dtype=torch.float64, device=device)
        ).tolist()
        return found

    def any(self, value: bool) -> bool:
        """Whether something holds for any process."""
        return self.sums([float(value)])[0] > 0

    def of_first(self, value: Any) -> Any:
        """What the first process has."""
        values = [value]
        self._call(distributed.broadcast_object_list, values, src=0)
        return values[0]

    def of_all(self, value: Any) -> list[Any]:
        """What each process has, by rank."""
        found: list[Any] = [value] * self.count
        self._call(distributed.all_gather_object, found, value)
        return found

    @contextmanager
    def together(self) -> Iterator[None]:
        """Context whose errors end all processes; each has to reach its end.

        Raises
        ------
        ArgumentError
            If it failed in another process; a process in which it failed raises its own error.
        """
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            if self.alone:
                raise
            own = error
        self.raise_first(own)

    def raise_first(self, own: Exception | None) -> None:
        """Raise this error; without one, an error about that of another process, if any."""
        texts = self.of_all(None if own is None else f"{type(own).__name__}: {own}")
        if own is not None:
            raise own
        for rank, text in enumerate(texts):
            if text is not None:
                raise ArgumentError(f"Worker {rank} failed, so that all ended: {text}")

    def first_does(self, work: Callable[[], Value]) -> Value:
        """What some work gives that the first process does; its errors end all."""
        found: Value | None = None
        with self.together():
            if self.first:
                found = work()
        return self.of_first(found)

    def align(self, module: nn.Module) -> None:
        """Give the module the numbers that it has in the first process.

        Raises
        ------
        ArgumentError
            If the modules differ in more than their numbers.
        """
        if self.alone:
            return
        tensors = {n: t for n, t in module.state_dict().items() if isinstance(t, Tensor)}
        self.check_same(
            [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()],
            "trains another pipeline than worker 0",
            "let all processes load the same file",
        )
        for tensor in tensors.values():
            sent = tensor.detach().to(_device_of_sums(tensor.device))
            self._call(distributed.broadcast, sent, src=0)
            if sent is not tensor:
                with torch.no_grad():
                    tensor.copy_(sent)

    def check_same(self, value: Any, problem: str, hint: str) -> None:
        """Refuse, in all processes, a value that is not the same in all of them."""
        values = self.of_all(value)
        other = [rank for rank, found in enumerate(values) if found != values[0]]
        if other:
            raise ArgumentError(f"Worker {other[0]} {problem}.\nHint: {hint}.")

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        if self.alone:
            return
        try:
            function(*arguments, **options)
        except RuntimeError as error:
            raise ArgumentError(
                f"Worker {self.rank} lost the others: {str(error).splitlines()[0]:.160}.\n"
                "Hint: run the same command again; with checkpoint= it goes on from there."
            ) from error


class GradientSum:
    """Gradients of the mean over the rows of all processes, summed in one call.

    Parameters
    ----------
    workers : Workers
        The processes.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self._flat: Tensor | None = None

    def add_up(
        self, parameters: Sequence[nn.Parameter], rows: int, numbers: Sequence[float]
    ) -> list[float]:
        """Replace gradients of sums over rows by those of the mean over the rows of all processes.

        Parameters
        ----------
        parameters : sequence of Parameter
            The parameters.
        rows : int
            The number of rows of this process.
        numbers : sequence of float
            Further numbers to sum.

        Returns
        -------
        list of float
            The number of rows of all processes, and the sums of the numbers.
        """
        # Which gradients there are, as a process without rows has none.
        present = [float(parameter.grad is not None) for parameter in parameters]
        own = [float(rows), *numbers, *present]
        parts = self._filled(parameters, own)
        assert self._flat is not None
        self.workers.add_up(self._flat)
        sums = parts.pop().tolist()
        self._flat[: -len(own)] /= max(sums[0], 1.0)
        for parameter, found in zip(parameters, sums[1 + len(numbers) :], strict=True):
            if found and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        _copy([p.grad for p in parameters], parts)
        return sums[: 1 + len(numbers)]

    def _filled(self, parameters: Sequence[nn.Parameter], own: list[float]) -> list[Tensor]:
        """The parts of the tensor that is summed: the gradients, and the numbers."""
        sizes = [p.numel() for p in parameters]
        device = parameters[0].device
        flat = self._flat
        if flat is None or flat.numel() != sum(sizes) + len(own) or flat.device != device:
            # In float64, so that the sum hardly depends on the number of processes.
            flat = torch.zeros(sum(sizes) + len(own), dtype=torch.float64, device=device)
            self._flat = flat
        flat.zero_()
        *parts, numbers = flat.split([*sizes, len(own)])
        views = [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
        _copy(views, [p.grad for p in parameters])
        numbers.copy_(torch.tensor(own, dtype=torch.float64))
        return [*views, numbers]


def _copy(to: Sequence[Tensor | None], values: Sequence[Tensor | None]) -> None:
    pairs = [(a, b) for a, b in zip(to, values, strict=True) if a is not None and b is not None]
    if pairs:
        torch._foreach_copy_([a for a, _ in pairs], [b for _, b in pairs])


def _device_of_sums(device: torch.device) -> torch.device:
    """Where a tensor must be for the process group, which may know CUDA alone."""
    if device.type == "cpu" and "cpu" not in distributed.get_backend_config():
        return torch.device("cuda", torch.cuda.current_device())
    return device


def begin_group(**options: Any) -> None:
    """Make torch's default process group: Gloo, and NCCL for tensors on CUDA."""
    cuda = torch.cuda.is_available() and distributed.is_nccl_available()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", **options)


def _end_group() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
