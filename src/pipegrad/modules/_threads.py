"""Data parallelism over rows: each thread processes a chunk of rows.

Torch splits each operation among its threads and synchronizes them before the next one. For many
short operations this is expensive, above all on a busy machine; a thread that takes a chunk of rows
through all operations synchronizes once.
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

from ._base import has_memory

T = TypeVar("T")
_lock = threading.Lock()
_pool: tuple[int, ThreadPoolExecutor] | None = None


def threads_for(*tensors: Tensor) -> int:
    """The number of threads for plain tensors in main memory; 1 for all others."""
    if not _apart() or any(t.device.type != "cpu" for t in tensors):
        return 1
    # Tensors that torch.func wraps belong to this thread.
    return torch.get_num_threads() if has_memory(*tensors) else 1


def map_in_threads(function: Callable[..., T], parts: Sequence[tuple], threads: int) -> list[T]:
    """Apply a function to each chunk, in parallel.

    Parameters
    ----------
    function : callable
        Function of the elements of a chunk.
    parts : sequence of tuple
        Arguments for each call.
    threads : int
        Number of threads.

    Returns
    -------
    list
        Results in the order of ``parts``.
    """
    if threads < 2 or len(parts) < 2:
        return [function(*part) for part in parts]
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def work(part: tuple) -> T:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            return function(*part)

    return list(_workers(threads).map(work, parts))


@cache
def _apart() -> bool:
    """Whether torch's number of threads can differ between threads."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


def _workers(threads: int) -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None or _pool[0] != threads:
            _pool = threads, _started(threads)
        return _pool[1]


def _started(threads: int) -> ThreadPoolExecutor:
    """A pool of threads in each of which torch is single-threaded."""
    ready = threading.Barrier(threads + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # fixes the setting for this thread
        ready.wait()

    pool = ThreadPoolExecutor(threads, "pipegrad", begin)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # threads that start later inherit the last setting
    return pool


def _forget() -> None:
    """Reset the pool in a child process, which inherits no threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
