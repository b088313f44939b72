"""Parts of the rows side by side, each on a thread of its own.

Torch divides each operation among its threads and waits for all of them before the next. For many
short operations in a row that costs much, above all where other work runs on the machine; a thread
that takes a part of the rows through all operations waits once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
_lock = threading.Lock()
_pool: tuple[int, ThreadPoolExecutor] | None = None


def threads_for(*tensors: Tensor) -> int:
    """How many threads may work on plain tensors in memory; one on anything else."""
    if not _apart() or any(t.device.type != "cpu" for t in tensors):
        return 1
    try:  # what torch.func wraps belongs to this thread, and has no memory of its own
        for tensor in tensors:
            tensor.data_ptr()
    except RuntimeError:
        return 1
    return torch.get_num_threads()


def side_by_side(function: Callable[..., T], parts: Sequence[tuple], threads: int) -> list[T]:
    """What the function gives for each part, in order."""
    if threads < 2 or len(parts) < 2:
        return [function(*part) for part in parts]
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def work(part: tuple) -> T:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            return function(*part)

    return list(_workers(threads).map(work, parts))


@cache
def _apart() -> bool:
    """Whether each thread can have a number of threads of its own for torch."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


def _workers(threads: int) -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None or _pool[0] != threads:
            _pool = threads, _started(threads)
        return _pool[1]


def _started(threads: int) -> ThreadPoolExecutor:
    """Threads on each of which torch uses no others."""
    ready = threading.Barrier(threads + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # from here on this thread keeps its number
        ready.wait()

    pool = ThreadPoolExecutor(threads, "pipegrad", begin)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # threads that begin later take the number that was set last
    return pool


def _forget() -> None:
    """A child process inherits no threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
