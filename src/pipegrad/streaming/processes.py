"""Starts processes of this machine that train together."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import distributed, multiprocessing

from ..file_writing import scratch_folder
from .workers import WORKER_FAILED, begin_group


def run_processes(function: Callable[..., Any], arguments: tuple[Any, ...], count: int) -> Any:
    """Call a function in several new processes, whose process group is ready.

    Parameters
    ----------
    function : callable
        A function of a module.
    arguments : tuple
        Its arguments, which are pickled.
    count : int
        Number of processes.

    Returns
    -------
    object
        What the function returned in the first process.

    Raises
    ------
    Exception
        The error of the process that failed first; that of a process which only heard of it counts
        less.
    """
    with scratch_folder() as place:
        folder = str(place)
        multiprocessing.start_processes(
            _run, (function, arguments, count, folder), nprocs=count, start_method="spawn"
        )
        found = [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(count)]
    errors = [error for _, error in found if error is not None]
    if errors:
        own = [error for error in errors if not WORKER_FAILED.match(str(error))]
        raise (own or errors)[0]
    return found[0][0]


def _run(
    rank: int, function: Callable[..., Any], arguments: tuple[Any, ...], count: int, folder: str
) -> None:
    value, failed = None, None
    # They meet in a file, as a free port may be taken before it is used.
    begin_group(init_method=Path(folder, "group").as_uri(), rank=rank, world_size=count)
    try:
        value = function(*arguments)
    except Exception as error:
        failed = error
    finally:
        distributed.destroy_process_group()
    Path(folder, str(rank)).write_bytes(_pickled(value if rank == 0 else None, failed))


def _pickled(value: Any, failed: Exception | None) -> bytes:
    try:
        content = pickle.dumps((value, failed))
        pickle.loads(content)
    except Exception:  # Not every error can be pickled.
        return pickle.dumps((None, RuntimeError(f"{type(failed).__name__}: {failed}")))
    return content
